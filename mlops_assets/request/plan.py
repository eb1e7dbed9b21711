"""The plan of one training: what a person approves and what runs, with its digest.

``make_plan`` is pure: the same request, data version, code version and limits give the same digest.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from mlops_assets.request.digest import sha256_of
from mlops_assets.request.schema import Frozen, TrainingRequest


class Characteristics(Frozen):
    """What was detected in the request and the data before anything ran."""

    rows: int
    columns: int
    size_class: Literal["small", "medium", "large"] = Field(description="< 10,000 rows, <= 100,000 rows, above")
    target: str
    task_type: str
    class_counts: dict[str, int] = Field(default_factory=dict)
    minority_share: float | None = Field(default=None, description="rows of the rarest class / all rows")
    missing_cells: int = 0
    duplicate_rows: int = 0


class NotDone(Frozen):
    """Something the body validly asks for and this platform does not do yet."""

    field: str
    key: str = Field(description="sentence key `not_done.<key>`")
    asked: str


class Plan(Frozen):
    """Request, detected characteristics, chosen settings, data and code version, and cost cap."""

    request: TrainingRequest
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
    estimated_cost_usd: float | None = Field(description="None: no estimate yet; 0.0 on the laptop's own processors")
    not_done: tuple[NotDone, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: what is approved and what is checked again before it runs."""
        return sha256_of(self.model_dump(mode="json"))
