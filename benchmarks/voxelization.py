"""Voxels of one LiDAR cloud beside spconv (CPU), the numba loop of mmdetection3d and open3d; interleaved, medians, bits compared.

    pip install -e .[perception,bench,pointclouds]              # open3d is left out where it is not installed
    python benchmarks/voxelization.py --cloud 000002.bin        # a full KITTI cloud: writes benchmarks/results/voxelization.json
    python benchmarks/voxelization.py --out /tmp/voxels.json    # a generated cloud only

Every method gets the same float32 array in memory and one thread of the caller. All hard voxels are compared bit for bit before
anything is timed. In each round every method has its turn, in another random order: one call right after the other methods, with
their data in the caches ("cold"), then three more ("milliseconds", as in a loop over the frames of a shard). open3d does less: it
gives occupied cells, or means, in cubes; the conversion of the points to its own type is not counted.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numba
import numpy as np
from machine import cpu_model, installed
from numpy.typing import NDArray

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from mlops_assets.tasks.detection3d.voxels import VoxelGrid, Voxelizer, voxelize  # noqa: E402
from sim.driving.config import WorldConfig  # noqa: E402
from sim.driving.world import generate_frame  # noqa: E402

RESULTS = REPOSITORY / "benchmarks" / "results" / "voxelization.json"
LIBRARIES = ("numpy", "numba", "spconv", "cumm", "open3d")
GRIDS = {
    "pillars 0.16 m": VoxelGrid(
        range_min=(0, -39.68, -3), range_max=(69.12, 39.68, 1), voxel_size=(0.16, 0.16, 4), max_points=32, max_voxels=40_000
    ),
    "SECOND 0.05 m": VoxelGrid(
        range_min=(0, -40, -3), range_max=(70.4, 40, 1), voxel_size=(0.05, 0.05, 0.1), max_points=5, max_voxels=40_000
    ),
}
REUSED, OWNED = "ours, windows as spconv gives (copy=False)", "ours, arrays of the caller"
SPCONV, MMDET3D = "spconv", "mmdet3d style"
TARGETS = {SPCONV: 2.0, MMDET3D: 2.5}  # times faster, pillars on the full cloud
Cloud = NDArray[np.float32]
Arrays = tuple[NDArray[Any], ...]
Method = Callable[[Cloud], Arrays]


@numba.njit(cache=True)
def fill_voxels(points, voxel_size, limits, counts, numbers, voxels, coordinates, max_points, max_voxels):  # type: ignore[no-untyped-def]
    """The published loop of second.pytorch and mmdetection3d (reversed indices), written again from its description."""
    cells = np.round((limits[3:] - limits[:3]) / voxel_size).astype(np.int32)
    found = 0
    cell = np.zeros(3, dtype=np.int32)
    for i in range(points.shape[0]):
        outside = False
        for axis in range(3):
            place = np.floor((points[i, axis] - limits[axis]) / voxel_size[axis])
            if place < 0 or place >= cells[axis] or np.isnan(place):
                outside = True
                break
            cell[2 - axis] = place
        if outside:
            continue
        voxel = numbers[cell[0], cell[1], cell[2]]
        if voxel == -1:
            if found >= max_voxels:
                continue
            voxel = found
            found += 1
            numbers[cell[0], cell[1], cell[2]] = voxel
            coordinates[voxel] = cell
        count = counts[voxel]
        if count < max_points:
            voxels[voxel, count] = points[i]
            counts[voxel] += 1
    return found


def mmdet3d_style(grid: VoxelGrid) -> Method:
    """Everything allocated anew for each cloud, as ``points_to_voxel`` does."""
    size = np.array(grid.voxel_size, dtype=np.float32)
    limits = np.array([*grid.range_min, *grid.range_max], dtype=np.float32)

    def method(cloud: Cloud) -> Arrays:
        counts = np.zeros(grid.max_voxels, dtype=np.int32)
        numbers = -np.ones(grid.cells[::-1], dtype=np.int32)
        voxels = np.zeros((grid.max_voxels, grid.max_points, cloud.shape[1]), dtype=np.float32)
        coordinates = np.zeros((grid.max_voxels, 3), dtype=np.int32)
        found = fill_voxels(cloud, size, limits, counts, numbers, voxels, coordinates, grid.max_points, grid.max_voxels)
        return voxels[:found], coordinates[:found], counts[:found]

    return method


def spconv_reused(grid: VoxelGrid) -> Method:
    """Its generator made once; the results are windows into it."""
    from cumm import tensorview
    from spconv.utils import Point2VoxelCPU3d

    generator = Point2VoxelCPU3d(
        list(grid.voxel_size), [*grid.range_min, *grid.range_max], 4, grid.max_voxels, grid.max_points
    )  # fmt: skip

    def method(cloud: Cloud) -> Arrays:
        voxels, coordinates, counts = generator.point_to_voxel(tensorview.from_numpy(cloud))
        return voxels.numpy_view(), coordinates.numpy_view(), counts.numpy_view()

    return method


def ours(grid: VoxelGrid, **options: Any) -> Method:
    """A ``Voxelizer`` made once."""
    copy = options.pop("copy", True)
    voxelizer = Voxelizer(grid, **options)

    def method(cloud: Cloud) -> Arrays:
        found = voxelizer.voxelize(cloud, copy=copy)
        return found.features, found.coordinates, found.points_per_voxel

    return method


def ours_once(grid: VoxelGrid) -> Method:
    """Nothing kept between clouds."""

    def method(cloud: Cloud) -> Arrays:
        found = voxelize(cloud, grid)
        return found.features, found.coordinates, found.points_per_voxel

    return method


def ours_mean(grid: VoxelGrid) -> Method:
    """Dynamic mean voxels."""
    voxelizer = Voxelizer(grid)

    def method(cloud: Cloud) -> Arrays:
        found = voxelizer.mean(cloud)
        return found.features, found.coordinates, found.points_per_voxel

    return method


def open3d_methods(grid: VoxelGrid, cloud: Cloud) -> dict[str, Callable[[], object]]:
    """Occupied cells within bounds, and means of cubes, of points that are in range already."""
    import open3d

    low, high = (np.array(ends, dtype=np.float64) for ends in (grid.range_min, grid.end))
    points = cloud[:, :3].astype(np.float64)
    whole = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
    cropped = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points[((points >= low) & (points < high)).all(axis=1)]))
    size = grid.voxel_size[0]
    occupied = open3d.geometry.VoxelGrid.create_from_point_cloud_within_bounds
    return {
        "open3d VoxelGrid (cells only)": lambda: occupied(whole, size, low, high),
        "open3d voxel_down_sample (means only, cropped before)": lambda: cropped.voxel_down_sample(size),
    }


def same_bits(one: Arrays, other: Arrays) -> bool:
    """Whether arrays are equal in shape, type and every bit."""
    return all(a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def measure(calls: dict[str, Callable[[], object]], rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds of each method's first call in a round, and of its later calls."""
    order = random.Random(0)
    cold: dict[str, list[float]] = {name: [] for name in calls}
    warm: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name in order.sample(list(calls), len(calls)):
                for taken in (cold, warm, warm, warm):
                    started = time.perf_counter_ns()
                    calls[name]()
                    taken[name].append((time.perf_counter_ns() - started) / 1e6)
    finally:
        gc.enable()
    return cold, warm


def compare(grid: VoxelGrid, cloud: Cloud, rounds: int) -> dict[str, Any]:
    """All methods on one cloud and grid: bits, then time."""
    hard: dict[str, Method] = {
        REUSED: ours(grid, copy=False),
        OWNED: ours(grid),
        "ours, nothing kept (voxelize)": ours_once(grid),
        "ours without numba": ours(grid, engine="numpy"),
        SPCONV: spconv_reused(grid),
        MMDET3D: mmdet3d_style(grid),
    }
    expected = hard[REUSED](cloud)
    for name, method in hard.items():
        if not same_bits(expected, method(cloud)):
            raise SystemExit(f"{name} gives other voxels: nothing is measured")
    calls: dict[str, Callable[[], object]] = {name: lambda method=method: method(cloud) for name, method in hard.items()}  # type: ignore[misc]
    mean = ours_mean(grid)
    calls["ours, dynamic mean voxels"] = lambda: mean(cloud)
    if find_spec("open3d"):
        calls |= open3d_methods(grid, cloud)
    cold, warm = measure(calls, rounds)
    medians = {name: statistics.median(values) for name, values in warm.items()}
    minima = {name: min(values) for name, values in warm.items()}
    return {
        "points": len(cloud),
        "points_kept": int(expected[2].sum()),
        "voxels": len(expected[2]),
        "bit_equal": sorted(hard),
        "milliseconds": {
            name: {
                "median": round(medians[name], 3),
                "min": round(minima[name], 3),
                "max": round(max(values), 3),
                "cold": round(statistics.median(cold[name]), 3),
            }
            for name, values in warm.items()
        },
        "million_points_per_second": round(len(cloud) / medians[REUSED] / 1e3, 1),
        "times_faster": {name: ratios(medians, name) for name in (REUSED, OWNED)},
        # Another process on the same core lengthens a long call more often than a short one: minima are free of that.
        "times_faster_by_minimum": {name: ratios(minima, name) for name in (REUSED, OWNED)},
    }


def ratios(milliseconds: dict[str, float], ours_name: str) -> dict[str, float]:
    """How many times longer each peer takes than one of ours."""
    mine = milliseconds[ours_name]
    return {name: round(taken / mine, 2) for name, taken in milliseconds.items() if not name.startswith("ours")}


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cloud", type=Path, help="KITTI .bin file: x, y, z, reflectance as float32")
    parser.add_argument("--rounds", type=int, default=61)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    load_before = round(os.getloadavg()[0], 2)
    street = generate_frame(0, 0, WorldConfig(full_turn=True)).cloud
    clouds: dict[str, Cloud] = {"generated street, full turn": street}
    if given.cloud is not None:
        real = np.fromfile(given.cloud, dtype=np.float32).reshape(-1, 4)
        folded = real.copy()
        folded[:, 0] = np.abs(folded[:, 0])
        clouds = {f"A: KITTI {given.cloud.stem}": real, f"B: {given.cloud.stem} folded to x >= 0": folded, **clouds}
    measured = {
        cloud_name: {grid_name: compare(grid, cloud, given.rounds) for grid_name, grid in GRIDS.items()}
        for cloud_name, cloud in clouds.items()
    }
    for cloud_name, by_grid in measured.items():
        for grid_name, row in by_grid.items():
            print(f"\n{cloud_name}, {grid_name}: {row['points']} points, {row['voxels']} voxels, bit-equal")
            for name, ms in row["milliseconds"].items():
                ratio, by_minimum = (row[way][REUSED].get(name) for way in ("times_faster", "times_faster_by_minimum"))
                told = f"  {ratio:6.2f} x ({by_minimum:.2f} x)" if ratio else ""
                print(f"  {name:55}{ms['median']:9.2f} ms  min {ms['min']:7.2f}  cold {ms['cold']:7.2f}{told}")
    first = next(iter(measured.values()))["pillars 0.16 m"]
    least = {name: min(first[way][REUSED][name] for way in ("times_faster", "times_faster_by_minimum")) for name in TARGETS}
    result = {
        "benchmark": "voxelization",
        "what": "hard voxels of one cloud, one thread; results bit-equal; times_faster is of medians",
        "command": f"python benchmarks/voxelization.py --rounds {given.rounds}" + (" --cloud 000002.bin" if given.cloud else ""),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": cpu_model(),
            "cores": os.cpu_count(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "load_average_before": load_before,
        },
        "versions": {name: installed(name) for name in LIBRARIES},
        "rounds": given.rounds,
        "clouds": measured,
        "target": {f"times faster than {name}, pillars": times for name, times in TARGETS.items()},
        "reached": {name: least[name] >= times for name, times in TARGETS.items()},
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nreached: {result['reached']}\nwritten: {given.out}")


if __name__ == "__main__":
    main()
