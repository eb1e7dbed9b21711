"""The plan of one training: what a person approves and what runs, with its digest.

``make_plan`` is pure: the same request, data version, code version and limits give the same digest. What a training is
expected to take is no part of it: that changes with every training in the history (``optimiser.estimate``).
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field, JsonValue, SerializerFunctionWrapHandler, model_serializer, model_validator

from mlops_assets.data.dataset import TABLE
from mlops_assets.request.digest import sha256_of
from mlops_assets.request.optimiser.models import Optimization
from mlops_assets.request.schema import Frozen, TrainingRequest
from mlops_assets.request.vocabulary import LearningType

#: Classes are called imbalanced where the rarest has less than this part of an even share: under 30 % with two classes.
IMBALANCE: Final = 0.6


class Characteristics(Frozen):
    """What was detected in the request and the data before anything ran (FR-034)."""

    rows: int
    columns: int
    size_class: Literal["small", "medium", "large"] = Field(description="< 10,000 rows, <= 100,000 rows, above")
    target: str
    task_type: str
    learning_type: LearningType = "supervised"
    algorithm: str = ""
    features: int = Field(default=0, description="columns that may become features: neither target, dropped nor identifier")
    class_counts: dict[str, int] = Field(default_factory=dict)
    minority_share: float | None = Field(default=None, description="rows of the rarest class / all rows")
    missing_cells: int = 0
    duplicate_rows: int = 0
    sensitive: tuple[str, ...] = Field(default=(), description="columns declared sensitive, over which fairness matters")
    form: str = Field(default=TABLE, description="form of the data; of frames a row is a frame and `class_counts` are objects")
    parts: dict[str, int] = Field(default_factory=dict, description="of frames: part -> frames that have it")

    @model_serializer(mode="wrap")
    def _as_before_there_were_forms(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What frames have is no part of a table's characteristics: its plans keep the digest under which they were approved."""
        content: dict[str, Any] = write(self)
        if self.form == TABLE:
            content.pop("form", None)
            content.pop("parts", None)
        return content

    @property
    def has_frames(self) -> bool:
        """Whether the data are frames, which have parts and objects where a table has columns and rows."""
        return self.form != TABLE

    @property
    def imbalance_limit(self) -> float | None:
        """The share below which the rarest class counts as rare; None without classes."""
        return IMBALANCE / len(self.class_counts) if self.class_counts else None

    @property
    def imbalanced(self) -> bool:
        """Whether the rarest class has less than ``IMBALANCE`` of an even share of the rows."""
        limit = self.imbalance_limit
        return self.minority_share is not None and limit is not None and self.minority_share < limit


class NotDone(Frozen):
    """Something the body validly asks for and this platform does not do yet."""

    field: str
    key: str = Field(description="sentence key `not_done.<key>`")
    asked: str


class Plan(Frozen):
    """The request with its optimisations, detected characteristics, data and code version, and cost cap."""

    request: TrainingRequest = Field(description="the effective request: what runs, with `optimizations` carried out")
    optimizations: tuple[Optimization, ...] = Field(default=(), description="what is applied or recommended, in reading order")
    dataset_id: str
    dataset_version: str
    code_version: str
    task: str = Field(description="name of the learning task that will run")
    target: str
    hyperparameters: dict[str, JsonValue] = Field(description="every knob of the algorithm, defaults included")
    metrics: tuple[str, ...]
    gate_metric: str
    characteristics: Characteristics
    resources: dict[str, JsonValue] = Field(description="compute kind, instance type, processors")
    cost_cap_usd: float | None
    not_done: tuple[NotDone, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _without_estimate(cls, content: Any) -> Any:
        """Plans written before estimates left the plan stay readable; their digest differs, so they are proposed again."""
        if isinstance(content, dict) and "estimated_cost_usd" in content:
            return {name: value for name, value in content.items() if name != "estimated_cost_usd"}
        return content

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: what is approved and what is checked again before it runs."""
        return sha256_of(self.model_dump(mode="json"))
