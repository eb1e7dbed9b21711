"""Upright 3D boxes in the camera and in the LiDAR frame: conversion, corners, points inside, projection to the image.

*Camera box* ``(N, 7)``: bottom centre x, y, z [m] in the rectified camera frame (x right, y down, z forward), height, width,
length [m], rotation_y [rad] about the camera's y axis; upright along that y axis. This is the order of a label's meaning,
not of its columns.

*LiDAR box* ``(N, 7)``: centre x, y, z [m] in the velodyne frame (x forward, y left, z up), length, width, height [m], yaw
[rad] about z, counter-clockwise from x; upright along that z axis.

The two uprights differ by the tilt of the LiDAR against the camera (0.6 degrees in KITTI): the same label encloses up to
7 % other points in one than in the other. So every function that looks inside a box says whose box it takes. Overlap of
boxes is not here: it belongs to the evaluation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_assets.data.kitti.calibration import Calibration
from mlops_assets.data.kitti.labels import KittiObjects

Array = NDArray[np.float64]

#: A camera sees nothing nearer than this [m]; boxes that reach behind it are cut there before they are projected.
NEAR_PLANE = 0.1
#: Pairs of corners that are the 12 edges of a box.
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))


def camera_boxes(objects: KittiObjects) -> Array:
    """Camera boxes ``(N, 7)`` of the labels, row for row; DontCare rows keep their placeholder numbers."""
    return np.column_stack([objects.locations, objects.dimensions, objects.rotation_y]).reshape(-1, 7)


def has_box(objects: KittiObjects) -> NDArray[np.bool_]:
    """``(N,)`` whether a row has a 3D box at all: DontCare and 2D detections have none."""
    has: NDArray[np.bool_] = (objects.dimensions > 0).all(axis=1) & (objects.names != "DontCare")
    return has


def camera_to_lidar_boxes(boxes: ArrayLike, calibration: Calibration) -> Array:
    """Camera boxes ``(N, 7)`` to LiDAR boxes ``(N, 7)``.

    The bottom centre is moved exactly, the upright direction becomes the LiDAR's z axis; yaw = -rotation_y - pi/2.

    Source: the convention of OpenPCDet and mmdetection3d, held to the latter's numbers in the tests.
    """
    camera = _boxes(boxes)
    lidar = np.empty_like(camera)
    lidar[:, :3] = calibration.to_lidar(camera[:, :3])
    lidar[:, 2] += camera[:, 3] / 2
    lidar[:, 3:6] = camera[:, [5, 4, 3]]
    lidar[:, 6] = wrapped(-camera[:, 6] - np.pi / 2)
    return lidar


def lidar_to_camera_boxes(boxes: ArrayLike, calibration: Calibration) -> Array:
    """LiDAR boxes ``(N, 7)`` to camera boxes ``(N, 7)``: the inverse of ``camera_to_lidar_boxes``."""
    lidar = _boxes(boxes)
    bottom = lidar[:, :3].copy()
    bottom[:, 2] -= lidar[:, 5] / 2
    camera = np.empty_like(lidar)
    camera[:, :3] = calibration.to_camera(bottom)
    camera[:, 3:6] = lidar[:, [5, 4, 3]]
    camera[:, 6] = wrapped(-lidar[:, 6] - np.pi / 2)
    return camera


def wrapped(angle: ArrayLike) -> Array:
    """Angles [rad] brought into [-pi, pi)."""
    values = np.asarray(angle, dtype=np.float64)
    turned: Array = values - 2 * np.pi * np.floor((values + np.pi) / (2 * np.pi))
    return turned


def observation_angle(boxes: ArrayLike) -> Array:
    """``alpha`` ``(N,)`` [rad] of camera boxes ``(N, 7)``: rotation_y less the direction in which the object is seen."""
    camera = _boxes(boxes)
    return wrapped(camera[:, 6] - np.arctan2(camera[:, 0], camera[:, 2]))


def camera_corners(boxes: ArrayLike) -> Array:
    """Corners ``(N, 8, 3)`` [m] of camera boxes ``(N, 7)``: 0-3 the bottom from front left
    over front right, 4-7 the top above them."""
    camera = _boxes(boxes)
    half_length, half_width = camera[:, 5] / 2, camera[:, 4] / 2
    along, across = _rectangle(half_length, half_width)
    cos, sin = np.cos(camera[:, 6])[:, None], np.sin(camera[:, 6])[:, None]
    corners = np.empty((len(camera), 8, 3))
    corners[:, :, 0] = camera[:, 0, None] + cos * along + sin * across
    corners[:, :, 1] = camera[:, 1, None] - camera[:, 3, None] * np.repeat([0.0, 1.0], 4)
    corners[:, :, 2] = camera[:, 2, None] - sin * along + cos * across
    return corners


def lidar_corners(boxes: ArrayLike) -> Array:
    """Corners ``(N, 8, 3)`` [m] of LiDAR boxes ``(N, 7)``: 0-3 the bottom from front left
    over front right, 4-7 the top above them."""
    lidar = _boxes(boxes)
    along, across = _rectangle(lidar[:, 3] / 2, lidar[:, 4] / 2)
    cos, sin = np.cos(lidar[:, 6])[:, None], np.sin(lidar[:, 6])[:, None]
    corners = np.empty((len(lidar), 8, 3))
    corners[:, :, 0] = lidar[:, 0, None] + cos * along - sin * across
    corners[:, :, 1] = lidar[:, 1, None] + sin * along + cos * across
    corners[:, :, 2] = lidar[:, 2, None] + lidar[:, 5, None] * np.repeat([-0.5, 0.5], 4)
    return corners


def in_camera_boxes(points: ArrayLike, boxes: ArrayLike, calibration: Calibration, *, margin: float = 0.0) -> NDArray[np.bool_]:
    """``(N, P)`` whether LiDAR point p lies in camera box n, the box upright along the *camera's* y axis, surface included.

    This is where a label says the object is. ``points`` ``(P, 3+)`` [m] are in the LiDAR frame, ``margin`` [m] is added
    on every side.
    """
    camera = _boxes(boxes)
    seen = calibration.to_camera(points) * (1.0, -1.0, 1.0)
    upright = np.column_stack([camera[:, 0], camera[:, 2], -camera[:, 1], camera[:, [5, 4, 3]], -camera[:, 6]])
    return _inside(seen[:, [0, 2, 1]], upright, margin)


def in_lidar_boxes(points: ArrayLike, boxes: ArrayLike, *, margin: float = 0.0) -> NDArray[np.bool_]:
    """``(N, P)`` whether LiDAR point p lies in LiDAR box n, the box upright along the *LiDAR's* z axis, surface included.

    This is what detectors on clouds work with. ``points`` ``(P, 3+)`` [m], ``margin`` [m] is added on every side.
    """
    lidar = _boxes(boxes)
    bottom = lidar[:, 2] - lidar[:, 5] / 2
    upright = np.column_stack([lidar[:, :2], bottom, lidar[:, 3:]])
    return _inside(np.asarray(points, dtype=np.float64)[:, :3], upright, margin)


def project_boxes(
    boxes: ArrayLike, calibration: Calibration, image_size: tuple[int, int] | None = None
) -> tuple[Array, NDArray[np.bool_]]:
    """2D boxes ``(N, 4)`` [px] left, top, right, bottom around camera boxes ``(N, 7)`` in ``image_2``, and ``(N,)`` visible.

    What reaches behind the camera is cut off there first. With ``image_size`` (width, height) the 2D boxes are cut to the
    image as KITTI's are, 0 … width - 1 and 0 … height - 1. Invisible rows (behind the camera, or outside the image) are 0.
    """
    corners = camera_corners(boxes)
    count = len(corners)
    _, depth = calibration.to_image(corners.reshape(-1, 3))
    depth = depth.reshape(count, 8)
    first, second = np.array(EDGES).T
    near, far = depth[:, first], depth[:, second]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(near == far, 0.0, (NEAR_PLANE - near) / (far - near))[:, :, None]
    crossing = corners[:, first] + share * (corners[:, second] - corners[:, first])
    candidates = np.concatenate([corners, crossing], axis=1)
    usable = np.concatenate([depth >= NEAR_PLANE, (near >= NEAR_PLANE) != (far >= NEAR_PLANE)], axis=1)
    pixels, _ = calibration.to_image(candidates.reshape(-1, 3))
    pixels = pixels.reshape(count, 20, 2)
    low = np.where(usable[:, :, None], pixels, np.inf).min(axis=1)
    high = np.where(usable[:, :, None], pixels, -np.inf).max(axis=1)
    visible = np.asarray(usable.any(axis=1), dtype=np.bool_)
    rectangles = np.concatenate([low, high], axis=1)
    if image_size is not None:
        last = np.array([image_size[0] - 1, image_size[1] - 1], dtype=np.float64)
        visible = visible & ((high > 0) & (low < last)).all(axis=1)
        rectangles = np.concatenate([np.clip(low, 0, last), np.clip(high, 0, last)], axis=1)
    return np.where(visible[:, None], rectangles, 0.0), visible


def _boxes(boxes: ArrayLike) -> Array:
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return array.reshape(0, 7)
    if array.ndim != 2 or array.shape[1] != 7:
        raise ValueError(f"boxes have shape {array.shape}; (N, 7) is needed")
    return array


def _rectangle(half_length: Array, half_width: Array) -> tuple[Array, Array]:
    """Corners ``(N, 8)`` of the bottom and again of the top, along and across (positive to the left of) the heading."""
    along = half_length[:, None] * np.array([1.0, 1.0, -1.0, -1.0] * 2)
    across = half_width[:, None] * np.array([1.0, -1.0, -1.0, 1.0] * 2)
    return along, across


def _inside(points: Array, boxes: Array, margin: float) -> NDArray[np.bool_]:
    """Points ``(P, 3)`` with the third axis up against boxes of *bottom* centre, length, width, height, angle."""
    ground = np.ascontiguousarray(points[:, :2].T)
    up = np.ascontiguousarray(points[:, 2])
    inside = np.zeros((len(boxes), len(points)), dtype=np.bool_)
    for row, (x, y, bottom, length, width, height, angle) in enumerate(boxes.tolist()):
        reach = np.hypot(length, width) / 2 + margin
        # Few points are near any box: the rotation is worked out only for those around its centre.
        near = np.flatnonzero((np.abs(ground[0] - x) <= reach) & (np.abs(ground[1] - y) <= reach))
        dx, dy, dz = ground[0, near] - x, ground[1, near] - y, up[near] - bottom
        cos, sin = np.cos(angle), np.sin(angle)
        inside[row, near] = (
            (np.abs(cos * dx + sin * dy) <= length / 2 + margin)
            & (np.abs(cos * dy - sin * dx) <= width / 2 + margin)
            & (dz >= -margin)
            & (dz <= height + margin)
        )
    return inside
