"""The shape of one raw file: format, compression, encoding, delimiter, header, digest; and where a broken one is broken.

Nothing here interprets a cell: kinds are in ``column_kinds``. Files are read in blocks, never as a whole.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from mlops_assets.data.engine import identifier, literal
from mlops_assets.errors import UserError

_BLOCK = 1 << 20
_HEADER_LIMIT = 1 << 20
_DELIMITERS = (",", "\t", ";", "|")
#: The row number of a Parquet file is asked for under this name, so no column of a user may have it.
ROW_NUMBER = "file_row_number"
_NOT_TEXT = {b"PK\x03\x04": "an Excel workbook or ZIP archive", b"\xd0\xcf\x11\xe0": "an old Excel workbook", b"%PDF": "a PDF"}


@dataclass(frozen=True)
class RawFile:
    """What is known of a raw file before its rows are read.

    Attributes:
        encoding: Python's name for it; ``utf-8`` and ``utf-8-sig`` are read as they lie, others are converted first.
        delimiter: one character; empty for Parquet.
        types: Arrow types in words, for Parquet; empty for text.
    """

    path: Path
    format: Literal["csv", "parquet"]
    names: tuple[str, ...]
    sha256: str
    bytes: int
    encoding: str = "utf-8"
    delimiter: str = ""
    compressed: bool = False
    types: tuple[str, ...] = ()

    @property
    def needs_conversion(self) -> bool:
        """Whether DuckDB can read the text only after it was converted to UTF-8."""
        return self.format == "csv" and self.encoding not in ("utf-8", "utf-8-sig")


def inspect(path: Path) -> RawFile:
    """Look at a raw file: its header, and its bytes once for the digest and the encoding.

    Raises:
        UserError: it is missing, a folder, empty, not CSV or Parquet, in an unknown encoding, without a header, with only
            a header, or with column names that are empty, repeated or reserved.
    """
    if path.is_dir():
        raise UserError("a dataset is one file, this is a folder", field="source", given=path, next_step="name the file in it")
    if not path.is_file():
        raise UserError("there is no such file", field="source", given=path, next_step="check the path")
    size = path.stat().st_size
    if size == 0:
        raise UserError(
            "the file is empty", field="source", given=path, next_step="give a CSV file with a header or a Parquet file"
        )
    with path.open("rb") as stream:
        head = stream.read(4)
    if head == b"PAR1":
        return _inspect_parquet(path, size)
    for magic, name in _NOT_TEXT.items():
        if head.startswith(magic):
            raise UserError(
                f"the file is {name}",
                field="source",
                given=path,
                allowed=("CSV", "CSV.gz", "TSV", "Parquet"),
                next_step="save it as CSV UTF-8",
            )
    if path.suffix == ".parquet":
        raise _corrupt_parquet(path, "it does not begin with PAR1")
    return _inspect_text(path, size, compressed=head.startswith(b"\x1f\x8b"))


def _corrupt_parquet(path: Path, why: str) -> UserError:
    return UserError(f"the Parquet file is damaged: {why}", field="source", given=path, next_step="write or copy it again")


def _inspect_parquet(path: Path, size: int) -> RawFile:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as parquet:
            schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise _corrupt_parquet(path, str(error).partition("\n")[0][:200]) from error
    names = tuple(str(name) for name in schema.names)
    _check_names(path, names)
    if rows == 0:
        raise UserError("the file has columns and no row", field="source", given=path, next_step="give at least one row")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return RawFile(path, "parquet", names, digest, size, types=tuple(str(t) for t in schema.types))


def _inspect_text(path: Path, size: int, *, compressed: bool) -> RawFile:
    encoding = _encoding_of(path, compressed=compressed)
    delimiter = "\t" if ".tsv" in path.suffixes else _delimiter_of(_beginning(path, encoding, compressed=compressed))
    rows = _records(path, encoding, delimiter, compressed=compressed)
    try:
        header = next(rows, (0, []))[1]
        names = tuple(name.strip() for name in header)
        if not any(names):
            raise UserError("the file has no header line", field="source", given=path, next_step="begin it with the column names")
        _check_names(path, names)
        first = next((cells for _, cells in rows if cells), None)
    finally:
        rows.close()
    if first is None:
        raise UserError("the file has only a header line", field="source", given=path, next_step="give at least one row")
    if _looks_like_data(names):
        raise UserError(
            "the first line looks like data: the file has no header",
            field="source",
            given=", ".join(names[:6]),
            next_step="begin the file with a line of column names",
        )
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return RawFile(path, "csv", names, digest, size, encoding, delimiter, compressed)


def _check_names(path: Path, names: tuple[str, ...]) -> None:
    for position, name in enumerate(names, start=1):
        if not name:
            raise UserError(
                f"column {position} has no name",
                field="source",
                given=path,
                next_step="name it in the header, or leave it out (pandas: to_csv(index=False))",
            )
        if "\x00" in name or name.lower() == ROW_NUMBER:
            raise UserError("a column name that cannot be used", field="source", given=repr(name), next_step="rename the column")
    repeated = [name for name, count in Counter(name.lower() for name in names).items() if count > 1]
    if repeated:
        spelled = [name for name in names if name.lower() == repeated[0]]
        raise UserError(
            "column names must differ, also when upper and lower case are ignored",
            field="source",
            given=", ".join(spelled),
            next_step="rename one of them",
        )


def _looks_like_data(names: tuple[str, ...]) -> bool:
    """Whether a header line is made of measurements: numbers that are neither years nor counted up from 0 or 1."""
    numeric = [name for name in names if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", name)]
    if not numeric or all(re.fullmatch(r"(19|20)\d\d", name) for name in numeric):
        return False
    counted = {tuple(str(n) for n in range(start, start + len(numeric))) for start in (0, 1)}
    return tuple(numeric) not in counted


def _open(path: Path, *, compressed: bool) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path, "rb")) if compressed else path.open("rb")


def _damaged_gzip(path: Path, error: Exception) -> UserError:
    return UserError(f"the gzip file is damaged: {error}", field="source", given=path, next_step="compress or copy it again")


def _encoding_of(path: Path, *, compressed: bool) -> str:
    """The encoding of a text file, decided on all its bytes: UTF-8, UTF-16 by its mark, else Shift_JIS (CP932)."""
    with _open(path, compressed=compressed) as stream:
        try:
            start = stream.read(4)
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged_gzip(path, error) from error
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    failure = _first_undecodable_line(path, "utf-8", compressed=compressed)
    if failure is None:
        return "utf-8-sig" if start.startswith(codecs.BOM_UTF8) else "utf-8"
    if _first_undecodable_line(path, "cp932", compressed=compressed) is None:
        return "cp932"
    raise UserError(
        f"line {failure} is neither UTF-8 nor Shift_JIS",
        field="source",
        given=path,
        allowed=("UTF-8", "UTF-16 with a byte order mark", "Shift_JIS (CP932)"),
        next_step="save the file as UTF-8",
    )


def _first_undecodable_line(path: Path, encoding: str, *, compressed: bool) -> int | None:
    decoder = codecs.getincrementaldecoder(encoding)()
    line, double = 1, encoding == "utf-8"
    try:
        with _open(path, compressed=compressed) as stream:
            while block := stream.read(_BLOCK):
                if b"\x00" in block:
                    raise UserError(
                        "the file holds NUL bytes: it is not a text file",
                        field="source",
                        given=path,
                        allowed=("CSV", "CSV.gz", "TSV", "Parquet"),
                        next_step="save it as CSV UTF-8",
                    )
                text = decoder.decode(block)
                # Latin-1 decodes as half-width katakana: without one character of two bytes it is not taken for Japanese
                double = double or any(ord(character) > 0xFF and not 0xFF61 <= ord(character) <= 0xFF9F for character in text)
                line += block.count(b"\n")
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return line + error.object[: error.start].count(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        if compressed:
            raise _damaged_gzip(path, error) from error
        raise
    return None if double else line


def _beginning(path: Path, encoding: str, *, compressed: bool) -> str:
    with _open(path, compressed=compressed) as stream:
        return codecs.getincrementaldecoder(encoding)(errors="replace").decode(stream.read(_HEADER_LIMIT))


def _delimiter_of(text: str) -> str:
    """The separator that splits the header into most names, outside quotes; a comma where none occurs.

    A quote opens a cell only where one begins, and only a line feed or carriage return ends the header: not the separators of
    records and paragraphs that ``str.splitlines`` knows.
    """
    outside = re.sub(r'(^|[,;\t|\r\n])"(?:[^"]|"")*"', r"\1", text)
    header = next((line for line in re.split(r"[\r\n]+", outside) if line.strip()), "")
    return max(_DELIMITERS, key=lambda d: (header.count(d), -_DELIMITERS.index(d)))


def _records(path: Path, encoding: str, delimiter: str, *, compressed: bool) -> Generator[tuple[int, list[str]]]:
    """Physical line number (1 = header) and cells of every record, by Python's own strict CSV reader."""
    opened: Any = gzip.open if compressed else open
    with opened(path, "rt", encoding=encoding, newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        start = 1
        try:
            for cells in reader:
                yield start, cells
                start = reader.line_num + 1
        except csv.Error as error:
            raise UserError(
                f"line {start} cannot be read as CSV: {error}",
                field="source",
                given=path,
                next_step='close every quote, and write a quote inside a quoted cell twice ("")',
            ) from error


def check_records(raw: RawFile) -> None:
    """Find the first record of a text file that has another number of fields than the header.

    Raises:
        UserError: there is one, or the text is no CSV; names the line.
    """
    width = len(raw.names)
    for line, cells in _records(raw.path, raw.encoding, raw.delimiter, compressed=raw.compressed):
        if len(cells) != width and cells:
            raise UserError(
                f"line {line} has {len(cells)} fields, the header has {width}",
                field="source",
                given=raw.delimiter.join(cells)[:120],
                next_step="mend the line, or quote the cells that contain the separator",
            )


def convert_to_utf8(raw: RawFile, target: Path) -> RawFile:
    """Write the text again as plain UTF-8 CSV with one kind of line end, a record at a time."""
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for _, cells in _records(raw.path, raw.encoding, raw.delimiter, compressed=raw.compressed):
            if cells or len(raw.names) == 1:
                writer.writerow(cells or [""])
    return RawFile(target, "csv", raw.names, raw.sha256, raw.bytes, "utf-8", ",", False)


def relation(raw: RawFile) -> str:
    """SQL of a table with the columns ``c0 … cN`` in file order; every cell of a text file is VARCHAR."""
    if raw.format == "parquet":
        names = ", ".join(f"{identifier(name)} AS c{i}" for i, name in enumerate(raw.names))
        return f"(SELECT {names} FROM read_parquet({literal(str(raw.path))}))"
    columns = ", ".join(f"c{i}: 'VARCHAR'" for i in range(len(raw.names)))
    shape = f"auto_detect=false, header=true, strict_mode=true, delim={literal(raw.delimiter)}, quote='\"', escape='\"'"
    # small buffers, or each thread would take 32 MB for itself
    limits = f"compression={literal('gzip' if raw.compressed else 'none')}, max_line_size=2000000, buffer_size=8000000"
    return f"read_csv({literal(str(raw.path))}, columns={{{columns}}}, {shape}, {limits})"
