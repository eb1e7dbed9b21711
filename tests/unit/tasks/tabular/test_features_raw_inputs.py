"""How raw cells become tensors: missing marks, odd types, times before 1970."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.errors import UserError
from mlops_assets.tasks.interface import InputField
from mlops_assets.tasks.tabular.raw_inputs import MISSING_TIMESTAMP, raw_column, raw_inputs


def _field(name: str, kind: str = "number", required: bool = False) -> InputField:
    return InputField.model_validate({"name": name, "kind": kind, "required": required})


def test_each_kind_has_its_type_shape_and_missing_mark() -> None:
    frame = pd.DataFrame(
        {
            "n": pd.Series([1.5, None, 2.0]),
            "町": pd.Series(["東京", None, "大阪"], dtype=object),
            "t": pd.to_datetime(["1970-01-01T00:00:01Z", None, "1969-12-31T23:59:59.5Z"], utc=True, format="ISO8601"),
        }
    )
    feed = raw_inputs(frame, [_field("n"), _field("町", "string"), _field("t", "timestamp")])
    assert feed["n"].dtype == np.float32
    assert feed["n"].shape == (3, 1)
    assert np.isnan(feed["n"][1, 0])
    assert feed["町"].tolist() == [["東京"], [""], ["大阪"]]
    assert feed["t"].dtype == np.int64
    assert feed["t"].ravel().tolist() == [1, MISSING_TIMESTAMP, -1]


def test_an_absent_column_is_missing_unless_required() -> None:
    frame = pd.DataFrame({"x": [1, 2]})
    feed = raw_inputs(frame, [_field("a"), _field("b", "string"), _field("c", "timestamp")])
    assert np.isnan(feed["a"]).all()
    assert feed["b"].ravel().tolist() == ["", ""]
    assert feed["c"].ravel().tolist() == [MISSING_TIMESTAMP] * 2
    with pytest.raises(UserError, match="required input column") as raised:
        raw_inputs(frame, [_field("a", required=True)])
    assert raised.value.field == "a"


def test_a_column_named_like_an_output_gets_another_tensor_name() -> None:
    names = ["value", "value_", "label", "features", "probabilities", "label__", "values", "", "_"]
    tensors = [_field(name).tensor_name for name in names]
    assert len(set(tensors)) == len(names)
    assert not {"value", "label", "features", "probabilities", ""} & set(tensors)
    assert _field("values").tensor_name == "values"


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        (pd.Series([12345678901.0, None]), ["12345678901", ""]),
        (pd.Series([1, 2], dtype="Int64"), ["1", "2"]),
        (pd.Series([True, False]), ["true", "false"]),
        (pd.Series([0.5, 1.0]), ["0.5", "1"]),
        (pd.Series(["a", None, "b"], dtype="category"), ["a", "", "b"]),
        (pd.Series(["a", pd.NA], dtype="string"), ["a", ""]),
        (pd.Series(["a", 1, None], dtype=object), ["a", "1", ""]),
        (pd.Series([None, None], dtype=object), ["", ""]),
        (pd.Series([], dtype=object), []),
    ],
)
def test_strings_are_read_from_every_column_type(cells: pd.Series, texts: list[str]) -> None:
    assert raw_column(cells, "string").tolist() == texts


def test_numbers_beyond_float32_become_infinite_without_a_warning() -> None:
    with np.errstate(all="raise"):
        column = raw_column(pd.Series([1e30, -1e300, -0.0]), "number")
    assert column[0] == np.float32(1e30)
    assert np.isneginf(column[1])
    assert np.signbit(column[2])


def test_text_in_a_number_column_names_the_column() -> None:
    with pytest.raises(UserError) as raised:
        raw_column(pd.Series(["1", "twelve"], name="年齢"), "number")
    assert raised.value.field == "年齢"


def test_text_in_a_timestamp_column_names_the_column() -> None:
    with pytest.raises(UserError) as raised:
        raw_column(pd.Series(["yesterday"], name="when"), "timestamp")
    assert raised.value.field == "when"


@settings(max_examples=60, deadline=None)
@given(
    seconds=st.lists(st.integers(-8_000_000_000, 8_000_000_000), min_size=1, max_size=8),
    fraction=st.integers(0, 999),
    unit=st.sampled_from(["ms", "us", "ns"]),
    zone=st.sampled_from([None, "UTC", "Asia/Tokyo"]),
)
def test_epoch_seconds_are_rounded_down_in_every_unit_and_zone(
    seconds: list[int], fraction: int, unit: str, zone: str | None
) -> None:
    stamps = np.array([1000 * s + fraction for s in seconds], dtype="datetime64[ms]").astype(f"datetime64[{unit}]")
    series = pd.Series(stamps)
    if zone is not None:
        series = series.dt.tz_localize("UTC").dt.tz_convert(zone)
    assert raw_column(series, "timestamp").tolist() == seconds
    assert raw_column(pd.Series([pd.Timestamp(s, unit="s").isoformat() for s in seconds]), "timestamp").tolist() == seconds
