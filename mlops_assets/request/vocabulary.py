"""The words that an issue may use: accepted values and the names they are known by.

Only constants live here. What each word makes the platform do is decided elsewhere: parsing in ``parser``, planning in
``planner``.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

Language = Literal["ja", "en"]
LearningType = Literal["supervised", "unsupervised", "reinforcement"]
TaskType = Literal[
    "classification",
    "regression",
    "clustering",
    "dimensionality_reduction",
    "detection_2d",
    "detection_3d",
    "control",
]
Environment = Literal["dev", "staging", "production"]
HandleMissing = Literal["drop", "mean", "median", "mode"]
HandleOutliers = Literal["none", "iqr", "zscore"]
CategoricalEncoding = Literal["onehot", "label", "target"]
DerivedFeature = Literal["aggregate_by_user", "time_features"]
FeatureSelection = Literal["none", "correlation", "importance"]
Resampling = Literal["none", "smote", "undersample", "oversample"]
Switch = Literal["auto", "enabled", "disabled"]
SplitStrategy = Literal["auto", "stratified", "random", "time"]
DeploymentStrategy = Literal["simple", "blue_green", "canary", "ab_test", "shadow"]
ApiType = Literal["rest", "grpc"]
PerformanceProfile = Literal["speed", "accuracy", "cost", "balanced"]
SearchMethod = Literal["grid", "random", "bayesian"]
Tracking = Literal["mlflow", "sagemaker_experiments"]
RetrainTrigger = Literal[
    "data_change", "code_change", "schedule_weekly", "schedule_monthly", "metric_degradation", "drift_detected"
]
NotificationChannel = Literal["slack", "email", "pagerduty", "github_issue"]

#: Every algorithm the requirements name, with the learning type and task types it belongs to. Naming one here
#: does not make it available: an installed learning task does (``mlops_assets.tasks``).
ALGORITHMS: Final[dict[str, tuple[LearningType, tuple[TaskType, ...]]]] = {
    "random_forest": ("supervised", ("classification", "regression")),
    "xgboost": ("supervised", ("classification", "regression")),
    "logistic_regression": ("supervised", ("classification",)),
    "linear_regression": ("supervised", ("regression",)),
    "neural_network": ("supervised", ("classification", "regression")),
    "kmeans": ("unsupervised", ("clustering",)),
    "dbscan": ("unsupervised", ("clustering",)),
    "pca": ("unsupervised", ("dimensionality_reduction",)),
    "tsne": ("unsupervised", ("dimensionality_reduction",)),
    "ppo": ("reinforcement", ("control",)),
    "dqn": ("reinforcement", ("control",)),
    "a3c": ("reinforcement", ("control",)),
    "yolox": ("supervised", ("detection_2d",)),
    "pointpillars": ("supervised", ("detection_3d",)),
    "monodetr": ("supervised", ("detection_3d",)),
    "bevformer": ("supervised", ("detection_3d",)),
}

#: Metrics of KITTI's own evaluation -> how a person writes them, over 40 recall positions or 11; shares of 1, not percent.
KITTI_METRICS: Final[dict[str, str]] = {
    f"{kind.lower()}_{metric}_ap_{difficulty}_{positions.lower()}": f"{kind} {shown}_{positions} {difficulty}"
    for positions in ("R40", "R11")
    for kind in ("Car", "Pedestrian", "Cyclist")
    for metric, shown in {"3d": "3D AP", "bev": "BEV AP", "2d": "2D AP", "aos": "AOS"}.items()
    for difficulty in ("easy", "moderate", "hard")
}

#: Metrics that decide whether more or less is better; a threshold is read in that direction.
METRICS: Final[dict[str, Literal["higher", "lower"]]] = {
    "accuracy": "higher",
    "precision": "higher",
    "recall": "higher",
    "f1_score": "higher",
    "auc_roc": "higher",
    "average_precision": "higher",
    "log_loss": "lower",
    "rmse": "lower",
    "mae": "lower",
    "r2": "higher",
    "mape": "lower",
    "silhouette": "higher",
    "davies_bouldin": "lower",
    "average_reward": "higher",
    "episode_length": "higher",
    "success_rate": "higher",
    "mAP@0.5": "higher",
    "mAP@0.5:0.95": "higher",
    "inference_latency_ms": "lower",
    **dict.fromkeys(KITTI_METRICS, "higher"),
}

MODEL_ID_PATTERN: Final = r"[a-z0-9][a-z0-9-]{0,62}"
SEMANTIC_VERSION_PATTERN: Final = r"v(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})"


def values(choice: object) -> tuple[str, ...]:
    """The strings that one of the ``Literal`` types above allows, in their order."""
    return tuple(str(value) for value in get_args(choice))
