"""Training one model: reads the features, calls the algorithm's own fit, measures, writes the model folder.

What fitting means for each algorithm is in ``forest``, ``boosting`` and ``linear``.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue, ValidationError

from mlops_assets.errors import DataRejected, IntegrityError, UserError
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.interface import ClassRows, ProgressReporter, TrainSummary
from mlops_assets.tasks.tabular.algorithms import ALGORITHMS
from mlops_assets.tasks.tabular.definition import FeatureDefinition
from mlops_assets.tasks.tabular.feature_folder import FeatureFolder
from mlops_assets.tasks.tabular.measures import measure
from mlops_assets.tasks.tabular.native_model import Fitted, ModelCard, NativeModel, Progress, TrainingData, write_model
from mlops_assets.tasks.tabular.resampling import class_rows, nominal_columns, resample
from mlops_assets.tasks.tabular.words import WORDS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AXES = {"random_forest": "trees", "xgboost": "rounds", "logistic_regression": "rows", "linear_regression": "rows"}
#: Share of the bar that fitting takes; the rest is reading, measuring and writing.
FIT_FROM, FIT_TO = 0.02, 0.95
#: Share of the bar at which resampling ends, where there is any.
RESAMPLE_TO = 0.15
CLASSES_SHOWN = 8


def train(features: Path, request: TrainingRequest, out: Path, report: ProgressReporter) -> TrainSummary:
    """Fit ``request.algorithm`` on the training split of ``features`` and write the model folder ``out``.

    The same features, knobs and seed give the same model and the same metrics to the last digit, whatever the number of
    processors.

    With ``preprocessing.resample`` the model is fitted on rebalanced training rows (see ``resampling``); every metric and
    curve, ``train_*`` too, is measured on the rows of the splits as they are. A ``class_weight`` or ``scale_pos_weight`` given as
    well applies on top of it: ``balanced`` weighs the rebalanced classes and so changes next to nothing, while a
    ``scale_pos_weight`` multiplies what resampling has done already.

    Raises:
        UserError: a knob or resampling does not apply to this kind of target, or the algorithm is not one of this task.
        DataRejected: the training split cannot be learned from: no rows, one class only, infinite values, missing ones
        for a linear model, or too few rows of a class for SMOTE.
        IntegrityError: the features folder is incomplete or damaged.
    """
    words = WORDS[request.language]
    report(0.0, words["progress.reading"], {})
    folder = FeatureFolder.read(features)
    knobs = _knobs(request, len(folder.summary.classes))
    data = _training_data(folder)
    started = time.perf_counter()
    fit_from = FIT_FROM
    resampled: tuple[ClassRows, ...] = ()
    if request.preprocessing.resample != "none":
        data, resampled = _resampled(folder, data, request, report)
        fit_from = RESAMPLE_TO
        report(fit_from, resampling_sentence(resampled, request), {})

    def progress(done: int, total: int, latest: Mapping[str, float]) -> None:
        line = words[f"progress.{AXES[request.algorithm]}"].format(done=done, total=total)
        report(min(FIT_TO, fit_from + (FIT_TO - fit_from) * done / total), line, latest)

    fitted = _fit(request.algorithm, data, knobs, request.seed, progress)
    seconds = time.perf_counter() - started
    report(FIT_TO, words["progress.measuring"], {})
    metrics = {
        f"{split}_{name}": value
        for split, x, y in (
            ("train", data.x_measured, data.y_measured),
            ("validation", data.x_validation, data.y_validation),
        )
        for name, value in _split_metrics(fitted.model, x, y, folder).items()
    }
    write_model(out, fitted.model, _card(folder, request, knobs, fitted))
    report(1.0, words["progress.done"], metrics)
    return TrainSummary(
        algorithm=request.algorithm,
        hyperparameters=knobs,
        seconds=seconds,
        iterations=fitted.iterations,
        metrics=metrics,
        curves=fitted.curves,
        resampled=resampled,
    )


def _knobs(request: TrainingRequest, classes: int) -> dict[str, JsonValue]:
    algorithm = next((offered for offered in ALGORITHMS if offered.name == request.algorithm), None)
    if algorithm is None or request.task_type not in algorithm.task_types:
        raise UserError(
            f"the tabular task has no {request.algorithm} for {request.task_type}",
            field="algorithm",
            given=request.algorithm,
            allowed=[offered.name for offered in ALGORITHMS if request.task_type in offered.task_types],
        )
    knobs = algorithm.resolved(request.hyperparameters)
    if not classes and knobs.get("class_weight") is not None:
        raise UserError(
            "class_weight applies to classification only",
            field="hyperparameters.class_weight",
            given=knobs["class_weight"],
            allowed=("null",),
        )
    if classes != 2 and knobs.get("scale_pos_weight", 1.0) != 1.0:
        raise UserError(
            "scale_pos_weight applies to targets of two classes only",
            field="hyperparameters.scale_pos_weight",
            given=knobs["scale_pos_weight"],
            allowed=("1.0",),
        )
    if not classes and request.preprocessing.resample != "none":
        raise UserError(
            "resampling balances classes, so it applies to classification only",
            field="preprocessing.resample",
            given=request.preprocessing.resample,
            allowed=("none",),
        )
    return knobs


def _training_data(folder: FeatureFolder) -> TrainingData:
    import numpy as np

    x, y = folder.split("train")
    x_validation, y_validation = folder.split("validation")
    classes = len(folder.summary.classes)
    if len(y) == 0 or (classes and len(np.unique(y)) < 2):
        held = "no rows" if len(y) == 0 else f"rows of one class only ({folder.summary.classes[int(y[0])]})"
        raise DataRejected(
            f"the training split holds {held}",
            field="dataset.target",
            next_step="check the target column, the cleaning options and the split of the request",
        )
    for index, name in enumerate(folder.summary.feature_names):
        if np.isinf(x[:, index]).any() or np.isinf(x_validation[:, index]).any():
            raise DataRejected(
                "a feature holds values beyond float32's range",
                field="preprocessing.drop_columns",
                given=name,
                next_step="drop or rescale the column",
            )
    return TrainingData(x, y, x, y, x_validation, y_validation, classes)


def _resampled(
    folder: FeatureFolder, data: TrainingData, request: TrainingRequest, report: ProgressReporter
) -> tuple[TrainingData, tuple[ClassRows, ...]]:
    """``data`` with the rows to fit on rebalanced, and what that did to each class. The measured rows stay as they are.

    Raises:
        IntegrityError: the feature definition is missing or does not describe the matrix.
    """
    how, names = request.preprocessing.resample, folder.summary.classes
    groups: tuple[tuple[int, ...], ...] = ()
    if how == "smote":
        try:
            entries = FeatureDefinition.read(folder.path).features
        except (OSError, ValidationError) as error:
            raise IntegrityError(f"{folder.path} has no readable feature definition: {error}") from error
        if tuple(entry.name for entry in entries) != folder.summary.feature_names:
            raise IntegrityError(f"{folder.path}: the feature definition describes other columns than summary.json")
        groups = nominal_columns(entries, data.x)
    line = WORDS[request.language]["progress.resampling"]

    def progress(done: int, total: int) -> None:
        report(FIT_FROM + (RESAMPLE_TO - FIT_FROM) * done / total, line.format(done=f"{done:,}", total=f"{total:,}"), {})

    x, y = resample(data.x, data.y, how, request.seed, groups, classes=names, progress=progress)
    return replace(data, x=x, y=y), class_rows(data.y, y, names)


def resampling_sentence(resampled: Sequence[ClassRows], request: TrainingRequest) -> str:
    """One line for the training log: what was done, and the rows of each class before and after it."""
    words = WORDS[request.language]
    shown = [
        f"{' '.join(rows.label.split())[:40]}: {rows.before:,} → {rows.after:,}"
        for rows in sorted(resampled, key=lambda rows: rows.before)[:CLASSES_SHOWN]
    ]
    if len(resampled) > CLASSES_SHOWN:
        shown.append(words["progress.more_classes"].format(count=len(resampled) - CLASSES_SHOWN))
    return words[f"progress.resampled.{request.preprocessing.resample}"].format(classes=", ".join(shown))


def _fit(algorithm: str, data: TrainingData, knobs: Mapping[str, JsonValue], seed: int, progress: Progress) -> Fitted:
    if algorithm == "random_forest":
        from mlops_assets.tasks.tabular import forest

        return forest.fit(data, knobs, seed, progress)
    if algorithm == "xgboost":
        from mlops_assets.tasks.tabular import boosting

        return boosting.fit(data, knobs, seed, progress)
    from mlops_assets.tasks.tabular import linear

    return (linear.fit_logistic if algorithm == "logistic_regression" else linear.fit_linear)(data, knobs, seed, progress)


def _split_metrics(model: NativeModel, x: NDArray[np.float32], y: NDArray[Any], folder: FeatureFolder) -> dict[str, float]:
    return measure(y, model.predict(x), len(folder.summary.classes), folder.positive).metrics if len(y) else {}


def _card(folder: FeatureFolder, request: TrainingRequest, knobs: dict[str, JsonValue], fitted: Fitted) -> ModelCard:
    return ModelCard(
        algorithm=request.algorithm,
        task_type=request.task_type,
        classes=folder.summary.classes,
        positive=folder.positive,
        feature_names=folder.summary.feature_names,
        hyperparameters=knobs,
        seed=request.seed,
        iterations=fitted.iterations,
        libraries=_libraries(request),
        curve_axis=fitted.axis,
        curve_positions=fitted.positions,
        curves=fitted.curves,
    )


def _libraries(request: TrainingRequest) -> dict[str, str]:
    """Versions of what decides the numbers of this training."""
    names = ["numpy", "scikit-learn"]
    if request.algorithm == "xgboost":
        names += ["xgboost-cpu", "xgboost"]  # one library, two distributions: with and without GPU
    if request.algorithm == "random_forest":
        names.append("skops")
    if request.preprocessing.resample != "none":
        names.append("imbalanced-learn")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
