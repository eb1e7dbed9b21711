"""Registering a KITTI copy, making its shards and preparing a dataset: frames and megabytes a second on this machine.

    python benchmarks/kitti_shards.py                     # 200 generated frames: writes benchmarks/results/kitti_shards.json
    python benchmarks/kitti_shards.py --frames 1000 --out /tmp/shards.json --folder /large/disk

The frames are generated at the size of KITTI's (1242 x 375 pixels, a full turn of 64 beams). They were just written, so they come
from the page cache: a disk that reads more slowly than this sets the pace instead. KITTI's own 7,481 frames are not measured; the
estimate scales the time per megabyte to their size, because hashing and copying dominate, and is no promise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from mlops_assets.data.dataset import CatalogueEntry  # noqa: E402
from mlops_assets.data.forms import Preparation, form_of  # noqa: E402
from mlops_assets.request.schema import DatasetRequest, TrainingRequest  # noqa: E402
from mlops_assets.serving.package import verify  # noqa: E402
from resources.platform import Platform  # noqa: E402
from resources.settings import Settings  # noqa: E402
from sim.driving.config import WorldConfig  # noqa: E402
from sim.driving.world import World, write_world  # noqa: E402

RESULTS = REPOSITORY / "benchmarks" / "results" / "kitti_shards.json"
KITTI_FRAMES = 7481
#: Megabytes a frame of KITTI's training set: its archives of images (12 GB) and clouds (29 GB) hold 14,999 frames.
KITTI_MEGABYTES = (12_000 + 29_000) / 14_999
T = TypeVar("T")


Seconds = tuple[float, float]


def timed(work: Callable[[], T]) -> tuple[T, Seconds]:
    """What a call returns, and its seconds by the clock and of all processors."""
    begun, used = time.perf_counter(), time.process_time()
    result = work()
    return result, (time.perf_counter() - begun, time.process_time() - used)


def measure(folder: Path, frames: int) -> dict[str, Any]:
    """Every stage once, on a fresh installation below ``folder``."""
    world = folder / "world"
    write_world(world, World(seed=3, frames=frames, config=WorldConfig(full_turn=True)))
    opened = Platform(Settings(home=folder / "home"))
    version, registering = timed(lambda: opened.catalogue.add(CatalogueEntry(dataset_id="world", source=str(world))))
    megabytes = version.raw_bytes / 1e6

    def shards() -> None:
        for number in range(version.shards):
            opened.shards.frames(version, number)

    _, making = timed(shards)
    folders = [opened.shards.frames(version, number)[0] for number in range(version.shards)]
    _, reading = timed(lambda: [verify(shard) for shard in folders])
    time.sleep(2.5)  # younger files are not remembered
    shards()
    _, knowing = timed(shards)
    request = TrainingRequest(
        model_id="line", dataset=DatasetRequest(dataset_id="world"), learning_type="supervised", task_type="detection_3d",
        algorithm="pointpillars",
    )  # fmt: skip
    out = folder / "prepared"
    out.mkdir()
    source = opened.catalogue.folder("world", version.version)

    def nothing(fraction: float, text: str) -> None:
        pass

    _, preparing = timed(
        lambda: form_of(version).prepare(
            Preparation(
                source=source, request=request, target="objects", out=out, now=datetime.now(UTC), memory_limit="1GB",
                shard=opened.shards.opener(version, nothing), told=nothing,
            )
        )
    )  # fmt: skip
    _, publishing = timed(lambda: opened.store.publish("datasets/world/processed/benchmark", out))
    used = sum(path.stat().st_blocks * 512 / path.stat().st_nlink for path in (folder / "home").rglob("*") if path.is_file())
    used += sum(path.stat().st_blocks * 512 / path.stat().st_nlink for path in out.rglob("*") if path.is_file())
    stages = {
        "register": registering, "make shards": making, "verify shards, read": reading, "verify shards, known": knowing,
        "prepare": preparing, "publish prepared": publishing,
    }  # fmt: skip
    return {
        "frames": frames,
        "megabytes": round(megabytes, 1),
        "stages": {
            name: {
                "seconds": round(seconds, 3),
                "processor_seconds": round(processor, 3),
                "frames_per_second": round(frames / seconds, 1),
                "megabytes_per_second": round(megabytes / seconds, 1),
                "estimated_seconds_for_kitti": round(seconds / megabytes * KITTI_MEGABYTES * KITTI_FRAMES, 1),
                "estimated_processor_seconds_for_kitti": round(processor / megabytes * KITTI_MEGABYTES * KITTI_FRAMES, 1),
            }
            for name, (seconds, processor) in stages.items()
        },
        "disk_of_store_and_dataset_per_source_byte": round(used / version.raw_bytes, 3),
    }


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="where the frames and the installation are made; default: temporary files")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        measured = measure(Path(name), options.frames)
    result = {
        "benchmark": "kitti_shards",
        "what": "generated frames of KITTI's size, from the page cache, every stage once; the estimate scales by megabytes",
        "command": f"python benchmarks/kitti_shards.py --frames {options.frames}",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "load_average_before": round(load, 2),
        },
        "kitti": {"frames": KITTI_FRAMES, "megabytes": round(KITTI_FRAMES * KITTI_MEGABYTES)},
        **measured,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
