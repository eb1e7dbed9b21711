"""Voxels: equal to the oracle, to their definition, and by either engine; what is refused, kept and released."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.errors import UserError
from mlops_assets.tasks.detection3d.voxels import (
    Engine,
    MeanVoxels,
    VoxelGrid,
    Voxelizer,
    Voxels,
    installed_engine,
    mean_voxels,
    voxelize,
)
from tests.unit.tasks.detection3d.plain_voxels import plain_means, plain_voxels

ROOT = Path(__file__).resolve().parents[4]
ENGINES: tuple[Engine, ...] = ("numba", "numpy")
PILLARS = VoxelGrid(
    range_min=(0, -39.68, -3), range_max=(69.12, 39.68, 1), voxel_size=(0.16, 0.16, 4), max_points=32, max_voxels=40_000
)
SMALL = VoxelGrid(range_min=(0, 0, 0), range_max=(4, 4, 2), voxel_size=(1, 1, 1), max_points=3, max_voxels=10)


def same_bits(one: Voxels | MeanVoxels, other: Voxels | MeanVoxels) -> bool:
    """Shapes, types and every bit; -0.0 is not 0.0."""

    def bits(value: object) -> object:
        return (value.shape, value.dtype, value.tobytes()) if isinstance(value, np.ndarray) else value

    return [*map(bits, astuple(one))] == [*map(bits, astuple(other))]


def ring(seed: int = 0, count: int = 20_000) -> np.ndarray:
    """A generated cloud ``(count, 4)``: points around the sensor, many near it, many behind and above the grid."""
    random = np.random.default_rng(seed)
    distance, angle = random.gamma(2.0, 9.0, count), random.uniform(-np.pi, np.pi, count)
    columns = [distance * np.cos(angle), distance * np.sin(angle), random.normal(-1.2, 1.0, count), random.random(count)]
    return np.stack(columns, axis=1).astype(np.float32)


@st.composite
def grids(draw: st.DrawFn) -> VoxelGrid:
    low = [draw(st.sampled_from([0.0, -1.0, -39.68, 0.1, 7.3])) for _ in range(3)]
    size = [draw(st.sampled_from([0.05, 0.1, 0.16, 0.2, 1.0, 4.0])) for _ in range(3)]
    cells = [draw(st.sampled_from([1, 2, 3, 5, 7.5, 6.5])) for _ in range(3)]
    return VoxelGrid(
        range_min=tuple(low),
        range_max=tuple(a + b * c for a, b, c in zip(low, size, cells, strict=True)),
        voxel_size=tuple(size),
        max_points=draw(st.integers(1, 4)),
        max_voxels=draw(st.integers(1, 12)),
    )


@st.composite
def clouds(draw: st.DrawFn, grid: VoxelGrid, columns: int) -> np.ndarray:
    """Points in, on and just beside borders of cells and of the range, far away, infinite and not a number."""
    count = draw(st.integers(0, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    points = random.uniform(-2, 2, (count, columns)).astype(np.float32)
    for axis in range(3):
        cells = grid.cells[axis]
        border = random.integers(-1, cells + 2, count) * np.float32(grid.voxel_size[axis]) + np.float32(grid.range_min[axis])
        border = border.astype(np.float32)
        within = (np.float32(grid.range_min[axis]) + random.random(count) * cells * grid.voxel_size[axis]).astype(np.float32)
        odd = random.choice(np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0, -0.0], dtype=np.float32), count)
        kinds = [within, border, np.nextafter(border, np.float32(np.inf)), np.nextafter(border, np.float32(-np.inf)), odd]
        chosen = random.choice(5, count, p=[0.5, 0.2, 0.12, 0.12, 0.06])
        points[:, axis] = np.choose(chosen, kinds)
    return points


@given(st.data(), st.integers(3, 6))
@settings(max_examples=60, deadline=None)
def test_both_engines_give_the_bits_of_the_definition(data: st.DataObject, columns: int) -> None:
    grid = data.draw(grids())
    one, two = data.draw(clouds(grid, columns)), data.draw(clouds(grid, columns))
    for engine in ENGINES:
        voxelizer = Voxelizer(grid, columns, engine=engine)
        for cloud in (one, two, one):  # what the first leaves behind must not show in the second
            assert same_bits(voxelizer.voxelize(cloud), plain_voxels(cloud, grid)), engine
            assert same_bits(voxelizer.mean(cloud), plain_means(cloud, grid)), engine


@pytest.mark.parametrize("engine", ENGINES)
def test_voxels_of_real_clouds_are_those_of_the_oracle(shared: Path, engine: Engine) -> None:
    reference = shared / "data" / "kitti" / "voxel_reference"
    cases = json.loads((reference / "expected.json").read_text())["cases"]
    assert len(cases) == 15
    for case in cases:
        limits = case["point_cloud_range"]
        grid = VoxelGrid(
            range_min=limits[:3], range_max=limits[3:], voxel_size=case["voxel_size"],
            max_points=case["max_points"], max_voxels=case["max_voxels"],
        )  # fmt: skip
        path = shared / "data" / "kitti" / "object" / "training" / "velodyne" / f"{case['frame']}.bin"
        found = Voxelizer(grid, engine=engine).voxelize(np.fromfile(path, np.float32).reshape(-1, 4))
        expected = np.load(reference / case["file"])
        name = f"{case['frame']} {case['config']}"
        assert list(grid.cells[::-1]) == case["grid_zyx"], name
        assert np.array_equal(found.coordinates, expected["coords_zyx"]), name
        assert np.array_equal(found.points_per_voxel, expected["num_points"]), name
        assert list(found.features.shape) == case["voxels_shape"], name
        assert hashlib.sha256(found.features.tobytes()).hexdigest() == case["voxels_sha256"], name


def test_both_engines_agree_on_a_full_generated_cloud() -> None:
    fine = PILLARS.model_copy(update={"voxel_size": (0.05, 0.05, 0.1), "max_points": 5, "max_voxels": 3000})
    for grid in (PILLARS, fine):
        numba, numpy = (Voxelizer(grid, engine=engine) for engine in ENGINES)
        for seed in range(3):
            cloud = ring(seed)
            assert same_bits(numba.voxelize(cloud), numpy.voxelize(cloud))
            assert same_bits(numba.mean(cloud), numpy.mean(cloud))
    assert len(numba.voxelize(cloud).coordinates) == 3000, "the limit of voxels was not reached"


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_cloud_gives_no_voxels(engine: Engine) -> None:
    voxelizer = Voxelizer(SMALL, engine=engine)
    for cloud in (np.zeros((0, 4), np.float32), np.full((5, 4), np.nan, np.float32), np.full((5, 4), 99, np.float32)):
        hard, mean = voxelizer.voxelize(cloud), voxelizer.mean(cloud)
        assert hard.features.shape == (0, 3, 4) and hard.coordinates.shape == (0, 3) and hard.points_per_voxel.shape == (0,)
        assert mean.features.shape == (0, 4) and mean.coordinates.shape == (0, 3)
        assert hard.points_in_range == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_results_stay_as_they_were_unless_windows_were_asked_for(engine: Engine) -> None:
    voxelizer = Voxelizer(PILLARS, engine=engine)
    kept = voxelizer.voxelize(ring(1))
    window = voxelizer.voxelize(ring(1), copy=False)
    assert same_bits(kept, window)
    voxelizer.voxelize(ring(2))
    assert same_bits(kept, Voxelizer(PILLARS, engine=engine).voxelize(ring(1)))


@pytest.mark.parametrize("engine", ENGINES)
def test_any_layout_of_the_same_points_gives_the_same_voxels(engine: Engine) -> None:
    voxelizer, cloud = Voxelizer(PILLARS, engine=engine), ring()
    expected = voxelizer.voxelize(cloud)
    wide = np.zeros((len(cloud), 8), np.float32)
    wide[:, ::2] = cloud
    shifted = np.frombuffer(b"x" + cloud.tobytes(), np.float32, offset=1).reshape(-1, 4)  # not aligned, read-only
    for layout in (
        np.asfortranarray(cloud),
        wide[:, ::2],
        cloud.astype(np.float64),
        cloud.astype(">f4"),
        shifted,
        cloud.tolist(),
    ):
        assert same_bits(voxelizer.voxelize(layout), expected)
    assert cloud.flags.writeable


def test_float64_is_rounded_to_float32_before_the_cell_is_looked_for() -> None:
    just_below = np.array([[np.nextafter(1.0, 0), 0.5, 0.5, 0.0]])  # float32 has no number there
    assert voxelize(just_below, SMALL).coordinates.tolist() == [[0, 0, 1]]
    assert len(voxelize(np.array([[1e300, 0.5, 0.5, 0.0]]), SMALL).coordinates) == 0


def test_a_fractional_number_of_cells_is_rounded_and_the_end_is_told() -> None:
    grid = VoxelGrid(range_min=(0, -40, -3), range_max=(70, 40, 1), voxel_size=(0.16, 0.16, 4), max_points=1, max_voxels=9)
    assert grid.cells == (438, 500, 1)  # 437.5 and 500
    assert grid.end == pytest.approx((70.08, 40.0, 1.0))
    assert len(voxelize([[70.05, 0.0, 0.0]], grid).coordinates) == 1
    assert len(voxelize([[70.09, 0.0, 0.0]], grid).coordinates) == 0


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"range_max": (0, 4, 2)}, "range_max", "empty along x"),
        ({"range_max": (4, -1, 2)}, "range_max", "empty along y"),
        ({"voxel_size": (1, 1, 0)}, "voxel_size", "along z must be more than 0"),
        ({"voxel_size": (1, -1, 1)}, "voxel_size", "along y must be more than 0"),
        ({"voxel_size": (1e-50, 1, 1)}, "voxel_size", "along x must be more than 0"),
        ({"voxel_size": (1, 1, 99)}, "voxel_size", "cells along z"),
        ({"voxel_size": (1e-7, 1, 1)}, "voxel_size", "cells along x"),
        ({"voxel_size": (1e-44, 1, 1)}, "voxel_size", "cells along x"),
        ({"range_min": (float("nan"), 0, 0)}, "range_min", "finite"),
        ({"range_max": (1e39, 4, 2)}, "range_max", "finite"),
        ({"voxel_size": (0.001, 0.001, 0.001)}, "voxel_size", "32,000,000,000 cells"),
        ({"max_points": 0}, "max_points", "1 or more"),
        ({"max_voxels": -1}, "max_voxels", "1 or more"),
    ],
)  # fmt: skip
def test_a_grid_that_no_cloud_fits_into_is_refused_by_name(change: dict[str, object], field: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        VoxelGrid(**{**SMALL.model_dump(), **change})
    assert refused.value.field == field and refused.value.given is not None


@pytest.mark.parametrize("engine", ENGINES)
def test_memory_beyond_the_limit_is_refused_before_it_is_taken(engine: Engine) -> None:
    fine = SMALL.model_copy(update={"voxel_size": (0.003, 0.003, 0.003)})
    many = VoxelGrid(**{**PILLARS.model_dump(), "max_points": 100_000})
    for grid in (VoxelGrid(**fine.model_dump()), many):
        with pytest.raises(UserError, match=r"[\d.,]+ GiB of memory") as refused:
            Voxelizer(grid, engine=engine)
        assert "at most 2 GiB" in str(refused.value)
    assert PILLARS.working_bytes(4) < 30e6


@pytest.mark.parametrize(
    "points",
    [np.zeros(4, np.float32), np.zeros((5, 2), np.float32), np.zeros((5, 5), np.float32), np.zeros((2, 3, 4), np.float32),
     np.zeros((5, 4), bool), np.zeros((5, 4), complex), np.zeros((5, 4), object), [["a", "b", "c", "d"]]],
)  # fmt: skip
def test_what_is_no_cloud_is_refused(points: object) -> None:
    with pytest.raises(UserError, match="cloud") as refused:
        Voxelizer(SMALL, 4, engine="numpy").voxelize(points)
    assert refused.value.field == "points"


def test_a_point_without_three_coordinates_is_refused() -> None:
    with pytest.raises(UserError, match="x, y and z"):
        Voxelizer(SMALL, 2)


def test_the_plain_functions_take_the_width_of_the_cloud() -> None:
    cloud = np.array([[0.5, 0.5, 0.5], [0.25, 0.75, 0.5], [3.5, 3.5, 1.5]], np.float32)
    assert voxelize(cloud, SMALL).points_per_voxel.tolist() == [2, 1]
    assert mean_voxels(cloud, SMALL).features.tolist() == [[0.375, 0.625, 0.5], [3.5, 3.5, 1.5]]


def test_threads_with_their_own_or_one_voxelizer_get_their_own_voxels() -> None:
    expected = {seed: Voxelizer(PILLARS, engine="numpy").voxelize(ring(seed)) for seed in range(2)}
    one_for_all = Voxelizer(PILLARS, engine="numba")
    wrong: list[int] = []
    start = threading.Barrier(4)

    def work(seed: int, voxelizer: Voxelizer) -> None:
        cloud = ring(seed)
        start.wait()
        wrong.extend(seed for _ in range(40) if not same_bits(voxelizer.voxelize(cloud), expected[seed]))

    threads = [
        threading.Thread(target=work, args=(seed, voxelizer))
        for seed in range(2)
        for voxelizer in (one_for_all, Voxelizer(PILLARS, engine="numba"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def in_a_process(code: str, **environment: str) -> dict[str, object]:
    inherited = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT, env=inherited)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


FIRST_USE = """
import json, sys, time
import numpy as np
from mlops_assets.tasks.detection3d.voxels import Voxelizer, VoxelGrid
assert sys.modules.get("numba") is None, "imported before it is needed"
grid = VoxelGrid(range_min=(0, 0, 0), range_max=(4, 4, 2), voxel_size=(1, 1, 1), max_points=3, max_voxels=10)
started = time.process_time()
voxelizer = Voxelizer(grid)
counts = [voxelizer.voxelize(cloud).points_per_voxel.tolist() for cloud in (np.ones((5, 4), np.float32), np.ones((2, 4)))]
frozen = np.ones((5, 4), np.float32)
frozen.flags.writeable = False
voxelizer.voxelize(frozen), voxelizer.mean(frozen)
answer = {"engine": voxelizer.engine, "counts": counts, "seconds": time.process_time() - started}
if voxelizer.engine == "numba":
    from mlops_assets.tasks.detection3d import voxel_kernels
    for name in ("_hard", "_summed"):
        kernel = getattr(voxel_kernels, name)
        answer[name] = [sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values())]
print(json.dumps(answer))
"""


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    first = in_a_process(FIRST_USE, NUMBA_CACHE_DIR=str(tmp_path))
    second = in_a_process(FIRST_USE, NUMBA_CACHE_DIR=str(tmp_path))
    assert first["_hard"] == [0, 1] and first["_summed"] == [0, 1]
    assert second["_hard"] == [1, 0] and second["_summed"] == [1, 0]
    assert second["counts"] == [[3], [2]]
    assert float(str(second["seconds"])) < 2


def test_without_a_folder_for_the_cache_it_still_compiles() -> None:
    answer = in_a_process(FIRST_USE, NUMBA_CACHE_LOCATOR_CLASSES="IPythonCacheLocator")
    assert answer["counts"] == [[3], [2]] and answer["_hard"] == [0, 1]


def test_where_numba_is_not_installed_numpy_is_used() -> None:
    answer = in_a_process("import sys\nsys.modules['numba'] = None\n" + FIRST_USE)
    assert answer["engine"] == "numpy" and answer["counts"] == [[3], [2]]
    assert installed_engine() == "numba", "the development environment has numba"
