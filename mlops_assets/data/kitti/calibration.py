"""Calibration of a KITTI recording: its text, and points between the LiDAR, the rectified camera and the image.

Frames: *LiDAR* (velodyne: x forward, y left, z up), *camera* (rectified camera 0: x right, y down, z forward), both in
metres, and *image* (pixels, u right, v down). Boxes are in ``boxes``; nothing here knows of folders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_assets.data.reasons import FileRejected, Reason, because
from mlops_assets.errors import DataRejected
from mlops_assets.whole_files import write_whole

Array = NDArray[np.float64]

_SHAPES = {
    "P0": (3, 4), "P1": (3, 4), "P2": (3, 4), "P3": (3, 4), "R0_rect": (3, 3), "Tr_velo_to_cam": (3, 4), "Tr_imu_to_velo": (3, 4),
}  # fmt: skip
#: The tracking benchmark writes the same matrices under other names, two of them without a colon.
_TRACKING_NAMES = {"R_rect": "R0_rect", "Tr_velo_cam": "Tr_velo_to_cam", "Tr_imu_velo": "Tr_imu_to_velo"}
_OPTIONAL = {"Tr_imu_to_velo"}
#: A rotation read from text of 7 or more digits is orthonormal to well below this.
ROTATION_TOLERANCE = 1e-4
_LONGEST = 64 * 1024


@dataclass(frozen=True, eq=False)
class Calibration:
    """The matrices of one recording, float64, metres and pixels.

    Attributes:
        P0, P1, P2, P3: ``(3, 4)`` projections of rectified camera 0 … 3, from the camera frame to homogeneous pixels;
            P2 is the left colour camera, whose images are ``image_2``.
        R0_rect: ``(3, 3)`` rotation from camera 0 to rectified camera 0.
        Tr_velo_to_cam: ``(3, 4)`` rigid motion from the LiDAR frame to (unrectified) camera 0.
        Tr_imu_to_velo: ``(3, 4)`` rigid motion from the inertial unit to the LiDAR frame; None where the file has none.

    Raises:
        ValueError: a matrix has another shape or is not finite.

    Source: Geiger, Lenz, Stiller, Urtasun, "Vision meets Robotics: The KITTI Dataset", IJRR 2013.
    """

    P0: Array
    P1: Array
    P2: Array
    P3: Array
    R0_rect: Array
    Tr_velo_to_cam: Array
    Tr_imu_to_velo: Array | None = None

    def __post_init__(self) -> None:
        for name, shape in _SHAPES.items():
            matrix = getattr(self, name)
            if matrix is None and name in _OPTIONAL:
                continue
            matrix = np.array(matrix, dtype=np.float64)
            if matrix.shape != shape or not np.isfinite(matrix).all():
                raise ValueError(f"{name} has shape {matrix.shape}; a finite matrix of {shape} is needed")
            matrix.flags.writeable = False
            object.__setattr__(self, name, matrix)

    @property
    def lidar_to_camera(self) -> Array:
        """``(4, 4)`` from homogeneous LiDAR points to homogeneous points of the (rectified) camera frame."""
        rectification, motion = np.eye(4, dtype=np.float64), np.eye(4, dtype=np.float64)
        rectification[:3, :3] = self.R0_rect
        motion[:3] = self.Tr_velo_to_cam
        chained: Array = rectification @ motion
        return chained

    @property
    def camera_to_lidar(self) -> Array:
        """``(4, 4)`` inverse of ``lidar_to_camera``."""
        return np.linalg.inv(self.lidar_to_camera).astype(np.float64, copy=False)

    @property
    def lidar_to_image(self) -> Array:
        """``(4, 4)`` from homogeneous LiDAR points to ``(u * depth, v * depth, depth, 1)`` of ``image_2``."""
        projection = np.eye(4)
        projection[:3] = self.P2
        chained: Array = projection @ self.lidar_to_camera
        return chained

    def to_camera(self, points: ArrayLike) -> Array:
        """LiDAR points ``(N, 3+)`` [m] to ``(N, 3)`` in the camera frame; further columns are left out."""
        return _moved(points, self.lidar_to_camera)

    def to_lidar(self, points: ArrayLike) -> Array:
        """Camera points ``(N, 3+)`` [m] to ``(N, 3)`` in the LiDAR frame; further columns are left out."""
        return _moved(points, self.camera_to_lidar)

    def to_image(self, points: ArrayLike) -> tuple[Array, Array]:
        """Camera points ``(N, 3)`` [m] to pixels of ``image_2``: ``(N, 2)`` u, v and ``(N,)`` depth [m].

        The depth is along the axis of colour camera 2. A point with depth <= 0 is behind that camera and its pixels
        mean nothing: the caller leaves it out.
        """
        homogeneous = _moved(points, self.P2)
        depth = homogeneous[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            return homogeneous[:, :2] / depth[:, None], depth

    def from_image(self, pixels: ArrayLike, depth: ArrayLike) -> Array:
        """Inverse of ``to_image``: pixels ``(N, 2)`` of ``image_2`` at ``depth`` ``(N,)`` [m] to ``(N, 3)`` camera points.

        Raises:
            numpy.linalg.LinAlgError: P2 is singular.
        """
        uv = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        w = np.asarray(depth, dtype=np.float64).reshape(-1)
        homogeneous = np.column_stack([uv * w[:, None], w])
        return np.linalg.solve(self.P2[:, :3], (homogeneous - self.P2[:, 3]).T).T.astype(np.float64, copy=False)

    def problems(self) -> tuple[str, ...]:
        """What makes these matrices implausible, in words; empty where nothing does."""
        found = []
        for name, rotation in (("R0_rect", self.R0_rect), ("Tr_velo_to_cam", self.Tr_velo_to_cam[:, :3])):
            error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
            if error > ROTATION_TOLERANCE:
                found.append(f"{name} is not a rotation: R R^T differs from the identity by {error:.2g}")
            elif np.linalg.det(rotation) < 0:
                found.append(f"{name} mirrors: its determinant is negative")
        if not (self.P2[0, 0] > 0 and self.P2[1, 1] > 0):
            found.append(f"P2 has focal lengths {self.P2[0, 0]:g} and {self.P2[1, 1]:g}; both must be positive")
        forward = self.lidar_to_camera[2, :3]
        if not found and forward[0] < math.cos(math.radians(45)):
            found.append("the camera does not look along the LiDAR's x axis: Tr_velo_to_cam may be inverted")
        return tuple(found)


def read_calibration(source: Path | str) -> Calibration:
    """Calibration from a file (``Path``) or from the text itself (``str``), of the object or the tracking benchmark.

    Lines of unknown names are passed over, as they are in files of the raw recordings.

    Raises:
        DataRejected: naming file, line and value: not text, a matrix that is missing, given twice, of a wrong length or
            not of finite numbers.
        OSError: the file cannot be read.
    """
    place = str(source) if isinstance(source, Path) else "calibration text"
    matrices: dict[str, Array] = {}
    for number, line in enumerate(_text_of(source, place).split("\n"), start=1):
        fields = line.replace(":", " ", 1).split()
        if not fields:
            continue
        name = _TRACKING_NAMES.get(fields[0], fields[0])
        if name not in _SHAPES:
            continue
        if name in matrices:
            reason = because("twice", line=number, name=name)
            raise _damaged(place, f"line {number} gives {name} a second time", reason, field=name)
        matrices[name] = _matrix(place, number, name, fields[1:])
    missing = [name for name in _SHAPES if name not in matrices and name not in _OPTIONAL]
    if missing:
        names = ", ".join(missing)
        raise _damaged(place, f"lacks {names}", because("lacks", names=names), field=missing[0], allowed=tuple(_SHAPES))
    return Calibration(**matrices)


def calibration_text(calibration: Calibration, *, tracking: bool = False) -> str:
    """The text of a calibration file: 13 significant digits, under the names of the object or the tracking benchmark."""
    written = {ours: f"{theirs} " for theirs, ours in _TRACKING_NAMES.items()} if tracking else {}
    lines = []
    for name in _SHAPES:
        matrix = getattr(calibration, name)
        if matrix is not None:
            lines.append(written.get(name, f"{name}: ") + " ".join(f"{value:.12e}" for value in matrix.ravel()) + "\n")
    return "".join(lines)


def write_calibration(path: Path, calibration: Calibration, *, tracking: bool = False) -> None:
    """Write a calibration file; readers see the old file or the whole new one, never half of it.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    write_whole(path, calibration_text(calibration, tracking=tracking), shared=True)


def _moved(points: ArrayLike, matrix: Array) -> Array:
    xyz = np.asarray(points, dtype=np.float64)
    if xyz.ndim != 2 or xyz.shape[1] < 3:
        raise ValueError(f"points have shape {xyz.shape}; (N, 3) or more columns are needed")
    moved: Array = xyz[:, :3] @ matrix[:3, :3].T + matrix[:3, 3]
    return moved


def _text_of(source: Path | str, place: str) -> str:
    if isinstance(source, str):
        return source
    with source.open("rb") as file:
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise _damaged(place, f"is longer than {_LONGEST:,} bytes: no calibration is")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _damaged(place, f"is not text: byte {error.start} is not UTF-8", because("not_text", byte=error.start)) from error


def _matrix(place: str, line: int, name: str, fields: list[str]) -> Array:
    rows, columns = _SHAPES[name]
    if len(fields) != rows * columns:
        what = f"line {line} gives {name} {len(fields)} numbers; {rows} x {columns} are needed"
        raise _damaged(place, what, because("columns", line=line, columns=len(fields)), field=name)
    values = []
    for text in fields:
        try:
            value = float(text) if text.isascii() and "_" not in text else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            what = f"line {line}: {text[:40]!r} in {name} is not a finite number"
            raise _damaged(place, what, because("value", line=line, given=text[:40]), field=name, given=text[:40])
        values.append(value)
    return np.array(values, dtype=np.float64).reshape(rows, columns)


def _damaged(
    place: str,
    what: str,
    reason: Reason | None = None,
    *,
    field: str | None = None,
    given: str | None = None,
    allowed: tuple[str, ...] = (),
) -> DataRejected:
    return FileRejected(
        f"{place} {what}",
        reason=reason,
        field=field,
        given=given,
        allowed=allowed,
        next_step="fetch the file again, or leave the frames that use it out",
    )
