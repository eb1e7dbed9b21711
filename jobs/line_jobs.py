"""Asset jobs over one partition: a model line."""

from __future__ import annotations

from dagster import AssetSelection, define_asset_job

from mlops_assets.partitions import model_lines
from resources.runs import PROPOSE_JOB, RETRAIN_JOB, TRAIN_JOB

PROPOSED = AssetSelection.assets("training_request", "plan")
TRAINED = AssetSelection.assets(
    "dataset", "features", "model", "evaluation", "approved_model", "operator_request", "package", "endpoint"
)

line_jobs = [
    define_asset_job(
        PROPOSE_JOB, PROPOSED, partitions_def=model_lines, description="Issue to plan; the plan then waits for its approval."
    ),
    define_asset_job(
        TRAIN_JOB, TRAINED, partitions_def=model_lines, description="Approved plan to endpoint, or to the operator."
    ),
    define_asset_job(
        RETRAIN_JOB,
        PROPOSED | TRAINED,
        partitions_def=model_lines,
        description="The line's current configuration again, from request to endpoint, as a new version.",
    ),
]
