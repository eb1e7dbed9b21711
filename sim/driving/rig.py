"""Where the sensors of the generated car are, and the calibration that follows from it.

The *level frame* of the world: origin on the ground under the LiDAR, x forward, y left, z up [m]. The camera looks level
along x, so its upright is the world's. The LiDAR's frame is tilted against it by 0.6 degrees, as KITTI's is: whoever mixes up
camera-upright and LiDAR-upright boxes shall notice it here too. Rays are not cast here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_assets.data.kitti.calibration import Calibration, calibration_text, read_calibration
from sim.driving.config import WorldConfig

Array = NDArray[np.float64]

LIDAR_POSITION = (0.0, 0.0, 1.73)
#: Rectified camera 0 in the level frame, in whole centimetres like every object, so that labels are exact in two decimals.
CAMERA_POSITION = (0.27, 0.0, 1.65)
#: Yaw, pitch and roll [rad] of the LiDAR frame in the level frame: 0.6 degrees of tilt.
LIDAR_TILT = (0.004, 0.0096, -0.0045)
_RECTIFICATION = (0.008, -0.006, 0.004)
#: Positions of cameras 0 … 3 along x of the rectified frame; camera 2 is the colour camera.
_CAMERAS = (0.0, 0.54, -0.06, 0.48)
_HIGHEST_BEAM, _MIDDLE_BEAM, _LOWEST_BEAM = 2.0, -8.5, -24.3
#: Sines and cosines are kept to 9 decimals: mathematical libraries differ in the last bits, these digits they share.
_DECIMALS = 9


@dataclass(frozen=True, eq=False)
class Rays:
    """A grid of rays from one sensor, where a ray is told by its column and its row alone.

    The ray at parameter t is at ``origin + t * (columns_x, columns_y, rows)``: t is the horizontal distance for the LiDAR,
    the depth for the camera. ``rows`` is descending.

    Attributes:
        origin: x, y, z in the level frame [m].
        columns_x, columns_y: ``(C,)`` horizontal direction of a column in the level frame.
        rows: ``(R,)`` rise of a row for each unit of t.
        reach: largest t [m].
    """

    origin: tuple[float, float, float]
    columns_x: Array
    columns_y: Array
    rows: Array
    reach: float


@dataclass(frozen=True, eq=False)
class Rig:
    """The sensors of one configuration."""

    calibration: Calibration
    camera: Rays
    lidar: Rays
    focal_length: float
    image_size: tuple[int, int]
    azimuths: Array

    def level_to_lidar(self, points: Array) -> Array:
        """Points ``(N, 3)`` of the level frame in the LiDAR frame; plain products and sums, the same on every machine."""
        rotation = lidar_rotation()
        shifted = [points[:, axis] - LIDAR_POSITION[axis] for axis in range(3)]
        return np.stack([sum(rotation[row][column] * shifted[row] for row in range(3)) for column in range(3)], axis=1)


def build_rig(config: WorldConfig) -> Rig:
    """The sensors and their calibration, exactly as the calibration file will say it."""
    width, height = config.image_width, config.image_height
    focal = round(0.58 * width, 2)
    centre = (round(0.4905 * width, 2), round(0.461 * height, 2))
    calibration = read_calibration(calibration_text(_calibration(focal, centre)))
    across = (centre[0] - np.arange(width, dtype=np.float64)) / focal
    down = (centre[1] - np.arange(height, dtype=np.float64)) / focal
    # Colour camera 2 stands 6 cm to the left of camera 0.
    eye = (CAMERA_POSITION[0], CAMERA_POSITION[1] - _CAMERAS[2], CAMERA_POSITION[2])
    camera = Rays(eye, np.ones(width), across, down, reach=400.0)
    half = 180.0 if config.full_turn else 90.0
    azimuths = half - config.azimuth_step * (np.arange(round(2 * half / config.azimuth_step)) + 0.5)
    turned = [math.radians(value) for value in azimuths.tolist()]
    lidar = Rays(
        LIDAR_POSITION,
        np.array([round(math.cos(value), _DECIMALS) for value in turned]),
        np.array([round(math.sin(value), _DECIMALS) for value in turned]),
        np.array([round(math.tan(math.radians(value)), _DECIMALS) for value in beam_elevations(config.beams)]),
        reach=90.0,
    )
    return Rig(calibration, camera, lidar, focal, (width, height), np.radians(azimuths))


def beam_elevations(beams: int) -> list[float]:
    """Elevations [degrees], highest first: the upper half of the beams is denser, as on the 64-beam scanner."""
    upper = beams // 2
    top = [_HIGHEST_BEAM + (_MIDDLE_BEAM - _HIGHEST_BEAM) * number / upper for number in range(upper)]
    lower = beams - upper
    return top + [_MIDDLE_BEAM + (_LOWEST_BEAM - _MIDDLE_BEAM) * number / max(lower - 1, 1) for number in range(lower)]


def lidar_rotation() -> list[list[float]]:
    """``3 x 3`` axes of the LiDAR frame as columns, in the level frame."""
    return _rotation(*LIDAR_TILT)


def _calibration(focal: float, centre: tuple[float, float]) -> Calibration:
    first, second, third, fourth = [
        np.array([[focal, 0, centre[0], -focal * position], [0, focal, centre[1], 0], [0, 0, 1, 0]]) for position in _CAMERAS
    ]
    # Level frame to camera frame: x right = -y, y down = -z, z forward = x.
    turned = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
    lidar_to_camera = np.empty((3, 4))
    lidar_to_camera[:, :3] = turned @ np.array(lidar_rotation())
    lidar_to_camera[:, 3] = turned @ (np.array(LIDAR_POSITION) - np.array(CAMERA_POSITION))
    rectification = np.array(_rotation(*_RECTIFICATION))
    inertial = np.column_stack([np.eye(3), [-0.81, 0.32, -0.8]])
    return Calibration(first, second, third, fourth, rectification, rectification.T @ lidar_to_camera, inertial)


def _rotation(yaw: float, pitch: float, roll: float) -> list[list[float]]:
    """Rotation about z, then y, then x."""
    cy, sy, cp, sp, cr, sr = (
        round(function(angle), 12) for angle in (yaw, pitch, roll) for function in (math.cos, math.sin)
    )  # fmt: skip
    return [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
