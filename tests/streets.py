"""A small generated KITTI copy registered as a dataset with few frames a shard, for tests of what is made of shards."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_assets.data import frame_registration
from mlops_assets.data.dataset import CatalogueEntry, DatasetVersion
from resources.platform import Platform
from sim.driving.config import WorldConfig
from sim.driving.world import World, write_world

SMALL = WorldConfig(beams=16, azimuth_step=1.0, image_width=320, image_height=100)


def generated(folder: Path, frames: int) -> Path:
    """A copy of the object layout with ids 000000, 000001, …"""
    write_world(folder, World(seed=5, frames=frames, sequences=0, config=SMALL))
    return folder


def registered(platform: Platform, source: Path, shard_frames: int = 3) -> DatasetVersion:
    """The copy as the current version of dataset ``streets``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_registration, "SHARD_FRAMES", shard_frames)
        return platform.catalogue.add(CatalogueEntry(dataset_id="streets", source=str(source)))


def cut_off(source: Path, frame: str) -> None:
    """Damage the cloud of a frame."""
    path = source / f"training/velodyne/{frame}.bin"
    path.write_bytes(path.read_bytes()[:-5])
