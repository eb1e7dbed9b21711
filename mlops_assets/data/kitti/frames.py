"""A KITTI copy in a folder, frame by frame: labels, calibration, cloud and image of a frame given its id.

Works the same on the object and the tracking layout. Where files lie is in ``layout``, what is wrong with them in ``check``.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlops_assets.data.kitti.calibration import Calibration, read_calibration
from mlops_assets.data.kitti.clouds import Cloud, read_cloud
from mlops_assets.data.kitti.labels import KittiObjects, read_labels
from mlops_assets.data.kitti.layout import Frame, FrameIndex, Part, copy_root, index_folder, read_split
from mlops_assets.data.kitti.tracking import TrackedObjects, read_tracking_labels
from mlops_assets.data.reasons import FileRejected, because
from mlops_assets.errors import DataRejected, NotFound

_NO_OBJECTS = TrackedObjects(read_labels(""), np.empty(0, dtype=np.int64))


@dataclass(frozen=True)
class KittiCopy:
    """A copy at hand: its folder and the index of its frames."""

    root: Path
    index: FrameIndex

    @classmethod
    def open(cls, path: Path, *, subset: str = "training") -> KittiCopy:
        """The copy in this folder, or in the one above when ``training`` itself is given.

        Raises:
            NotFound, DataRejected: as ``index_folder``.
        """
        return cls(copy_root(path, subset=subset), index_folder(path, subset=subset))

    def path(self, frame_id: str, part: Part) -> Path:
        """Path of one of a frame's files.

        Raises:
            NotFound: no such frame, or it lacks this file.
        """
        frame = self.index.frame(frame_id)
        key = frame.key(part)
        if key is None:
            raise NotFound(f"frame {frame_id} has no {part} file", field=part, given=frame_id, next_step="complete the copy")
        return self.root / key

    def objects(self, frame_id: str) -> KittiObjects:
        """Labels of a frame. Raises as ``path`` and the reader of the file."""
        return self.tracked(frame_id).objects

    def tracked(self, frame_id: str) -> TrackedObjects:
        """Labels of a frame with their tracks, which are all -1 in the object layout. Raises as ``objects``."""
        path, number = self.path(frame_id, "labels"), self.index.frame(frame_id).number
        if number is None:
            objects = read_labels(path, scores=False)
            return TrackedObjects(objects, np.full(len(objects), -1, dtype=np.int64))
        return _sequence_labels(path, path.stat().st_mtime_ns).get(number, _NO_OBJECTS)

    def calibration(self, frame_id: str) -> Calibration:
        """Calibration of a frame. Raises as ``path`` and ``read_calibration``."""
        return read_calibration(self.path(frame_id, "calibration"))

    def cloud(self, frame_id: str) -> Cloud:
        """Cloud ``(N, 4)`` of a frame, LiDAR frame [m] and reflectance. Raises as ``path`` and ``read_cloud``."""
        return read_cloud(self.path(frame_id, "cloud"))

    def image(self, frame_id: str) -> NDArray[np.uint8]:
        """Image of a frame, ``(height, width, 3)`` RGB. Raises as ``path`` and ``read_image``."""
        return read_image(self.path(frame_id, "image"))

    def split(self, name: str) -> tuple[Frame, ...]:
        """Frames of a list in ``ImageSets``.

        Raises:
            NotFound: there is no such list, or it names a frame that is not in the copy.
            DataRejected: the list is not one.
        """
        key = self.index.splits.get(name)
        if key is None:
            raise NotFound(
                "there is no such split in this KITTI copy",
                field="split",
                given=name[:80],
                allowed=tuple(self.index.splits) or ("none: there is no folder ImageSets",),
                next_step="add ImageSets/NAME.txt with one frame id a line",
            )
        try:
            text = (self.root / key).read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataRejected(f"{key} is not text", field=key, next_step="write one frame id a line") from error
        return tuple(self.index.frame(frame_id) for frame_id in read_split(text, key))


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image as ``(height, width, 3)`` RGB.

    Raises:
        DataRejected: naming the file: it is damaged or no image.
        OSError: the file cannot be read.
    """
    from PIL import Image

    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _damaged_image(path, error) from error


def image_size(path: Path, *, whole: bool = False) -> tuple[int, int]:
    """Width and height of an image; ``whole`` also makes sure that the file is undamaged to its end.

    Raises:
        DataRejected: naming the file: it is damaged or no image.
        OSError: the file cannot be read.
    """
    from PIL import Image

    content: Path | io.BytesIO = io.BytesIO(path.read_bytes()) if whole else path
    try:
        with Image.open(content) as image:
            size = image.size
            if whole and image.format == "PNG":
                image.verify()  # checksums of all chunks, an eighth of the time of decoding
            elif whole:
                image.load()
            return size
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _damaged_image(path, error) from error


@lru_cache(maxsize=8)
def _sequence_labels(path: Path, modified: int) -> dict[int, TrackedObjects]:
    # Every frame of a sequence asks for the same file; `modified` makes a changed one read anew.
    return read_tracking_labels(path)


def _damaged_image(path: Path, error: Exception) -> DataRejected:
    empty = path.stat().st_size == 0
    what = "is empty: 0 bytes" if empty else f"is damaged or no image: {type(error).__name__}"
    return FileRejected(
        f"{path} {what}",
        reason=because("empty" if empty else "image"),
        field=str(path),
        next_step="fetch the file again, or leave this frame out of the split",
    )
