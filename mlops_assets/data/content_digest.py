"""The identity of tabular content: SHA-256 over the cells of Parquet files, whatever way the bytes are packed.

Two files with the same columns, types and rows in the same order have the same digest, also if row groups, compression or
writer differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_BATCH = 16_384  # rows


def content_digest(files: Iterable[tuple[str, Path]]) -> str:
    """SHA-256 over the content of named Parquet files, in the order given.

    Of every column three streams are hashed apart: which cells are present (one byte a cell), the values (8 bytes little
    endian, missing as 0; text as UTF-8), and the lengths of texts. So nothing depends on how a file is cut into batches.
    """
    import pyarrow.parquet

    whole = hashlib.sha256()
    for name, path in files:
        with pyarrow.parquet.ParquetFile(path) as parquet:
            schema = parquet.schema_arrow
            streams = [(hashlib.sha256(), hashlib.sha256(), hashlib.sha256()) for _ in schema]
            for batch in parquet.iter_batches(batch_size=_BATCH, use_threads=False):
                for column, stream in zip(batch.columns, streams, strict=True):
                    _feed(column, *stream)
            whole.update(f"{name}\n{parquet.metadata.num_rows}\n".encode())
            for field, stream in zip(schema, streams, strict=True):
                encoded = field.name.encode()
                whole.update(f"{len(encoded)} {field.type}\n".encode() + encoded)
                for part in stream:
                    whole.update(part.digest())
    return whole.hexdigest()


def _feed(column: Any, presence: Any, values: Any, lengths: Any) -> None:
    import numpy
    import pyarrow

    presence.update(column.is_valid().cast(pyarrow.uint8()).to_numpy(zero_copy_only=False).tobytes())
    if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type):
        texts = column.fill_null("").cast(pyarrow.large_string())
        _, offset_bytes, text_bytes = texts.buffers()
        offsets = numpy.frombuffer(offset_bytes, dtype="<i8")[texts.offset : texts.offset + len(texts) + 1]
        lengths.update(numpy.diff(offsets).tobytes())
        if text_bytes is not None:
            values.update(memoryview(text_bytes)[int(offsets[0]) : int(offsets[-1])])
    elif pyarrow.types.is_timestamp(column.type):
        values.update(column.cast(pyarrow.int64()).fill_null(0).to_numpy(zero_copy_only=False).astype("<i8").tobytes())
    else:
        values.update(column.cast(pyarrow.float64()).fill_null(0.0).to_numpy(zero_copy_only=False).astype("<f8").tobytes())
