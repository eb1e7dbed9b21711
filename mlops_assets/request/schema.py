"""What one valid issue asks for: the frozen training request that both dialects become.

Shapes and defaults only. Reading YAML, aliases and error messages belong to ``parser``; deciding what will be
done about a request belongs to ``plan``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from mlops_assets.request.vocabulary import (
    MODEL_ID_PATTERN,
    SEMANTIC_VERSION_PATTERN,
    ApiType,
    CategoricalEncoding,
    DeploymentStrategy,
    DerivedFeature,
    Environment,
    FeatureSelection,
    HandleMissing,
    HandleOutliers,
    Language,
    LearningType,
    NotificationChannel,
    PerformanceProfile,
    Resampling,
    RetrainTrigger,
    SearchMethod,
    SplitStrategy,
    Switch,
    TaskType,
    Tracking,
)

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Frozen(BaseModel):
    """Base of everything that crosses a boundary: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class DatasetRequest(Frozen):
    """Which registered dataset to learn from, and the columns that the issue singles out."""

    dataset_id: str = Field(min_length=1, max_length=128)
    uri: str | None = Field(
        default=None, max_length=1024, description="`s3_uri` of the second dialect; shown, never opened from an issue"
    )
    target: str | None = Field(default=None, description="target column; None takes the one in the catalogue")
    classes: tuple[str, ...] = ()
    train_size: int | None = Field(default=None, ge=1)
    validation_size: int | None = Field(default=None, ge=1)


class Preprocessing(Frozen):
    """Cleaning, splitting and feature options (FR-002, FR-003)."""

    handle_missing: HandleMissing | None = Field(
        default=None, description="None: median for numbers, a category of its own for text"
    )
    handle_outliers: HandleOutliers = Field(default="none", description="drops rows of the training split only")
    remove_duplicates: bool = True
    normalize: bool = Field(default=False, description="min-max scaling to [0, 1] of the training split")
    standardize: bool = Field(default=False, description="zero mean, unit variance of the training split")
    encode_categorical: CategoricalEncoding = "onehot"
    feature_engineering: tuple[DerivedFeature, ...] = ()
    feature_selection: FeatureSelection = "none"
    max_features: int | None = Field(default=None, ge=1)
    resample: Resampling = Field(default="none", description="rebalances the classes of the training split only")
    drop_columns: tuple[str, ...] = ()
    entity_column: str | None = Field(default=None, description="the user of `aggregate_by_user`")
    timestamp_column: str | None = None
    split: SplitStrategy = Field(
        default="auto", description="auto: by time if a timestamp column is declared, else stratified or random"
    )
    validation_fraction: float = Field(default=0.1, gt=0.0, lt=0.5)
    test_fraction: float = Field(
        default=0.2,
        gt=0.0,
        lt=0.5,
        description="a fifth: with less, an AUC of a few thousand rows is too uncertain",
    )
    input_size: tuple[int, ...] = ()
    augmentation: tuple[str, ...] = ()


class HyperparameterSearch(Frozen):
    """Hyperparameter optimisation (FR-006)."""

    enabled: bool = False
    method: SearchMethod = "bayesian"
    max_trials: int = Field(default=20, ge=1, le=1000)


class EvaluationRequest(Frozen):
    """What is measured and what must be reached (FR-009, FR-010)."""

    metrics: tuple[str, ...] = Field(default=(), description="empty: the usual ones of the task")
    threshold: float | None = Field(default=None, description="None: every result passes the gate")
    threshold_metric: str | None = Field(default=None, description="None: auc_roc or accuracy by task, see `plan`")
    test_dataset: str | None = None
    bias_check: bool = False
    ci_tests: bool = False
    episodes: int | None = Field(default=None, ge=1)
    success_criteria: tuple[str, ...] = ()


class PackagingRequest(Frozen):
    """How the model is packaged (FR-014 to FR-016)."""

    model_version: str | None = Field(default=None, pattern=f"^{SEMANTIC_VERSION_PATTERN}$")
    api_type: ApiType = "rest"
    container_optimization: bool = False


class AutoScaling(Frozen):
    """Bounds and target of an endpoint's scaling (FR-018)."""

    min_instances: int = Field(default=1, ge=1, le=100)
    max_instances: int = Field(default=1, ge=1, le=100)
    target_invocations_per_instance: int | None = Field(default=None, ge=1)
    target_latency_ms: float | None = Field(default=None, gt=0)


class DeploymentRequest(Frozen):
    """Where and how it is rolled out (FR-017, FR-018)."""

    environment: Environment = "dev"
    strategy: DeploymentStrategy = "blue_green"
    target: str | None = None
    instance_type: str | None = None
    canary_traffic_percentage: float = Field(default=10.0, gt=0.0, le=100.0)
    canary_duration_minutes: float = Field(default=30.0, gt=0.0)
    auto_rollback_on_error: bool = True
    auto_scaling: AutoScaling | None = None


class AlertThresholds(Frozen):
    """Limits that raise an alert (FR-023)."""

    error_rate: Fraction | None = None
    latency_p95_ms: float | None = Field(default=None, gt=0)
    drift_score: Fraction | None = None


class MonitoringRequest(Frozen):
    """Whether the endpoint is watched, and what alerts (FR-021 to FR-023)."""

    enabled: bool = False
    alert_thresholds: AlertThresholds = AlertThresholds()


class RetrainingRequest(Frozen):
    """What starts a training again (FR-025)."""

    enabled: bool = False
    triggers: tuple[RetrainTrigger, ...] = ()


class DataSettings(Frozen):
    """Phase 1 set by hand."""

    class_imbalance_handling: Literal["auto", "smote", "undersample", "oversample", "none"] = "auto"
    data_augmentation: Switch = "auto"


class TrainingSettings(Frozen):
    """Phase 2 and its resources set by hand."""

    resource_type: Literal["auto", "gpu", "cpu"] = "auto"
    instance_type: str = Field(default="auto", description="auto, or an instance of the price table")
    distributed_training: Switch = "auto"
    use_spot_instances: Switch = "auto"


class EvaluationSettings(Frozen):
    """Phase 3 set by hand."""

    priority_metrics: tuple[str, ...] = Field(default=(), description="empty: auto")
    bias_check_level: Literal["auto", "strict", "standard", "minimal", "none"] = "auto"


class DeploymentSettings(Frozen):
    """Phase 5 set by hand."""

    strategy_override: Literal["auto", "canary", "ab_test", "blue_green", "simple"] = "auto"


class MonitoringSettings(Frozen):
    """Phase 6 set by hand."""

    monitoring_intensity: Literal["auto", "high", "medium", "low"] = "auto"
    drift_detection_frequency: Literal["auto", "hourly", "daily", "weekly"] = "auto"


class ImprovementSettings(Frozen):
    """Phase 7 set by hand."""

    retrain_frequency: Literal["auto", "daily", "weekly", "monthly"] = "auto"


class CustomOptimizations(Frozen):
    """What a person sets beside the optimiser's own choice; `auto` leaves it to the rules."""

    phase1_preprocessing: DataSettings = DataSettings()
    phase2_training: TrainingSettings = TrainingSettings()
    phase3_evaluation: EvaluationSettings = EvaluationSettings()
    phase5_deployment: DeploymentSettings = DeploymentSettings()
    phase6_monitoring: MonitoringSettings = MonitoringSettings()
    phase7_improvement: ImprovementSettings = ImprovementSettings()


class WorkflowOptimization(Frozen):
    """The optimiser's switches (FR-034 to FR-038)."""

    enabled: bool = True
    auto_approve: bool = False
    performance_profile: PerformanceProfile = "balanced"
    custom_optimizations: CustomOptimizations = CustomOptimizations()


class TrainingRequest(Frozen):
    """The validated content of one issue, in canonical form.

    Two bodies that ask for the same thing in different dialects give equal objects.
    """

    model_id: str = Field(pattern=f"^{MODEL_ID_PATTERN}$", description="the model line")
    dataset: DatasetRequest
    learning_type: LearningType
    task_type: TaskType
    algorithm: str
    variant: str | None = None
    hyperparameters: dict[str, JsonValue] = Field(default_factory=dict)
    preprocessing: Preprocessing = Preprocessing()
    search: HyperparameterSearch = HyperparameterSearch()
    experiment_name: str | None = None
    track_with: Tracking = "mlflow"
    evaluation: EvaluationRequest = EvaluationRequest()
    packaging: PackagingRequest = PackagingRequest()
    deployment: DeploymentRequest = DeploymentRequest()
    monitoring: MonitoringRequest = MonitoringRequest()
    retraining: RetrainingRequest = RetrainingRequest()
    optimization: WorkflowOptimization = WorkflowOptimization()
    simulation: dict[str, JsonValue] = Field(
        default_factory=dict, description="environment, agent and reward_function of reinforcement requests"
    )
    max_retry: int = Field(default=3, ge=0, le=10)
    max_cost_usd: float | None = Field(default=None, ge=0)
    seed: int = Field(default=42, ge=0, le=2**31 - 1)
    notification_channels: tuple[NotificationChannel, ...] = ()
    tags: dict[str, str] = Field(default_factory=dict)
    language: Language = "en"

    def canonical(self) -> dict[str, Any]:
        """JSON-ready content with sorted keys left to the encoder; equal requests give equal dictionaries."""
        return self.model_dump(mode="json")
