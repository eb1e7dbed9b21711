"""What follows from an algorithm, a task type and its metrics: inference of missing types, and the name of the model line."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from mlops_assets.request.vocabulary import KITTI_METRICS, TaskType

#: Metrics that can be measured for a task type, the usual ones first; `DEFAULT_COUNT` of them are reported when none is named.
TASK_METRICS: Final[dict[TaskType, tuple[str, ...]]] = {
    "classification": ("accuracy", "precision", "recall", "f1_score", "auc_roc", "average_precision", "log_loss"),
    "regression": ("r2", "rmse", "mae", "mape"),
    "clustering": ("silhouette", "davies_bouldin"),
    "dimensionality_reduction": (),
    "detection_2d": ("mAP@0.5", "mAP@0.5:0.95", "recall", "precision"),
    "detection_3d": ("mAP@0.5", "mAP@0.5:0.95", "recall", "precision", *KITTI_METRICS),
    "control": ("average_reward", "episode_length", "success_rate"),
}
#: Measured whatever the task is.
ANY_TASK_METRICS: Final = ("inference_latency_ms",)
DEFAULT_COUNT: Final[dict[TaskType, int]] = {"classification": 5, "detection_2d": 4, "detection_3d": 4}

#: Metrics that lie between 0 and 1, so that a threshold of 85 must mean 0.85.
FRACTIONS: Final = frozenset({
    "accuracy", "precision", "recall", "f1_score", "auc_roc", "average_precision", "success_rate", "mAP@0.5", "mAP@0.5:0.95",
    *KITTI_METRICS,
})  # fmt: skip

#: Tasks that learn from frames, the images and clouds of a KITTI copy.
FRAME_TASKS: Final[frozenset[TaskType]] = frozenset({"detection_2d", "detection_3d"})
#: Metrics that decide as usual for a task, so that naming one first chose nothing.
USUAL_GATES: Final = frozenset({"accuracy", "mAP@0.5"})
TABULAR_TASKS: Final = frozenset({"classification", "regression", "clustering", "dimensionality_reduction"})

_MODEL_ID_LENGTH: Final = 63


def metrics_of(task_type: TaskType) -> tuple[str, ...]:
    """Every metric that may be asked for with ``task_type``."""
    return (*TASK_METRICS[task_type], *ANY_TASK_METRICS)


def default_metrics(task_type: TaskType) -> tuple[str, ...]:
    """The metrics that are reported when the issue names none."""
    usual = TASK_METRICS[task_type]
    usual = usual[: DEFAULT_COUNT.get(task_type, len(usual))]
    return (*usual, "inference_latency_ms") if task_type in FRAME_TASKS else usual


def inferred_task_type(possible: Iterable[TaskType], metrics: Iterable[str]) -> TaskType | None:
    """The one of ``possible`` to which all of ``metrics`` belong; None when none or several fit.

    An algorithm with a single task type needs no metrics.
    """
    candidates = tuple(possible)
    if len(candidates) == 1:
        return candidates[0]
    named = [m for m in metrics if m not in ANY_TASK_METRICS]
    fitting = [task for task in candidates if named and all(m in TASK_METRICS[task] for m in named)]
    return fitting[0] if len(fitting) == 1 else None


def slug(text: str) -> str:
    """``text`` as a model line's name: lower case letters, digits and hyphens, at most 63; empty if nothing remains.

    Where letters are lost (another script) or the name is cut, a short digest of the whole text keeps two lines apart.
    """
    folded = unicodedata.normalize("NFKC", text).strip().lower()
    plain = re.sub(r"[^a-z0-9]+", "-", folded).strip("-")
    lost = any(c.isalnum() and not c.isascii() for c in folded)
    if not plain or (not lost and len(plain) <= _MODEL_ID_LENGTH):
        return plain
    digest = hashlib.sha256(folded.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[: _MODEL_ID_LENGTH - 9].rstrip('-')}-{digest}"


def model_line(model_id: str | None, experiment_name: str | None, dataset_id: str, algorithm: str) -> str:
    """The model line of a request: its `model_id`, else its experiment's name, else data set and algorithm."""
    return model_id or slug(experiment_name or "") or slug(f"{dataset_id}-{algorithm}")


def gate_metric(task_type: TaskType, threshold_metric: str | None, metrics: Sequence[str], *, imbalanced: bool) -> str | None:
    """The metric that the threshold is held against; None for a task without metrics.

    1. The issue's own ``threshold_metric``.
    2. Metrics are named, and the task's usual gates (``accuracy`` and ``auc_roc``; ``r2``) are not among them: the first named.
    3. Classification: ``auc_roc`` if it is named or the classes are imbalanced, else ``accuracy``. Other tasks: their
       first metric in ``TASK_METRICS`` (``r2`` for regression).
    """
    if threshold_metric is not None:
        return threshold_metric
    usual = ("accuracy", "auc_roc") if task_type == "classification" else TASK_METRICS[task_type][:1]
    if metrics and not any(m in usual for m in metrics):
        return metrics[0]
    if task_type == "classification":
        return "auc_roc" if imbalanced or "auc_roc" in metrics else "accuracy"
    return usual[0] if usual else None
