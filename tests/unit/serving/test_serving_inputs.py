"""Every value is held to the signature, and what is refused is named by row and field."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.serving.inputs import MISSING_TIMESTAMP, InputReader, decode_csv, decode_json, epoch_seconds, value_problem
from mlops_assets.serving.limits import MAX_ROWS, MAX_STRING_CHARACTERS
from mlops_assets.serving.refusal import MAX_PROBLEMS, InputProblem, InputRefused

sys.path.insert(0, str(Path(__file__).parent))
import fabricated

READER = InputReader(fabricated.SIGNATURE)
GOOD = fabricated.ROWS[0]


def refused(body: bytes | str | dict[str, Any]) -> InputRefused:
    raw = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
    with pytest.raises(InputRefused) as caught:
        rows, strict = decode_json(raw)
        READER.feeds(rows, strict=strict)
    return caught.value


def only(refusal: InputRefused) -> InputProblem:
    assert refusal.total == 1
    return refusal.problems[0]


def test_rows_become_one_tensor_a_field_with_missing_values_marked() -> None:
    feeds = READER.feeds(list(fabricated.ROWS))
    assert {name: (array.shape, array.dtype) for name, array in feeds.items()} == {
        "年齢": ((4, 1), np.float32),
        "income": ((4, 1), np.float32),
        "city": ((4, 1), object),
        "joined": ((4, 1), np.int64),
    }
    assert feeds["年齢"].ravel().tolist() == [42.0, 20.5, -3.0, 77.0]
    assert np.isnan(feeds["income"].ravel()).tolist() == [False, True, True, False]
    assert feeds["city"].ravel().tolist() == ["東京", "new, york", "", "unknown"]
    assert feeds["joined"].ravel().tolist() == [1769850000, 1_700_000_000, MISSING_TIMESTAMP, MISSING_TIMESTAMP]


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"年齢": None}, "required", "a value is required"),
        ({"年齢": "42"}, "type", "a string is not a number"),
        ({"年齢": True}, "type", "a boolean is not a number"),
        ({"年齢": [1]}, "type", "an array"),
        ({"年齢": float("nan")}, "not_finite", "send null for a missing value"),
        ({"年齢": float("-inf")}, "not_finite", "-inf"),
        ({"年齢": 1e39}, "too_large", "32-bit"),
        ({"年齢": 10**400}, "too_large", "32-bit"),
        ({"city": 3}, "type", "write it in quotes"),
        ({"city": "x" * (MAX_STRING_CHARACTERS + 1)}, "too_long", "10,001 characters"),
        ({"city": "\ud800"}, "encoding", "surrogate"),
        ({"joined": "yesterday"}, "timestamp", "yesterday"),
        ({"joined": "2026-02-30"}, "timestamp", "day is out of range"),
        ({"joined": 1_769_850_000_000}, "timestamp", "milliseconds"),
        ({"joined": False}, "timestamp", "neither"),
    ],
)
def test_a_wrong_value_is_named_with_field_row_value_and_what_is_allowed(change: dict[str, Any], code: str, text: str) -> None:
    (name,) = change
    refusal = refused({"rows": [GOOD, {**GOOD, **change}]})
    problem = only(refusal)
    assert (refusal.status, problem.code, problem.field, problem.row) == (422, code, name, 1)
    assert text.replace("an array", "array") in problem.message
    assert problem.allowed
    json.loads(refusal.body())


def test_an_unknown_field_brings_the_nearest_one_and_a_missing_required_one_is_told_too() -> None:
    refusal = refused({"年令": 42, "Income": 3})
    assert {(p.code, p.field, p.did_you_mean) for p in refusal.problems} == {
        ("unknown_field", "年令", None),
        ("unknown_field", "Income", "income"),
        ("required", "年齢", None),
    }
    assert only(refused({**GOOD, "incme": 1})).did_you_mean == "income"


MANY = 40_000


@pytest.mark.parametrize(
    ("body", "is_csv", "total"),
    [
        (",".join(f"c{number}" for number in range(MANY)) + "\n" + "1," * (MANY - 1) + "1\n", True, MANY + 1),
        (json.dumps({"rows": [{f"joind{number}": 1 for number in range(20)}] * MAX_ROWS}), False, 21 * MAX_ROWS),
        (json.dumps({"income" * 2_000_000: 1}), False, 2),
    ],
    ids=["columns", "unknown fields", "a long name"],
)
def test_what_is_wrong_a_thousand_times_is_told_in_no_time(body: str, is_csv: bool, total: int) -> None:
    started = time.process_time()
    if is_csv:
        with pytest.raises(InputRefused) as caught:
            READER.feeds(decode_csv(body.encode(), READER.fields))
        refusal = caught.value
    else:
        refusal = refused(body)
    assert (refusal.status, refusal.total) == (422, total)
    assert len(refusal.body()) < 20_000
    assert time.process_time() - started < 0.7, "the work must not grow with the square of what is sent"


def test_a_column_that_is_named_twice_is_told() -> None:
    with pytest.raises(InputRefused, match="'b' twice"):
        decode_csv(b"a,c,b,b,c\n1,2,3,4,5\n", READER.fields)


def test_all_problems_are_counted_and_the_first_ones_spelled_out() -> None:
    refusal = refused({"rows": [{"年齢": "x", "city": 1}] * 50})
    assert refusal.total == 100
    assert len(refusal.problems) == MAX_PROBLEMS
    content = json.loads(refusal.body())["error"]
    assert content["total"] == 100
    assert content["message"].endswith("(and 99 more)")


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "byte 0"),
        (b'{"a": 1', 400, "byte 7"),
        (b'{"a": 1,}', 400, "byte 8"),
        (b'{"a"}', 400, "byte 4"),
        (b'"\xff"', 400, "0xff in position 0"),
        (b"[" * 100_000, 400, "recursion"),
        (b"[]", 422, "a JSON array, not an object"),
        (b"3", 422, "a JSON number"),
        (b"null", 422, "a JSON null"),
        (b'{"rows": []}', 422, "0 rows"),
        (b'{"rows": [1]}', 422, "row 0 is a JSON number"),
        (b'{"rows": {"a": 1}}', 422, "no field 'rows'"),
        (b'{"rows": [], "more": 1}', 422, "no field 'rows'"),
    ],
)
def test_a_body_of_another_shape_is_refused_with_its_place(body: bytes, status: int, text: str) -> None:
    refusal = refused(body)
    assert refusal.status == status
    assert text in refusal.problems[0].message


def test_too_many_rows_are_413() -> None:
    with pytest.raises(InputRefused) as caught:
        READER.feeds([GOOD] * (MAX_ROWS + 1))
    assert (caught.value.status, caught.value.problems[0].given) == (413, MAX_ROWS + 1)


def test_a_model_field_called_rows_is_still_a_field() -> None:
    rows, _ = decode_json(b'{"rows": 3}')
    assert rows == [{"rows": 3}]


def test_csv_reads_like_json_with_empty_cells_missing() -> None:
    body = '\ufeff年齢,income,city,joined\r\n42,350.5,東京,2026-01-31T09:00:00Z\r\n20.5,,"new, york",1700000000\r\n'.encode()
    by_csv = READER.feeds(decode_csv(body, READER.fields))
    by_json = READER.feeds(list(fabricated.ROWS[:2]))
    for name, array in by_json.items():
        np.testing.assert_array_equal(by_csv[name], array)


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 422, "empty"),
        ("年齢\n".encode(), 422, "0 rows"),
        ("年齢,年齢\n1,2\n".encode(), 422, "twice"),
        ("年齢,city\n1\n".encode(), 422, "line 2 has 1 cells"),
        ("年齢,citi\n1,x\n".encode(), 422, "did you mean 'city'"),
        ("年齢\nnan\n".encode(), 422, "a string is not a number"),
        ("年齢\n1_000\n".encode(), 422, "a string is not a number"),
        ('年齢,city\n1,"open\n'.encode(), 400, "not CSV"),
        (b"\xff\xfe", 400, "not UTF-8"),
    ],
)
def test_bad_csv_is_refused_with_its_place(body: bytes, status: int, text: str) -> None:
    with pytest.raises(InputRefused) as caught:
        READER.feeds(decode_csv(body, READER.fields))
    assert caught.value.status == status
    assert text in caught.value.problems[0].message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01.9", 1),
        ("1970-01-01T09:00:00+09:00", 0),
        ("1969-12-31T23:59:59Z", -1),
        (1.9, 1),
        (-0.5, -1),
    ],
)
def test_timestamps_are_whole_seconds_since_1970_utc(value: Any, seconds: int) -> None:
    assert epoch_seconds(value) == seconds


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.just("2026-01-31")
    | st.sampled_from(list(fabricated.CITIES)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
keys = st.sampled_from(["年齢", "income", "city", "joined", "incom"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(keys, anything, max_size=5), min_size=1, max_size=3))
def test_whatever_arrives_is_either_tensors_or_a_refusal_that_names_something(rows: list[dict[str, Any]]) -> None:
    wrong = [
        problem
        for number, row in enumerate(rows)
        for field in fabricated.SIGNATURE.inputs
        if (problem := value_problem(field, row.get(field.name), number)) is not None
    ]
    unknown = any("incom" in row for row in rows)
    try:
        decoded, strict = decode_json(json.dumps({"rows": rows}).encode())
        feeds = READER.feeds(decoded, strict=strict)
    except InputRefused as refusal:
        # The quick path and the explaining path agree on what is wrong.
        assert wrong or unknown
        assert refusal.total == len(wrong) + sum("incom" in row for row in rows)
        json.loads(refusal.body())
    else:
        assert not wrong
        assert not unknown
        assert all(array.shape == (len(rows), 1) for array in feeds.values())
        assert not any(math.isinf(value) for value in feeds["年齢"].ravel().tolist())


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_make_the_readers_fail_in_another_way(body: bytes) -> None:
    for read in (lambda: READER.feeds(decode_json(body)[0]), lambda: READER.feeds(decode_csv(body, READER.fields))):
        try:
            read()
        except InputRefused as refusal:
            assert refusal.status in (400, 413, 422)
            json.loads(refusal.body())
