"""The partition sets of the asset graph."""

from __future__ import annotations

from dagster import DynamicPartitionsDefinition

#: One partition per model line; each materialization of it is a new version.
MODEL_LINES = "model_line"
model_lines = DynamicPartitionsDefinition(name=MODEL_LINES)

#: One partition per shard of each registered KITTI version, ``kitti-object-8f3c2a1b-0003``; those of old versions stay.
#: What a key stands for is looked up (``resources.frame_assets``), never read out of its text.
KITTI_SHARDS = "kitti_shard"
kitti_shards = DynamicPartitionsDefinition(name=KITTI_SHARDS)
