"""The drill of ``tests/plugins``: a learning family of another distribution that trains in no time and fails as it is told."""

from __future__ import annotations

import os
from pathlib import Path

from mlops_assets.request.schema import TrainingRequest

ROOT = Path(__file__).resolve().parents[1]
DRILL = ROOT / "tests" / "plugins" / "training_drill"
#: ``PYTHONPATH`` of a training process that knows this checkout and has the drill installed.
DRILL_PATH = f"{ROOT}{os.pathsep}{DRILL}"


def drill_request(**hyperparameters: object) -> TrainingRequest:
    """A request that the drill learns, with its own hyperparameters."""
    return TrainingRequest.model_validate(
        {
            "model_id": "drill-line",
            "dataset": {"dataset_id": "rows"},
            "learning_type": "supervised",
            "task_type": "classification",
            "algorithm": "drill",
            "hyperparameters": hyperparameters,
        }
    )
