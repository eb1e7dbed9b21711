"""The code location: every asset, job, sensor and resource of the platform. Loading it opens nothing."""

from dagster import (
    Definitions,
    InitResourceContext,
    IOManager,
    in_process_executor,
    io_manager,
    load_assets_from_modules,
    resource,
)

from jobs.frame_jobs import kitti_shards_job
from jobs.line_jobs import line_jobs
from mlops_assets.assets import data, endpoint, evaluation, features, frames, model, package, request
from resources.artifacts import ArtifactIOManager
from resources.platform import Platform
from sensors.issues import issue_sensors
from sensors.notifications import notification_sensor
from sensors.pushes import push_sensors
from sensors.shards import shard_sensor


@resource(description="All doors to the outside, from the settings in force when a run starts.")
def platform_resource(_: InitResourceContext) -> Platform:
    """The platform with the settings of this process."""
    return Platform()


@io_manager(required_resource_keys={"platform"}, description="Immutable artifacts in the object store, resolved run-first.")
def artifact_io_manager(context: InitResourceContext) -> IOManager:
    """The IO manager over the platform's store and ledger."""
    return ArtifactIOManager(context.resources.platform)


defs = Definitions(
    assets=load_assets_from_modules([request, data, features, model, evaluation, package, endpoint, frames]),
    jobs=[*line_jobs, kitti_shards_job],
    sensors=[*issue_sensors(line_jobs), *push_sensors(line_jobs), notification_sensor, shard_sensor],
    resources={"platform": platform_resource, "artifacts": artifact_io_manager},
    executor=in_process_executor,  # the heavy part of the chain is a training process of its own
)
