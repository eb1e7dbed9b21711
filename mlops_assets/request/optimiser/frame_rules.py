"""Rules for detectors, which learn from frames: augmentation, epochs, mixed precision, and the variant that is fast enough.

What holds for tables and frames alike (resources, release, monitoring) is with the other rules of its phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mlops_assets.request.optimiser.models import OptimizationPhase, Recommendation, Source, Statement
from mlops_assets.request.optimiser.rules import Facts

#: Knobs that choose the arithmetic -> values that leave the choice to the training, which mixes precisions on a GPU.
_PRECISION: Final[Mapping[str, tuple[object, ...]]] = {"precision": ("auto",), "mixed_precision": (True,)}


@dataclass(frozen=True)
class MeasuredVariant:
    """A variant that keeps a budget on processors, and what it took.

    Attributes:
        milliseconds: of one frame, as ``docs/kitti.md`` tells it; a machine of 2 cores, so an order of magnitude elsewhere.
        parameters_m: learned parameters in millions.
    """

    milliseconds: float
    parameters_m: float


#: Smallest variant of an algorithm -> measured without a GPU. The next larger ones do not keep the budget there.
#: Source: benchmarks/results; parameter counts of YOLOX as published (arXiv:2107.08430).
MEASURED: Final[Mapping[str, MeasuredVariant]] = {
    "yolox-nano": MeasuredVariant(milliseconds=13.9, parameters_m=0.91),
    "slim": MeasuredVariant(milliseconds=27.1, parameters_m=0.45),
}
#: What one detection may take. Source: NFR-021, 30 ms for a detection, 100 ms from the sensor to the answer.
BUDGETS_MS: Final[Mapping[str, float]] = {"detection_2d": 30.0, "detection_3d": 100.0}


@dataclass(frozen=True)
class FrameAugmentation:
    """The algorithm's own recipe where the issue lists nothing; a list that is given is followed to the word."""

    name: str = "frame_augmentation"
    requirement: str = "FR-035"
    phase: OptimizationPhase = "data"
    source: Source = "rule"
    setting: str | None = "phase1_preprocessing.data_augmentation"

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        if not facts.algorithm.augmentations or facts.request.preprocessing.augmentation:
            return None
        return Recommendation(
            action=Statement(key="augment", values={"names": list(facts.algorithm.augmentations)}),
            reason=Statement(key="own_recipe", values={"algorithm": facts.request.algorithm}),
        )


@dataclass(frozen=True)
class ProfileEpochs:
    """Fewer epochs for speed and cost, where the person gave no number; more than the recipe's is never proposed."""

    name: str = "profile_epochs"
    requirement: str = "FR-037"
    phase: OptimizationPhase = "training"
    source: Source = "profile"
    setting: str | None = None

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        epochs = facts.by_profile("epochs")
        if epochs is None or epochs.count > epochs.default:
            return None
        return Recommendation(
            action=Statement(key="epochs", values={"epochs": epochs.count, "default": epochs.default}),
            reason=Statement(key=f"epochs_{facts.request.optimization.performance_profile}"),
            changes={f"hyperparameters.{epochs.knob}": epochs.count},
        )


@dataclass(frozen=True)
class MixedPrecision:
    """Half as many bits where they are enough, on a GPU that is there; this is how detectors are trained on one."""

    name: str = "mixed_precision"
    requirement: str = "FR-036"
    phase: OptimizationPhase = "training"
    source: Source = "rule"
    setting: str | None = None

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        if not facts.resources.get("gpu"):
            return None
        values = facts.algorithm.resolved(facts.request.hyperparameters, facts.request.variant)
        if not any(values.get(knob) in left_open for knob, left_open in _PRECISION.items() if knob in values):
            return None
        return Recommendation(action=Statement(key="mixed_precision"), reason=Statement(key="gpu_is_there"))


@dataclass(frozen=True)
class LatencyBudget:
    """The smallest variant, where the issue cares for the time of an answer and the chosen one was measured to exceed it.

    The endpoint runs on processors. The choice is the person's: it decides the quality as well, so this is advice only.
    """

    name: str = "latency_budget"
    requirement: str = "NFR-021"
    phase: OptimizationPhase = "deployment"
    source: Source = "advice"
    setting: str | None = None

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        request, variants = facts.request, facts.algorithm.variants
        if not variants or request.variant == variants[0] or variants[0] not in MEASURED:
            return None
        scaling = request.deployment.auto_scaling
        target = scaling.target_latency_ms if scaling is not None else None
        if target is None and "inference_latency_ms" not in (*request.evaluation.metrics, request.evaluation.threshold_metric):
            return None
        budget, measured = target or BUDGETS_MS[request.task_type], MEASURED[variants[0]]
        if measured.milliseconds > budget:
            return None
        return Recommendation(
            action=Statement(key="variant", values={"variant": variants[0], "parameters_m": measured.parameters_m}),
            reason=Statement(
                key="latency_budget", values={"budget_ms": budget, "measured_ms": measured.milliseconds, "variant": variants[0]}
            ),
            carried_out=False,
        )
