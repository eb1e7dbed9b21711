"""The asset job over one shard of a KITTI version: its frames, voxels and COCO file."""

from __future__ import annotations

from dagster import AssetSelection, define_asset_job

from mlops_assets.partitions import kitti_shards

SHARDS_JOB = "kitti_shards_job"
FRAME_ASSETS = ("kitti_frames", "voxels", "kitti_coco")

kitti_shards_job = define_asset_job(
    SHARDS_JOB,
    AssetSelection.assets(*FRAME_ASSETS),
    partitions_def=kitti_shards,
    description="Frames of a shard copied and checked, then voxels and COCO; a backfill over it makes a whole version.",
)
