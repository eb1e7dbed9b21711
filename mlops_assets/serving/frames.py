"""Requests of detectors: one bare file, or JSON with one or several frames. What a file holds is in ``images`` and ``clouds``."""

from __future__ import annotations

import binascii
from typing import Any, Final

from mlops_assets.serving.inputs import decode_json
from mlops_assets.serving.limits import MAX_FRAMES
from mlops_assets.serving.refusal import MAX_PROBLEMS, InputProblem, InputRefused, close_names, echo

JSON: Final = "application/json"
#: Far above what ``MAX_FRAMES`` allows, so that whoever is a little over it is told how many rows there were.
_MOST_OBJECTS: Final = 1000


def refused(status: int, code: str, message: str, **details: Any) -> InputRefused:
    """A refusal with one problem."""
    return InputRefused(status, [InputProblem(code, message, **details)])


def frames_of(media_type: str, body: bytes, field: str) -> list[Any]:
    """What stands for each frame of a request: bytes of a bare file, or whatever JSON has in ``field`` of each row.

    Raises:
        InputRefused: 400 for what is no JSON, 413 for too many frames, 422 for rows of another shape.
    """
    if media_type != JSON:
        if not body:
            raise refused(422, "empty", "the body is empty", field=field, row=0, given="0 bytes", allowed="the bytes of one file")
        return [body]
    if body.count(b"{") > _MOST_OBJECTS:
        # Before they are decoded: thirty megabytes of small objects are more than a gigabyte of dictionaries.
        text = f"more than {_MOST_OBJECTS:,} objects in one request"
        raise refused(413, "too_many_rows", text, allowed=f"1 to {MAX_FRAMES} rows")
    rows, strict = decode_json(body)
    shape = f'{{"rows": [{{"{field}": …}}, …]}} or one {{"{field}": …}}'
    if not strict:
        raise refused(400, "json", "the body is not strict JSON: it holds NaN, Infinity or half a character", allowed=shape)
    if not 0 < len(rows) <= MAX_FRAMES:
        status, code = (413, "too_many_rows") if rows else (422, "empty")
        raise refused(status, code, f"{len(rows):,} rows in one request", given=len(rows), allowed=f"1 to {MAX_FRAMES} rows")
    found = [_row_problems(number, row, field, shape) for number, row in enumerate(rows)]
    problems = [problem for told, _ in found for problem in told]
    if problems:
        raise InputRefused(422, problems, total=sum(total for _, total in found))
    return [row[field] for row in rows]


def _row_problems(number: int, row: Any, field: str, shape: str) -> tuple[list[InputProblem], int]:
    """The first problems of a row, and how many it has."""
    if type(row) is not dict:
        return [InputProblem("shape", f"row {number} is not an object", row=number, given=echo(row), allowed=shape)], 1
    problems = []
    unknown = [name for name in row if name != field]
    for name in unknown[:MAX_PROBLEMS]:
        near = bool(close_names(name.casefold(), [field]))
        text = f"the model has no field {echo(name)!r}" + (f"; did you mean {field!r}?" if near else "")
        problems.append(
            InputProblem(
                "unknown_field", text, field=echo(name), row=number, given=echo(row[name]), allowed=field,
                did_you_mean=field if near else None,
            )
        )  # fmt: skip
    missing = row.get(field) is None
    if missing:
        problems.append(InputProblem("required", f"row {number} has no {field!r}", field=field, row=number, allowed=shape))
    return problems, len(unknown) + missing


def base64_bytes(text: str, row: int, field: str) -> bytes:
    """The bytes that ``text`` stands for.

    Raises:
        InputRefused: 422, it is not base64, or stands for nothing.
    """
    try:
        content = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        hint = "; leave out everything up to the comma" if text.startswith("data:") else ""
        message = f"field {field!r} of row {row} is not base64: {str(error).lower()}{hint}"
        raise refused(422, "base64", message, field=field, row=row, given=echo(text), allowed="standard base64") from error
    if not content:
        raise refused(
            422, "empty", f"field {field!r} of row {row} is empty", field=field, row=row, given="", allowed="base64 of a file"
        )
    return content
