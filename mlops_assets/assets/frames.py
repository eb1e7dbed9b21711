"""KITTI frames by shard: the checked copy of the frames, their voxels, their labels as COCO; one partition a shard.

A shard does not belong to a model line. It is made once for a version of a dataset, whoever asks first: a backfill from the UI,
``mlops kitti shards``, or a training that prepares the dataset. What is made, and where it is kept, is in
``resources.shards`` and ``resources.frame_products``; here is what Dagster shows of it.
"""

import logging
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    Config,
    DataVersion,
    MaterializeResult,
    MetadataValue,
    asset,
)
from dagster._utils.warnings import PreviewWarning
from pydantic import Field, ValidationError

from mlops_assets.assets.metadata import Metadata, bar_table, figure, numbers, table
from mlops_assets.data.forms import Told
from mlops_assets.data.frame_shards import ShardSummary
from mlops_assets.data.kitti.coco import CocoPolicy
from mlops_assets.errors import UserError
from mlops_assets.partitions import kitti_shards
from mlops_assets.tasks.detection3d.voxel_files import VOXEL_FORMAT
from mlops_assets.tasks.detection3d.voxels import VoxelGrid
from resources.frame_assets import ShardKeys, ShardPlace, register_shards
from resources.frame_products import (
    BIRDS_EYE_VIEW,
    CAMERA,
    COCO_FORMAT,
    POINTS_PER_VOXEL,
    PROGRESS_LOGGER,
    FrameProducts,
    Made,
    SummaryT,
)
from resources.platform import Platform
from resources.runs import claim_run

FRAMES_CHECK = "files_readable"
SECONDS_BETWEEN_LINES = 5.0
"""A run of 200 frames leaves a few lines in the log of events, not 200."""
_MEGABYTE = 1_000_000
_PATH = 120
_PROGRESS = logging.getLogger(PROGRESS_LOGGER)


class VoxelConfig(Config):
    """The voxel grid, velodyne frame; pillars of 0.16 m over the range ahead unless given."""

    range_min: list[float] = Field(default=[0.0, -39.68, -3.0], description="lower corner x, y, z [m]")
    range_max: list[float] = Field(default=[69.12, 39.68, 1.0], description="upper corner x, y, z [m]")
    voxel_size: list[float] = Field(default=[0.16, 0.16, 4.0], description="edges of a voxel x, y, z [m]")
    max_points: int = Field(default=32, description="points kept in a voxel")
    max_voxels: int = Field(default=40_000, description="voxels kept of a frame")

    def grid(self) -> VoxelGrid:
        """The grid.

        Raises:
            UserError: not three numbers where three are needed, or a grid that no cloud can be put into.
        """
        try:
            return VoxelGrid.model_validate(self.model_dump())
        except ValidationError as error:
            raise _unusable("voxels", error) from None


class CocoConfig(Config):
    """What becomes of each KITTI class; KITTI's own evaluation unless given. See ``CocoPolicy``."""

    categories: list[str] = Field(default=["Car", "Pedestrian", "Cyclist"], description="learned classes; ids are 1, 2, …")
    merged: dict[str, str] = Field(default={}, description="class -> category as which it is learned too")
    ignored: dict[str, str] = Field(
        default={"Van": "Car", "Person_sitting": "Pedestrian"}, description="class -> category of which it is a crowd region"
    )
    dont_care: str = Field(default="crowd", description="crowd (regions of every category) or background (left out)")

    def policy(self) -> CocoPolicy:
        """The policy.

        Raises:
            UserError: it names what there is not, or contradicts itself.
        """
        try:
            policy = CocoPolicy.model_validate(self.model_dump())
        except ValidationError as error:
            raise _unusable("kitti_coco", error) from None
        policy.verify()
        return policy


class ShardStep:
    """What the three assets have in common: the shard of the partition, and lines in the log while it is worked on."""

    def __init__(self, context: AssetExecutionContext) -> None:
        claim_run(context.instance, context.run)  # so that a killed run is ended, see resources.runs
        self.platform: Platform = context.resources.platform
        self.place: ShardPlace = ShardKeys(self.platform.store).place(context.partition_key)
        self.version = self.platform.catalogue.version(self.place.dataset_id, self.place.version)
        self.products = FrameProducts(self.platform)
        self._context = context
        self._said = time.monotonic()

    def told(self, what: str) -> Told:
        """Progress as lines of the run's log, every few seconds and at the end; all of it for whoever listens in this process."""

        def told(fraction: float, text: str) -> None:
            _PROGRESS.debug("%s: %s", what, text)
            if fraction >= 1 or time.monotonic() - self._said >= SECONDS_BETWEEN_LINES:
                self._said = time.monotonic()
                self._context.log.info(f"{what} of {self._context.partition_key}: {text}")

        return told

    def frames(self) -> tuple[Path, ShardSummary]:
        """The folder of the shard and its summary, made first where that is needed."""
        return self.platform.shards.frames(self.version, self.place.shard, self.told("frames"))

    def register(self) -> None:
        """Make the other shards of the version partitions too, where nothing has done so yet."""
        register_shards(self._context.instance, self.platform, self.version)

    def metadata(self, made: Made[SummaryT], work: int) -> Metadata:
        """Where a product lies, how large it is, and how fast it was made; nothing on speed where nothing was done."""
        speed = {} if made.reused or not work else numbers(_speed(made.seconds, frames_per_second=work))
        return {
            "reused": MetadataValue.bool(made.reused),
            "bytes": MetadataValue.int(made.bytes),
            "location": MetadataValue.path(self.platform.store.uri(made.prefix)),
            "dataset_version": MetadataValue.text(f"{self.place.dataset_id} {self.place.version}"),
            **speed,
        }


def _check() -> AssetCheckSpec:
    """The check, judged for each shard on its own: another that is whole must not hide a damaged one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PreviewWarning)  # partitions of checks are in preview; the release is pinned
        return AssetCheckSpec(
            FRAMES_CHECK,
            asset="kitti_frames",
            description="Every file of the shard is there, unchanged, and can be read.",
            partitions_def=kitti_shards,
        )


@asset(
    description="The frames of one shard of a KITTI version, copied and checked file by file.",
    partitions_def=kitti_shards,
    group_name="frames",
    required_resource_keys={"platform"},
    check_specs=[_check()],
)
def kitti_frames(context: AssetExecutionContext) -> Iterator[MaterializeResult[object]]:
    """Make the shard of this partition, or find it made; a damaged file keeps its own frame out and no other."""
    step = ShardStep(context)
    step.register()
    known = step.platform.shards.known(step.version, step.place.shard)
    begun = time.monotonic()
    folder, shard = step.frames()
    seconds = time.monotonic() - begun
    reused = known is not None and known.digest == shard.digest  # damaged files are tried again each time
    speed = {} if reused else _speed(seconds, MB_per_second=shard.bytes / _MEGABYTE)
    pictures = step.products.pictures(shard, folder)
    yield MaterializeResult(
        data_version=DataVersion(shard.digest),
        check_results=[_readable(shard)],
        metadata={
            "frames": len(shard.frames),
            "damaged_files": len(shard.damaged),
            "damaged": _damaged(shard),
            **(_pictured(pictures) if pictures is not None else {}),
            "objects": bar_table(shard.objects, ("class", "objects")),
            **numbers(shard.objects, "objects_"),
            "bytes": shard.bytes,
            **numbers(speed),
            "reused": reused,
            "dataset_version": f"{step.place.dataset_id} {step.place.version}",
            "shard": step.place.shard,
        },
    )


@asset(
    description="Hard voxels of every cloud of a shard, one file a frame; the grid is part of the version.",
    partitions_def=kitti_shards,
    deps=[kitti_frames],
    group_name="frames",
    required_resource_keys={"platform"},
    code_version=VOXEL_FORMAT,
)
def voxels(context: AssetExecutionContext, config: VoxelConfig) -> MaterializeResult[object]:
    """Voxelize the shard; a killed run's frames are kept, and voxels of the same shard and grid are not made again."""
    grid = config.grid()
    step = ShardStep(context)
    folder, shard = step.frames()
    made = step.products.voxels(shard, folder, grid, step.told("voxels"))
    summary = made.summary
    counts: Metadata = {}
    if summary.occupancy is not None:
        occupancy = summary.occupancy
        counts = {
            "points_per_voxel": figure(step.products.folder(made) / POINTS_PER_VOXEL),
            **numbers({"voxels": occupancy.voxels, "points_in_range": occupancy.points_in_range}),
            **numbers({
                "points_per_voxel_mean": occupancy.mean_points,
                "share_of_points_kept": occupancy.kept_share,
                "share_of_voxels_full": occupancy.full_share,
                "share_of_cells_occupied": occupancy.occupied_share,
            }),
            **numbers({"frames_at_voxel_limit": occupancy.frames_at_voxel_limit}),
        }  # fmt: skip
    return MaterializeResult(
        data_version=DataVersion(summary.digest),
        metadata={
            "frames": len(summary.frames),
            "frames_without_cloud": summary.without_cloud,
            **counts,
            "grid": MetadataValue.json(summary.grid.model_dump(mode="json")),
            "format": summary.format,
            **step.metadata(made, len(summary.frames)),
        },
    )


@asset(
    description="The labels of a shard as one COCO file; the policy for KITTI's classes is part of the version.",
    partitions_def=kitti_shards,
    deps=[kitti_frames],
    group_name="frames",
    required_resource_keys={"platform"},
    code_version=COCO_FORMAT,
)
def kitti_coco(context: AssetExecutionContext, config: CocoConfig) -> MaterializeResult[object]:
    """Convert the labels of the shard; the same shard and policy are not converted again."""
    policy = config.policy()
    step = ShardStep(context)
    folder, shard = step.frames()
    made = step.products.coco(shard, folder, policy, step.told("labels"))
    summary = made.summary
    return MaterializeResult(
        data_version=DataVersion(summary.digest),
        metadata={
            "images": summary.images,
            "frames_without_labels": summary.without_labels,
            "annotations": summary.annotations,
            "crowd_regions": summary.crowds,
            "roles": table(("KITTI class: becomes", "objects"), list(summary.roles.items()), _PATH),
            "policy": MetadataValue.json(summary.policy.model_dump(mode="json")),
            **step.metadata(made, summary.images),
        },
    )


def _speed(seconds: float, **done: float) -> dict[str, float]:
    return {"seconds": round(seconds, 3), **{name: round(count / max(seconds, 1e-9), 1) for name, count in done.items()}}


def _readable(shard: ShardSummary) -> AssetCheckResult:
    return AssetCheckResult(
        asset_key="kitti_frames",
        check_name=FRAMES_CHECK,
        passed=not shard.damaged,
        severity=AssetCheckSeverity.WARN,
        description="; ".join(f"{file.key}: {file.reason}" for file in shard.damaged[:8]) or None,
        metadata={
            "damaged_files": len(shard.damaged),
            "frames_kept": len(shard.frames),
            "frames_left_out": len({file.frame_id for file in shard.damaged}),
            "damaged": _damaged(shard),
            "files": MetadataValue.json([file.model_dump(mode="json") for file in shard.damaged]),
        },
    )


def _pictured(pictures: Path) -> Metadata:
    return {"from_above": figure(pictures / BIRDS_EYE_VIEW), "camera": figure(pictures / CAMERA)}


def _damaged(shard: ShardSummary) -> MetadataValue:
    if not shard.damaged:
        return MetadataValue.md("none")
    return table(("file", "reason"), [(file.key, file.reason) for file in shard.damaged], _PATH)


def _unusable(name: str, error: ValidationError) -> UserError:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return UserError(
        f"the configuration of {name} cannot be used: {first['msg']}", field=place, given=str(first["input"])[:80],
        next_step=f"correct it under ops: {name}: config",
    )  # fmt: skip
