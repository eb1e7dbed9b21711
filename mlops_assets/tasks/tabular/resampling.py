"""Rebalancing the classes of the training rows: SMOTE, random undersampling, random oversampling (imbalanced-learn).

It is given the training matrix and nothing else, right before a model is fitted; validation and test rows never pass through
here. Which columns must keep the values they have is read from the feature definition; fitting is in ``training``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mlops_assets.errors import DataRejected
from mlops_assets.request.vocabulary import Resampling
from mlops_assets.tasks.interface import ClassRows
from mlops_assets.tasks.tabular.definition import FeatureEntry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]
    Answers = NDArray[Any]

#: Neighbours that a new row is drawn from, the number of the SMOTE paper; a class needs one row more.
NEIGHBOURS: Final = 5
#: A number with at most this many values is a code or a count (0 or 1, 1 to 5): its new rows get one of them, nothing between.
FEW_VALUES: Final = 10
#: Oversampling stops at this many cells (400 MB of float32) or at twice the given rows, whichever is more. Two classes always
#: reach balance; a thousand classes beside one large one would otherwise ask for hundreds of times the data.
MOST_CELLS: Final = 100_000_000
#: Neighbours are sought among at most so many rows of a class at once, so that time grows with the rows, not with their square.
PART_ROWS: Final = 10_000
#: SMOTE for nothing but categories keeps a matrix of all distances: 32 MB.
PART_ROWS_NOMINAL: Final = 2_000
#: Rows of the other classes that tell how alike two categories are, where there is nothing but categories.
CONTEXT_ROWS: Final = 20_000
#: float64 cells of neighbours held at once while rows are made (256 MB), and rows made at once.
NEIGHBOUR_CELLS: Final = 32_000_000
ROWS_AT_ONCE: Final = 50_000

#: Calendar parts that follow from each other: a new row takes both from one and the same real row.
_TOGETHER: Final = {"day_of_week": "week", "is_weekend": "week", "day_of_month": "date", "month": "date"}

Progress = Callable[[int, int], None]
"""Called with new rows made and new rows in all."""


def nominal_columns(entries: Sequence[FeatureEntry], x: Matrix) -> tuple[tuple[int, ...], ...]:
    """Groups of columns of ``x`` (N, F) that have no values between the ones they hold.

    The one-hot columns of one category form a group (at most one of them is 1); a label code, a calendar part, and a
    number of at most ``FEW_VALUES`` values each form one. Weekday and weekend flag, and month and day, go together: there is no
    30 February. Target means, aggregates and all other numbers are continuous.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for position, entry in enumerate(entries):
        key: tuple[str, ...] = ("column", str(position))
        if entry.transformation == "one_hot":
            key = ("one_hot", *entry.inputs)
        elif entry.transformation == "time_part":
            part = str(entry.parameters.get("part"))
            key = ("time", *entry.inputs, _TOGETHER.get(part, part))
        elif entry.transformation != "label" and not (entry.transformation == "number" and _has_few_values(x[:, position])):
            continue
        groups.setdefault(key, []).append(position)
    return tuple(tuple(group) for group in groups.values())


def _has_few_values(column: NDArray[np.float32]) -> bool:
    import numpy as np

    return all(len(np.unique(part)) <= FEW_VALUES for part in (column[:PART_ROWS], column))


def resample(
    x: Matrix,
    y: Answers,
    how: Resampling,
    seed: int,
    categorical: Sequence[Sequence[int]],
    *,
    classes: Sequence[str] = (),
    progress: Progress | None = None,
) -> tuple[Matrix, Answers]:
    """The training rows with their classes balanced: ``x`` (N, F) float32 and ``y`` (N,) int64 class index.

    ``undersample`` keeps as many rows of every class as the rarest has, drawn without replacement, in file order.
    ``oversample`` appends rows drawn with replacement until every class has as many as the largest. ``smote`` appends rows that
    lie between a row and one of its five nearest neighbours of the same class; distances are in standard deviations of the class.
    Columns in ``categorical`` (groups of positions, see ``nominal_columns``) are never mixed: a new row takes the group's
    values that most of the five neighbours have (SMOTE-NC; where every column is categorical, SMOTE-N). A class without a
    row stays without one. What is appended is bounded by ``MOST_CELLS``: then the rare classes get equally many rows, but fewer
    than the largest has. Neighbours are sought within parts of ``PART_ROWS`` rows of a class, drawn by ``seed``.

    The same arguments give the same rows, whatever the number of processors. ``classes`` are the names for messages.

    Raises:
        DataRejected: ``smote``, and a class that must grow has fewer than ``NEIGHBOURS`` + 1 rows, or a feature has a missing
            value.

    Source: Chawla, Bowyer, Hall and Kegelmeyer, "SMOTE: Synthetic Minority Over-sampling Technique", JAIR 16 (2002), 321-357;
    SMOTE-NC is its section 6.1, SMOTE-N its section 6.2. As implemented by imbalanced-learn.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    if how == "none":
        return x, y
    present, counts = np.unique(y, return_counts=True)
    rows_of = dict(zip(present.tolist(), counts.tolist(), strict=True))
    if how == "undersample":
        kept = np.sort(_drawn(y, {label: min(rows_of.values()) for label in rows_of}, seed, fewer=True))
        return x[kept], y[kept]
    target = _balanced(list(rows_of.values()), max(MOST_CELLS // x.shape[1], 2 * len(y)))
    wanted = {label: max(rows, target) for label, rows in rows_of.items()}
    if how == "oversample":
        drawn = _drawn(y, wanted, seed, fewer=False)
        return x[drawn], y[drawn]
    growing = {label: wanted[label] - rows for label, rows in rows_of.items() if wanted[label] > rows}
    _check_smote(x, {label: rows_of[label] for label in growing}, classes)
    made, answers = [x], [y]
    done, total = 0, sum(growing.values())
    with threadpool_limits(1):  # the order of equal neighbours must not depend on how many threads look for them
        for label, count in growing.items():
            for batch in _synthetic(x, y, label, count, [list(group) for group in categorical], seed):
                made.append(batch)
                answers.append(np.full(len(batch), label, dtype=y.dtype))
                done += len(batch)
                if progress is not None:
                    progress(done, total)
    return np.concatenate(made), np.concatenate(answers)


def class_rows(before: Answers, after: Answers, classes: Sequence[str]) -> tuple[ClassRows, ...]:
    """How many rows each class had and has, in model order."""
    import numpy as np

    counts = [np.bincount(answers, minlength=len(classes)).tolist() for answers in (before, after)]
    return tuple(ClassRows(label=name, before=b, after=a) for name, b, a in zip(classes, *counts, strict=True))


def _balanced(counts: Sequence[int], most: int) -> int:
    """The rows that every class is filled up to: those of the largest, or as many as ``most`` rows in all allow."""
    low, high = min(counts), max(counts)
    while low < high:  # the largest size that still fits; the smallest class's own size always does
        middle = (low + high + 1) // 2
        if sum(max(rows, middle) for rows in counts) <= most:
            low = middle
        else:
            high = middle - 1
    return low


def _drawn(y: Answers, wanted: Mapping[int, int], seed: int, *, fewer: bool) -> NDArray[np.int64]:
    """Positions of the rows to keep, or of all rows and the repeated ones after them."""
    import numpy as np
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    sampler = (RandomUnderSampler if fewer else RandomOverSampler)(sampling_strategy=dict(wanted), random_state=seed)
    sampler.fit_resample(np.zeros((len(y), 1), np.int8), y)  # it looks at the answers only: the matrix need not be copied
    found: NDArray[np.int64] = sampler.sample_indices_
    return found


def _check_smote(x: Matrix, growing: Mapping[int, int], classes: Sequence[str]) -> None:
    import numpy as np

    poor = {label: rows for label, rows in growing.items() if rows <= NEIGHBOURS}
    if poor:
        said = [f"{classes[label] if label < len(classes) else label}: {rows} row(s)" for label, rows in poor.items()]
        raise DataRejected(
            f"SMOTE needs at least {NEIGHBOURS + 1} training rows of every class, since it draws new rows between neighbours",
            field="preprocessing.resample",
            given=f"smote; {', '.join(said[:10])}" + (f" and {len(said) - 10} more" if len(said) > 10 else ""),
            allowed=("none", "oversample", "undersample"),
            next_step=f"ask for oversample, which repeats the rows there are, or give {NEIGHBOURS + 1} rows of each class",
        )
    if any(not np.isfinite(x[start : start + PART_ROWS]).all() for start in range(0, len(x), PART_ROWS)):
        raise DataRejected(
            "SMOTE measures distances, so it cannot work with missing feature values",
            field="preprocessing.handle_missing",
            next_step="ask for mean, median or mode, or for oversample",
        )


@dataclass(frozen=True)
class _Encoded:
    """Rows as SMOTE takes them: standardised numbers (N, C), then one code a group (N, G); and the way back.

    A column with one value in the class is in neither: every new row has that value.
    """

    rows: NDArray[np.float64]
    template: NDArray[np.float32]
    numbers: list[int]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    groups: list[list[int]]
    patterns: list[NDArray[np.float32]]

    @classmethod
    def of(cls, part: Matrix, context: Matrix, groups: Sequence[list[int]]) -> _Encoded:
        """Encode the rows of ``part`` and, after them, those of ``context``; scales are those of ``part``."""
        import numpy as np

        nominal = {position for group in groups for position in group}
        varied = np.flatnonzero(part.min(axis=0) < part.max(axis=0)).tolist()
        numbers = [position for position in varied if position not in nominal]
        kept = [list(group) for group in groups if not set(group).isdisjoint(varied)]
        values = part[:, numbers].astype(np.float64)
        centre, scale = values.mean(axis=0), values.std(axis=0)
        both = np.concatenate([part, context])
        columns = [(both[:, numbers].astype(np.float64) - centre) / scale]
        patterns = []
        for group in kept:
            found, codes = np.unique(both[:, group], axis=0, return_inverse=True)
            patterns.append(found)
            columns.append(codes.reshape(-1, 1).astype(np.float64))
        return cls(np.concatenate(columns, axis=1), part[0], numbers, centre, scale, kept, patterns)

    @property
    def width(self) -> int:
        """Columns once the codes are one-hot."""
        return len(self.numbers) + sum(map(len, self.patterns))

    def decoded(self, rows: NDArray[Any], low: Matrix, high: Matrix) -> Matrix:
        """Encoded ``rows`` as features; a rounding error must not carry a number outside ``low`` .. ``high`` (F,)."""
        import numpy as np

        features = np.repeat(self.template.reshape(1, -1), len(rows), axis=0)
        numbers = rows[:, : len(self.numbers)].astype(np.float64) * self.scale + self.centre
        features[:, self.numbers] = np.clip(numbers, low[self.numbers], high[self.numbers])
        for column, (group, patterns) in enumerate(zip(self.groups, self.patterns, strict=True), start=len(self.numbers)):
            features[:, group] = patterns[rows[:, column].astype(np.int64)]
        return features


def _synthetic(x: Matrix, y: Answers, label: int, count: int, groups: Sequence[list[int]], seed: int) -> Iterator[Matrix]:
    """``count`` new rows of class ``label``, in batches."""
    import numpy as np

    generator = np.random.default_rng([seed, label])
    own, others = (generator.permutation(np.flatnonzero(y == label)), generator.permutation(np.flatnonzero(y != label)))
    only_categories = sum(map(len, groups)) == x.shape[1]
    parts = np.array_split(own, -(-len(own) // (PART_ROWS_NOMINAL if only_categories else PART_ROWS)))[:count]
    for number, rows in enumerate(parts):
        share = count // len(parts) + (number < count % len(parts))
        part = x[rows]
        # imbalanced-learn wants a second class; only SMOTE-N learns anything from it
        encoded = _Encoded.of(part, x[others[:1]], groups)
        if not encoded.numbers:
            part = part[:PART_ROWS_NOMINAL]
            encoded = _Encoded.of(part, x[others[:CONTEXT_ROWS]], groups)
        if not encoded.numbers and not encoded.groups:  # the rows of the class are all alike: so are the new ones
            yield np.repeat(part[:1], share, axis=0)
            continue
        at_once = max(1, min(ROWS_AT_ONCE, NEIGHBOUR_CELLS // (NEIGHBOURS * encoded.width)))
        low, high = part.min(axis=0), part.max(axis=0)
        for start in range(0, share, at_once):
            batch = min(at_once, share - start)
            yield encoded.decoded(_interpolated(encoded, len(part), batch, int(generator.integers(2**31))), low, high)


def _interpolated(encoded: _Encoded, own: int, count: int, seed: int) -> NDArray[Any]:
    """``count`` encoded rows between the first ``own`` rows of ``encoded``, by the variant of SMOTE that fits its columns."""
    import numpy as np
    from imblearn.over_sampling import SMOTE, SMOTEN, SMOTENC

    settings = {"sampling_strategy": {0: own + count}, "random_state": seed}
    if not encoded.groups:
        sampler = SMOTE(k_neighbors=NEIGHBOURS, **settings)
    elif not encoded.numbers:
        sampler = SMOTEN(k_neighbors=NEIGHBOURS, **settings)
    else:
        codes = list(range(len(encoded.numbers), encoded.rows.shape[1]))
        sampler = SMOTENC(codes, k_neighbors=_dense_neighbours(), **settings)
    answers = (np.arange(len(encoded.rows)) >= own).astype(np.int64)
    with warnings.catch_warnings():
        # the part of a class that is worked on here may well grow beyond the rows that stand beside it
        warnings.filterwarnings("ignore", message="After over-sampling, the number of samples", category=UserWarning)
        made: NDArray[Any] = sampler.fit_resample(encoded.rows, answers)[0][len(encoded.rows) :]
    return made


def _dense_neighbours() -> Any:
    """A neighbour search for SMOTE-NC, whose own works on sparse rows and takes five times as long for the same answer."""
    from sklearn.neighbors import NearestNeighbors

    class DenseNeighbours(NearestNeighbors):  # type: ignore[misc]
        def fit(self, rows: Any, y: Any = None) -> Any:
            return super().fit(rows.toarray(), y)

        def kneighbors(self, rows: Any = None, n_neighbors: int | None = None, return_distance: bool = True) -> Any:
            return super().kneighbors(rows.toarray(), n_neighbors, return_distance)

    return DenseNeighbours(n_neighbors=NEIGHBOURS + 1)
