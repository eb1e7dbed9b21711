"""The two dialects of an issue as one table: which written key means which field of the training request.

Names only. How a value is read follows from the field's own type in ``schema`` (see ``fields``); what follows from
several keys together is in ``parser``.
"""

from __future__ import annotations

from typing import Final

from mlops_assets.request.schema import CustomOptimizations, Preprocessing

#: Keys that belong to the issue itself when someone pastes a whole example; `body` is unwrapped before.
WRAPPER_KEYS: Final = ("title", "labels", "body")

_PREPROCESSING: Final = {
    f"{section}.{name}": f"preprocessing.{name}"
    for section in ("data_preprocessing", "preprocessing")
    for name in Preprocessing.model_fields
    if name != "resample"  # the optimiser's to set; by hand it is `class_imbalance_handling`
}
_SCALING: Final = ("min_instances", "max_instances", "target_invocations_per_instance", "target_latency_ms")
_DEPLOYMENT: Final = {
    f"{section}.{written}": f"deployment.{field}"
    for section in ("deployment", "deployment_config")
    for written, field in {
        "environment": "environment",
        "strategy": "strategy",
        "target": "target",
        "instance_type": "instance_type",
        "canary_traffic_percentage": "canary_traffic_percentage",
        "canary_duration_minutes": "canary_duration_minutes",
        "auto_rollback_on_error": "auto_rollback_on_error",
        **{f"auto_scaling.{name}": f"auto_scaling.{name}" for name in _SCALING},
    }.items()
}
_THRESHOLDS: Final = {
    f"{section}alert_thresholds.{name}": f"monitoring.alert_thresholds.{name}"
    for section in ("", "monitoring.")
    for name in ("error_rate", "latency_p95_ms", "drift_score")
}
_CUSTOM: Final = {
    f"workflow_optimization.custom_optimizations.{section}.{name}": f"optimization.custom_optimizations.{section}.{name}"
    for section, field in CustomOptimizations.model_fields.items()
    for name in type(field.default).model_fields
}

#: Key as written -> field of `TrainingRequest`. Several keys of one field are the two dialects' names for it; the first is
#: the one that messages and proposals use.
KEYS: Final[dict[str, str]] = {
    "model_id": "model_id",
    "dataset_id": "dataset.dataset_id",
    "dataset": "dataset.dataset_id",
    "dataset.name": "dataset.dataset_id",
    "dataset.id": "dataset.dataset_id",
    "dataset.dataset_id": "dataset.dataset_id",
    "target": "dataset.target",
    "dataset.target": "dataset.target",
    "dataset.s3_uri": "dataset.uri",
    "dataset.uri": "dataset.uri",
    "dataset.classes": "dataset.classes",
    "dataset.train_size": "dataset.train_size",
    "dataset.train_split": "dataset.train_size",
    "dataset.val_size": "dataset.validation_size",
    "dataset.val_split": "dataset.validation_size",
    "dataset.validation_size": "dataset.validation_size",
    "dataset.validation_split": "dataset.validation_size",
    "learning_type": "learning_type",
    "model_type": "learning_type",
    "task_type": "task_type",
    "algorithm": "algorithm",
    "variant": "variant",
    **_PREPROCESSING,
    "augmentation": "preprocessing.augmentation",
    "input_size": "preprocessing.input_size",
    "hyperparameters": "hyperparameters",
    "hpo_enabled": "search.enabled",
    "hpo_config.enabled": "search.enabled",
    "hpo_config.method": "search.method",
    "hpo_config.max_trials": "search.max_trials",
    "experiment_name": "experiment_name",
    "track_with": "track_with",
    "evaluation_threshold": "evaluation.threshold",
    "evaluation.threshold": "evaluation.threshold",
    "threshold_metric": "evaluation.threshold_metric",
    "evaluation.threshold_metric": "evaluation.threshold_metric",
    "evaluation_metrics": "evaluation.metrics",
    "evaluation.metrics": "evaluation.metrics",
    "evaluation.test_dataset": "evaluation.test_dataset",
    "bias_check_enabled": "evaluation.bias_check",
    "evaluation.bias_check_enabled": "evaluation.bias_check",
    "evaluation.bias_check": "evaluation.bias_check",
    "ci_tests_enabled": "evaluation.ci_tests",
    "evaluation.ci_tests_enabled": "evaluation.ci_tests",
    "evaluation.ci_tests": "evaluation.ci_tests",
    "evaluation.episodes": "evaluation.episodes",
    "evaluation.success_criteria": "evaluation.success_criteria",
    "model_version": "packaging.model_version",
    "packaging.model_version": "packaging.model_version",
    "api_type": "packaging.api_type",
    "packaging.api_type": "packaging.api_type",
    "container_optimization": "packaging.container_optimization",
    "packaging.container_optimization": "packaging.container_optimization",
    "deployment_strategy": "deployment.strategy",
    "deploy_to": "deployment.environment",
    **_DEPLOYMENT,
    "monitoring_enabled": "monitoring.enabled",
    "monitoring.enabled": "monitoring.enabled",
    **_THRESHOLDS,
    "auto_retrain_enabled": "retraining.enabled",
    "retraining.enabled": "retraining.enabled",
    "retrain_triggers": "retraining.triggers",
    "retraining.triggers": "retraining.triggers",
    "workflow_optimization.enabled": "optimization.enabled",
    "workflow_optimization.auto_approve": "optimization.auto_approve",
    "workflow_optimization.performance_profile": "optimization.performance_profile",
    **_CUSTOM,
    "environment": "simulation.environment",
    "agent": "simulation.agent",
    "reward_function": "simulation.reward_function",
    "max_retry": "max_retry",
    "max_cost_usd": "max_cost_usd",
    "seed": "seed",
    "notification_channels": "notification_channels",
    "tags": "tags",
}

#: Fields that hold whatever mapping the person wrote, each with its own reading in `parser`.
FREE_FIELDS: Final = frozenset(
    {
        "hyperparameters",
        "simulation.environment",
        "simulation.agent",
        "simulation.reward_function",
        "tags",
    }
)

#: Fields that only some task types have: naming them for another is a contradiction, never ignored.
FIELDS_OF_TASKS: Final[dict[str, tuple[str, ...]]] = {
    "simulation.environment": ("control",),
    "simulation.agent": ("control",),
    "simulation.reward_function": ("control",),
    "evaluation.episodes": ("control",),
    "evaluation.success_criteria": ("control",),
    "variant": ("control", "detection_2d", "detection_3d"),
    "preprocessing.input_size": ("control", "detection_2d", "detection_3d"),
}

#: Other spellings of accepted words, beside differences of case, spaces, hyphens and underscores.
WORD_ALIASES: Final[dict[str, dict[str, str]]] = {
    "learning_type": {
        "supervised_learning": "supervised",
        "unsupervised_learning": "unsupervised",
        "reinforcement_learning": "reinforcement",
    },
    "evaluation.metrics": {
        "f1": "f1_score",
        "auc": "auc_roc",
        "roc_auc": "auc_roc",
        "r2_score": "r2",
        "silhouette_score": "silhouette",
    },
}
PRIORITY_METRICS: Final = "optimization.custom_optimizations.phase3_evaluation.priority_metrics"
WORD_ALIASES["evaluation.threshold_metric"] = WORD_ALIASES["evaluation.metrics"]
WORD_ALIASES[PRIORITY_METRICS] = WORD_ALIASES["evaluation.metrics"]


def first_name(field: str) -> str:
    """The key by which messages name a field of the training request; the field itself where no key means it."""
    return next((written for written, meant in KEYS.items() if meant == field), field)


def keys_below(section: str) -> dict[str, str]:
    """The keys that a mapping at ``section`` may hold ('' is the top), each with its full written path."""
    prefix = f"{section}." if section else ""
    return {
        path[len(prefix) :].split(".")[0]: prefix + path[len(prefix) :].split(".")[0] for path in KEYS if path.startswith(prefix)
    }
