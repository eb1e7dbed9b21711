"""Point clouds as arrays: KITTI's own ``.bin`` files, and the range that detectors look at.

A cloud is ``(N, 4)`` float32 in the LiDAR frame: x forward, y left, z up [m], and reflectance 0 … 1. Other file formats
are read in ``cloud_formats``; voxels are made elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_assets.data.reasons import FileRejected, Reason, because
from mlops_assets.errors import DataRejected
from mlops_assets.whole_files import write_whole

Cloud = NDArray[np.float32]

POINT_BYTES = 16
#: A full turn of the 64-beam scanner has about 127,000 points; a file beyond this is not a cloud of one frame.
MOST_POINTS = 20_000_000


@dataclass(frozen=True)
class PointRange:
    """A box in the LiDAR frame [m]; a point is within when minimum <= coordinate < maximum on every axis.

    The upper side is open so that (maximum - minimum) / voxel size cells hold every point, as voxelization needs.

    Raises:
        ValueError: a minimum is not below its maximum, or a bound is not finite.
    """

    minimum: tuple[float, float, float] = (0.0, -40.0, -3.0)
    maximum: tuple[float, float, float] = (70.0, 40.0, 1.0)

    def __post_init__(self) -> None:
        bounds = np.array([self.minimum, self.maximum], dtype=np.float64)
        if bounds.shape != (2, 3) or not np.isfinite(bounds).all() or not (bounds[0] < bounds[1]).all():
            raise ValueError(f"range {self.minimum} … {self.maximum}: three finite minima below their maxima are needed")

    def within(self, points: ArrayLike) -> NDArray[np.bool_]:
        """``(N,)`` which of the points ``(N, 3+)`` are within; compared in the points' own precision."""
        xyz = np.asarray(points)
        low, high = np.asarray(self.minimum, dtype=xyz.dtype), np.asarray(self.maximum, dtype=xyz.dtype)
        kept = np.ones(len(xyz), dtype=np.bool_)
        for axis in range(3):
            kept &= (xyz[:, axis] >= low[axis]) & (xyz[:, axis] < high[axis])
        return kept


#: X 0 … 70, Y -40 … 40, Z -3 … 1 m: what the camera sees and the labels cover.
DETECTION_RANGE = PointRange()


def crop_to_range(points: Cloud, point_range: PointRange = DETECTION_RANGE) -> Cloud:
    """The points ``(M, 4)`` within the range, in their order."""
    return points[point_range.within(points)]


def read_cloud(path: Path) -> Cloud:
    """The cloud of a ``.bin``, ``.pcd`` or ``.ply`` file, all read without further libraries.

    Raises:
        DataRejected: naming the file: another suffix, empty, of a size that cannot be, with values that are not finite, or
            damaged in the way of its format.
        OSError: the file cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".bin":
        return read_bin(path)
    if suffix in (".pcd", ".ply"):
        from mlops_assets.data.kitti.cloud_formats import read_pcd, read_ply

        return read_pcd(path) if suffix == ".pcd" else read_ply(path)
    raise DataRejected(
        f"{path}: clouds of this kind are not read",
        field=str(path),
        given=suffix or "no suffix",
        allowed=(".bin", ".pcd", ".ply"),
        next_step="convert the file; `mlops_assets.data.kitti.viewing` opens further formats with open3d",
    )


def read_bin(path: Path) -> Cloud:
    """The cloud of a KITTI ``.bin`` file: little-endian float32 x, y, z, reflectance, 16 bytes a point.

    Raises:
        DataRejected: naming the file: empty, larger than any cloud, a size that is no multiple of 16, a value not finite.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    if size == 0:
        raise damaged(path, "is empty: 0 bytes", because("empty"))
    if size % POINT_BYTES:
        points, left = divmod(size, POINT_BYTES)
        what = f"has {size:,} bytes, which is {points:,} points of {POINT_BYTES} and {left} bytes: it was cut off"
        raise damaged(path, what, because("cut_off", bytes=size))
    if size > MOST_POINTS * POINT_BYTES:
        raise damaged(path, f"has {size:,} bytes: no cloud of one frame has over {MOST_POINTS:,} points")
    values = np.fromfile(path, dtype="<f4")
    if values.size * 4 != size:
        raise damaged(
            path, f"ended after {values.size * 4:,} of {size:,} bytes while it was read", because("cut_off", bytes=size)
        )
    return finite(path, values.reshape(-1, 4).astype(np.float32, copy=False))


def write_bin(path: Path, points: ArrayLike) -> None:
    """Write a cloud ``(N, 4)`` as KITTI's ``.bin``; readers see the old file or the whole new one.

    Raises:
        ValueError: not ``(N, 4)``, no point, or a value that is not finite.
        OSError: the file cannot be written; nothing is left behind.
    """
    array = np.ascontiguousarray(points, dtype="<f4")
    if array.ndim != 2 or array.shape[1] != 4 or not len(array) or not np.isfinite(array).all():
        raise ValueError(f"a cloud of shape {array.shape} cannot be written: (N, 4) finite values, N >= 1, are needed")
    write_whole(path, array.tobytes(), shared=True)


def finite(path: Path, points: Cloud) -> Cloud:
    """The points, when there are any and all are finite.

    Raises:
        DataRejected: naming the file, the number of bad points and the first of them.
    """
    if not len(points):
        raise damaged(path, "holds no point")
    bad = ~np.isfinite(points).all(axis=1)
    if bad.any():
        count, first = int(bad.sum()), int(bad.argmax())
        what = f"has {count:,} points that are not finite, the first at {first:,}"
        raise damaged(path, what, because("not_finite", points=count, first=first))
    return points


def damaged(path: Path, what: str, reason: Reason | None = None) -> DataRejected:
    """The error for a cloud that cannot be used; ``what`` follows the file's name."""
    return FileRejected(
        f"{path} {what}", reason=reason, field=str(path), next_step="fetch the file again, or leave this frame out of the split"
    )
