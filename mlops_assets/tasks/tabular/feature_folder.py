"""Reading the features folder that ``prepare`` wrote. Making it is in ``features``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from mlops_assets.data.dataset import Split
from mlops_assets.errors import IntegrityError
from mlops_assets.tasks.interface import FeatureSummary, InputField

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FeatureFolder:
    """One features folder: what is known of the columns, and the matrices on demand."""

    path: Path
    summary: FeatureSummary
    inputs: tuple[InputField, ...]

    @classmethod
    def read(cls, path: Path) -> FeatureFolder:
        """Read ``summary.json`` and ``inputs.json``.

        Raises:
            IntegrityError: one of them is missing or not what it should be.
        """
        try:
            summary = FeatureSummary.model_validate_json((path / "summary.json").read_bytes())
            inputs = TypeAdapter(tuple[InputField, ...]).validate_json((path / "inputs.json").read_bytes())
        except (OSError, ValidationError) as error:
            raise IntegrityError(f"{path} is not a complete features folder: {error}") from error
        return cls(path, summary, inputs)

    @property
    def positive(self) -> int:
        """Index of the class that the metrics of two classes are about: the declared one, else the second.

        Raises:
            IntegrityError: the declared one is not among the classes.
        """
        if self.summary.positive_class is None:
            return 1
        if self.summary.positive_class not in self.summary.classes:
            raise IntegrityError(
                f"{self.path}: positive class {self.summary.positive_class!r} is not in {list(self.summary.classes)}"
            )
        return self.summary.classes.index(self.summary.positive_class)

    def split(self, name: Split) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
        """Feature matrix (N, F) float32 and target (N,): int64 class index, or float64 value.

        Raises:
            IntegrityError: the file is missing, unreadable, or not of the summary's shape.
        """
        import zipfile

        import numpy as np

        file = self.path / f"{name}.npz"
        try:
            with np.load(file, allow_pickle=False) as stored:
                x, y = stored["X"], stored["y"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise IntegrityError(f"{file} is not a feature matrix: {error}") from error
        expected = (self.summary.rows.get(name, len(y)), len(self.summary.feature_names))
        if x.shape != expected or y.shape != expected[:1]:
            raise IntegrityError(f"{file}: expected X {expected} and y {expected[:1]}, found {x.shape} and {y.shape}")
        classes = len(self.summary.classes)
        if classes and len(y) and (y.min() < 0 or y.max() >= classes):
            raise IntegrityError(f"{file}: class indices {y.min()}..{y.max()} are outside 0..{classes - 1}")
        return np.ascontiguousarray(x, np.float32), y
