"""Measuring drift: quantities of frames, reference histograms, the population stability index."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.errors import UserError
from mlops_assets.tasks.detection import drift

FINITE = st.floats(-1e6, 1e6)


def test_brightness_and_contrast_of_known_images():
    grey = np.full((375, 1242, 3), 90, np.uint8)
    assert drift.image_quantities(grey) == pytest.approx({"brightness": 90.0, "contrast": 0.0}, abs=1e-3)
    halves = np.zeros((40, 60, 3), np.uint8)
    halves[:, 30:] = 200
    assert drift.image_quantities(halves) == pytest.approx({"brightness": 100.0, "contrast": 100.0}, abs=1e-3)
    green = np.zeros((3, 3, 3), np.uint8)
    green[..., 1] = 100
    assert drift.image_quantities(green)["brightness"] == pytest.approx(58.7, abs=1e-3)


def test_the_grid_of_pixels_speaks_for_the_whole_image():
    rng = np.random.default_rng(3)
    image = np.clip(rng.normal(np.linspace(40, 200, 1242)[None, :, None], 20, (375, 1242, 3)), 0, 255).astype(np.uint8)
    luma = image.astype(float) @ (0.299, 0.587, 0.114)
    found = drift.image_quantities(image)
    assert found["brightness"] == pytest.approx(luma.mean(), abs=0.5)
    assert found["contrast"] == pytest.approx(luma.std(), abs=0.5)


def test_an_image_of_one_pixel_is_measured_and_none_is_refused():
    assert drift.image_quantities(np.full((1, 1, 3), 7, np.uint8))["contrast"] == 0
    for wrong in (np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3))):
        with pytest.raises(UserError, match="uint8"):
            drift.image_quantities(wrong)


def test_points_in_range_and_for_each_occupied_square_metre():
    low, high = (0.0, -40.0, -3.0), (70.0, 40.0, 1.0)
    cloud = np.array([[1.2, 0.3, 0, 1], [1.9, 0.9, 0, 1], [5.5, -3.5, 0, 1], [-1, 0, 0, 1], [70.0, 0, 0, 1], [5, 5, 1.0, 1]])
    assert drift.cloud_quantities(cloud, low, high) == {"points": 3.0, "density": 1.5}
    assert drift.cloud_quantities(np.zeros((0, 4)), low, high) == {"points": 0.0, "density": 0.0}
    with pytest.raises(UserError, match="shape"):
        drift.cloud_quantities(np.zeros(4), low, high)


@settings(max_examples=50, deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=200), st.integers(2, 12))
def test_every_value_is_in_one_bin_of_ascending_edges(values, bins):
    histogram = drift.histogram_of(values, bins)
    assert sum(histogram.counts) == len(values)
    assert len(histogram.edges) == len(histogram.counts) + 1 <= max(bins, 3) + 1
    assert all(a < b for a, b in zip(histogram.edges, histogram.edges[1:], strict=False))
    assert drift.psi(histogram, histogram.counts) == pytest.approx(0, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=3, max_size=3))
def test_the_index_is_finite_and_never_negative(counts):
    histogram = drift.histogram_of(range(30), 3)
    assert 0 <= drift.psi(histogram, counts) < 20


def test_few_values_make_few_bins_and_none_make_none():
    assert len(drift.histogram_of(range(14)).counts) == 2
    nothing = drift.histogram_of([])
    assert nothing.counts == ()
    assert drift.psi(nothing, []) == 0
    assert drift.verdict(0.0, drift.chance_level(nothing, 10)) == "unmeasured"
    for wrong in ([1.0, math.nan], [math.inf]):
        with pytest.raises(UserError, match="finite"):
            drift.histogram_of(wrong)


def test_a_quantity_that_never_moved_shows_when_it_moves():
    reference = drift.histogram_of([90.0] * 100)
    moved = np.bincount(drift.bins_of(reference.edges, [91.0] * 100), minlength=len(reference.counts))
    assert drift.psi(reference, moved) > drift.MAJOR
    same = np.bincount(drift.bins_of(reference.edges, [90.0] * 100), minlength=len(reference.counts))
    assert drift.psi(reference, same) == 0


def test_the_index_of_a_known_pair_of_histograms():
    reference = drift.Histogram(edges=(0, 1, 2), counts=(60, 40))
    p, q = np.array((30.5, 70.5)) / 101, np.array((60.5, 40.5)) / 101
    assert drift.psi(reference, (30, 70)) == pytest.approx(float(((p - q) * np.log(p / q)).sum()))
    with pytest.raises(UserError, match="bins"):
        drift.psi(reference, (1, 2, 3))


def test_chance_alone_exceeds_its_level_once_in_twenty_times():
    rng = np.random.default_rng(0)
    beyond = 0
    for _ in range(400):
        reference = drift.histogram_of(rng.normal(size=400))
        counts = np.bincount(drift.bins_of(reference.edges, rng.normal(size=200)), minlength=10)
        beyond += drift.psi(reference, counts) > drift.chance_level(reference, 200)
    assert 0.01 <= beyond / 400 <= 0.09


def test_verdicts_follow_the_limits_but_chance_is_not_called_drift():
    assert drift.verdict(0.09, 0.01) == "stable"
    assert drift.verdict(0.1, 0.01) == "moderate"
    assert drift.verdict(0.25, 0.01) == "major"
    assert drift.verdict(0.12, 0.15) == "stable"
    assert drift.verdict(0.3, 0.4) == "too_few"
    assert drift.verdict(0.5, 0.4) == "major"
