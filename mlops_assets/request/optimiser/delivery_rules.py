"""Rules of phases 4 to 7: packaging, the way of release, monitoring, how often to train again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from mlops_assets.request.optimiser.models import OptimizationPhase, Recommendation, Source, Statement
from mlops_assets.request.optimiser.rules import Facts
from mlops_assets.request.vocabulary import DeploymentStrategy as Strategy

#: An endpoint that is to grow to this many instances serves enough to gain from gRPC.
MANY_INSTANCES: Final = 4


@dataclass(frozen=True)
class Packaging:
    """REST with one small ONNX graph; gRPC where the issue expects many instances."""

    name: str = "packaging"
    requirement: str = "FR-035"
    phase: OptimizationPhase = "packaging"
    source: Source = "rule"
    setting: str | None = None

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        scaling = facts.request.deployment.auto_scaling
        if facts.request.packaging.api_type == "grpc":
            return None
        if scaling is not None and scaling.max_instances >= MANY_INSTANCES:
            return Recommendation(
                action=Statement(key="grpc"),
                reason=Statement(key="many_instances", values={"instances": scaling.max_instances}),
                changes={"packaging.api_type": "grpc"},
                carried_out=False,
            )
        if facts.characteristics.has_frames:
            return Recommendation(action=Statement(key="onnx_rest"), reason=Statement(key="without_torch"))
        return Recommendation(action=Statement(key="light_rest"), reason=Statement(key="one_graph"))


@dataclass(frozen=True)
class DeploymentStrategy:
    """By version and environment: a canary for a new release, an A/B test for a minor version, blue/green for a hotfix.

    The development environment has little traffic: a simple switch is enough. A strategy that the issue names stands.
    """

    name: str = "deployment_strategy"
    requirement: str = "FR-035"
    phase: OptimizationPhase = "deployment"
    source: Source = "rule"
    setting: str | None = "phase5_deployment.strategy_override"

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        deployment = facts.request.deployment
        if deployment.strategy != "blue_green":
            return None
        strategy, reason = _strategy(deployment.environment, facts.request.packaging.model_version)
        changes: dict[str, JsonValue] = {} if strategy == "blue_green" else {"deployment.strategy": strategy}
        return Recommendation(
            action=Statement(key="strategy", values={"strategy": strategy}),
            reason=Statement(key=reason, values={"environment": deployment.environment}),
            changes=changes,
            carried_out=strategy == "blue_green",
        )


def _strategy(environment: str, model_version: str | None) -> tuple[Strategy, str]:
    numbers = re.fullmatch(r"v(\d+)\.(\d+)\.(\d+)", model_version or "")
    minor, patch = (int(numbers[2]), int(numbers[3])) if numbers else (0, 0)
    if environment == "dev":
        return "simple", "low_traffic"
    if patch:
        return "blue_green", "hotfix"
    return ("ab_test", "minor_version") if minor else ("canary", "new_release")


@dataclass(frozen=True)
class Monitoring:
    """What to watch once the model answers, by task."""

    name: str = "monitoring"
    requirement: str = "FR-035"
    phase: OptimizationPhase = "monitoring"
    source: Source = "rule"
    setting: str | None = "phase6_monitoring.monitoring_intensity"

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        if facts.request.monitoring.enabled:
            return None
        task = facts.request.task_type
        watched = task if task in ("classification", "regression", "detection_2d", "detection_3d") else "other"
        return Recommendation(
            action=Statement(key=f"monitor_{watched}"),
            reason=Statement(key="by_task", values={"task_type": task}),
            changes={"monitoring.enabled": True},
            carried_out=False,
        )


@dataclass(frozen=True)
class RetrainingFrequency:
    """Weekly where the catalogue promises fresh data, else monthly: there is no history of drift to go by yet."""

    name: str = "retraining_frequency"
    requirement: str = "FR-035"
    phase: OptimizationPhase = "improvement"
    source: Source = "rule"
    setting: str | None = "phase7_improvement.retrain_frequency"

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        if facts.request.retraining.enabled or facts.request.retraining.triggers:
            return None
        hours = facts.version.entry.fresh_within_hours
        frequency = "monthly" if hours is None else "weekly"
        return Recommendation(
            action=Statement(key=f"retrain_{frequency}"),
            reason=Statement(key="no_drift_history") if hours is None else Statement(key="fresh_data", values={"hours": hours}),
            changes={"retraining.enabled": True, "retraining.triggers": [f"schedule_{frequency}"]},
            carried_out=False,
        )
