"""Raw columns of a pandas frame as the tensors that the feature graph reads.

The one place that says how a missing, infinite or oddly typed cell enters a graph; fitting, training, evaluation and
export all come through here. What happens to the value afterwards is in ``feature_graph``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from mlops_assets.errors import UserError
from mlops_assets.tasks.interface import InputField

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Tensor = np.ndarray[Any, np.dtype[Any]]

MISSING_TIMESTAMP: Final = -(2**63)
MISSING_STRING: Final = ""


def raw_inputs(frame: pd.DataFrame, inputs: Sequence[InputField]) -> dict[str, Tensor]:
    """The feed of the graph for the rows of ``frame``: one (N, 1) array an input, keyed by ``InputField.tensor_name``.

    float32 for a number (NaN = missing), object of str for a string ("" = missing), int64 seconds since 1970-01-01 UTC
    for a timestamp (minimum int64 = missing). A column that is not in the frame is missing in every row.

    Raises:
        UserError: a required column is absent, or a cell cannot be read as the kind of its field.
    """
    feed: dict[str, Tensor] = {}
    for field in inputs:
        if field.name not in frame.columns:
            if field.required:
                raise UserError(
                    "a required input column is missing",
                    field=field.name,
                    next_step="add the column; the model was trained with handle_missing: drop",
                )
            column = _all_missing(len(frame), field.kind)
        else:
            column = raw_column(frame[field.name], field.kind)
        feed[field.tensor_name] = column.reshape(-1, 1)
    return feed


def raw_column(values: pd.Series[Any], kind: str) -> Tensor:
    """One column as the graph reads it, shape (N,); dtype and missing marks as in ``raw_inputs``.

    Raises:
        UserError: a cell cannot be read as ``kind``.
    """
    if kind == "number":
        return _numbers(values)
    if kind == "timestamp":
        return _epoch_seconds(values)
    return _strings(values)


def _all_missing(rows: int, kind: str) -> Tensor:
    import numpy as np

    if kind == "number":
        return np.full(rows, np.nan, dtype=np.float32)
    if kind == "timestamp":
        return np.full(rows, MISSING_TIMESTAMP, dtype=np.int64)
    return np.full(rows, MISSING_STRING, dtype=object)


def _numbers(values: pd.Series[Any]) -> Tensor:
    """float32; what does not fit in float32 becomes infinite, which the graph reads as missing."""
    import numpy as np
    import pandas as pd

    try:
        numbers: Tensor = np.asarray(
            pd.to_numeric(values, errors="raise").astype("Float64").to_numpy(np.float64, na_value=np.nan)
        )
    except (ValueError, TypeError) as error:
        raise UserError("a cell is not a number", field=str(values.name), given=str(error)[:200]) from error
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32)


def _strings(values: pd.Series[Any]) -> Tensor:
    """Text as it stands; numbers as text without a trailing ``.0``, truth values in lower case, as DuckDB writes them."""
    import numpy as np
    import pandas as pd

    texts: Tensor = np.array(values.astype(object), dtype=object)
    missing = pd.isna(texts)
    if not pd.api.types.is_string_dtype(values[~missing]):
        texts = np.array([_as_text(value) for value in texts], dtype=object)
    texts[missing] = MISSING_STRING
    return texts


def _as_text(value: Any) -> str:
    import numpy as np

    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating) and float(value).is_integer() and abs(float(value)) < 2**53:
        return str(int(value))
    return str(value)


def _epoch_seconds(values: pd.Series[Any]) -> Tensor:
    """Whole seconds, rounded down also before 1970; a time without a zone is taken as UTC."""
    import numpy as np
    import pandas as pd

    try:
        times = values if pd.api.types.is_datetime64_any_dtype(values) else pd.to_datetime(values, utc=True, format="ISO8601")
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError("a cell is not a time", field=str(values.name), given=str(error)[:200]) from error
    zone = getattr(times.dtype, "tz", None)
    utc = times.dt.tz_convert("UTC").dt.tz_localize(None) if zone is not None else times
    stamps = utc.to_numpy()
    unit, _ = np.datetime_data(stamps.dtype)
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    ticks = stamps.view(np.int64)
    return np.where(np.isnat(stamps), np.int64(MISSING_TIMESTAMP), ticks // per_second)
