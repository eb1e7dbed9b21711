"""From the training split to fitted features: statistics of every column, cross-fitted variants, selection.

The statistics themselves are in ``statistics`` and ``selection``, their application in ``feature_graph``. Only the
training split is ever given to this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from mlops_assets.errors import DataRejected
from mlops_assets.request.schema import Preprocessing
from mlops_assets.tasks.interface import InputField
from mlops_assets.tasks.tabular.definition import FeatureEntry, distinct_names
from mlops_assets.tasks.tabular.feature_graph import OUTPUT, TIME_PARTS, FittedFeatures, LookUp, build_graph
from mlops_assets.tasks.tabular.raw_inputs import MISSING_STRING, MISSING_TIMESTAMP, raw_inputs
from mlops_assets.tasks.tabular.roles import Roles
from mlops_assets.tasks.tabular.selection import correlated_features, importances, most_important
from mlops_assets.tasks.tabular.splits import SplitFile
from mlops_assets.tasks.tabular.statistics import (
    MAX_CATEGORIES,
    Categories,
    cross_fitting_folds,
    entity_table,
    fit_categories,
    fit_imputation,
    label_table,
    one_hot_table,
    target_table,
)

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

FOLDS: Final = 5


@dataclass(frozen=True)
class TrainingSplit:
    """The training rows: the file, the answers (N,) and the classes in model order (empty for regression)."""

    file: SplitFile
    answers: Array
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Folds:
    """Cross-fitted variants of the features: ``variants[f]`` is for the training rows whose ``fold`` (N,) is f."""

    fold: Array
    variants: tuple[FittedFeatures, ...]


@dataclass(frozen=True)
class Fitted:
    """The features, the raw inputs that they read, and the variants for training rows where there is target encoding."""

    features: FittedFeatures
    inputs: tuple[InputField, ...]
    folds: Folds | None = None

    def keep(self, positions: Sequence[int]) -> Fitted:
        """Only the features at these positions, and the inputs that they still read."""
        features = self.features.keep(positions)
        folds = self.folds
        if folds is not None:
            folds = replace(folds, variants=tuple(variant.keep(positions) for variant in folds.variants))
        return Fitted(features, tuple(field for field in self.inputs if field.name in features.columns), folds)


def fit_features(roles: Roles, options: Preprocessing, train: TrainingSplit, seed: int) -> Fitted:
    """Everything that is learned from the training split; columns without a value are noted in ``roles.dropped``.

    Raises:
        DataRejected: no feature is left.
    """
    required = options.handle_missing == "drop"
    inputs: dict[str, InputField] = {}
    encoded: list[Categories] = []
    entities: Categories | None = None
    for name in roles.numbers:
        inputs |= _describe_number(name, train.file.column(name, "number"), required)
    for name in roles.timestamps:
        inputs |= _describe_timestamp(name, train.file.column(name, "timestamp"), required)
    for name in roles.categories:
        found = fit_categories(name, train.file.column(name, "string"), impute_mode=options.handle_missing == "mode")
        if found is not None:
            encoded.append(found)
            inputs |= _describe_category(found, required)
    if roles.entity is not None:
        entities = fit_categories(roles.entity, train.file.column(roles.entity, "string"), impute_mode=False)
        if entities is not None and roles.entity not in inputs:
            # Who the users are is nobody's business at the endpoint: no categories and no example.
            inputs[roles.entity] = InputField(name=roles.entity, kind="string", required=required)
    roles.note_empty(inputs)
    ordered = tuple(inputs[name] for name in train.file.columns if name in inputs)

    aggregates = (
        None if entities is None else entity_table(entities, roles.numbers, lambda name: train.file.column(name, "number"))
    )
    features = _fit_numbers(roles, aggregates, ordered, options, train.file)
    fold = None
    if options.encode_categorical == "target" and encoded:
        targets, names = _encoding_targets(train.answers, train.classes)
        fold = cross_fitting_folds(train.answers, FOLDS, seed, stratified=bool(train.classes))
        outside = [fold != f for f in range(FOLDS)]
        variants = [tuple(target_table(found, targets, names, rows) for found in encoded) for rows in outside]
        tables = tuple(target_table(found, targets, names) for found in encoded)
    else:
        tables = tuple((label_table if options.encode_categorical == "label" else one_hot_table)(found) for found in encoded)
    features = _with_distinct_names(replace(features, categories=tables))
    if not features.entries:
        raise DataRejected(
            "no feature is left to learn from",
            field="dataset",
            given="; ".join(f"{name}: {why}" for name, why in roles.dropped.items()) or "no feature columns",
            next_step="give columns with values, or ask for time_features where there is only a timestamp",
        )
    folds = None if fold is None else Folds(fold, tuple(replace(features, categories=variant) for variant in variants))
    return Fitted(features, ordered, folds)


def _fit_numbers(
    roles: Roles, aggregates: LookUp | None, inputs: Sequence[InputField], options: Preprocessing, train: SplitFile
) -> FittedFeatures:
    """Imputation and scaling of raw and derived numbers, fitted on what the graph itself computes for the training rows."""
    parts = tuple((column, part) for column in roles.timestamps for part in TIME_PARTS)
    entries = [FeatureEntry(name=n, inputs=(n,), transformation="number", unit="source") for n in roles.numbers]
    entries += [
        FeatureEntry(name=f"{c}_{part}", inputs=(c,), transformation="time_part", parameters={"part": part}, unit="calendar")
        for c, part in parts
    ]
    entries += aggregates.entries if aggregates is not None else ()
    raw = FittedFeatures(numbers=tuple(roles.numbers), time_parts=parts, entity=aggregates, number_entries=tuple(entries))
    if not entries:
        return raw
    used = tuple(field for field in inputs if field.name in raw.columns)
    fitted = fit_imputation(transform(train, Fitted(raw, used)), options)
    described = []
    for j, entry in enumerate(entries):
        change: dict[str, Any] = {"parameters": entry.parameters | {"fill": float(fitted.fill[j])}}
        if options.standardize or options.normalize:
            change["parameters"] |= {"offset": float(fitted.offset[j]), "scale": float(fitted.scale[j])}
            change["unit"] = "standard_deviations" if options.standardize else "unit_interval"
        described.append(entry.model_copy(update=change))
    return replace(raw, imputation=fitted, number_entries=tuple(described))


def select_features(fitted: Fitted, roles: Roles, options: Preprocessing, train: TrainingSplit, seed: int) -> Fitted:
    """Drop correlated and unimportant features, judged on the training matrix that the model will see.

    ``max_features`` is honoured with every ``feature_selection``; what was dropped is noted in ``roles.dropped``.
    """
    names = [entry.name for entry in fitted.features.entries]
    limit = len(names) if options.max_features is None else options.max_features
    if options.feature_selection == "none" and len(names) <= limit:
        return fitted
    matrix = transform(train.file, fitted)
    keep = list(range(len(names)))
    if options.feature_selection == "correlation":
        correlated = correlated_features(matrix)
        roles.dropped.update({names[i]: "correlation" for i in correlated})
        keep = [i for i in keep if i not in correlated]
    if options.feature_selection == "importance" or len(keep) > limit:
        values = importances(matrix[:, keep], train.answers, classification=bool(train.classes), seed=seed)
        important = [keep[i] for i in most_important(values, options.max_features)]
        roles.dropped.update({names[i]: "importance" for i in keep if i not in important})
        keep = important
    return fitted.keep(keep)


def transform(split: SplitFile, fitted: Fitted) -> Array:
    """(N, F) float32: the graph's output for every row of ``split``, in batches.

    With ``folds``, which belong to the training split alone, each row goes through the variant of its fold.
    """
    import numpy as np
    import onnxruntime

    def session(variant: FittedFeatures) -> Any:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(build_graph(variant, fitted.inputs), settings, providers=["CPUExecutionProvider"])

    folds = fitted.folds
    sessions = [session(variant) for variant in (folds.variants if folds is not None else (fitted.features,))]
    matrix = np.empty((split.rows, len(fitted.features.entries)), dtype=np.float32)
    start = 0
    for frame in split.batches([field.name for field in fitted.inputs]):
        feed = raw_inputs(frame, fitted.inputs)
        end = start + len(frame)
        if folds is None:
            matrix[start:end] = sessions[0].run([OUTPUT], feed)[0]
        else:
            for f, variant in enumerate(sessions):
                rows = np.flatnonzero(folds.fold[start:end] == f)
                matrix[start + rows] = variant.run([OUTPUT], {name: column[rows] for name, column in feed.items()})[0]
        start = end
    return matrix


def _with_distinct_names(features: FittedFeatures) -> FittedFeatures:
    """The same features, those that would share a name numbered (``a=b``, ``a=b#2``)."""
    named = distinct_names(features.entries)
    count = len(features.number_entries)
    tables = []
    start = count
    for table in features.categories:
        tables.append(replace(table, entries=named[start : start + len(table.entries)]))
        start += len(table.entries)
    return replace(features, number_entries=named[:count], categories=tuple(tables))


def _describe_number(name: str, values: Array, required: bool) -> dict[str, InputField]:
    import numpy as np

    finite = values[np.isfinite(values)]
    if not len(finite):
        return {}
    # Through the shortest text that gives the same float32 back: 0.1, not 0.10000000149011612.
    low, high, example = (float(str(value)) for value in (finite.min(), finite.max(), finite[0]))
    return {name: InputField(name=name, kind="number", required=required, minimum=low, maximum=high, example=example)}


def _describe_timestamp(name: str, seconds: Array, required: bool) -> dict[str, InputField]:
    import numpy as np

    known = seconds[seconds != MISSING_TIMESTAMP]
    if not len(known):
        return {}
    example = f"{np.datetime64(int(known[0]), 's')}Z"
    low, high = float(known.min()), float(known.max())
    return {name: InputField(name=name, kind="timestamp", required=required, minimum=low, maximum=high, example=example)}


def _describe_category(found: Categories, required: bool) -> dict[str, InputField]:
    frequent = sorted(range(len(found.values)), key=lambda i: (-found.counts[i], found.values[i]))
    values = [found.values[i] for i in frequent if found.values[i] != MISSING_STRING]
    shown = tuple(sorted(values[:MAX_CATEGORIES]))
    return {found.column: InputField(name=found.column, kind="string", required=required, categories=shown, example=values[0])}


def _encoding_targets(y: Array, classes: tuple[str, ...]) -> tuple[Array, list[str]]:
    """(N, T) float64 that target encoding averages: the value, the last of two classes, or every one of more."""
    import numpy as np

    if not classes:
        return y.reshape(-1, 1), [""]
    if len(classes) <= 2:
        return (y == len(classes) - 1).astype(np.float64).reshape(-1, 1), [""]
    return (y[:, None] == np.arange(len(classes))).astype(np.float64), list(classes)
