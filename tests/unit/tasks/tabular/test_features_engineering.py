"""Features that are made or left out: of times, of an entity's rows, by selection, and what is said of those that cannot be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from feature_tables import CATEGORIES, NUMBERS, feature, prepare, request, splits

from mlops_assets.tasks.tabular.definition import read_inputs


def test_time_features_before_and_after_1970_with_missing_ones_imputed(tmp_path: Path) -> None:
    times = [datetime(1968, 2, 29, 23, 59, 59, tzinfo=UTC) + timedelta(hours=1000.5 * i) for i in range(400)]
    frame = pd.DataFrame({"いつ": pd.to_datetime(pd.Series(times), utc=True), "y": ["a", "b"] * 200})
    frame.loc[3, "いつ"] = pd.NaT
    frames = {"train": frame, "validation": frame[:5], "test": frame[5:9]}
    summary = prepare(tmp_path, frames, request(feature_engineering=("time_features",)))
    expected = {
        "いつ_hour": [t.hour for t in times],
        "いつ_day_of_week": [t.weekday() for t in times],
        "いつ_day_of_month": [t.day for t in times],
        "いつ_month": [t.month for t in times],
        "いつ_is_weekend": [t.weekday() >= 5 for t in times],
    }
    assert summary.feature_names == tuple(expected)
    present = np.arange(400) != 3
    for name, values in expected.items():
        got = feature(tmp_path, summary, name)
        np.testing.assert_array_equal(got[present], np.array(values)[present])
        assert got[3] == np.median(np.array(values)[present])
    assert read_inputs(tmp_path / "out")[0].example == "1968-02-29T23:59:59Z"


def test_a_timestamp_is_no_feature_without_time_features(tmp_path: Path) -> None:
    frames = {s: f.assign(t=pd.Timestamp("2024-02-29", tz="UTC")) for s, f in splits().items()}
    summary = prepare(tmp_path, frames)
    assert summary.dropped == {"t": "timestamp_without_time_features"}
    assert "t" not in [field.name for field in read_inputs(tmp_path / "out")]


def test_aggregates_by_an_ignored_entity_column(tmp_path: Path) -> None:
    frames = splits()
    for seed, frame in enumerate(frames.values()):
        frame["user"] = np.random.default_rng(seed).integers(2**40, 2**40 + 20, len(frame))
    frames["test"]["user"] = frames["test"]["user"].astype("int64")
    frames["test"].loc[0, "user"] = 7
    asked = request(feature_engineering=("aggregate_by_user",), entity_column="user")
    summary = prepare(tmp_path, frames, asked, ignored={"user": "identifier"})
    train = frames["train"]
    groups = train.groupby("user")
    known = frames["test"]["user"].isin(train["user"]).to_numpy()
    users = frames["test"].loc[known, "user"]
    assert known.sum() >= 30
    count = feature(tmp_path, summary, "user_count", "test")
    np.testing.assert_array_equal(count[known], groups.size().loc[users])
    assert count[0] == pytest.approx(groups.size().mean())
    mean = feature(tmp_path, summary, "a_mean_by_user", "test")
    np.testing.assert_allclose(mean[known], groups["a"].mean().loc[users], rtol=1e-5)
    assert mean[0] == pytest.approx(train["a"].mean(), rel=1e-5)
    (field,) = [f for f in read_inputs(tmp_path / "out") if f.name == "user"]
    assert (field.kind, field.categories, field.example) == ("string", (), None)
    assert "user" not in summary.feature_names


def test_what_is_asked_for_and_cannot_be_is_a_warning(tmp_path: Path) -> None:
    asked = request(handle_missing="mean", normalize=True, feature_engineering=("aggregate_by_user", "time_features"))
    summary = prepare(tmp_path, splits(), asked)
    assert set(summary.warnings) == {"aggregate_without_entity", "time_features_without_timestamp"}
    assert "no entity column is declared" in (tmp_path / "out/definition.md").read_text()


def test_correlated_and_unimportant_features_leave_the_graph(tmp_path: Path) -> None:
    frames = {}
    for split, frame in splits(400).items():
        signal = (frame["y"] == "yes").astype(float) + np.random.default_rng(1).normal(0, 0.1, len(frame))
        frames[split] = frame.assign(signal=signal, copy=signal * -3 + 1)
    summary = prepare(tmp_path / "c", frames, request(feature_selection="correlation"))
    assert summary.dropped["copy"] == "correlation"
    assert "signal" in summary.feature_names
    summary = prepare(tmp_path / "i", frames, request(feature_selection="importance", max_features=2))
    assert set(summary.feature_names) <= {"signal", "copy", *NUMBERS}
    assert len(summary.feature_names) == 2
    names = {field.name for field in read_inputs(tmp_path / "i/out")}
    assert names == set(summary.feature_names)
    summary = prepare(tmp_path / "n", frames, request(max_features=4))
    assert len(summary.feature_names) == 4
    summary = prepare(tmp_path / "m", frames, request(feature_selection="importance"))
    assert {"signal", "copy"} == set(summary.feature_names)


def test_an_entity_and_a_timestamp_without_any_value_are_left_out_with_their_reason(tmp_path: Path) -> None:
    frames = {s: f.assign(t=pd.Series(pd.NaT, index=f.index, dtype="datetime64[us, UTC]"), u=None) for s, f in splits().items()}
    asked = request(feature_engineering=("aggregate_by_user", "time_features"), entity_column="u")
    summary = prepare(tmp_path, frames, asked, ignored={"u": "identifier"})
    assert summary.dropped == {"t": "all_missing", "u": "all_missing"}
    assert {field.name for field in read_inputs(tmp_path / "out")} == {*NUMBERS, *CATEGORIES}
