"""The tabular learning task: one table in, one label or number a row out.

Only the wiring of the four verbs is here. Importing this package imports no learning library: request validation reads the
algorithms' descriptions in a process that must start in tens of milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.interface import (
    Algorithm,
    EvaluationSummary,
    ExportSummary,
    FeatureSummary,
    ProgressReporter,
    TrainSummary,
)
from mlops_assets.tasks.tabular.algorithms import ALGORITHMS

__all__ = ["TabularTask"]


class TabularTask:
    """Random forest, XGBoost, logistic and linear regression over prepared tables."""

    name: str = "tabular"
    algorithms: Sequence[Algorithm] = ALGORITHMS

    def prepare(self, dataset: Path, request: TrainingRequest, out: Path) -> FeatureSummary:
        """Fit the transformations on the training split and write every split's features; see ``features``."""
        from mlops_assets.tasks.tabular.features import prepare_features

        return prepare_features(dataset, request, out)

    def train(
        self,
        features: Path,
        request: TrainingRequest,
        out: Path,
        report: ProgressReporter,
        *,
        checkpoints: Path | None = None,
    ) -> TrainSummary:
        """Fit the model of ``request.algorithm``; see ``training``. It takes minutes at most, so a killed one begins anew."""
        from mlops_assets.tasks.tabular.training import train

        return train(features, request, out, report)

    def evaluate(self, features: Path, model: Path, request: TrainingRequest, out: Path) -> EvaluationSummary:
        """Measure the model on the test split and draw its figures; see ``evaluation``."""
        from mlops_assets.tasks.tabular.evaluation import evaluate

        return evaluate(features, model, request, out)

    def export(self, dataset: Path, features: Path, model: Path, request: TrainingRequest, out: Path) -> ExportSummary:
        """Write the served graph and compare it with the native model on every test row; see ``export``."""
        from mlops_assets.tasks.tabular.export import export

        return export(dataset, features, model, request, out)
