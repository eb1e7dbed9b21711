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
    measured = _quartiles(connection, train, rows, columns) if method == "iqr" else _moments(connection, train, columns)
    fences: dict[str, Fence] = {}
    for name, (low, high, distinct) in measured.items():
        # twelve digits: the order in which threads add must not decide about a row
        if distinct > 2:
            fences[name] = Fence(float(f"{low:.12g}"), float(f"{high:.12g}"))
    return fences


_Measured = dict[str, tuple[float, float, int]]  # name -> low, high, about how many distinct values


def _quartiles(connection: Any, train: str, rows: int, columns: Mapping[str, str]) -> _Measured:
    if rows > EXACT_ROWS:
        share = format(int(2**32 * EXACT_ROWS / rows), "08x")
        train = f"(SELECT * FROM {train} WHERE md5('outliers:' || CAST(rn AS VARCHAR)) < '{share}')"
    together = max(1, EXACT_ROWS // max(1, rows))  # quantiles keep the values of a column in memory
    names = list(columns)
    found: _Measured = {}
    for start in range(0, len(names), together):
        group = names[start : start + together]
        asked = ", ".join(f"quantile_cont({columns[n]}, [0.25, 0.75]), approx_count_distinct({columns[n]})" for n in group)
        row = connection.execute(f"SELECT {asked} FROM {train}").fetchone()
        for k, name in enumerate(group):
            quartiles, distinct = row[2 * k : 2 * k + 2]
            if quartiles is not None and quartiles[0] < quartiles[1]:
                reach = IQR_FACTOR * (quartiles[1] - quartiles[0])
                found[name] = (quartiles[0] - reach, quartiles[1] + reach, distinct)
    return found


def _moments(connection: Any, train: str, columns: Mapping[str, str]) -> _Measured:
    if not columns:
        return {}
    asked = ", ".join(f"favg({c}), stddev_pop({c}), approx_count_distinct({c})" for c in columns.values())
    row = connection.execute(f"SELECT {asked} FROM {train}").fetchone()
    found: _Measured = {}
    for k, name in enumerate(columns):
        mean, deviation, distinct = row[3 * k : 3 * k + 3]
        if deviation:
            found[name] = (mean - Z_LIMIT * deviation, mean + Z_LIMIT * deviation, distinct)
    return found


def inside(fences: Mapping[str, Fence], columns: Mapping[str, str]) -> str:
    """SQL that holds for rows within every fence; a missing cell is not an outlier."""
    parts = [
        f"coalesce({columns[name]} BETWEEN CAST('{fence.low!r}' AS DOUBLE) AND CAST('{fence.high!r}' AS DOUBLE), true)"
        for name, fence in fences.items()
    ]
    return " AND ".join(parts) or "true"
