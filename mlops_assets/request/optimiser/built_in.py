"""The rules that ship with the platform, one a recommendation; registered like those of any other distribution."""

from __future__ import annotations

from typing import Final

from mlops_assets.request.optimiser.data_rules import ClassImbalance, LagFeatures
from mlops_assets.request.optimiser.delivery_rules import DeploymentStrategy, Monitoring, Packaging, RetrainingFrequency
from mlops_assets.request.optimiser.evaluation_rules import BiasCheck, PriorityMetrics
from mlops_assets.request.optimiser.frame_rules import FrameAugmentation, LatencyBudget, MixedPrecision, ProfileEpochs
from mlops_assets.request.optimiser.resource_rules import ComputeType, DistributedTraining, SpotInstances
from mlops_assets.request.optimiser.rules import Rule
from mlops_assets.request.optimiser.training_rules import EarlyStopping, HyperparameterSearch, ParallelForest, ProfileTrees

RULES: Final[tuple[Rule, ...]] = (
    ClassImbalance(),
    LagFeatures(),
    FrameAugmentation(),
    EarlyStopping(),
    HyperparameterSearch(),
    ParallelForest(),
    ProfileTrees(),
    ProfileEpochs(),
    MixedPrecision(),
    BiasCheck(),
    PriorityMetrics(),
    Packaging(),
    ComputeType(),
    DistributedTraining(),
    SpotInstances(),
    DeploymentStrategy(),
    LatencyBudget(),
    Monitoring(),
    RetrainingFrequency(),
)
