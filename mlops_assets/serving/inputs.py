"""Requests to tensors: decode JSON and CSV, hold every value to the signature, build one array a field.

The path of a valid request is short and works column by column; only when it meets something odd are the rows walked
again, value by value, to say exactly what is wrong. Running the graph is in ``model``; HTTP is in ``application``.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from mlops_assets.serving.limits import MAX_ROWS, MAX_STRING_CHARACTERS
from mlops_assets.serving.refusal import MAX_PROBLEMS, InputProblem, InputRefused, close_names, echo
from mlops_assets.tasks.interface import InputField, Signature

FLOAT32_MAX = float(np.finfo(np.float32).max)
MISSING_TIMESTAMP = int(np.iinfo(np.int64).min)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND = int((datetime(1, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())
_LAST_SECOND = int((datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - _EPOCH).total_seconds())

Row = dict[str, Any]
Feeds = dict[str, npt.NDArray[Any]]

ALLOWED = {
    "number": f"a finite JSON number of at most {FLOAT32_MAX:.4g} in size",
    "string": f"a string of at most {MAX_STRING_CHARACTERS:,} characters",
    "timestamp": "an ISO 8601 string such as 2026-01-31T09:00:00Z (no zone: UTC) or seconds since 1970-01-01 UTC as a number",
}
SHAPES = '{"rows": [{"field": value, …}, …]} or one {"field": value, …}'


def decode_json(body: bytes) -> tuple[list[Any], bool]:
    """The rows of a JSON body, and whether the bytes may be trusted to be strict JSON.

    The second value is False when only a lenient reader understood the body (``NaN``, lone surrogates): such rows are
    walked value by value, so that the answer can name the field instead of a byte.

    Raises:
        InputRefused: 400 for what is no JSON, 422 for JSON of another shape.
    """
    strict = True
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        document, strict = _decode_leniently(body, error), False
    if type(document) is not dict:
        raise _refused(422, "shape", f"the body is a JSON {_kind(document)}, not an object", allowed=SHAPES)
    rows = document.get("rows")
    if len(document) == 1 and type(rows) is list:
        return rows, strict
    return [document], strict


def _decode_leniently(body: bytes, error: Exception) -> Any:
    """What Python's own reader makes of ``body``; it accepts NaN and Infinity, which can then be reported by field."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        position = f" (byte {len(body)})" if "truncated" in str(error) else ""
        raise _refused(400, "json", f"the body is not JSON: {error}{position}", allowed=SHAPES) from error


def decode_csv(body: bytes, fields: Mapping[str, InputField]) -> list[Row]:
    """The rows of a CSV body with a header line; an empty cell is a missing value.

    Raises:
        InputRefused: 400 for bytes that are no UTF-8 or no CSV, 422 for a header or row of another shape.
    """
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        table = [(lines.line_num, cells) for cells in lines if cells]
    except UnicodeDecodeError as error:
        raise _refused(400, "encoding", f"the body is not UTF-8 (byte {error.start})", allowed="UTF-8") from error
    except csv.Error as error:
        raise _refused(400, "csv", f"line {lines.line_num} is not CSV: {error}") from error
    if not table:
        raise _refused(422, "empty", "the CSV body is empty", allowed=f"a header line of {', '.join(fields)} and one line a row")
    header = [name.strip() for name in table[0][1]]
    if len(set(header)) < len(header):
        repeated = echo(min(name for name, times in Counter(header).items() if times > 1))
        raise _refused(422, "duplicate_column", f"the header names {repeated!r} twice", field=repeated)
    readers = [_cell_reader(fields.get(name)) for name in header]
    rows = []
    for number, (line, cells) in enumerate(table[1:]):
        if len(cells) != len(header):
            text = f"line {line} has {len(cells)} cells, the header has {len(header)}"
            raise _refused(422, "columns", text, row=number, given=len(cells), allowed=f"{len(header)} cells")
        rows.append({name: read(cell) for name, read, cell in zip(header, readers, cells, strict=True)})
    return rows


def _cell_reader(field: InputField | None) -> Callable[[str], Any]:
    def text(cell: str) -> Any:
        return cell or None

    def number(cell: str) -> Any:
        """The number of a cell; what is none stays text, so that the refusal shows it as it was sent."""
        stripped = cell.strip()
        if not stripped:
            return None
        try:
            value = float(stripped)
        except ValueError:
            return cell
        return value if math.isfinite(value) and "_" not in stripped else cell

    return text if field is None or field.kind == "string" else number


class InputReader:
    """Holds rows to one signature and turns them into the graph's inputs."""

    def __init__(self, signature: Signature) -> None:
        self.fields = {field.name: field for field in signature.inputs}
        names = tuple(self.fields)
        self._names = names
        self._known = frozenset(names)
        self._pick: Callable[[Row], tuple[Any, ...]] = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
        fields = tuple(enumerate(signature.inputs))
        self._numbers = tuple((i, f.tensor_name) for i, f in fields if f.kind == "number")
        self._required_numbers = tuple(i for i, f in fields if f.kind == "number" and f.required)
        self._others = tuple((i, f) for i, f in fields if f.kind != "number")

    def feeds(self, rows: Sequence[Any], *, strict: bool = True) -> Feeds:
        """One (N, 1) array a field: float32, object (str) or int64.

        Raises:
            InputRefused: 413 for too many rows, 422 for anything in them that the signature does not allow.
        """
        count = len(rows)
        if not 0 < count <= MAX_ROWS:
            status, code = (413, "too_many_rows") if count else (422, "empty")
            raise _refused(status, code, f"{count:,} rows in one request", given=count, allowed=f"1 to {MAX_ROWS:,} rows")
        feeds = self._quick_feeds(rows) if strict else None
        if feeds is None:
            raise self._refusal(rows)
        return feeds

    def _quick_feeds(self, rows: Sequence[Any]) -> Feeds | None:
        """The arrays, or None where anything at all is odd."""
        known, pick, names = self._known, self._pick, self._names
        table = []
        for row in rows:
            if type(row) is not dict or not row.keys() <= known:
                return None
            try:
                table.append(pick(row))
            except KeyError:
                table.append(tuple(map(row.get, names)))
        count = len(table)
        columns = tuple(zip(*table, strict=True))
        feeds: Feeds = {}
        if self._numbers:
            block = self._number_block(columns, count)
            if block is None:
                return None
            for position, (_, name) in enumerate(self._numbers):
                feeds[name] = block[position]
        for i, field in self._others:
            values = _strings(columns[i], field) if field.kind == "string" else _timestamps(columns[i], field)
            if values is None:
                return None
            feeds[field.tensor_name] = values
        return feeds

    def _number_block(self, columns: Sequence[tuple[Any, ...]], count: int) -> npt.NDArray[Any] | None:
        flat: list[Any] = []
        for i, _ in self._numbers:
            flat.extend(columns[i])
        kinds = set(map(type, flat))
        if not kinds <= _NUMBER_OR_NONE:
            return None
        nullable = _NONE in kinds
        if nullable and any(None in columns[i] for i in self._required_numbers):
            return None
        try:
            with np.errstate(over="ignore"):
                block = np.array(flat, dtype=np.float32)
        except OverflowError:
            return None
        if np.isinf(block).any() if nullable else not np.isfinite(block).all():
            return None
        return block.reshape(len(self._numbers), count, 1)

    def _refusal(self, rows: Sequence[Any]) -> InputRefused:
        """Every problem of ``rows``, at most ``MAX_PROBLEMS`` of them spelled out."""
        problems: list[InputProblem] = []
        total = 0
        for number, row in enumerate(rows):
            found, count = self._row_problems(number, row, MAX_PROBLEMS - len(problems))
            total += count
            problems.extend(found)
        if not problems:
            # Only a body that is no strict JSON gets here although every value is fine: NaN in no field of ours cannot be.
            return _refused(400, "json", "the body is not strict JSON", allowed=SHAPES)
        return InputRefused(422, problems, total=total)

    def _row_problems(self, number: int, row: Any, most: int) -> tuple[list[InputProblem], int]:
        """At most ``most`` problems of a row, and how many it has; to spell out a million would take minutes."""
        if type(row) is not dict:
            text = f"row {number} is a JSON {_kind(row)}, not an object"
            return [InputProblem("shape", text, row=number, given=echo(row), allowed=SHAPES)][:most], 1
        unknown = [name for name in row if name not in self._known]
        problems = [self._unknown(number, str(name), row[name]) for name in unknown[:most]]
        odd = (value_problem(field, row.get(name), number) for name, field in self.fields.items())
        wrong = [problem for problem in odd if problem is not None]
        return [*problems, *wrong][:most], len(unknown) + len(wrong)

    def _unknown(self, number: int, name: str, value: Any) -> InputProblem:
        near = close_names(name, self._names)
        near = near or [own for own in self._names if own.casefold() == name.strip().casefold()]
        shown = echo(name)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return InputProblem(
            "unknown_field",
            f"the model has no field {shown!r}{hint}",
            field=shown,
            row=number,
            given=echo(value),
            allowed=", ".join(self._names[:50]),
            did_you_mean=near[0] if near else None,
        )


_NONE = type(None)
_NUMBER_OR_NONE = frozenset({float, int, _NONE})
_STRING_OR_NONE = frozenset({str, _NONE})


def _strings(column: tuple[Any, ...], field: InputField) -> npt.NDArray[Any] | None:
    if not set(map(type, column)) <= _STRING_OR_NONE:
        return None
    texts = [value or "" for value in column]
    if max(map(len, texts)) > MAX_STRING_CHARACTERS or (field.required and "" in texts):
        return None
    values = np.empty((len(texts), 1), dtype=object)
    values[:, 0] = texts
    return values


def _timestamps(column: tuple[Any, ...], field: InputField) -> npt.NDArray[Any] | None:
    try:
        seconds = [MISSING_TIMESTAMP if value is None or value == "" else epoch_seconds(value) for value in column]
    except ValueError:
        return None
    if field.required and MISSING_TIMESTAMP in seconds:
        return None
    return np.array(seconds, dtype=np.int64).reshape(-1, 1)


def epoch_seconds(value: Any) -> int:
    """Whole seconds since 1970-01-01 UTC of an ISO 8601 string (no zone: UTC) or a number of seconds.

    Raises:
        ValueError: it is neither, or outside the years 1 to 9999.
    """
    if type(value) is str:
        try:
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
            seconds: int = (moment - _EPOCH) // timedelta(seconds=1)
        except OverflowError as error:
            raise ValueError(f"{value!r} is outside the years 1 to 9999") from error
        return seconds
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError("neither an ISO 8601 string nor a number of seconds")
    if not _FIRST_SECOND <= value <= _LAST_SECOND:
        hint = "; that looks like milliseconds, divide by 1000" if abs(value) < 1000 * _LAST_SECOND else ""
        raise ValueError(f"outside the years 1 to 9999{hint}")
    whole: int = math.floor(value)
    return whole


def value_problem(field: InputField, value: Any, row: int) -> InputProblem | None:
    """What is wrong with one value of one field; None if nothing is."""

    def problem(code: str, text: str) -> InputProblem:
        allowed = ALLOWED[field.kind] + ("" if field.required else ", or null")
        message = f"field {field.name!r} of row {row}: {text}"
        return InputProblem(code, message, field=field.name, row=row, given=echo(value), allowed=allowed)

    if value is None or (value == "" and field.kind != "number"):
        return problem("required", "a value is required") if field.required else None
    if field.kind == "number":
        return _number_problem(value, problem)
    if field.kind == "string":
        return _string_problem(value, problem)
    try:
        epoch_seconds(value)
    except ValueError as error:
        return problem("timestamp", f"not a timestamp: {error}")
    return None


def _number_problem(value: Any, problem: Callable[[str, str], InputProblem]) -> InputProblem | None:
    if type(value) not in (int, float):
        return problem("type", f"a {_kind(value)} is not a number")
    if isinstance(value, float) and not math.isfinite(value):
        return problem("not_finite", f"{value} is not a number that a model can use; send null for a missing value")
    if abs(value) > FLOAT32_MAX:
        return problem("too_large", "the number does not fit a 32-bit float")
    return None


def _string_problem(value: Any, problem: Callable[[str, str], InputProblem]) -> InputProblem | None:
    if type(value) is not str:
        return problem("type", f"a {_kind(value)} is not a string; write it in quotes")
    if len(value) > MAX_STRING_CHARACTERS:
        return problem("too_long", f"{len(value):,} characters")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return problem("encoding", f"character {error.start} is half of a surrogate pair, not text")
    return None


def _kind(value: Any) -> str:
    """The JSON word for the type of ``value``."""
    if value is None:
        return "null"
    words = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return words.get(type(value), type(value).__name__)


def _refused(status: int, code: str, message: str, **details: Any) -> InputRefused:
    return InputRefused(status, [InputProblem(code, message, **details)])
