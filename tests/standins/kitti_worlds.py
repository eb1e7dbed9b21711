"""Small generated KITTI copies, and a KITTI version without a catalogue, for the tests of frames as a form of data."""

from __future__ import annotations

import shutil
from pathlib import Path

from mlops_assets.data.dataset import CatalogueEntry, DatasetVersion
from mlops_assets.data.frame_registration import register_copy
from mlops_assets.data.frame_shards import FrameList
from sim.driving.config import WorldConfig
from sim.driving.world import World, write_world

SMALL = WorldConfig(beams=8, azimuth_step=2.0, image_width=160, image_height=64)
FRAMES = 12


def quiet(fraction: float, text: str) -> None:
    """Nobody wants to know how far it is."""


def generated(folder: Path) -> Path:
    """A copy of 12 frames with train and val lists, and one of 4 sequences of 3 frames in ``tracking``."""
    write_world(folder, World(seed=7, frames=FRAMES, sequences=4, sequence_frames=3, config=SMALL))
    return folder


def copied(world: Path, to: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(world, to)
    return to


def registered(source: Path, out: Path, dataset_id: str = "world") -> tuple[DatasetVersion, FrameList]:
    out.mkdir(parents=True, exist_ok=True)
    version = register_copy(CatalogueEntry(dataset_id=dataset_id, source=str(source)), out, quiet)
    return version, FrameList.read(out)


def cut(path: Path, size: int) -> None:
    """Truncate a file as a broken download does."""
    path.write_bytes(path.read_bytes()[:size])
