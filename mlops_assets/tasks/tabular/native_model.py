"""What every native model can do, and the folder that it lies in.

::

    model.json                   ModelCard: what it is and which library versions wrote it
    model.ubj | model.skops | model.npz    XGBoost's own format | scikit-learn through skops | arrays of a linear model;
    never a pickle

The models themselves are in ``forest``, ``boosting`` and ``linear``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import Field, JsonValue, ValidationError

from mlops_assets.errors import IntegrityError
from mlops_assets.request.schema import Frozen
from mlops_assets.request.vocabulary import TaskType
from mlops_assets.whole_files import write_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mlops_assets.tasks.tabular.graph import GraphBuilder

CARD = "model.json"
CurveAxis = Literal["trees", "rounds", "rows"]


class NativeModel(Protocol):
    """A fitted model in its own library."""

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (N, C) or values (N,), float32, for features (N, F); the same digits whatever the number of threads."""
        ...

    def importance(self) -> NDArray[np.float64]:
        """Share of each feature (F,), summing to 1, or all zero where the model uses none."""
        ...

    def write(self, folder: Path) -> None:
        """Write the native file."""
        ...

    def add_to(self, builder: GraphBuilder, features: str, output: str) -> None:
        """Add the model to a graph: reads ``features`` (N, F) float32, writes what ``predict`` gives under the name
        ``output``."""
        ...


class ModelCard(Frozen):
    """What the native file is, and how its training went."""

    algorithm: str
    task_type: TaskType
    classes: tuple[str, ...]
    positive: int = Field(description="index of the class that the metrics of two classes are about")
    feature_names: tuple[str, ...]
    hyperparameters: dict[str, JsonValue]
    seed: int
    iterations: int
    libraries: dict[str, str]
    curve_axis: CurveAxis
    curve_positions: list[int] = Field(description="where on the axis each value of a curve was measured")
    curves: dict[str, list[float]]


@dataclass(frozen=True)
class TrainingData:
    """Training and validation matrices: (N, F) float32 features, (N,) class indices or values; ``classes`` is 0 for
    regression.

    A model is fitted on ``x`` and ``y``. Everything called ``train_*`` is measured on ``x_measured`` and ``y_measured``, the
    training rows as they are in the data: the same arrays, unless the classes were rebalanced for the fit.
    """

    x: NDArray[np.float32]
    y: NDArray[np.generic]
    x_measured: NDArray[np.float32]
    y_measured: NDArray[np.generic]
    x_validation: NDArray[np.float32]
    y_validation: NDArray[np.generic]
    classes: int


@dataclass(frozen=True)
class Fitted:
    """A model and how it got there."""

    model: NativeModel
    iterations: int
    axis: CurveAxis
    positions: list[int]
    curves: dict[str, list[float]] = field(default_factory=dict)


Progress = Callable[[int, int, Mapping[str, float]], None]
"""Called with steps done, steps in all, and the latest metrics."""


def write_model(folder: Path, model: NativeModel, card: ModelCard) -> None:
    """Write the native file, then the card that makes the folder complete."""
    folder.mkdir(parents=True, exist_ok=True)
    model.write(folder)
    write_whole(folder / CARD, card.model_dump_json(indent=2), durable=True)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def read_model(folder: Path) -> tuple[NativeModel, ModelCard]:
    """The model in ``folder`` with its card.

    Raises:
        IntegrityError: the folder is incomplete or one of its files is not what it should be.
    """
    try:
        card = ModelCard.model_validate_json((folder / CARD).read_bytes())
    except (OSError, ValidationError) as error:
        raise IntegrityError(f"{folder} is not a complete model folder: {error}") from error
    model: NativeModel
    if card.algorithm == "random_forest":
        from mlops_assets.tasks.tabular.forest import Forest

        model = Forest.read(folder, len(card.classes))
    elif card.algorithm == "xgboost":
        from mlops_assets.tasks.tabular.boosting import Boosting

        model = Boosting.read(folder, len(card.classes))
    else:
        from mlops_assets.tasks.tabular.linear import Linear

        model = Linear.read(folder, len(card.classes))
    return model, card


def shares(amounts: NDArray[np.float64]) -> NDArray[np.float64]:
    """``amounts`` (F,) scaled to sum to 1; unchanged where all are zero."""
    total = float(amounts.sum())
    return amounts / total if total > 0 else amounts
