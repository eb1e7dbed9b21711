"""Clouds and open3d: for looking at them, and for the file formats that are not read natively.

open3d is the optional extra ``pointclouds``; nothing else of the platform needs it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from mlops_assets.data.kitti.clouds import Cloud, damaged, finite
from mlops_assets.errors import UserError

#: What open3d reads and ``clouds.read_cloud`` does not.
FURTHER_SUFFIXES = (".xyz", ".xyzn", ".xyzrgb", ".pts")
#: System libraries that open3d loads and minimal images lack, with their Debian packages.
_PACKAGES = {"libusb": "libusb-1.0-0", "libgl": "libgl1", "libgomp": "libgomp1", "libx11": "libx11-6", "libegl": "libegl1"}


def open3d_library() -> Any:
    """The module ``open3d``.

    Raises:
        UserError: it is not installed, or a system library that it loads is missing; the message says how to get it.
    """
    try:
        import open3d
    except ModuleNotFoundError as error:
        if error.name != "open3d":
            raise _unusable(f"open3d lacks the Python package {error.name}", f"pip install {error.name}") from error
        raise _unusable("open3d is not installed", "pip install 'issue-mlops[pointclouds]'") from error
    except (ImportError, OSError) as error:  # its shared objects are loaded at import
        found = re.search(r"(lib[\w+-]+[\w.+-]*\.so[.\d]*)", str(error))
        library = found.group(1) if found else ""
        package = next((name for prefix, name in _PACKAGES.items() if library.lower().startswith(prefix)), None)
        raise _unusable(
            f"open3d is installed but cannot load {library or 'a system library'}: {str(error)[:200]}",
            f"apt-get install {package or 'libusb-1.0-0 libgl1'} (libusb-1.0-0 and libgl1 are what minimal images lack)",
        ) from error
    return open3d


def to_open3d(points: Cloud) -> Any:
    """An ``open3d.geometry.PointCloud`` of ``(N, 4)`` points, LiDAR frame, shaded by reflectance.

    Raises:
        UserError: open3d cannot be used.
    """
    open3d = open3d_library()
    cloud = open3d.geometry.PointCloud()
    cloud.points = open3d.utility.Vector3dVector(points[:, :3].astype(np.float64))
    shade = np.clip(points[:, 3:4].astype(np.float64), 0, 1)
    cloud.colors = open3d.utility.Vector3dVector(np.repeat(0.15 + 0.85 * shade, 3, axis=1))
    return cloud


def read_with_open3d(path: Path) -> Cloud:
    """The cloud ``(N, 4)`` of a file in one of ``FURTHER_SUFFIXES``; these formats have no reflectance, it is 0.

    Raises:
        UserError: open3d cannot be used.
        DataRejected: naming the file: another suffix, or nothing in it that open3d reads.
    """
    if path.suffix.lower() not in FURTHER_SUFFIXES:
        raise damaged(path, f"is not one of {', '.join(FURTHER_SUFFIXES)}")
    xyz = np.asarray(open3d_library().io.read_point_cloud(str(path)).points, dtype=np.float32)
    return finite(path, np.concatenate([xyz, np.zeros((len(xyz), 1), np.float32)], axis=1))


def _unusable(headline: str, command: str) -> UserError:
    return UserError(
        headline,
        field="open3d",
        next_step=f"{command}; .bin, .pcd and .ply files are read without open3d",
    )
