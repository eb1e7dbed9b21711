"""Drift of a model's requests: the window, its verdicts, and what Prometheus gets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.serving.monitoring import DriftMonitor
from mlops_assets.tasks.detection.drift import histogram_of
from mlops_assets.tasks.interface import Histogram

RNG = np.random.default_rng(11)
REFERENCE = {"brightness": histogram_of(RNG.normal(100, 10, 500)), "confidence": histogram_of(RNG.uniform(0.3, 1, 2000))}


def frames(mean: float, count: int) -> list[dict[str, Sequence[float]]]:
    rng = np.random.default_rng(int(mean))
    return [{"brightness": (rng.normal(mean, 10),), "confidence": tuple(rng.uniform(0.3, 1, 3))} for _ in range(count)]


def verdicts(monitor: DriftMonitor) -> dict[str, str]:
    page = monitor.page()
    return {"all": page["verdict"], **{quantity["name"]: quantity["verdict"] for quantity in page["quantities"]}}


def test_before_the_first_request_nothing_is_measured_and_few_tell_nothing() -> None:
    monitor = DriftMonitor(REFERENCE)
    assert verdicts(monitor) == {"all": "unmeasured", "brightness": "unmeasured", "confidence": "unmeasured"}
    monitor.observe(frames(100, 10))
    assert verdicts(monitor)["brightness"] == "too_few"


def test_the_same_distribution_is_stable_and_a_darker_one_is_drift() -> None:
    monitor = DriftMonitor(REFERENCE)
    monitor.observe(frames(100, 400))
    assert verdicts(monitor) == {"all": "stable", "brightness": "stable", "confidence": "stable"}
    monitor.observe(frames(60, 300))
    assert verdicts(monitor) == {"all": "major", "brightness": "major", "confidence": "stable"}
    page = monitor.page()
    assert (page["frames"], page["window"]) == (700, {"size": 1000, "frames": 700})


def test_what_has_left_the_window_no_longer_counts() -> None:
    monitor = DriftMonitor(REFERENCE, window=300)
    monitor.observe(frames(60, 300))
    assert verdicts(monitor)["brightness"] == "major"
    monitor.observe(frames(100, 300))
    assert verdicts(monitor)["brightness"] == "stable"
    assert sum(monitor.page()["quantities"][0]["counts"]) == 300
    (_, _, buckets, total), _ = monitor.figures()
    assert buckets[-1] == ("+Inf", 600.0), "Prometheus gets every frame since the start"
    assert 40_000 < total < 60_000


def test_a_version_that_becomes_active_begins_anew() -> None:
    monitor = DriftMonitor(REFERENCE)
    monitor.observe(frames(60, 300))
    monitor.reset()
    assert verdicts(monitor)["all"] == "unmeasured"
    assert monitor.page()["frames"] == 0


def test_frames_without_boxes_leave_confidence_unmeasured() -> None:
    monitor = DriftMonitor(REFERENCE)
    monitor.observe([{**frame, "confidence": ()} for frame in frames(100, 400)])
    assert verdicts(monitor) == {"all": "stable", "brightness": "stable", "confidence": "unmeasured"}


def test_without_a_reference_it_says_so() -> None:
    for reference in ({}, {"confidence": Histogram(edges=(), counts=())}):
        monitor = DriftMonitor(reference)
        monitor.observe(frames(100, 3))
        page = monitor.page()
        assert page["verdict"] == "no_reference"
        assert "no reference was recorded" in page["reason"]
        assert monitor.figures() == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.floats(-1e3, 1e3), max_size=3), max_size=40), st.integers(1, 10))
def test_the_window_holds_exactly_the_latest_frames(values: list[list[float]], window: int) -> None:
    monitor = DriftMonitor({"confidence": histogram_of(range(100))}, window=window)
    for one in values:
        monitor.observe([{"confidence": tuple(one)}])
    quantity = monitor.page()["quantities"][0]
    assert sum(quantity["counts"]) == sum(len(one) for one in values[-window:])
    assert min(quantity["counts"]) >= 0


def test_buckets_have_different_names_however_near_their_edges_are() -> None:
    near = Histogram(edges=(0.0, 1.0000000001, 1.0000000002, 2.0), counts=(1, 1, 1))
    monitor = DriftMonitor({"brightness": near})
    monitor.observe([{"brightness": (1.0, 1.5)}])
    ((_, _, buckets, _),) = monitor.figures()
    assert [count for _, count in buckets] == [1, 1, 2]
    assert len({name for name, _ in buckets}) == 3
