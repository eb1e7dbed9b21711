"""The feature definition: what every column of the feature matrix is, as data and as a Markdown document in ja or en.

A feature folder, the output of ``prepare`` and the input of training, evaluation and export, holds::

    features.onnx                            raw columns -> `features` (N, F) float32
    train.npz  validation.npz  test.npz      X (N, F) float32; y (N,) int64 class index, or float64 value
    inputs.json                              list of InputField, the inputs of features.onnx in their order
    definition.json                          FeatureDefinition, the columns of X in their order
    definition.md                            the same for people

Models, reading and wording only; fitting is in ``statistics``, making the folder in ``features``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, JsonValue

from mlops_assets.request.schema import Frozen
from mlops_assets.request.vocabulary import Language, TaskType
from mlops_assets.tasks.interface import InputField

Transformation = Literal["number", "time_part", "entity_count", "entity_mean", "one_hot", "label", "target_mean"]

FEATURE_GRAPH: Final = "features.onnx"
INPUTS: Final = "inputs.json"
DEFINITION: Final = "definition.json"
DEFINITION_DOCUMENT: Final = "definition.md"


class FeatureEntry(Frozen):
    """One column of the feature matrix."""

    name: str
    inputs: tuple[str, ...] = Field(description="raw columns that the serving graph reads for it")
    transformation: Transformation
    parameters: dict[str, JsonValue] = Field(default_factory=dict, description="fitted numbers: fill, offset, scale, category …")
    unit: Literal["source", "unit_interval", "standard_deviations", "rows", "calendar", "flag", "code", "target"]


class FeatureDefinition(Frozen):
    """Every feature with its fitted transformation, and the classes in model order."""

    target: str
    task_type: TaskType
    classes: tuple[str, ...] = ()
    features: tuple[FeatureEntry, ...]
    dropped: dict[str, str] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    train_rows: int
    dataset_digest: str

    @classmethod
    def read(cls, folder: Path) -> FeatureDefinition:
        """Read ``definition.json`` of a feature folder."""
        return cls.model_validate_json((folder / DEFINITION).read_bytes())


def read_inputs(folder: Path) -> tuple[InputField, ...]:
    """The inputs of ``features.onnx`` of a feature folder, in graph order."""
    from pydantic import TypeAdapter

    return TypeAdapter(tuple[InputField, ...]).validate_json((folder / INPUTS).read_bytes())
