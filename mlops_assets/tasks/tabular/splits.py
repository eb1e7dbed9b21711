"""The split files of a prepared dataset as the tabular task reads them: by column, by batch, and the answers.

What a column is used for is in ``roles``; what is computed from it in ``fitting`` and ``feature_graph``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlops_assets.data.dataset import Split
from mlops_assets.errors import DataRejected, IntegrityError
from mlops_assets.request.vocabulary import TaskType
from mlops_assets.tasks.tabular.raw_inputs import MISSING_STRING, raw_column

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Array = np.ndarray[Any, np.dtype[Any]]

BATCH_ROWS: Final = 65_536


class SplitFile:
    """One Parquet file of a prepared dataset, read by column for fitting and by batch for transforming."""

    def __init__(self, path: Path, name: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.name = name
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
        except (OSError, pa.ArrowInvalid) as error:
            raise IntegrityError(f"{path} is not a readable Parquet file: {error}") from error
        self.columns = tuple(self._file.schema_arrow.names)
        self.rows = int(self._file.metadata.num_rows)
        if self.rows == 0:
            raise DataRejected(
                f"the {name} split has no rows",
                field="preprocessing",
                given=f"{name}: 0 rows",
                next_step="give more data, a larger validation_fraction or test_fraction, or cleaning that removes fewer rows",
            )

    def require(self, columns: Sequence[str]) -> None:
        """Raises IntegrityError unless every one of ``columns`` is in the file."""
        missing = sorted(set(columns) - set(self.columns))
        if missing:
            raise IntegrityError(f"{self.name}.parquet lacks what dataset.json names: {', '.join(map(repr, missing))}")

    def cells(self, name: str) -> pd.Series[Any]:
        """One column of every row as stored."""
        cells: pd.Series[Any] = self._file.read(columns=[name]).column(name).to_pandas().rename(name)
        return cells

    def column(self, name: str, kind: str) -> Array:
        """One column of every row as the graph reads it, (N,)."""
        return raw_column(self.cells(name), kind)

    def batches(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """These columns, at most ``BATCH_ROWS`` rows at a time, in file order."""
        for batch in self._file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns)):
            yield batch.to_pandas()


def read_answers(
    target: str, task_type: TaskType, splits: Mapping[Split, SplitFile]
) -> tuple[tuple[str, ...], dict[Split, Array]]:
    """Classes in model order and the answers of every split.

    Classification: sorted labels of the training split, and (N,) int64 indexes into them. Regression: no classes, and
    (N,) float64 values.

    Raises:
        DataRejected: an answer is missing, is no finite number, or is a class that the training split does not have.
    """
    import numpy as np
    import pandas as pd

    if task_type == "regression":
        return (), {name: _values(split, target) for name, split in splits.items()}
    labels = {name: split.column(target, "string") for name, split in splits.items()}
    for name, texts in labels.items():
        _refuse(texts == MISSING_STRING, target, name, "an answer is missing")
    classes = tuple(sorted(set(labels["train"].tolist())))
    answers: dict[Split, Array] = {}
    for name, texts in labels.items():
        index = pd.Index(list(classes), dtype=object).get_indexer(pd.Index(texts)).astype(np.int64)
        unknown = sorted({str(label) for label in texts[index < 0]})
        if unknown:
            raise DataRejected(
                f"the {name} split has classes that the training split does not have",
                field=target,
                given=", ".join(unknown[:10]),
                allowed=classes[:50],
                next_step="give more rows of these classes, or leave them out of the data",
            )
        answers[name] = index
    return classes, answers


def _values(split: SplitFile, target: str) -> Array:
    """(N,) float64: an answer is no input of the graph and need not fit its float32."""
    import numpy as np
    import pandas as pd

    values: Array = np.asarray(pd.to_numeric(split.cells(target), errors="coerce"), dtype=np.float64)
    _refuse(~np.isfinite(values), target, split.name, "an answer is missing or is not a finite number")
    return np.ascontiguousarray(values)


def _refuse(bad: Array, target: str, split: str, headline: str) -> None:
    count = int(bad.sum())
    if count:
        raise DataRejected(headline, field=target, given=f"{count} rows of the {split} split", next_step="remove these rows")
