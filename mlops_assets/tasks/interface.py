"""What a learning task is: four verbs over plain files in folders.

A task turns a dataset folder into features, features into a model, a model into measurements and into an ONNX
graph. The asset graph is the same for every task and knows none by name; tasks are found through the entry point
group ``mlops.tasks``. This module imports no learning library, because request validation reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import Field, JsonValue

from mlops_assets.request.schema import Frozen, TrainingRequest
from mlops_assets.request.vocabulary import LearningType, TaskType


@dataclass(frozen=True)
class Hyperparameter:
    """One knob of an algorithm: its type, inclusive range, default and other accepted names."""

    name: str
    kind: Literal["int", "float", "str", "bool"]
    default: int | float | str | bool | None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    nullable: bool = False


@dataclass(frozen=True)
class Algorithm:
    """One algorithm that a task offers, described without importing it."""

    name: str
    display_name: str
    learning_type: LearningType
    task_types: tuple[TaskType, ...]
    hyperparameters: tuple[Hyperparameter, ...]
    #: Form of the data it learns from; see ``mlops_assets.data.forms``.
    form: str = "table"
    #: Sizes that an issue's ``variant`` names, smallest first, and the one that holds without it; empty: it has none.
    variants: tuple[str, ...] = ()
    default_variant: str | None = None
    #: Variant -> knobs whose default it changes.
    variant_defaults: Mapping[str, Mapping[str, JsonValue]] = field(default_factory=dict)
    #: Augmentation that an issue may list -> other accepted names; empty: it has none.
    augmentations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: How many whole numbers ``input_size`` has, and what each must be a multiple of; None: it has no input size.
    input_size: tuple[int, int] | None = None
    #: Installed distribution without which it cannot run, and the extra of this package that brings it.
    requires: tuple[tuple[str, str], ...] = ()

    def augmentation(self, name: str) -> str | None:
        """The augmentation called ``name`` or known by it; None if there is none."""
        return next((own for own, others in self.augmentations.items() if name == own or name in others), None)

    def hyperparameter(self, name: str) -> Hyperparameter | None:
        """The knob called ``name`` or known by it as an alias; None if there is none."""
        return next((h for h in self.hyperparameters if name == h.name or name in h.aliases), None)

    def resolved(self, given: Mapping[str, JsonValue], variant: str | None = None) -> dict[str, JsonValue]:
        """Every knob by its own name: the given value, else the variant's default, else the algorithm's."""
        values: dict[str, JsonValue] = {h.name: h.default for h in self.hyperparameters}
        values |= self.variant_defaults.get(variant or self.default_variant or "", {})
        for name, value in given.items():
            knob = self.hyperparameter(name)
            if knob is not None:
                values[knob.name] = value
        return values


class FeatureSummary(Frozen):
    """What ``prepare`` made. Rows are rows of a table or frames; feature names are columns, or the parts of a frame."""

    feature_names: tuple[str, ...]
    rows: dict[str, int] = Field(description="split name -> rows")
    classes: tuple[str, ...] = Field(default=(), description="class labels in model order; empty for regression")
    objects: dict[str, int] = Field(default_factory=dict, description="split name -> labelled objects, for detection")
    positive_class: str | None = Field(
        default=None, description="of two classes the one that metrics are about; None: the second"
    )
    dropped: dict[str, str] = Field(default_factory=dict, description="input column or feature -> why it was left out")
    digest: str = Field(description="SHA-256 over the feature files; equal digests mean equal matrices")
    warnings: tuple[str, ...] = ()


class ClassRows(Frozen):
    """Training rows of one class, as they were and as the model was fitted on them."""

    label: str
    before: int
    after: int


class TrainSummary(Frozen):
    """What ``train`` made."""

    algorithm: str
    hyperparameters: dict[str, JsonValue]
    seconds: float
    iterations: int = Field(description="trees, boosting rounds or solver iterations actually used")
    metrics: dict[str, float] = Field(default_factory=dict, description="train_* and validation_* metrics")
    curves: dict[str, list[float]] = Field(default_factory=dict, description="metric name -> one value an iteration")
    resampled: tuple[ClassRows, ...] = Field(
        default=(),
        description="in model order, the rows of each class in the training split before and after resampling; empty where "
        "nothing was resampled. Metrics and curves are measured on the rows before it",
    )


class EvaluationSummary(Frozen):
    """What ``evaluate`` measured on the test split."""

    metrics: dict[str, float]
    conventions: dict[str, str] = Field(
        default_factory=dict, description="metric -> in words what it measures, where its name alone does not say it"
    )
    per_class: dict[str, dict[str, float]] = Field(default_factory=dict, description="class -> metric -> value")
    confusion_matrix: list[list[int]] = Field(default_factory=list, description="rows: true class, columns: predicted class")
    classes: tuple[str, ...] = ()
    rows: int
    figures: tuple[str, ...] = Field(default=(), description="PNG files in the folder, in reading order")
    importance: dict[str, float] = Field(default_factory=dict, description="feature -> importance, largest first")
    rows_per_second: float | None = Field(default=None, description="of the native model; a timing, so not a metric")
    warnings: tuple[str, ...] = Field(default=(), description="what could not be measured and why, in the issue's language")


#: Names that no input tensor can have: ONNX has one name space for inputs and outputs, and "" means an absent input there.
RESERVED_TENSORS: tuple[str, ...] = ("", "features", "label", "probabilities", "value")


class InputField(Frozen):
    """One named input of the served model."""

    name: str
    kind: Literal["number", "string", "timestamp", "image", "points"]
    required: bool = Field(description="False: null or a missing key is imputed inside the graph")
    categories: tuple[str, ...] = Field(
        default=(), description="values seen in training; others are accepted and count as unknown"
    )
    minimum: float | None = Field(default=None, description="smallest value seen in training; documentation, not a limit")
    maximum: float | None = None
    example: float | str | None = None

    @property
    def tensor_name(self) -> str:
        """Name of the field's tensor: its own, with one ``_`` more where that is reserved (``value`` -> ``value_``)."""
        return f"{self.name}_" if self.name.rstrip("_") in RESERVED_TENSORS else self.name


class Histogram(Frozen):
    """Counts of a quantity between ascending edges; the first and last bins also hold what lies outside them."""

    edges: tuple[float, ...] = Field(description="k + 1 ascending edges of k bins")
    counts: tuple[int, ...]


class Signature(Frozen):
    """Inputs and outputs of the exported ONNX graph.

    Of a table every input is a tensor of shape (N, 1) named ``InputField.tensor_name``: float32 for ``number`` (NaN = missing),
    string for ``string`` ("" = missing), int64 for ``timestamp`` (seconds since 1970-01-01 UTC; minimum int64 = missing).
    Classification graphs have the outputs ``label`` (N,) int64 index into ``classes`` and ``probabilities`` (N, C) float32;
    regression graphs have ``value`` (N,) float32.

    A detector has one input, of kind ``image`` or ``points``; what its graphs take and give is told in ``settings``, which the
    server's reader of that kind understands (``mlops_assets.serving``).
    """

    task_type: TaskType
    inputs: tuple[InputField, ...]
    classes: tuple[str, ...] = ()
    target: str
    settings: dict[str, JsonValue] = Field(
        default_factory=dict, description="what a detector's reader needs beside the graphs: sizes, thresholds, voxel grid"
    )
    reference: dict[str, Histogram] = Field(
        default_factory=dict, description="quantity -> how it was distributed in training; what drift is measured against"
    )


class ExportSummary(Frozen):
    """What ``export`` made and how it compared with the native model on every row of the test split."""

    signature: Signature
    rows_compared: int
    labels_equal: bool
    largest_difference: float = Field(
        description="largest absolute difference of a probability or score, or relative one of a value or box"
    )


ProgressReporter = Callable[[float, str, Mapping[str, float]], None]
"""Called with the fraction done (0..1), one line of text, and the latest metrics by name."""


@runtime_checkable
class LearningTask(Protocol):
    """A learning family. Folders given are read-only; each verb writes only below ``out``."""

    name: str
    algorithms: Sequence[Algorithm]

    def prepare(self, dataset: Path, request: TrainingRequest, out: Path) -> FeatureSummary:
        """Fit every transformation on the training split of ``dataset`` and write the features of all splits."""
        ...

    def train(
        self, features: Path, request: TrainingRequest, out: Path, report: ProgressReporter, *, checkpoints: Path
    ) -> TrainSummary:
        """Fit the model of ``request.algorithm`` on the training features; same input, same bytes of metrics.

        ``checkpoints`` outlives the process: a training that is started again after a kill finds there what it left.
        """
        ...

    def evaluate(self, features: Path, model: Path, request: TrainingRequest, out: Path) -> EvaluationSummary:
        """Measure the model on the test split and draw its figures."""
        ...

    def export(self, dataset: Path, features: Path, model: Path, request: TrainingRequest, out: Path) -> ExportSummary:
        """Write ``model.onnx`` (raw inputs to predictions in one graph) and ``examples.json``.

        Raises:
            IntegrityError: a row of the test split is predicted differently by the graph and the native model.
        """
        ...


def installed_tasks() -> dict[str, LearningTask]:
    """Every learning task that an installed distribution offers, by name."""
    from importlib.metadata import entry_points

    found: dict[str, Any] = {}
    for point in entry_points(group="mlops.tasks"):
        task = point.load()()
        found[task.name] = task
    return found


def task_for(algorithm: str) -> tuple[LearningTask, Algorithm] | None:
    """The installed task that offers ``algorithm``, with its description; None if nothing installed offers it."""
    for task in installed_tasks().values():
        for offered in task.algorithms:
            if offered.name == algorithm:
                return task, offered
    return None
