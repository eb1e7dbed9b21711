"""The features folder of a detector on clouds: what is in it, and how the other verbs read it. Making it is ``preparation``.

::

    summary.json          FeatureSummary
    frames.json           FrameNotes: what is known of the frames beyond their files
    definition.md         for people
    objects.npz           objects of the training split that augmentation puts into other frames
    training/velodyne|calib|label_2/    every frame; image_2/ only of the frames that figures show
    ImageSets/train.txt  validation.txt  test.txt
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from mlops_assets.data.dataset import Split
from mlops_assets.data.kitti.frames import KittiCopy
from mlops_assets.errors import IntegrityError, UserError
from mlops_assets.request.schema import Frozen
from mlops_assets.tasks.detection3d.kitti_clouds import KittiLidarFrames
from mlops_assets.tasks.interface import FeatureSummary

SUMMARY, NOTES, DEFINITION, OBJECTS = "summary.json", "frames.json", "definition.md", "objects.npz"


class FrameNotes(Frozen):
    """``frames.json``."""

    image_sizes: dict[str, tuple[int, int]] = Field(description="frame -> width and height of its image [px]")
    without_image: tuple[str, ...] = Field(default=(), description="frames among them whose size follows from the calibration")
    shown: tuple[str, ...] = Field(default=(), description="test frames that figures show, the fullest first")


@dataclass(frozen=True)
class CloudFeatures:
    """One features folder."""

    path: Path
    summary: FeatureSummary
    notes: FrameNotes
    copy: KittiCopy

    @classmethod
    def read(cls, path: Path) -> CloudFeatures:
        """Read what is known of the frames; the frames themselves are read when asked for.

        Raises:
            IntegrityError: the folder is incomplete or damaged.
        """
        try:
            summary = FeatureSummary.model_validate_json((path / SUMMARY).read_bytes())
            notes = FrameNotes.model_validate_json((path / NOTES).read_bytes())
            copy = KittiCopy.open(path)
        except (OSError, ValidationError, UserError) as error:
            raise IntegrityError(f"{path} is not a complete features folder: {str(error).splitlines()[0]}") from error
        return cls(path, summary, notes, copy)

    def frame_ids(self, split: Split) -> tuple[str, ...]:
        """Ids of a split's frames in the order of its list.

        Raises:
            IntegrityError: there is no such list, or it has another number of frames than the summary says.
        """
        try:
            ids = tuple(frame.frame_id for frame in self.copy.split(split))
        except UserError as error:
            raise IntegrityError(f"{self.path} has no list of the split {split}: {error.headline}") from error
        if len(ids) != self.summary.rows.get(split):
            raise IntegrityError(f"{self.path}: {split} lists {len(ids)} frames, the summary says {self.summary.rows.get(split)}")
        return ids

    def training_frames(self, split: Split) -> KittiLidarFrames:
        """The frames of a split as training sees them: without what is beside the camera's view, where nothing is labelled."""
        widths = {name: size[0] for name, size in self.notes.image_sizes.items()}
        return KittiLidarFrames(self.copy, self.frame_ids(split), widths)

    def image_size(self, frame_id: str) -> tuple[int, int]:
        """Width and height [px] of a frame's image.

        Raises:
            IntegrityError: it is not noted.
        """
        try:
            return self.notes.image_sizes[frame_id]
        except KeyError:
            raise IntegrityError(f"{self.path / NOTES} has no image size of frame {frame_id}") from None


def spread(ids: tuple[str, ...], most: int) -> tuple[str, ...]:
    """At most so many of the frames, evenly over the list: neighbours of a drive look alike."""
    if len(ids) <= most:
        return ids
    return tuple(ids[row * len(ids) // most] for row in range(most))
