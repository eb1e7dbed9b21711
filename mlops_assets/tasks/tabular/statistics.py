"""Statistics of the training split that the feature graph is built from.

Everything here takes columns of the training split as ``raw_inputs.raw_column`` gives them and returns fitted numbers;
no function sees a validation or test row. Applying the numbers is in ``feature_graph``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mlops_assets.request.schema import Preprocessing
from mlops_assets.tasks.tabular.definition import FeatureEntry
from mlops_assets.tasks.tabular.feature_graph import Imputation, LookUp
from mlops_assets.tasks.tabular.raw_inputs import MISSING_STRING

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

#: One-hot columns of one input before the rest becomes "(other)".
MAX_CATEGORIES: Final = 50
#: Keys of one look-up table; rarer values read as unknown. Keeps the graph far below the 2 GB limit of its format.
MAX_KEYS: Final = 200_000
#: Rows that the overall mean counts for in target encoding.
TARGET_SMOOTHING: Final = 10.0
MISSING_NAME: Final = "(missing)"
OTHER_NAME: Final = "(other)"


def fit_imputation(matrix: Array, options: Preprocessing) -> Imputation:
    """Fill, offset and scale of every column of ``matrix`` (N, K) float32 with NaN for missing.

    A missing number becomes the mean, the most frequent value (the smallest of several) or, by default, the median.
    Scaling is fitted after imputation: minimum and range for ``normalize``, mean and population standard deviation
    for ``standardize``, which wins where both are asked for (the last of the two decides the result anyway). A constant
    column becomes 0. A column with no value at all is filled with 0.
    """
    import numpy as np

    width = matrix.shape[1]
    fill, offset, scale = np.zeros(width), np.zeros(width), np.ones(width)
    for j in range(width):
        column = matrix[:, j].astype(np.float64)
        missing = np.isnan(column)
        present = column[~missing]
        if not len(present):
            continue
        fill[j] = _centre(present, options.handle_missing)
        if not (options.normalize or options.standardize):
            continue
        column[missing] = fill[j]
        low, high = column.min(), column.max()
        if low == high:
            offset[j] = low
        elif options.standardize:
            offset[j], scale[j] = column.mean(), column.std()
        else:
            offset[j], scale[j] = low, high - low
    return Imputation(fill=fill, offset=offset, scale=scale)


def _centre(present: Array, how: str | None) -> float:
    import numpy as np

    if how == "mean":
        return float(present.mean())
    if how == "mode":
        values, counts = np.unique(present, return_counts=True)
        return float(values[counts.argmax()])
    return float(np.median(present))


@dataclass(frozen=True)
class Categories:
    """The values of one string column of the training split.

    Attributes:
        column: its name.
        values: distinct values in code point order, at most ``MAX_KEYS`` (the most frequent); "" stands for missing.
        counts: (len(values),) rows of each.
        codes: (N,) index into ``values`` of each row; len(values) for a row whose value was too rare to be kept.
        missing_as: index of the value that a missing cell becomes; None where missing is a value of its own.
    """

    column: str
    values: tuple[str, ...]
    counts: Array
    codes: Array
    missing_as: int | None

    @property
    def keys(self) -> tuple[str, ...]:
        """Every text with a row of its own, the imputed missing cell included."""
        return self.values if self.missing_as is None else (*self.values, MISSING_STRING)

    @property
    def rows(self) -> tuple[int, ...]:
        """Row of each of ``keys``."""
        own = tuple(range(len(self.values)))
        return own if self.missing_as is None else (*own, self.missing_as)


def fit_categories(column: str, texts: Array, *, impute_mode: bool) -> Categories | None:
    """Count the values of a string column (N,); None where every cell is missing.

    With ``impute_mode`` a missing cell becomes the most frequent value, the first of several in code point order.
    """
    import numpy as np
    import pyarrow as pa

    # Not pandas.factorize: its hash of text ends at a NUL character, so it takes "a" and "a\0b" for one value.
    encoded = pa.array(texts, type=pa.large_string()).dictionary_encode()
    codes, names = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
    if names in ([], [MISSING_STRING]):
        return None
    counts = np.bincount(codes, minlength=len(names))
    kept = list(range(len(names)))
    if len(names) > MAX_KEYS:
        kept = sorted(kept, key=lambda i: (-counts[i], names[i]))[:MAX_KEYS]
    order = sorted((i for i in kept if not (impute_mode and names[i] == MISSING_STRING)), key=names.__getitem__)
    position = np.full(len(names), len(order), dtype=np.int64)
    position[order] = np.arange(len(order))
    counts = counts[order]
    missing_as = None
    if impute_mode:
        missing_as = int(counts.argmax())
        if MISSING_STRING in names:
            lost = names.index(MISSING_STRING)
            position[lost] = missing_as
    return Categories(column, tuple(names[i] for i in order), counts, position[codes], missing_as)


def shown(value: str) -> str:
    """The name of a category; a missing cell has one too."""
    return value or MISSING_NAME


def one_hot_table(found: Categories) -> LookUp:
    """One feature a category; an unseen one gives zeros everywhere.

    Above ``MAX_CATEGORIES`` the most frequent keep a feature and all others, unseen ones included, share "(other)":
    a value that training never met is certainly a rare one. (scikit-learn: ``handle_unknown="infrequent_if_exist"``.)
    """
    import numpy as np

    count = len(found.values)
    if count <= MAX_CATEGORIES:
        table = np.vstack([np.eye(count, dtype=np.float32), np.zeros((1, count), dtype=np.float32)])
        entries = tuple(_one_hot_entry(found.column, shown(v), int(n)) for v, n in zip(found.values, found.counts, strict=True))
        return LookUp(found.column, found.keys, found.rows, table, entries)
    frequent = sorted(sorted(range(count), key=lambda i: (-found.counts[i], found.values[i]))[:MAX_CATEGORIES])
    new_row = {old: new for new, old in enumerate(frequent)}
    pairs = [(key, new_row[row]) for key, row in zip(found.keys, found.rows, strict=True) if row in new_row]
    entries = tuple(_one_hot_entry(found.column, shown(found.values[i]), int(found.counts[i])) for i in frequent)
    entries += (_one_hot_entry(found.column, OTHER_NAME, len(found.codes) - int(found.counts[frequent].sum())),)
    table = np.eye(MAX_CATEGORIES + 1, dtype=np.float32)
    return LookUp(found.column, tuple(k for k, _ in pairs), tuple(r for _, r in pairs), table, entries)


def _one_hot_entry(column: str, category: str, rows: int) -> FeatureEntry:
    return FeatureEntry(
        name=f"{column}={category}",
        inputs=(column,),
        transformation="one_hot",
        parameters={"category": category, "train_rows": rows},
        unit="flag",
    )


def label_table(found: Categories) -> LookUp:
    """One feature: the index of the category in code point order (missing is first); -1 for an unseen one."""
    import numpy as np

    count = len(found.values)
    table = np.append(np.arange(count, dtype=np.float32), np.float32(-1)).reshape(-1, 1)
    entry = FeatureEntry(
        name=found.column,
        inputs=(found.column,),
        transformation="label",
        parameters={"categories": count, "unseen": -1},
        unit="code",
    )
    return LookUp(found.column, found.keys, found.rows, table, (entry,))


def target_table(found: Categories, targets: Array, names: Sequence[str], rows: Array | None = None) -> LookUp:
    """One feature a column of ``targets``: its smoothed mean over the rows of the category.

    ``(sum + m * overall) / (n + m)`` with m = ``TARGET_SMOOTHING``; an unseen category reads the overall mean.

    Args:
        found: the categories of the training split.
        targets: (N, T) float64, the value for regression, one 0/1 column a modelled class for classification.
        names: T names, "" for a single column.
        rows: (N,) bool, the rows to learn from; None for all. Keys stay the same, so a fold's table fits the same graph.

    Source: D. Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes in classification and
    prediction problems", SIGKDD Explorations 3(1), 2001.
    """
    import numpy as np

    codes, learned = (found.codes, targets) if rows is None else (found.codes[rows], targets[rows])
    if not len(codes):  # one training row: its own fold leaves nothing to learn from
        codes, learned = found.codes[:0], targets
    overall = learned.mean(axis=0)
    counts = np.bincount(codes, minlength=len(found.values) + 1)
    table = np.empty((len(found.values) + 1, targets.shape[1]), dtype=np.float32)
    for j in range(targets.shape[1]):
        sums = np.bincount(codes, weights=learned[: len(codes), j], minlength=len(counts))
        table[:, j] = (sums + TARGET_SMOOTHING * overall[j]) / (counts + TARGET_SMOOTHING)
    table[-1] = overall
    entries = tuple(
        FeatureEntry(
            name=f"{found.column}_target" + (f"_{name}" if name else ""),
            inputs=(found.column,),
            transformation="target_mean",
            parameters={
                "overall": float(overall[j]),
                "smoothing": TARGET_SMOOTHING,
                "class": name,
            },
            unit="target",
        )
        for j, name in enumerate(names)
    )
    return LookUp(found.column, found.keys, found.rows, table, entries)


def entity_table(found: Categories, numbers: Sequence[str], read: Callable[[str], Array]) -> LookUp:
    """Rows of each entity in the training split and the mean of every number over them.

    An unseen or missing entity reads the rows of an average entity and the overall means; so does a single mean that
    its entity has no value for. ``read`` gives one number column (N,) float32 at a time; one without values has no mean.
    """
    import numpy as np

    entities = [i for i, value in enumerate(found.values) if value != MISSING_STRING]
    counts = found.counts[entities]
    columns = [np.append(counts, counts.mean())]
    entries = [
        FeatureEntry(
            name=f"{found.column}_count",
            inputs=(found.column,),
            transformation="entity_count",
            parameters={"entities": len(entities), "unseen": float(counts.mean())},
            unit="rows",
        )
    ]
    for number in numbers:
        values = read(number).astype(np.float64)
        finite = np.isfinite(values)
        if not finite.any():
            continue
        overall = float(values[finite].mean())
        codes = found.codes[finite]
        sums = np.bincount(codes, weights=values[finite], minlength=len(found.values) + 1)[entities]
        present = np.bincount(codes, minlength=len(found.values) + 1)[entities]
        means = np.divide(sums, present, out=np.full(len(entities), overall), where=present > 0)
        columns.append(np.append(means, overall))
        entries.append(
            FeatureEntry(
                name=f"{number}_mean_by_{found.column}",
                inputs=(found.column,),
                transformation="entity_mean",
                parameters={"of": number, "entities": len(entities), "unseen": overall},
                unit="source",
            )
        )
    keys = tuple(found.values[i] for i in entities)
    return LookUp(found.column, keys, tuple(range(len(keys))), np.column_stack(columns).astype(np.float32), tuple(entries))


def cross_fitting_folds(y: Array, folds: int, seed: int, *, stratified: bool) -> Array:
    """(N,) fold of each training row; with ``stratified`` every class is spread evenly over the folds."""
    import numpy as np

    order = np.random.default_rng(seed).permutation(len(y))
    if stratified:
        order = order[np.argsort(y[order], kind="stable")]
    fold = np.empty(len(y), dtype=np.int64)
    fold[order] = np.arange(len(y)) % folds
    return fold
