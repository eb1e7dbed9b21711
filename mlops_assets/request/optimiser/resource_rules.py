"""Rules about resources (FR-036): processor or GPU, spot instances, more than one machine.

Training runs on this machine today; every instance that is recommended is therefore not built, and named with its price.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mlops_assets.request.optimiser.models import OptimizationPhase, Recommendation, Source, Statement
from mlops_assets.request.optimiser.rules import Facts
from mlops_assets.request.prices import LOCAL, price_table

#: Algorithms whose arithmetic a GPU speeds up.
GPU_ALGORITHMS: Final = frozenset({"neural_network", "ppo", "dqn", "a3c", "yolox", "pointpillars", "monodetr", "bevformer"})
#: The instance of the user's own example for trees: 4 processors and 16 GiB.
CPU_INSTANCE: Final = "ml.m5.xlarge"


def _is_local(facts: Facts) -> bool:
    return facts.resources.get("compute") == LOCAL


def _because_of_size(key: str, facts: Facts) -> Statement:
    found = facts.characteristics
    return Statement(
        key=f"{key}_frames" if found.has_frames else key, values={"frames" if found.has_frames else "rows": found.rows}
    )


@dataclass(frozen=True)
class ComputeType:
    """A GPU for neural networks, processors for everything else."""

    name: str = "compute_type"
    requirement: str = "FR-036"
    phase: OptimizationPhase = "resources"
    source: Source = "rule"
    setting: str | None = "phase2_training.resource_type"

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        algorithm = {"algorithm": facts.request.algorithm}
        table = price_table()
        if facts.request.algorithm in GPU_ALGORITHMS and facts.resources.get("gpu"):
            return Recommendation(action=Statement(key="gpu_local"), reason=Statement(key="gpu", values=algorithm))
        if facts.request.algorithm in GPU_ALGORITHMS:
            instance = table.cheapest(gpu=True)
            values = {"instance": instance, "usd": table.instances[instance].usd_per_hour, "date": table.date}
            return Recommendation(
                action=Statement(key="gpu_instance", values=values),
                reason=Statement(key="gpu", values=algorithm),
                carried_out=False,
            )
        if _is_local(facts):
            processors = facts.resources.get("processors")
            return Recommendation(
                action=Statement(key="cpu_local", values={"processors": processors}),
                reason=Statement(key="cpu", values=algorithm),
            )
        values = {"instance": CPU_INSTANCE, "usd": table.instances[CPU_INSTANCE].usd_per_hour, "date": table.date}
        return Recommendation(
            action=Statement(key="cpu_instance", values=values), reason=Statement(key="cpu", values=algorithm), carried_out=False
        )


@dataclass(frozen=True)
class SpotInstances:
    """Spot instances for small jobs in the cloud: little is lost when one is taken away."""

    name: str = "spot_instances"
    requirement: str = "FR-036"
    phase: OptimizationPhase = "resources"
    source: Source = "rule"
    setting: str | None = "phase2_training.use_spot_instances"

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        if _is_local(facts) or facts.characteristics.size_class != "small":
            return None
        return Recommendation(
            action=Statement(key="spot"),
            reason=_because_of_size("small_job", facts),
            carried_out=False,
        )


@dataclass(frozen=True)
class DistributedTraining:
    """More than one machine for large tables."""

    name: str = "distributed_training"
    requirement: str = "FR-036"
    phase: OptimizationPhase = "resources"
    source: Source = "rule"
    setting: str | None = "phase2_training.distributed_training"

    def propose(self, facts: Facts) -> Recommendation | None:
        """See ``Rule``."""
        if facts.characteristics.size_class != "large":
            return None
        return Recommendation(
            action=Statement(key="distributed"),
            reason=_because_of_size("large_data", facts),
            carried_out=False,
        )
