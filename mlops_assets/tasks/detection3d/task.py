"""Detection in point clouds as a learning task: one cloud in, boxes in space out.

Only the wiring of the four verbs is here; torch is imported by the verbs that need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.detection3d.algorithm import POINTPILLARS
from mlops_assets.tasks.interface import (
    Algorithm,
    EvaluationSummary,
    ExportSummary,
    FeatureSummary,
    ProgressReporter,
    TrainSummary,
)

__all__ = ["CloudDetectionTask"]


class CloudDetectionTask:
    """PointPillars over the frames of a KITTI copy."""

    name: str = "detection_3d"
    algorithms: Sequence[Algorithm] = (POINTPILLARS,)

    def prepare(self, dataset: Path, request: TrainingRequest, out: Path) -> FeatureSummary:
        """Link the clouds of every split and cut out the objects that augmentation samples; see ``preparation``."""
        from mlops_assets.tasks.detection3d.preparation import prepare

        return prepare(dataset, request, out)

    def train(
        self, features: Path, request: TrainingRequest, out: Path, report: ProgressReporter, *, checkpoints: Path
    ) -> TrainSummary:
        """Train the network, or carry on from the checkpoint of a killed process; see ``fitting``."""
        from mlops_assets.tasks.detection3d.fitting import train

        return train(features, request, out, report, checkpoints=checkpoints)

    def evaluate(self, features: Path, model: Path, request: TrainingRequest, out: Path) -> EvaluationSummary:
        """Measure the network on the test split and draw its figures; see ``measuring``."""
        from mlops_assets.tasks.detection3d.measuring import evaluate

        return evaluate(features, model, request, out)

    def export(self, dataset: Path, features: Path, model: Path, request: TrainingRequest, out: Path) -> ExportSummary:
        """Write the served graphs and compare them with the network on test clouds; see ``served``."""
        from mlops_assets.tasks.detection3d.served import export

        return export(features, model, request, out)
