"""Ground-truth sampling: objects cut out of other frames are put where they stood, where nothing else stands.

What else is done to training frames is in ``augmentation``.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mlops_assets.data.kitti.boxes import in_lidar_boxes
from mlops_assets.errors import DataRejected, UserError
from mlops_assets.tasks.detection.overlap import BEV_COLUMNS, bev_iou
from mlops_assets.tasks.detection3d.training_frame import Settings, TrainingFrame
from mlops_assets.whole_files import whole_file

_ARRAYS = ("points", "starts", "boxes", "names", "frames")


class ClassSampling(Settings):
    """How many objects of one class a frame gets."""

    name: str = Field(min_length=1, description="class as in the labels, for example Car")
    most: int = Field(ge=1, le=1000, description="objects of the class in a frame after sampling; its own count too")
    least_points: int = Field(default=5, ge=1, description="objects with fewer points are not put in")


class SamplingSettings(Settings):
    """Which classes are sampled, in this order. The defaults are those of SECOND and PointPillars on KITTI."""

    classes: tuple[ClassSampling, ...] = (
        ClassSampling(name="Car", most=15),
        ClassSampling(name="Pedestrian", most=15),
        ClassSampling(name="Cyclist", most=15),
    )

    @model_validator(mode="after")
    def _once_each(self) -> SamplingSettings:
        names = [entry.name for entry in self.classes]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise UserError("a class is sampled twice", field="classes", given=", ".join(repeated), next_step="name it once")
        return self


@dataclass(frozen=True, eq=False)
class ObjectDatabase:
    """Objects with their points, LiDAR frame of the frame they were cut from.

    Attributes:
        points: ``(T, C)`` float32, object after object.
        starts: ``(N + 1,)`` int64; object n has the points ``starts[n]`` to ``starts[n + 1]``.
        boxes: ``(N, 7)`` float64, as in ``TrainingFrame``.
        names: ``(N,)`` text, classes.
        frames: ``(N,)`` text, the frame each was cut from.
    """

    points: NDArray[np.float32]
    starts: NDArray[np.int64]
    boxes: NDArray[np.float64]
    names: NDArray[np.str_]
    frames: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.names)

    def points_of(self, row: int) -> NDArray[np.float32]:
        """Points ``(K, C)`` of one object."""
        return self.points[self.starts[row] : self.starts[row + 1]]


def crop_objects(frame: TrainingFrame, frame_id: str) -> ObjectDatabase:
    """Every object of the frame that has points, with the points inside its box; surface included."""
    inside = in_lidar_boxes(frame.points, frame.boxes)
    rows = np.flatnonzero(inside.any(axis=1))
    counts = inside[rows].sum(axis=1)
    points = [frame.points[inside[row]] for row in rows]
    return ObjectDatabase(
        points=np.concatenate([np.empty((0, frame.points.shape[1]), dtype=np.float32), *points]),
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=frame.boxes[rows],
        names=frame.names[rows],
        frames=np.full(len(rows), frame_id),
    )


def joined(databases: Sequence[ObjectDatabase]) -> ObjectDatabase:
    """One database of all objects in the order given, as from the shards of a copy.

    Raises:
        UserError: none is given, or their points have different numbers of columns.
    """
    columns = sorted({database.points.shape[1] for database in databases})
    if len(columns) != 1:
        raise UserError(
            "these databases of objects cannot be joined",
            field="databases",
            given=f"{len(databases)} with points of {columns} numbers",
            allowed=("at least one, all with points of one length",),
        )
    counts = np.concatenate([np.diff(database.starts) for database in databases])
    return ObjectDatabase(
        points=np.concatenate([database.points for database in databases]),
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=np.concatenate([database.boxes for database in databases]),
        names=np.concatenate([database.names for database in databases]),
        frames=np.concatenate([database.frames for database in databases]),
    )


def sample_objects(
    frame: TrainingFrame, database: ObjectDatabase, settings: SamplingSettings, random: np.random.Generator
) -> TrainingFrame:
    """The frame with objects of the database where they stood in their own frame.

    For each class so many objects are drawn, each at most once, as the frame has fewer than ``most``. One that would overlap
    another box of the frame, or one put in before, seen from above, is left out and not replaced. Points of the frame inside
    the box of a new object are taken out. The points of new objects come first, so that a full voxel keeps them; their boxes
    come last.

    Raises:
        UserError: the points of the database have another number of columns than those of the frame.
    """
    if database.points.shape[1] != frame.points.shape[1]:
        raise UserError(
            "points of the database of objects and of the frame differ",
            field="database",
            given=f"{database.points.shape[1]} numbers a point",
            allowed=(f"{frame.points.shape[1]} as in the frame",),
        )
    drawn = np.concatenate([_drawn(frame, database, entry, random) for entry in settings.classes] or [np.empty(0, np.int64)])
    rows = _without_overlap(frame.boxes, database.boxes[drawn])
    added = drawn[rows]
    if not len(added):
        return frame
    covered = in_lidar_boxes(frame.points, database.boxes[added]).any(axis=0)
    return TrainingFrame(
        points=np.concatenate([*(database.points_of(row) for row in added), frame.points[~covered]]),
        boxes=np.concatenate([frame.boxes, database.boxes[added]]),
        names=np.concatenate([frame.names, database.names[added]]),
    )


def _drawn(
    frame: TrainingFrame, database: ObjectDatabase, entry: ClassSampling, random: np.random.Generator
) -> NDArray[np.int64]:
    usable = np.flatnonzero((database.names == entry.name) & (np.diff(database.starts) >= entry.least_points))
    wanted = entry.most - int((frame.names == entry.name).sum())
    return random.permutation(usable)[: max(wanted, 0)].astype(np.int64)


def _without_overlap(present: NDArray[np.float64], candidates: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows of the candidates that overlap neither a present box nor an earlier row that is kept."""
    seen = candidates[:, BEV_COLUMNS]
    free = ~(bev_iou(seen, present[:, BEV_COLUMNS]) > 0).any(axis=1)
    among = bev_iou(seen, seen) > 0
    kept: list[int] = []
    for row in np.flatnonzero(free):
        if not among[row, kept].any():
            kept.append(int(row))
    return np.array(kept, dtype=np.int64)


def write_database(path: Path, database: ObjectDatabase) -> None:
    """Write it as ``.npz`` of plain arrays, the same bytes for the same objects; readers see no half of it.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    with whole_file(path) as beside, beside.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **{name: getattr(database, name) for name in _ARRAYS})


def read_database(path: Path) -> ObjectDatabase:
    """A database as ``write_database`` wrote it; nothing in it is executed.

    Raises:
        DataRejected: the file is damaged or is not a database of objects.
        OSError: it cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            database = ObjectDatabase(**{name: arrays[name] for name in _ARRAYS})
    except (ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise _damaged(path, str(error)) from error
    count = len(database.names)
    consistent = (
        database.points.ndim == 2
        and database.points.dtype == np.float32
        and database.points.shape[1] >= 3
        and database.boxes.shape == (count, 7)
        and database.boxes.dtype == np.float64
        and database.frames.shape == (count,)
        and database.starts.shape == (count + 1,)
        and database.starts.dtype == np.int64
        and database.starts[0] == 0
        and database.starts[-1] == len(database.points)
        and bool((np.diff(database.starts) > 0).all())
    )
    if not consistent:
        raise _damaged(path, "its arrays do not fit together")
    return database


def _damaged(path: Path, why: str) -> DataRejected:
    return DataRejected(
        f"{path} is not a database of objects: {why[:200]}",
        field=str(path),
        next_step="delete it and make it again from the frames",
    )
