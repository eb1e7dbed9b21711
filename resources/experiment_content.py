"""What of a training record becomes an experiment's parameters, metrics and tags. Pure; sending them is in ``experiments``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from pydantic import JsonValue

from mlops_assets.reports.record import TrainingRecord

TRAINING_ID_TAG = "mlops.training_id"
MAX_PARAMETER = 6000
MAX_TAG = 5000


def tracked_name(name: str) -> str:
    """``name`` with what MLflow does not accept in a key replaced: ``mAP@0.5`` -> ``mAP_at_0.5``; at most 250 characters.

    Source: MLflow's rule for keys: word characters, ``_-. :/``, and no part that a path would swallow (``a//b``, ``a/../b``).
    """
    allowed = re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_")).lstrip(".")[:250]
    return "/".join("_" if part in ("", ".", "..") else part for part in allowed.split("/"))


def run_parameters(record: TrainingRecord) -> dict[str, str]:
    """Hyperparameters under their own names; data, code, plan and seed under dotted ones, which no hyperparameter has."""
    given: dict[str, JsonValue] = {
        **record.hyperparameters,
        "request.algorithm": record.request.algorithm,
        "request.task_type": record.request.task_type,
        "request.seed": record.request.seed,
        **_of_network(record),
        "dataset.id": record.request.dataset.dataset_id,
        "plan.digest": record.plan_digest,
        "code.version": record.code_version,
    }
    if record.dataset is not None:
        given |= {
            "dataset.version": record.dataset.version,
            "dataset.digest": record.dataset.digest,
            "dataset.split": record.dataset.split,
            "dataset.features": record.dataset.features,
        }
    if record.feature_digest is not None:
        given["features.digest"] = record.feature_digest
    return {tracked_name(name): _text(value)[:MAX_PARAMETER] for name, value in given.items()}


def _of_network(record: TrainingRecord) -> dict[str, JsonValue]:
    """What tells two detectors apart beside their hyperparameters; nothing for algorithms without variants."""
    if not record.variants:
        return {}
    request = record.effective_request
    return {
        "request.variant": request.variant,
        "request.classes": list(request.dataset.classes),
        "request.input_size": list(request.preprocessing.input_size),
        "request.augmentation": list(request.preprocessing.augmentation),
    }


def renamed_metrics(record: TrainingRecord) -> dict[str, str]:
    """Name in MLflow -> the metric's own, of those that MLflow does not take as they are: the way back."""
    return {tracked_name(name): name for name in record.metrics if tracked_name(name) != name}


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def run_metrics(record: TrainingRecord) -> Iterator[tuple[str, float, int]]:
    """(name, value, step): final metrics at step 0, ``curve/<metric>`` a point an iteration, ``class/<class>/<metric>``."""
    for name, value in record.metrics.items():
        yield tracked_name(name), value, 0
    if record.training_seconds is not None:
        yield "training_seconds", record.training_seconds, 0
    for name, values in record.curves.items():
        for step, value in enumerate(values):
            yield tracked_name(f"curve/{name}"), value, step
    for label, metrics in record.per_class.items():
        for name, value in metrics.items():
            yield tracked_name(f"class/{label.replace('/', '_')}/{name}"), value, 0


def run_tags(record: TrainingRecord) -> dict[str, str]:
    """Tags of the run; the training id is its identity."""
    tags = {
        TRAINING_ID_TAG: record.training_id,
        "mlops.model_id": record.model_id,
        "mlops.attempt": str(record.attempt),
        "mlops.outcome": record.outcome,
        "mlops.language": record.language,
    }
    if record.issue is not None:
        tags["mlops.issue"] = str(record.issue)
    if record.approved_by:
        tags["mlops.approved_by"] = record.approved_by
    if record.not_done:
        tags["mlops.not_done"] = ", ".join(record.not_done)
    if renamed_metrics(record):
        tags["mlops.metric_names"] = json.dumps(renamed_metrics(record), ensure_ascii=False)
    if record.error:
        tags["mlops.error"] = record.error
    return {name: value[:MAX_TAG] for name, value in tags.items()}
