"""Where KITTI keeps the files of a frame: object and tracking layouts, found in a folder or in a list of object keys.

Only names are looked at here, nothing is opened but the lists of ``ImageSets``. What is in the files is read by
``labels``, ``calibration``, ``clouds`` and ``tracking``.

Object layout::                          Tracking layout::

    ImageSets/train.txt                      training/image_02/0000/000000.png
    training/image_2/000000.png              training/velodyne/0000/000000.bin
    training/velodyne/000000.bin             training/calib/0000.txt
    training/calib/000000.txt                training/label_02/0000.txt
    training/label_2/000000.txt

A frame of the object layout is named ``000000``, one of the tracking layout ``0000/000000``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from mlops_assets.errors import DataRejected, NotFound

Layout = Literal["object", "tracking"]
Part = Literal["image", "cloud", "calibration", "labels"]
PARTS: tuple[Part, ...] = ("image", "cloud", "calibration", "labels")
SUBSETS = ("training", "testing")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
CLOUD_SUFFIXES = (".bin", ".pcd", ".ply")

_SUFFIXES: Mapping[Part, tuple[str, ...]] = {
    "image": IMAGE_SUFFIXES, "cloud": CLOUD_SUFFIXES, "calibration": (".txt",), "labels": (".txt",),
}  # fmt: skip
_FOLDERS: Mapping[Layout, Mapping[str, Part]] = {
    "object": {"image_2": "image", "velodyne": "cloud", "calib": "calibration", "label_2": "labels"},
    "tracking": {"image_02": "image", "velodyne": "cloud", "calib": "calibration", "label_02": "labels"},
}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_LONGEST_SPLIT = 16 * 1024 * 1024


@dataclass(frozen=True)
class Frame:
    """The files of one frame, as keys relative to the root of the copy; None where there is none.

    In the tracking layout ``calibration`` and ``labels`` are those of the whole sequence, and ``number`` is the row
    marker of this frame in them; it is None in the object layout.
    """

    frame_id: str
    image: str | None = None
    cloud: str | None = None
    calibration: str | None = None
    labels: str | None = None
    number: int | None = None

    @property
    def sequence(self) -> str | None:
        """Name of the sequence in the tracking layout, else None."""
        return self.frame_id.split("/")[0] if "/" in self.frame_id else None

    def key(self, part: Part) -> str | None:
        """Key of one of the four files."""
        value: str | None = getattr(self, part)
        return value

    def missing(self, parts: Iterable[Part] = PARTS) -> tuple[Part, ...]:
        """Which of these files the frame lacks."""
        return tuple(part for part in parts if self.key(part) is None)


@dataclass(frozen=True)
class FrameIndex:
    """The frames of one subset of a copy, ordered by id.

    Attributes:
        layout: object or tracking.
        subset: ``training`` or ``testing``; test frames have no labels.
        frames: frame by id.
        splits: name of an ``ImageSets`` list to its key.
        strays: keys in the folders of the layout whose names no frame can have.
        doubles: further files for a part that a frame already has, such as ``000000.bin`` beside ``000000.pcd``.
    """

    layout: Layout
    subset: str
    frames: Mapping[str, Frame]
    splits: Mapping[str, str] = field(default_factory=dict)
    strays: tuple[str, ...] = ()
    doubles: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames.values())

    def frame(self, frame_id: str) -> Frame:
        """The frame of this id.

        Raises:
            NotFound: there is none; the message says what ids look like here.
        """
        try:
            return self.frames[frame_id]
        except KeyError:
            shown = ", ".join(list(self.frames)[:3]) + (", …" if len(self.frames) > 3 else "")
            raise NotFound(
                "there is no such frame in this KITTI copy",
                field="frame",
                given=frame_id[:80],
                allowed=(shown or "none: the copy is empty",),
                next_step="`mlops kitti check PATH` tells which frames a copy holds",
            ) from None

    def select(self, frame_ids: Iterable[str]) -> FrameIndex:
        """The index of these frames only, in the order given.

        Raises:
            NotFound: one of them does not exist.
        """
        return replace(self, frames={name: self.frame(name) for name in frame_ids})


def index_keys(keys: Iterable[str], *, subset: str = "training") -> FrameIndex:
    """Frames among these object keys (``/`` between parts), which may share any prefix before ``training``.

    Keys of both layouts at once are refused; keys of neither make an empty index of the object layout.

    Raises:
        DataRejected: two copies, or both layouts, are among the keys.
    """
    found: dict[tuple[Layout, str], dict[str, Frame]] = {}
    strays: list[str] = []
    doubles: list[str] = []
    splits: dict[str, str] = {}
    sequences: dict[tuple[Layout, str], dict[str, Frame]] = {}
    for key in sorted(keys):
        parts = PurePosixPath(key).parts
        if len(parts) >= 2 and parts[-2] == "ImageSets" and parts[-1].endswith(".txt"):
            splits[parts[-1].removesuffix(".txt")] = key
            continue
        place = _place(parts, subset)
        if place is None:
            continue
        prefix, layout, part, rest = place
        frame_id = _frame_id(layout, part, rest)
        if frame_id is None:
            if not rest[-1].startswith("."):  # such as a temporary file of a writer under way
                strays.append(key)
            continue
        of_sequence = layout == "tracking" and part in ("calibration", "labels")
        frames = (sequences if of_sequence else found).setdefault((layout, prefix), {})
        frame = frames.get(frame_id, Frame(frame_id))
        if frame.key(part) is not None:
            doubles.append(key)
        else:
            frames[frame_id] = _with(frame, part, key)
    return _assembled(found, sequences, subset, splits, tuple(strays), tuple(doubles))


def index_folder(root: Path, *, subset: str = "training") -> FrameIndex:
    """Frames of a copy in a folder: the one that holds ``training/``, or ``training`` itself.

    Keys of the frames are relative to ``copy_root(root)``.

    Raises:
        NotFound: there is no such folder, or it holds none of the folders of a KITTI layout.
        DataRejected: it holds both layouts.
    """
    folder = copy_root(root, subset=subset)
    names = sorted({name for layout in _FOLDERS.values() for name in layout})
    present = [folder / subset / name for name in names if (folder / subset / name).is_dir()]
    if not present:
        raise NotFound(
            "this folder is not a KITTI copy",
            field="path",
            given=str(root),
            allowed=tuple(f"{subset}/{name}" for name in names),
            next_step="give the folder that holds `training/`; `mlops kitti generate PATH` makes a small copy without a download",
        )
    listed = [path for top in [*present, folder / "ImageSets"] for path in top.rglob("*") if path.is_file()]
    return index_keys((path.relative_to(folder).as_posix() for path in listed), subset=subset)


def copy_root(root: Path, *, subset: str = "training") -> Path:
    """The folder that holds ``training``, given it or ``training`` itself."""
    if root.name == subset and not (root / subset).is_dir():
        return root.parent
    return root


def read_split(text: str, place: str = "split") -> tuple[str, ...]:
    """Frame ids of an ``ImageSets`` list, one a line.

    Raises:
        DataRejected: a line is not a frame id, or an id occurs twice.
    """
    ids: dict[str, None] = {}
    if len(text) > _LONGEST_SPLIT:
        raise DataRejected(f"{place} is longer than {_LONGEST_SPLIT:,} characters", field=place, next_step="split the list")
    for number, line in enumerate(text.split("\n"), start=1):
        name = line.strip()
        if not name:
            continue
        good = all(_NAME.fullmatch(part) for part in name.split("/", 1))
        if not good or name in ids:
            raise DataRejected(
                f"{place}, line {number}: {name[:40]!r} {'occurs twice' if good else 'is not a frame id'}",
                field=f"line {number}",
                given=name[:40],
                allowed=("000123", "0000/000123"),
                next_step="correct the line, or take it out",
            )
        ids[name] = None
    return tuple(ids)


def frame_number(name: str) -> int | None:
    """The number that a frame's file name says, None where it says none."""
    return int(name) if name.isascii() and name.isdigit() else None


def _with(frame: Frame, part: Part, key: str) -> Frame:
    match part:
        case "image":
            return replace(frame, image=key)
        case "cloud":
            return replace(frame, cloud=key)
        case "calibration":
            return replace(frame, calibration=key)
        case "labels":
            return replace(frame, labels=key)


def _place(parts: tuple[str, ...], subset: str) -> tuple[str, Layout, Part, tuple[str, ...]] | None:
    """Prefix, layout, part and the rest of a key; None for a key that has no place in either layout."""
    for position in range(len(parts) - 2):
        if parts[position] != subset:
            continue
        folder, rest = parts[position + 1], parts[position + 2 :]
        prefix = "/".join(parts[:position])
        if folder in ("velodyne", "calib"):
            # Both layouts have these; clouds of tracking lie one folder deeper, calibrations have names of four digits.
            deep = len(rest) == 2 if folder == "velodyne" else len(PurePosixPath(rest[-1]).stem) == 4
            layout: Layout = "tracking" if deep else "object"
            return prefix, layout, _FOLDERS[layout][folder], rest
        for layout, folders in _FOLDERS.items():
            if folder in folders:
                return prefix, layout, folders[folder], rest
    return None


def _frame_id(layout: Layout, part: Part, rest: tuple[str, ...]) -> str | None:
    name = PurePosixPath(rest[-1])
    depth = 2 if layout == "tracking" and part in ("image", "cloud") else 1
    stems = (*rest[:-1], name.stem)
    if len(rest) != depth or name.suffix.lower() not in _SUFFIXES[part] or not all(map(_NAME.fullmatch, stems)):
        return None
    if depth == 2 and frame_number(name.stem) is None:
        return None
    return "/".join(stems)


def _assembled(
    found: Mapping[tuple[Layout, str], dict[str, Frame]],
    sequences: Mapping[tuple[Layout, str], dict[str, Frame]],
    subset: str,
    splits: Mapping[str, str],
    strays: tuple[str, ...],
    doubles: tuple[str, ...],
) -> FrameIndex:
    places = set(found) | set(sequences)
    if len(places) > 1:
        raise DataRejected(
            "more than one KITTI copy is here",
            field="path",
            given=", ".join(sorted(f"{prefix or '.'} ({layout})" for layout, prefix in places)),
            next_step="give the folder of one of them",
        )
    if not places:
        return FrameIndex("object", subset, {}, splits, strays, doubles)
    ((layout, prefix),) = places
    frames = found.get((layout, prefix), {})
    if layout == "tracking":
        whole = sequences.get((layout, prefix), {})
        for name, frame in frames.items():
            sequence, last = name.split("/")
            shared = whole.get(sequence, Frame(sequence))
            frames[name] = replace(frame, calibration=shared.calibration, labels=shared.labels, number=int(last))
    return FrameIndex(layout, subset, dict(sorted(frames.items())), dict(sorted(splits.items())), strays, doubles)
