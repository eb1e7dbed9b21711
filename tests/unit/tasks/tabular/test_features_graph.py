"""The feature graph by itself: the calendar against datetime, and what keeping a subset of features leaves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlops_assets.tasks.interface import InputField
from mlops_assets.tasks.tabular.definition import FeatureEntry
from mlops_assets.tasks.tabular.feature_graph import TIME_PARTS, FittedFeatures, Imputation, LookUp, TimePart, build_graph
from mlops_assets.tasks.tabular.raw_inputs import MISSING_TIMESTAMP

ORIGIN = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = (int((datetime(y, m, d, tzinfo=UTC) - ORIGIN).total_seconds()) for y, m, d in [(1, 1, 1), (9999, 12, 31)])


def entry(name: str, *inputs: str) -> FeatureEntry:
    return FeatureEntry(name=name, inputs=inputs or (name,), transformation="number", unit="source")


def session(fitted: FittedFeatures, inputs: list[InputField]) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(build_graph(fitted, inputs), providers=["CPUExecutionProvider"])


WHEN = [InputField(name="when", kind="timestamp", required=False)]
CALENDAR = session(
    FittedFeatures(
        time_parts=tuple(("when", part) for part in TIME_PARTS), number_entries=tuple(entry(p, "when") for p in TIME_PARTS)
    ),
    WHEN,
)


def calendar(seconds: list[int]) -> np.ndarray:
    return CALENDAR.run(None, {"when": np.array(seconds, dtype=np.int64).reshape(-1, 1)})[0]


def by_datetime(seconds: int) -> list[int]:
    time = ORIGIN + timedelta(seconds=seconds)
    return [time.hour, time.weekday(), time.day, time.month, int(time.weekday() >= 5)]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(FIRST, LAST), min_size=1, max_size=20))
@example([-1, 0, 1, 86_399, 86_400, -86_400, -86_401])
@example([951_782_399, 951_782_400, 951_868_799, 951_868_800])  # around 2000-02-29
@example([-2_203_977_600, -2_203_891_200, FIRST, LAST])  # 1900 had no leap day
def test_the_calendar_agrees_with_datetime_in_every_year(seconds: list[int]) -> None:
    assert calendar(seconds).tolist() == [by_datetime(s) for s in seconds]


def test_every_day_of_four_centuries() -> None:
    days = np.arange(-719_000, -719_000 + 146_097 * 2) * 86_400 + 43_200
    dates = days.astype("datetime64[s]")
    months = dates.astype("datetime64[M]")
    got = calendar(days.tolist())
    np.testing.assert_array_equal(got[:, 2], (dates.astype("datetime64[D]") - months.astype("datetime64[D]")).astype(int) + 1)
    np.testing.assert_array_equal(got[:, 3], months.astype(int) % 12 + 1)


def test_a_missing_time_is_not_a_time_and_extreme_ones_do_not_crash() -> None:
    assert np.isnan(calendar([MISSING_TIMESTAMP])).all()
    assert np.isfinite(calendar([2**63 - 1, -(2**63) + 1])).all()
    assert calendar([]).shape == (0, 5)


def everything() -> tuple[FittedFeatures, list[InputField], dict[str, np.ndarray]]:
    """Two numbers, three time parts, an entity table and two categories; ten features from six inputs."""
    parts: tuple[tuple[str, TimePart], ...] = (("t", "hour"), ("t", "month"), ("t", "is_weekend"))
    users = LookUp(
        "u", ("a", "b"), (0, 1), np.array([[3, 7], [1, 9], [2, 8]], dtype=np.float32), (entry("n", "u"), entry("m", "u"))
    )
    colour = LookUp("c", ("red", "青", ""), (0, 1, 1), np.eye(3, 2, dtype=np.float32), (entry("c=red", "c"), entry("c=青", "c")))
    size = LookUp("s", ("L",), (0,), np.array([[5.0], [-1.0]], dtype=np.float32), (entry("s"),))
    fitted = FittedFeatures(
        numbers=("x", "y"),
        time_parts=parts,
        entity=users,
        number_entries=(entry("x"), entry("y"), *(entry(p, "t") for _, p in parts), *users.entries),
        imputation=Imputation(fill=np.arange(7.0), offset=np.arange(7.0) / 3, scale=np.arange(7.0) + 0.1),
        categories=(colour, size),
    )
    kinds = {"x": "number", "c": "string", "y": "number", "t": "timestamp", "u": "string", "s": "string"}
    inputs = [InputField.model_validate({"name": n, "kind": k, "required": False}) for n, k in kinds.items()]
    feed = {
        "x": np.array([[1.5], [np.nan], [np.inf]], dtype=np.float32),
        "y": np.array([[np.nan], [1e30], [-2]], dtype=np.float32),
        "t": np.array([[0], [MISSING_TIMESTAMP], [1_709_337_600]], dtype=np.int64),
        "u": np.array([["a"], ["b"], ["nobody"]], dtype=object),
        "c": np.array([["red"], [""], ["green"]], dtype=object),
        "s": np.array([["L"], ["M"], [""]], dtype=object),
    }
    return fitted, inputs, feed


def test_the_whole_graph_computes_what_it_says() -> None:
    fitted, inputs, feed = everything()
    numbers = np.array([[1.5, 1, 0, 1, 0, 3, 7], [0, 1e30, 2, 3, 4, 1, 9], [0, -2, 0, 3, 1, 2, 8]])
    numbers[1, 1] = np.float32(1e30)
    scaled = (numbers - fitted.imputation.offset) / fitted.imputation.scale
    rest = [[1, 0, 5], [0, 1, -1], [0, 0, -1]]
    np.testing.assert_array_equal(session(fitted, inputs).run(None, feed)[0], np.hstack([scaled, rest]).astype(np.float32))


@settings(max_examples=80, deadline=None)
@given(st.sets(st.integers(0, 9), min_size=1))
def test_keeping_some_features_gives_the_same_bits_from_only_the_inputs_they_need(kept: set[int]) -> None:
    fitted, inputs, feed = everything()
    positions = sorted(kept)
    whole = session(fitted, inputs).run(None, feed)[0]
    pruned = fitted.keep(positions)
    assert pruned.entries == tuple(fitted.entries[i] for i in positions)
    needed = [field for field in inputs if field.name in pruned.columns]
    assert {field.name for field in needed} == {name for i in positions for name in fitted.entries[i].inputs}
    part = session(pruned, needed).run(None, {field.name: feed[field.name] for field in needed})[0]
    assert part.tobytes() == np.ascontiguousarray(whole[:, positions]).tobytes()
    graph = onnx.load_from_string(build_graph(pruned, needed)).graph
    assert {i.name for i in graph.input} <= {name for node in graph.node for name in node.input}


def test_the_same_arguments_give_the_same_bytes() -> None:
    fitted, inputs, _ = everything()
    assert build_graph(fitted, inputs) == build_graph(fitted, inputs)


@pytest.mark.parametrize(
    "name",
    ["features", "value", "label", "日本語 の列", "a\"b'c", "a.b/c:0", " ", "\n", "f:c0", "", "ff:c0", "\U0001f600", "x" * 5000],
)
def test_any_column_name_can_be_an_input(name: str) -> None:
    other = name + "2"
    fitted = FittedFeatures(
        numbers=(name, other),
        number_entries=(entry(name), entry(other)),
        imputation=Imputation(fill=np.zeros(2), offset=np.ones(2), scale=np.ones(2)),
    )
    fields = [InputField(name=n, kind="number", required=False) for n in (name, other)]
    feed = {fields[0].tensor_name: np.ones((1, 1), dtype=np.float32), fields[1].tensor_name: np.zeros((1, 1), dtype=np.float32)}
    assert session(fitted, fields).run(["features"], feed)[0].tolist() == [[0, -1]]
