"""Which rows of the training split are outliers: fences of each numeric feature, fitted on that split only.

Removing them is in ``cleaning``; validation and test rows are never removed for being unusual.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlops_assets.request.vocabulary import HandleOutliers

IQR_FACTOR: Final = 1.5
Z_LIMIT: Final = 3.0
#: Above this many rows quantiles are taken from a sample of about this many, chosen by a hash of the row number.
EXACT_ROWS: Final = 1_000_000


@dataclass(frozen=True)
class Fence:
    """The allowed range of one feature, limits included."""

    low: float
    high: float


def fit_fences(connection: Any, train: str, rows: int, method: HandleOutliers, columns: Mapping[str, str]) -> dict[str, Fence]:
    """Fences of the numeric features, given as name -> SQL column of the table ``train``.

    ``iqr``: [Q1 - 1.5 IQR, Q3 + 1.5 IQR] with linearly interpolated quartiles (Source: Tukey 1977).
    ``zscore``: mean ± 3 standard deviations.
    A feature with at most two values, or whose quartiles or values are all the same, gets no fence: there every rare value
    would be an outlier, and flags and amounts that are mostly zero would lose exactly the rows that tell something.
    """
    fences: dict[str, Fence] = {}
    for name, column in columns.items():
        if method == "iqr":
            chosen = train
            if rows > EXACT_ROWS:
                share = format(int(2**32 * EXACT_ROWS / rows), "08x")
                chosen = f"(SELECT * FROM {train} WHERE md5('outliers:' || CAST(rn AS VARCHAR)) < '{share}')"
            first, third, two = connection.execute(
                f"SELECT quantile_cont({column}, 0.25), quantile_cont({column}, 0.75), count_if({column} NOT IN (low, high)) = 0 "
                f"FROM {chosen}, (SELECT min({column}) AS low, max({column}) AS high FROM {chosen})"
            ).fetchone()
            if first is not None and third > first and not two:
                reach = IQR_FACTOR * (third - first)
                fences[name] = Fence(first - reach, third + reach)
        else:
            mean, deviation, two = connection.execute(
                f"SELECT favg({column}), stddev_pop({column}), count_if({column} NOT IN (low, high)) = 0 "
                f"FROM {train}, (SELECT min({column}) AS low, max({column}) AS high FROM {train})"
            ).fetchone()
            if deviation and not two:
                # twelve digits: the order in which threads add must not decide about a row
                centre, reach = float(f"{mean:.12g}"), Z_LIMIT * float(f"{deviation:.12g}")
                fences[name] = Fence(centre - reach, centre + reach)
    return fences


def inside(fences: Mapping[str, Fence], columns: Mapping[str, str]) -> str:
    """SQL that holds for rows within every fence; a missing cell is not an outlier."""
    parts = [
        f"coalesce({columns[name]} BETWEEN CAST('{fence.low!r}' AS DOUBLE) AND CAST('{fence.high!r}' AS DOUBLE), true)"
        for name, fence in fences.items()
    ]
    return " AND ".join(parts) or "true"
