"""Counts of points per voxel agree with the voxels they are of, and add up over frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.errors import UserError
from mlops_assets.tasks.detection3d.occupancy import occupancy_of, summed
from mlops_assets.tasks.detection3d.voxels import VoxelGrid, Voxelizer

GRID = VoxelGrid(range_min=(0, 0, 0), range_max=(4, 4, 2), voxel_size=(1, 1, 1), max_points=4, max_voxels=20)


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 200)), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_counts_are_those_of_the_voxels(clouds: list[tuple[int, int]]) -> None:
    voxelizer = Voxelizer(GRID, 3, engine="numpy")
    frames = [voxelizer.voxelize(np.random.default_rng(seed).uniform(-1, 5, (count, 3))) for seed, count in clouds]
    total = summed([occupancy_of(voxels, GRID) for voxels in frames])
    counts = np.concatenate([voxels.points_per_voxel for voxels in frames])
    assert total.frames == len(frames) and total.voxels == len(counts) and total.points_kept == counts.sum()
    assert total.points_in_range == sum(voxels.points_in_range for voxels in frames) >= total.points_kept
    assert total.frames_at_voxel_limit == sum(len(voxels.points_per_voxel) == 20 for voxels in frames)
    assert 0 <= total.occupied_share <= 1 and 0 <= total.kept_share <= 1
    if len(counts):
        assert total.mean_points == pytest.approx(counts.mean()) and total.full_share == pytest.approx((counts == 4).mean())
        for share in (0, 0.5, 0.9, 1):
            assert total.quantile(share) == np.quantile(counts, share, method="inverted_cdf")
    else:
        assert total.quantile(0.5) == 0 and total.mean_points == 0 and total.full_share == 0 and total.kept_share == 1


def test_counts_of_different_grids_are_not_added() -> None:
    one = occupancy_of(Voxelizer(GRID, 3, engine="numpy").voxelize(np.ones((1, 3))), GRID)
    for parts in ([], [one, one.model_copy(update={"cells": 31})], [one, one.model_copy(update={"voxels_by_points": (1,)})]):
        with pytest.raises(UserError, match="cannot be added"):
            summed(parts)
    with pytest.raises(ValueError, match="0 to 1"):
        one.quantile(1.1)
