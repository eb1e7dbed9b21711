"""The partition sets of the asset graph."""

from __future__ import annotations

from dagster import DynamicPartitionsDefinition

#: One partition per model line; each materialization of it is a new version.
MODEL_LINES = "model_line"
model_lines = DynamicPartitionsDefinition(name=MODEL_LINES)
