"""Training one model: reads the features, calls the algorithm's own fit, measures, writes the model folder.

What fitting means for each algorithm is in ``forest``, ``boosting`` and ``linear``.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from mlops_assets.errors import DataRejected, UserError
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.interface import ProgressReporter, TrainSummary
from mlops_assets.tasks.tabular.algorithms import ALGORITHMS
from mlops_assets.tasks.tabular.feature_folder import FeatureFolder
from mlops_assets.tasks.tabular.measures import measure
from mlops_assets.tasks.tabular.native_model import Fitted, ModelCard, NativeModel, Progress, TrainingData, write_model
from mlops_assets.tasks.tabular.words import WORDS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AXES = {"random_forest": "trees", "xgboost": "rounds", "logistic_regression": "rows", "linear_regression": "rows"}
#: Share of the bar that fitting takes; the rest is reading, measuring and writing.
FIT_FROM, FIT_TO = 0.02, 0.95


def train(features: Path, request: TrainingRequest, out: Path, report: ProgressReporter) -> TrainSummary:
    """Fit ``request.algorithm`` on the training split of ``features`` and write the model folder ``out``.

    The same features, knobs and seed give the same model and the same metrics to the last digit, whatever the number of
    processors.

    Raises:
        UserError: a knob does not apply to this kind of target, or the algorithm is not one of this task.
        DataRejected: the training split cannot be learned from: no rows, one class only, infinite values, or missing ones
        for a linear model. IntegrityError: the features folder is incomplete or damaged.
    """
    words = WORDS[request.language]
    report(0.0, words["progress.reading"], {})
    folder = FeatureFolder.read(features)
    knobs = _knobs(request, len(folder.summary.classes))
    data = _training_data(folder)
    started = time.perf_counter()

    def progress(done: int, total: int, latest: Mapping[str, float]) -> None:
        line = words[f"progress.{AXES[request.algorithm]}"].format(done=done, total=total)
        report(min(FIT_TO, FIT_FROM + (FIT_TO - FIT_FROM) * done / total), line, latest)

    fitted = _fit(request.algorithm, data, knobs, request.seed, progress)
    seconds = time.perf_counter() - started
    report(FIT_TO, words["progress.measuring"], {})
    metrics = {
        f"{split}_{name}": value
        for split, x, y in (("train", data.x, data.y), ("validation", data.x_validation, data.y_validation))
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
    return TrainingData(x, y, x_validation, y_validation, classes)


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
        libraries=_libraries(request.algorithm),
        curve_axis=fitted.axis,
        curve_positions=fitted.positions,
        curves=fitted.curves,
    )


def _libraries(algorithm: str) -> dict[str, str]:
    """Versions of what decides the numbers of this algorithm."""
    names = ["numpy", "scikit-learn"]
    if algorithm == "xgboost":
        names += ["xgboost-cpu", "xgboost"]  # one library, two distributions: with and without GPU
    if algorithm == "random_forest":
        names.append("skops")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
