"""Logistic and linear regression in float64: fitting, predicting, three arrays on disk, and their graph.

Both are fitted on standardised features, so that the penalty treats every column alike and the solver converges; the
standardisation is then folded into the coefficients, which apply to the features as they come.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from mlops_assets.errors import DataRejected, IntegrityError
from mlops_assets.tasks.tabular.graph import GraphBuilder
from mlops_assets.tasks.tabular.measures import loss_name, loss_of
from mlops_assets.tasks.tabular.native_model import Fitted, Progress, TrainingData, shares
from mlops_assets.whole_files import whole_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "model.npz"
ROWS_AT_ONCE = 16_384
CURVE_FRACTIONS = (0.1, 0.25, 0.5, 0.75, 1.0)
#: Eigenvalues of the Gram matrix below this share of the largest are noise: float32 features carry 7 digits, squared 14.
RANK_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Linear:
    """Scores ``x @ coefficients + intercept`` in float64: (F, K) and (K,).

    K is 1 for regression and for two classes, else one column for each class in ``present`` (K,): a class without a
    training row keeps probability 0. ``scale`` (F,) is each feature's standard deviation in training.
    """

    coefficients: NDArray[np.float64]
    intercept: NDArray[np.float64]
    scale: NDArray[np.float64]
    present: NDArray[np.int64]
    classes: int

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``NativeModel``."""
        import numpy as np
        from threadpoolctl import threadpool_limits

        parts = [np.zeros((0, self.classes) if self.classes else 0, np.float32)]
        with threadpool_limits(1):  # the last digit of a product must not depend on how many threads share it
            for start in range(0, len(x), ROWS_AT_ONCE):
                scores = x[start : start + ROWS_AT_ONCE].astype(np.float64) @ self.coefficients + self.intercept
                parts.append(self._outcome(scores).astype(np.float32))
        return np.concatenate(parts)

    def _outcome(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        if not self.classes:
            return scores[:, 0]
        with np.errstate(over="ignore"):  # exp of a huge score is infinity and its probability 0, as it should be
            if scores.shape[1] == 1:
                known = np.concatenate([1 / (1 + np.exp(scores)), 1 / (1 + np.exp(-scores))], axis=1)
            else:
                powers = np.exp(scores - scores.max(axis=1, keepdims=True))
                known = powers / powers.sum(axis=1, keepdims=True)
        every = np.zeros((len(scores), self.classes))
        every[:, self.present] = known
        return every

    def importance(self) -> NDArray[np.float64]:
        """See ``NativeModel``: absolute coefficient times the feature's standard deviation, averaged over the columns."""
        import numpy as np

        return shares(np.abs(self.coefficients).mean(axis=1) * self.scale)

    def write(self, folder: Path) -> None:
        """See ``NativeModel``."""
        import numpy as np

        arrays = {"coefficients": self.coefficients, "intercept": self.intercept, "scale": self.scale, "present": self.present}
        with whole_file(folder / FILE, durable=True) as path, path.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)

    @classmethod
    def read(cls, folder: Path, classes: int) -> Linear:
        """Load ``model.npz``.

        Raises:
            IntegrityError: the file is unreadable or its arrays do not fit together.
        """
        import numpy as np

        try:
            with np.load(folder / FILE, allow_pickle=False) as stored:
                model = cls(stored["coefficients"], stored["intercept"], stored["scale"], stored["present"], classes)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise IntegrityError(f"{folder / FILE} is not a linear model: {error}") from error
        if model.coefficients.shape != (len(model.scale), len(model.intercept)):
            raise IntegrityError(
                f"{folder / FILE}: coefficients {model.coefficients.shape} do not fit {len(model.scale)} features"
            )
        return model

    def add_to(self, builder: GraphBuilder, features: str, output: str) -> None:
        """See ``NativeModel``."""
        import numpy as np

        product = builder.add("MatMul", [builder.to_double(features), builder.constant("coefficients", self.coefficients)])
        scores = builder.add("Add", [product, builder.constant("intercept", self.intercept)])
        if not self.classes:
            flat = builder.add("Reshape", [scores, builder.constant("flat", np.array([-1], np.int64))])
            builder.to_float(flat, output)
            return
        known = builder.binary_probabilities(scores) if len(self.intercept) == 1 else builder.softmax(scores)
        if len(self.present) < self.classes:
            places = np.zeros((len(self.present), self.classes))
            places[np.arange(len(self.present)), self.present] = 1.0
            known = builder.add("MatMul", [known, builder.constant("places", places)])
        builder.to_float(known, output)


@dataclass(frozen=True)
class Standardised:
    """Centre and scale (F,) of training features; a constant feature has scale 1 and cannot be learned from."""

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def of(cls, x: NDArray[np.float32], *, centred: bool) -> Standardised:
        """Measure ``x`` (N, F); without ``centred`` the centre is zero."""
        import numpy as np

        centre = x.mean(axis=0, dtype=np.float64) if centred else np.zeros(x.shape[1])
        scale = np.sqrt(sum(((part - centre) ** 2).sum(axis=0) for part in _parts(x)) / max(len(x), 1))
        return cls(centre, np.where(scale > 1e-12 * np.maximum(1.0, np.abs(centre)), scale, 1.0))

    def folded(
        self, weights: NDArray[np.float64], intercept: NDArray[np.float64], present: NDArray[np.int64], classes: int
    ) -> Linear:
        """The model over plain features that equals ``weights`` (F, K), ``intercept`` (K,) over standardised ones."""
        coefficients = weights / self.scale[:, None]
        return Linear(coefficients, intercept - self.centre @ coefficients, self.scale, present, classes)


def fit_logistic(data: TrainingData, knobs: Mapping[str, JsonValue], seed: int, progress: Progress) -> Fitted:
    """Maximum likelihood with an L2 penalty of 1 / C on standardised coefficients, by L-BFGS."""

    def solve(x: NDArray[np.float32], y: NDArray[Any]) -> tuple[Linear, int]:
        """The model over plain features, and the iterations that the solver took."""
        import numpy as np
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        standard = Standardised.of(x, centred=True)
        estimator = LogisticRegression(
            C=float(str(knobs["C"])) if knobs["penalty"] else np.inf,
            max_iter=int(str(knobs["max_iter"])),
            class_weight=knobs["class_weight"],
            tol=1e-6,
        )
        with warnings.catch_warnings():
            # reaching max_iter is the requester's choice and shows in the summary's iterations
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.fit((x.astype(np.float64) - standard.centre) / standard.scale, y)
        model = standard.folded(estimator.coef_.T, estimator.intercept_, estimator.classes_.astype(np.int64), data.classes)
        return model, int(estimator.n_iter_.max())

    return _fit(data, seed, progress, solve)


def fit_linear(data: TrainingData, knobs: Mapping[str, JsonValue], seed: int, progress: Progress) -> Fitted:
    """Least squares, the shortest solution where features depend on each other; ``alpha`` adds a ridge on standardised
    coefficients."""
    intercept, alpha = bool(knobs["fit_intercept"]), float(str(knobs["alpha"]))

    def solve(x: NDArray[np.float32], y: NDArray[Any]) -> tuple[Linear, int]:
        """By normal equations summed in parts, so ``x`` has no float64 copy; nothing iterates, which counts as one iteration."""
        import numpy as np

        standard = Standardised.of(x, centred=intercept)
        offset = float(y.mean()) if intercept else 0.0
        gram, moment = np.zeros((x.shape[1], x.shape[1])), np.zeros(x.shape[1])
        for part, target in zip(_parts(x), _parts(y), strict=True):
            scaled = (part - standard.centre) / standard.scale
            gram += scaled.T @ scaled
            moment += scaled.T @ (target - offset)
        strengths, directions = np.linalg.eigh(gram)
        kept = strengths > RANK_TOLERANCE * max(float(strengths.max(initial=0.0)), np.finfo(float).tiny)
        weights = directions[:, kept] @ ((directions[:, kept].T @ moment) / (strengths[kept] + alpha))
        return standard.folded(weights[:, None], np.array([offset]), np.zeros(1, np.int64), 0), 1

    return _fit(data, seed, progress, solve)


def _fit(
    data: TrainingData, seed: int, progress: Progress, solve: Callable[[NDArray[np.float32], NDArray[Any]], tuple[Linear, int]]
) -> Fitted:
    """The learning curve over growing parts of the training rows; the last part is all of them, in file order.

    The training loss is that of the rows of the part, or of all rows as they were where the classes were rebalanced.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    if not all(np.isfinite(part).all() for x in (data.x_measured, data.x_validation) for part in _parts(x)):
        raise DataRejected(
            "linear models cannot learn from missing or infinite feature values",
            field="preprocessing.handle_missing",
            next_step="ask for mean, median or mode, or take random_forest or xgboost",
        )
    shuffled = np.random.default_rng(seed).permutation(len(data.y))
    sizes = [int(len(data.y) * fraction) for fraction in CURVE_FRACTIONS]
    positions: list[int] = []
    curves: dict[str, list[float]] = {}
    with threadpool_limits(1):
        for step, size in enumerate(sizes, start=1):
            rows = np.sort(shuffled[:size])
            last = step == len(sizes)
            if not last and (
                size < 2 * data.x.shape[1] or (data.classes and len(np.unique(data.y[rows])) < len(np.unique(data.y)))
            ):
                continue
            model, iterations = solve(data.x[rows], data.y[rows])
            positions.append(size)
            rebalanced = data.x_measured is not data.x
            seen = (data.x_measured, data.y_measured) if rebalanced else (data.x[rows], data.y[rows])
            latest = {"train": seen, "validation": (data.x_validation, data.y_validation)}
            losses = {
                f"{name}_{loss_name(data.classes)}": loss_of(y, model.predict(x), data.classes)
                for name, (x, y) in latest.items()
                if len(y)
            }
            for name, loss in losses.items():
                curves.setdefault(name, []).append(loss)
            progress(step, len(sizes), losses)
    return Fitted(model, iterations, "rows", positions, curves)


def _parts(rows: NDArray[Any]) -> list[NDArray[np.float64]]:
    """``rows`` in float64 blocks small enough to keep beside the whole."""
    return [rows[start : start + ROWS_AT_ONCE].astype("float64") for start in range(0, len(rows), ROWS_AT_ONCE)]
