"""A run that the sensor asked for, executed in this process as the daemon would; when, and what follows, is the caller's."""

from __future__ import annotations

from dagster import DagsterInstance, RunRequest

from mlops_assets.definitions import defs
from mlops_assets.partitions import MODEL_LINES
from resources.platform import Platform
from resources.runs import PROCESS_TAG, this_process


def execute(request: RunRequest, platform: Platform, instance: DagsterInstance, **tags: str) -> str:
    """Execute it to its end, successful or not; the id of the run, which has ``tags`` besides those asked for."""
    instance.add_dynamic_partitions(MODEL_LINES, [str(request.partition_key)])
    result = defs.resolve_job_def(str(request.job_name)).execute_in_process(
        instance=instance,
        partition_key=request.partition_key,
        raise_on_error=False,
        resources={"platform": platform},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        tags={**request.tags, **tags, PROCESS_TAG: this_process()},
    )
    return result.run_id
