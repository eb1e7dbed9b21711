"""The record of one training: everything its report, its comment and its history file say, as data.

Rendering it is in ``report``; this module only defines it. The JSON of this model is ``training_history/<training_id>.json``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from mlops_assets.data.dataset import TABLE, QualityCheck
from mlops_assets.request.lifecycle import StopCause
from mlops_assets.request.optimiser.estimate import Actual, Estimate
from mlops_assets.request.optimiser.models import Optimization
from mlops_assets.request.optimiser.rules import carry_out, with_fields
from mlops_assets.request.plan import Characteristics
from mlops_assets.request.schema import Frozen, TrainingRequest
from mlops_assets.request.vocabulary import Environment, Language

Outcome = Literal["deployed", "below_threshold", "failed", "cancelled", "rejected", "superseded"]
Ending = Literal[Outcome, "withdrawn", "superseded_run", "superseded_attempt", "superseded_plan"]
Phase = Literal["request", "plan", "data", "features", "training", "evaluation", "package", "deployment"]
PHASES: tuple[Phase, ...] = ("request", "plan", "data", "features", "training", "evaluation", "package", "deployment")
PhaseState = Literal["waiting", "running", "done", "failed", "skipped"]


class PhaseProgress(Frozen):
    """One row of the phase table."""

    phase: Phase
    state: PhaseState
    seconds: float | None = None
    detail: str = Field(default="", description="one line already in the issue's language: rows, features, a metric …")


class GateDecision(Frozen):
    """Whether the evaluation passed its threshold, and by how much."""

    metric: str
    direction: Literal["higher", "lower"]
    value: float
    threshold: float | None
    passed: bool
    suggestions: tuple[str, ...] = Field(default=(), description="keys of sentences on what can be changed (`suggestion.<key>`)")

    @property
    def shortfall(self) -> float:
        """How far the value is on the wrong side of the threshold; 0 when it passed."""
        if self.passed or self.threshold is None:
            return 0.0
        return abs(self.threshold - self.value)


class DatasetFacts(Frozen):
    """The prepared dataset that a training learned from. Rows by split; removed rows by reason."""

    dataset_id: str
    version: str
    target: str
    rows: dict[str, int]
    removed: dict[str, int]
    split: str
    features: int
    form: str = TABLE
    parts: tuple[str, ...] = Field(default=(), description="of frames: what of each one was learned from")
    objects: dict[str, int] = Field(default_factory=dict, description="of frames: split -> labelled objects of the classes")
    classes: tuple[str, ...] = ()
    checks: tuple[QualityCheck, ...] = ()
    digest: str


class ModelFacts(Frozen):
    """The packaged model version."""

    version: str
    package_digest: str
    uri: str = Field(description="where the package lies in the store")
    mlflow_run_id: str | None = None
    mlflow_model_version: str | None = None


class EndpointFacts(Frozen):
    """Where the model version answers."""

    environment: Environment
    url: str
    previous_version: str | None = None


class TrainingRecord(Frozen):
    """One finished training. Times are UTC in ISO 8601, durations in seconds."""

    training_id: str
    model_id: str
    issue: int | None
    attempt: int
    outcome: Outcome
    language: Language
    started_at: str
    finished_at: str
    request: TrainingRequest = Field(description="as it was asked for; `effective_request` is what ran")
    settled: dict[str, JsonValue] = Field(
        default_factory=dict, description="dotted field of the request -> value that the plan gave it where it was left open"
    )
    plan_digest: str
    approved_by: str | None
    code_version: str
    environment: dict[str, str] = Field(description="python, platform and library versions that decide the numbers")
    not_done: tuple[str, ...] = Field(default=(), description="keys of what was asked for and is not built (`not_done.<key>`)")
    characteristics: Characteristics | None = None
    optimizations: tuple[Optimization, ...] = Field(default=(), description="what was applied or recommended")
    estimate: Estimate | None = Field(default=None, description="made with the proposal, before the run")
    actual: Actual | None = None
    class_balance: dict[str, tuple[float, float]] = Field(
        default_factory=dict, description="class -> share of the training rows before and after they were resampled"
    )
    dataset: DatasetFacts | None = None
    feature_digest: str | None = None
    hyperparameters: dict[str, JsonValue] = Field(default_factory=dict)
    training_seconds: float | None = None
    curves: dict[str, list[float]] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    conventions: dict[str, str] = Field(default_factory=dict, description="metric -> in words what it measures")
    per_class: dict[str, dict[str, float]] = Field(default_factory=dict)
    confusion_matrix: list[list[int]] = Field(default_factory=list)
    confusion_classes: tuple[str, ...] = Field(default=(), description="of its rows and columns; empty: those of the dataset")
    variants: tuple[str, ...] = Field(default=(), description="sizes of the algorithm, smallest first; empty: it has none")
    importance: dict[str, float] = Field(default_factory=dict)
    gate: GateDecision | None = None
    model: ModelFacts | None = None
    endpoint: EndpointFacts | None = None
    phases: tuple[PhaseProgress, ...] = ()
    ended_by: str | None = Field(default=None, description="who cancelled or rejected it; None where nobody did or it is unknown")
    ended_because: StopCause | None = Field(default=None, description="what ended it where nobody said so in the thread")
    error: str | None = Field(default=None, description="headline of what went wrong, for a failed training")

    @property
    def has_run(self) -> bool:
        """Whether the training got as far as to be part of its line's history: a plan that was only proposed did not."""
        return self.outcome not in ("cancelled", "rejected", "superseded") or self.dataset is not None

    @property
    def ending(self) -> Ending:
        """How it ended, apart by what people have to be told: a plan that never ran was not stopped but dropped."""
        if self.outcome == "cancelled":
            return "cancelled" if self.has_run or self.approved_by is not None else "withdrawn"
        if self.outcome == "superseded" and self.has_run:
            return "superseded_run"
        if self.outcome == "superseded" and self.ended_because in ("another_attempt", "plan_changed"):
            return "superseded_attempt" if self.ended_because == "another_attempt" else "superseded_plan"
        return self.outcome

    @property
    def retries_exhausted(self) -> bool:
        """Whether it stayed below its threshold and its request allows no further attempt (FR-032)."""
        return self.outcome == "below_threshold" and self.attempt > self.request.max_retry

    @property
    def effective_request(self) -> TrainingRequest:
        """The request with what the plan settled and the optimisations carried out: what was trained, and what reproduces it."""
        return carry_out(with_fields(self.request, self.settled), self.optimizations)
