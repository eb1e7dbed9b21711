"""Recommendations as data: what is recommended, why, what it changes, and whether this release carries it out.

Sentences are keys with their numbers; their words in Japanese and English are in ``reports/sentences``.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, JsonValue

from mlops_assets.request.schema import Frozen

OptimizationPhase = Literal["data", "training", "evaluation", "packaging", "resources", "deployment", "monitoring", "improvement"]
#: In the order in which a proposal lists them.
OPTIMIZATION_PHASES: Final[tuple[OptimizationPhase, ...]] = (
    "data",
    "training",
    "evaluation",
    "packaging",
    "resources",
    "deployment",
    "monitoring",
    "improvement",
)
#: `advice` weighs what only the person can decide: it is shown apart, and never carried out.
Source = Literal["rule", "profile", "custom", "advice"]


class Statement(Frozen):
    """A sentence that is not yet in any language: its key in the catalogue, and the values of its fields."""

    key: str
    values: dict[str, JsonValue] = Field(default_factory=dict, description="numbers stay numbers: shares 0..1, counts, names")


class Recommendation(Frozen):
    """What one rule proposes for one request on one dataset version."""

    action: Statement = Field(description="sentence `recommend.<key>`: what to do")
    reason: Statement = Field(description="sentence `because.<key>`: why")
    changes: dict[str, JsonValue] = Field(
        default_factory=dict, description="dotted field of the training request -> value; empty where nothing has to change"
    )
    carried_out: bool = Field(default=True, description="False: this release has not built it; shown, never applied")


class Optimization(Recommendation):
    """A recommendation with the rule that made it."""

    rule: str
    requirement: str = Field(description="e.g. `FR-035`")
    phase: OptimizationPhase
    source: Source = "rule"
