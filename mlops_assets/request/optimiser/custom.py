"""What a person sets by hand in ``custom_optimizations``: which settings are carried out, and which this release has not built.

Reading and checking the settings is the parser's; a setting left at `auto` is the rules' to decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import JsonValue

from mlops_assets.request.optimiser.models import Optimization, OptimizationPhase, Statement
from mlops_assets.request.schema import CustomOptimizations, TrainingRequest
from mlops_assets.request.task_types import default_metrics
from mlops_assets.request.vocabulary import TaskType

#: Setting -> (phase of its recommendation, requirement).
SETTINGS: Final[dict[str, tuple[OptimizationPhase, str]]] = {
    "phase1_preprocessing.class_imbalance_handling": ("data", "FR-035"),
    "phase1_preprocessing.data_augmentation": ("data", "FR-035"),
    "phase2_training.resource_type": ("resources", "FR-036"),
    "phase2_training.instance_type": ("resources", "FR-036"),
    "phase2_training.distributed_training": ("resources", "FR-036"),
    "phase2_training.use_spot_instances": ("resources", "FR-036"),
    "phase3_evaluation.priority_metrics": ("evaluation", "FR-035"),
    "phase3_evaluation.bias_check_level": ("evaluation", "FR-035"),
    "phase5_deployment.strategy_override": ("deployment", "FR-035"),
    "phase6_monitoring.monitoring_intensity": ("monitoring", "FR-035"),
    "phase6_monitoring.drift_detection_frequency": ("monitoring", "FR-035"),
    "phase7_improvement.retrain_frequency": ("improvement", "FR-035"),
}
#: Setting -> value -> key of what this release does not do; `*` is every value that is not named.
_UNBUILT: Final[dict[str, dict[str, str]]] = {
    "phase1_preprocessing.data_augmentation": {"enabled": "augmentation"},
    "phase2_training.resource_type": {"gpu": "training_instance"},
    "phase2_training.instance_type": {"*": "training_instance"},
    "phase2_training.distributed_training": {"enabled": "distributed_training"},
    "phase2_training.use_spot_instances": {"enabled": "spot_instances"},
    "phase3_evaluation.bias_check_level": {"none": "", "*": "bias_check"},
    "phase5_deployment.strategy_override": {"canary": "canary", "ab_test": "ab_test"},
    "phase6_monitoring.monitoring_intensity": {"*": "monitoring"},
    "phase6_monitoring.drift_detection_frequency": {"*": "monitoring"},
    "phase7_improvement.retrain_frequency": {"*": "retraining"},
}
#: Detectors augment their frames by their own recipe; on images it cannot be left out whole.
_UNBUILT_OF_TASK: Final[dict[TaskType, dict[str, dict[str, str]]]] = {
    "detection_2d": {"phase1_preprocessing.data_augmentation": {"disabled": "augmentation_off"}},
    "detection_3d": {"phase1_preprocessing.data_augmentation": {}},
}


def chosen_settings(custom: CustomOptimizations) -> dict[str, JsonValue]:
    """Every setting that is not left to the rules: dotted name -> value."""
    found: dict[str, JsonValue] = {}
    for section, settings in custom.model_dump(mode="json").items():
        for name, value in settings.items():
            if value not in ("auto", []):
                found[f"{section}.{name}"] = value
    return found


def custom_optimizations(request: TrainingRequest) -> Iterator[Optimization]:
    """An optimisation for every setting that is carried out."""
    for setting, value in chosen_settings(request.optimization.custom_optimizations).items():
        if unbuilt(setting, value, request.task_type):
            continue
        phase, requirement = SETTINGS[setting]
        action = Statement(key="as_set", values={"setting": setting.rpartition(".")[2], "value": value})
        changes: dict[str, JsonValue] = {}
        if setting == "phase1_preprocessing.class_imbalance_handling":
            changes = {"preprocessing.resample": value}
            action = Statement(key=f"resample_{value}")
        elif setting == "phase3_evaluation.priority_metrics" and isinstance(value, list):
            changes = {"evaluation.metrics": list(with_metrics(request, [str(name) for name in value]))}
            action = Statement(key="priority_metrics", values={"metrics": value})
        elif setting == "phase5_deployment.strategy_override":
            changes = {"deployment.strategy": value}
            action = Statement(key="strategy", values={"strategy": value})
        yield Optimization(
            rule=setting,
            requirement=requirement,
            phase=phase,
            source="custom",
            action=action,
            reason=Statement(key="set_by_hand"),
            changes=changes,
        )


def with_metrics(request: TrainingRequest, wanted: list[str]) -> tuple[str, ...]:
    """The request's metrics, or the usual ones of its task, with those of ``wanted`` that are missing at the end."""
    present = request.evaluation.metrics or default_metrics(request.task_type)
    return tuple(dict.fromkeys((*present, *wanted)))


def unbuilt_settings(request: TrainingRequest) -> Iterator[tuple[str, str, str]]:
    """(key of what is not done, setting, what was asked) of every setting that this release cannot carry out."""
    for setting, value in chosen_settings(request.optimization.custom_optimizations).items():
        key = unbuilt(setting, value, request.task_type)
        if key:
            yield key, setting, str(value)


def unbuilt(setting: str, value: JsonValue, task_type: TaskType | None = None) -> str:
    """The key of what this release does not do about a setting; empty where it is carried out."""
    own = _UNBUILT_OF_TASK.get(task_type, {}) if task_type is not None else {}
    answers = own.get(setting, _UNBUILT.get(setting, {}))
    return answers.get(str(value), answers.get("*", ""))
