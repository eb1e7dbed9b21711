"""Frames per second of the shard assets: a copy registered, its frames, voxels and COCO file made, each by its own code.

    python benchmarks/kitti_pipeline.py                      # 80 generated full-turn clouds and KITTI-sized images
    python benchmarks/kitti_pipeline.py --frames 400 --out -

Measured in one process, with digests, publishing and figures; what Dagster adds is measured apart, by running the whole job once
more over the same shards, which makes nothing. What 7,481 frames would take is an extrapolation by frames, and is named so:
generated clouds and images compress and fill the grid otherwise than KITTI's, and everything measured is in the page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform as machine
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

FRAMES_OF_KITTI, SHARD_FRAMES = 7_481, 200
RESULT = Path(__file__).parent / "results" / "kitti_pipeline.json"


def silent(fraction: float, text: str) -> None:
    """Hear progress and keep quiet: printing is no part of what is timed."""


def measure(folder: Path, frames: int, shard_frames: int) -> dict[str, Any]:
    """Make everything once, then once more."""
    from jobs.instance import open_instance
    from jobs.shard_runs import ShardRuns
    from mlops_assets.assets.frames import CocoConfig, VoxelConfig
    from mlops_assets.data import frame_registration
    from mlops_assets.data.dataset import CatalogueEntry
    from resources.frame_products import FrameProducts
    from resources.platform import Platform
    from resources.settings import Settings
    from sim.driving.config import WorldConfig
    from sim.driving.world import World, write_world

    frame_registration.SHARD_FRAMES = shard_frames
    write_world(folder / "world", World(seed=0, frames=frames, sequences=0, config=WorldConfig(full_turn=True)))
    platform = Platform(Settings(home=folder / "home"))
    seconds: dict[str, float] = {}

    def timed(name: str, begun: float) -> None:
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - begun

    begun = time.perf_counter()
    registered = platform.catalogue.add(CatalogueEntry(dataset_id="streets", source=str(folder / "world")))
    timed("registration", begun)
    products, size, voxels_bytes, occupied, points = FrameProducts(platform), 0, 0, [], 0
    grid, policy = VoxelConfig().grid(), CocoConfig().policy()
    from mlops_assets.tasks.detection3d.voxels import Voxelizer

    Voxelizer(grid)  # compiled once a machine, not once a shard
    for number in range(registered.shards):
        begun = time.perf_counter()
        place, shard = platform.shards.frames(registered, number, silent)
        timed("kitti_frames", begun)
        begun = time.perf_counter()
        products.pictures(shard, place)
        timed("pictures", begun)
        begun = time.perf_counter()
        made = products.voxels(shard, place, grid, silent)
        timed("voxels", begun)
        begun = time.perf_counter()
        products.coco(shard, place, policy, silent)
        timed("kitti_coco", begun)
        size, voxels_bytes = size + shard.bytes, voxels_bytes + made.bytes
        assert made.summary.occupancy is not None
        occupied.append(made.summary.occupancy.voxels)
        points += made.summary.occupancy.points_in_range
    with open_instance(platform.home) as instance:
        runs = ShardRuns(platform, instance, "streets")
        begun = time.perf_counter()
        states = runs.make(range(registered.shards), quiet=True)
        again = time.perf_counter() - begun
    assert all(state.outcome == "reused" for state in states)
    per_run = again / registered.shards
    shards_of_kitti = -(-FRAMES_OF_KITTI // SHARD_FRAMES)
    by_frame = sum(seconds[name] for name in ("kitti_frames", "voxels", "kitti_coco")) / frames
    by_shard = seconds["pictures"] / registered.shards + per_run
    return {
        "frames": frames,
        "shards": registered.shards,
        "megabytes_of_frames": round(size / 1e6, 1),
        "megabytes_of_voxels": round(voxels_bytes / 1e6, 1),
        "voxels_a_shard": [int(count) for count in occupied],
        "points_in_range_a_frame": round(points / frames),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "frames_per_second": {name: round(frames / value, 1) for name, value in seconds.items() if name != "pictures"},
        "frames_per_second_of_all_three": round(1 / by_frame, 1),
        "seconds_a_run_that_reuses_everything": round(per_run, 3),
        "extrapolated": {
            "frames": FRAMES_OF_KITTI,
            "shards": shards_of_kitti,
            "minutes_one_after_the_other": round((FRAMES_OF_KITTI * by_frame + shards_of_kitti * by_shard) / 60, 1),
            "gigabytes_of_voxels": round(voxels_bytes / frames * FRAMES_OF_KITTI / 1e9, 1),
            "how": "seconds a frame of the three assets; for each shard of 200 its figures and one run that reuses everything",
        },
    }


def main() -> int:
    """Measure and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--shard-frames", type=int, default=40)
    parser.add_argument("--out", default=str(RESULT), help="- shows it only")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="kitti-pipeline-") as name:
        found = measure(Path(name), given.frames, given.shard_frames)
    report = {
        "machine": {
            "processor": machine.machine(), "cores": os.cpu_count(), "python": machine.python_version(),
            "load_before": round(load, 1), "load_after": round(os.getloadavg()[0], 1),
        },
        "versions": {name: version(name) for name in ("dagster", "numba", "numpy", "pillow", "obstore")},
        **found,
    }  # fmt: skip
    text = json.dumps(report, indent=1)
    print(text)
    if given.out != "-":
        Path(given.out).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
