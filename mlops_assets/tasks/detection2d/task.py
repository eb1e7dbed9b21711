"""Detection in images as a learning task: one image in, boxes out.

Only the wiring of the four verbs is here; torch is imported by the verbs that need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.detection2d.algorithm import YOLOX
from mlops_assets.tasks.interface import (
    Algorithm,
    EvaluationSummary,
    ExportSummary,
    FeatureSummary,
    ProgressReporter,
    TrainSummary,
)

__all__ = ["ImageDetectionTask"]


class ImageDetectionTask:
    """YOLOX over the frames of a KITTI copy."""

    name: str = "detection_2d"
    algorithms: Sequence[Algorithm] = (YOLOX,)

    def prepare(self, dataset: Path, request: TrainingRequest, out: Path) -> FeatureSummary:
        """Write COCO annotations and link the images of every split; see ``preparation``."""
        from mlops_assets.tasks.detection2d.preparation import prepare

        return prepare(dataset, request, out)

    def train(
        self, features: Path, request: TrainingRequest, out: Path, report: ProgressReporter, *, checkpoints: Path
    ) -> TrainSummary:
        """Train the network, or carry on from the checkpoint of a killed process; see ``fitting``."""
        from mlops_assets.tasks.detection2d.fitting import train

        return train(features, request, out, report, checkpoints=checkpoints)

    def evaluate(self, features: Path, model: Path, request: TrainingRequest, out: Path) -> EvaluationSummary:
        """Measure the network on the test split and draw its figures; see ``measuring``."""
        from mlops_assets.tasks.detection2d.measuring import evaluate

        return evaluate(features, model, request, out)

    def export(self, dataset: Path, features: Path, model: Path, request: TrainingRequest, out: Path) -> ExportSummary:
        """Write the served graph and compare it with the network on test images; see ``served``."""
        from mlops_assets.tasks.detection2d.served import export

        return export(features, model, request, out)
