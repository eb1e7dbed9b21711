"""Hard voxels of one cloud as a file: an uncompressed ``.npz`` whose bytes follow from the voxels alone.

Only places that hold a point are stored, voxel by voxel; in a cloud of KITTI the others, all zero, would be five sixths of the
file. Reading gives the same arrays bit for bit. How voxels are made is in ``voxels``.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from mlops_assets.errors import IntegrityError
from mlops_assets.tasks.detection3d.voxels import Voxels
from mlops_assets.whole_files import whole_file

#: Part of the version of stored voxels; raised whenever voxels or their files become different ones.
VOXEL_FORMAT = "hard-voxels-1"
SUFFIX = ".npz"


def write_voxels(path: Path, voxels: Voxels) -> None:
    """Write one frame's voxels; a reader sees the whole file or none, also after a kill.

    ``points (K, C)`` float32 in the order of the voxels, ``coordinates (V, 3)`` and ``points_per_voxel (V,)`` int32,
    ``points_in_range`` and ``max_points`` int64.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    places = voxels.features.shape[1]
    used = np.arange(places) < voxels.points_per_voxel[:, None]
    with whole_file(path) as beside, beside.open("wb") as stream:
        np.savez(
            stream,
            points=voxels.features[used],
            coordinates=voxels.coordinates,
            points_per_voxel=voxels.points_per_voxel,
            points_in_range=np.int64(voxels.points_in_range),
            max_points=np.int64(places),
        )


def read_voxels(path: Path) -> Voxels:
    """The voxels of a file; every byte is checked against the checksums of the archive.

    Raises:
        IntegrityError: naming the file: it is damaged or not one of ``write_voxels``.
        OSError: the file cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            points, counts = stored["points"], stored["points_per_voxel"]
            features = np.zeros((len(counts), int(stored["max_points"]), points.shape[1]), np.float32)
            features[np.arange(features.shape[1]) < counts[:, None]] = points
            return Voxels(features, stored["coordinates"], counts, int(stored["points_in_range"]))
    except (zipfile.BadZipFile, ValueError, KeyError, IndexError, TypeError, EOFError) as error:
        raise IntegrityError(f"{path} holds no voxels that can be read: {type(error).__name__}: {error}") from error
