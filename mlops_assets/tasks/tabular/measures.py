"""Metrics of predictions (FR-009), as plain numbers; a metric that the rows cannot give is left out and named.

Arithmetic only: which metric decides the gate is in ``plan``, pictures are in ``figures``, the words of warnings in ``words``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_assets.tasks.tabular.labels import labels_from_probabilities

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass
class Measures:
    """Metrics by name, the same per class, and which could not be computed: metric or class -> key of the reason."""

    metrics: dict[str, float] = field(default_factory=dict)
    per_class: dict[int, dict[str, float]] = field(default_factory=dict)
    confusion: list[list[int]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def loss_name(classes: int) -> str:
    """The loss that a learning curve shows: log loss of classes, root mean square error of values."""
    return "log_loss" if classes else "rmse"


def loss_of(y: NDArray[Any], predicted: NDArray[np.floating], classes: int) -> float:
    """That loss for targets (N,) and probabilities (N, C) or values (N,), N > 0."""
    import numpy as np

    if not classes:
        return float(np.sqrt(np.mean((predicted.astype(np.float64) - y) ** 2)))
    own = predicted[np.arange(len(y)), y].astype(np.float64)
    # a probability of exactly 0 would make one row's loss infinite; float32's resolution is the most a model can claim
    return float(-np.log(np.clip(own, np.finfo(np.float32).eps, 1.0)).mean())


def measure(y: NDArray[Any], predicted: NDArray[np.float32], classes: int, positive: int = 1) -> Measures:
    """Every metric of ``predicted``: probabilities (N, C) of ``classes`` classes, or values (N,) where ``classes`` is 0.

    ``positive`` is the index of the class that the metrics of two classes are about.
    """
    if len(y) == 0:
        return Measures(left_out={"all": "no_rows"})
    return _classification(y, predicted, classes, positive) if classes else _regression(y, predicted)


def _classification(y: NDArray[Any], probabilities: NDArray[np.float32], classes: int, positive: int) -> Measures:
    """Two classes: of the positive one. More: macro averages over the classes that have rows."""
    import numpy as np

    labels = labels_from_probabilities(probabilities)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (y, labels), 1)
    result = Measures(confusion=confusion.tolist())
    for index in range(classes):
        result.per_class[index] = _one_class(confusion, index) | _ranking(y == index, probabilities[:, index])
        if confusion[index].sum() == 0:
            result.left_out[f"class:{index}"] = "class_without_rows"
    result.metrics["accuracy"] = float(np.trace(confusion) / len(y))
    result.metrics["log_loss"] = loss_of(y, probabilities, classes)
    averaged = [positive] if classes == 2 else [index for index in range(classes) if confusion[index].sum()]
    for name in ("precision", "recall", "f1_score", "auc_roc", "average_precision"):
        values = [result.per_class[index][name] for index in averaged if name in result.per_class[index]]
        if values:
            result.metrics[name] = float(np.mean(values))
        else:
            result.left_out[name] = "one_class_only"
    return result


def _one_class(confusion: NDArray[np.int64], index: int) -> dict[str, float]:
    """Precision, recall, F1 and support of one class against the rest. A class that is never predicted has precision 0."""
    hits, support, predicted = int(confusion[index, index]), int(confusion[index].sum()), int(confusion[:, index].sum())
    found = {"precision": hits / predicted if predicted else 0.0, "support": float(support)}
    if support:
        found |= {"recall": hits / support, "f1_score": 2 * hits / (support + predicted)}
    else:
        # without a true row neither recall nor F1 exists, and precision would only say that nothing was there to find
        del found["precision"]
    return found


def _ranking(positive: NDArray[np.bool_], score: NDArray[np.float32]) -> dict[str, float]:
    """Area under the ROC curve and average precision; nothing where only one side has rows."""
    if positive.all() or not positive.any():
        return {}
    from sklearn.metrics import average_precision_score, roc_auc_score

    return {
        "auc_roc": float(roc_auc_score(positive, score)),
        "average_precision": float(average_precision_score(positive, score)),
    }


def _regression(y: NDArray[Any], values: NDArray[np.float32]) -> Measures:
    """RMSE, MAE, R2 and MAPE (a fraction, over the rows whose target is not zero)."""
    import numpy as np

    error = values.astype(np.float64) - y
    result = Measures(metrics={"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.mean(np.abs(error)))})
    spread = float(((y - y.mean()) ** 2).sum())
    if spread > 0:
        result.metrics["r2"] = 1.0 - float((error**2).sum()) / spread
    else:
        result.left_out["r2"] = "constant_target"
    other_than_zero = y != 0
    if other_than_zero.any():
        result.metrics["mape"] = float(np.mean(np.abs(error[other_than_zero] / y[other_than_zero])))
    else:
        result.left_out["mape"] = "zero_targets"
    if 0 < other_than_zero.sum() < len(y):
        result.left_out[f"mape_rows:{int((~other_than_zero).sum())}"] = "zero_targets_skipped"
    return result
