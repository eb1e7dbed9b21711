"""What a person gives for prediction: reading rows of CSV and JSON files and seeing CSV cells with the model's eyes, and reading
one image or cloud for a detector.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlops_assets.errors import UserError

if TYPE_CHECKING:
    from mlops_assets.tasks.interface import Signature

Rows = list[dict[str, Any]]
IMAGES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
CLOUDS = (".bin", ".pcd", ".ply")


class FrameFile(NamedTuple):
    """One image or cloud as the endpoint reads it."""

    content: bytes
    media_type: str


def read_frame(file: Path, signature: Signature) -> FrameFile | None:
    """The image or cloud in ``file`` for a detector; None where the file holds rows, of a table or of a detector's JSON.

    Clouds of every readable format are sent as float32 x, y, z, reflectance.

    Raises:
        UserError: the file is missing, cannot be read, or is not what the model reads.
    """
    kind, suffix = signature.inputs[0].kind, file.suffix.lower()
    wanted = {"image": (*IMAGES, ".json"), "points": (*CLOUDS, ".json")}.get(kind, (".csv", ".json"))
    if suffix not in (*IMAGES, *CLOUDS) and kind not in ("image", "points"):
        return None
    if suffix == ".json" or str(file) == "-":
        return None
    if suffix not in wanted:
        what = {"image": "an image", "points": "a point cloud"}.get(kind, "rows of a table")
        raise UserError(f"this model reads {what}", field="FILE", given=file, allowed=wanted)
    if not file.is_file():
        raise UserError("there is no such file", field="FILE", given=file, next_step="give an image or a cloud")
    if kind == "image":
        return FrameFile(file.read_bytes(), IMAGES[suffix])
    from mlops_assets.data.kitti.clouds import read_cloud

    return FrameFile(read_cloud(file).astype("<f4").tobytes(), "application/octet-stream")


def read_rows(file: Path) -> tuple[Rows, bool]:
    """Rows of a CSV or JSON file (``-``: standard input), and whether they are CSV, whose cells are all text (empty: None).

    Raises:
        UserError: the file is missing, not UTF-8, or holds no rows of either format.
    """
    if str(file) != "-" and not file.is_file():
        raise UserError("there is no such file", field="FILE", given=file, next_step="give a CSV or JSON file of rows")
    content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        given = f"{file}, byte {error.start}"
        raise UserError("the file is not UTF-8 text", field="FILE", given=given, next_step="save it as UTF-8") from error
    as_text = not text.lstrip().startswith(("{", "["))
    rows = _csv_rows(text, file) if as_text else _json_rows(text, file)
    if not rows:
        raise UserError("the file holds no rows", field="FILE", given=str(file), next_step="a header line and at least one row")
    return rows, as_text


def _json_rows(text: str, file: Path) -> Rows:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError("the file is not valid JSON", field="FILE", given=f"{file}, line {error.lineno}: {error.msg}") from error
    except RecursionError as error:
        raise UserError("the JSON is nested too deeply for rows", field="FILE", given=str(file)) from error
    if isinstance(content, dict):
        content = content.get("rows", [content])
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        allowed = ['{"column": value}', "[{…}, {…}]", '{"rows": […]}']
        raise UserError("the JSON holds no rows", field="FILE", given=str(file), allowed=allowed)
    return content


def _csv_rows(text: str, file: Path) -> Rows:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        return [{name: (cell or "").strip() or None for name, cell in row.items() if name is not None} for row in reader]
    except csv.Error as error:
        raise UserError("the file is not valid CSV", field="FILE", given=f"{file}, line {reader.line_num}: {error}") from error


def conform(rows: Rows, signature: Signature) -> tuple[Rows, list[str]]:
    """Rows of text cells as the model's inputs, and the columns that it does not know and that were left out.

    Raises:
        UserError: a cell of a number column is not a number, or no column at all is an input of the model.
    """
    kinds = {field.name: field.kind for field in signature.inputs}
    if not kinds.keys() & rows[0].keys():
        raise UserError(
            "none of the columns is an input of this model",
            field="FILE",
            given=", ".join(list(rows[0])[:20]),
            allowed=list(kinds)[:50],
            next_step="name the columns in the first line",
        )
    conformed = [
        {name: _cell(cell, kinds[name], name, position) for name, cell in row.items() if name in kinds}
        for position, row in enumerate(rows, 1)
    ]
    return conformed, [name for name in rows[0] if name not in kinds]


def _cell(cell: str | None, kind: str, column: str, position: int) -> float | str | None:
    if cell is None or kind != "number":
        return cell
    try:
        return float(cell)
    except ValueError as error:
        allowed = ["a number", "an empty cell"]
        raise UserError(f"row {position} has text in a number column", field=column, given=cell, allowed=allowed) from error
