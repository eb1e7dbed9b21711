"""Gradient boosting with XGBoost: fitting with live progress and early stopping, predicting, its native format, and its graph.

The library decides which leaf a row reaches; the leaves are added here in float64. XGBoost adds them in float32, where the
order of the trees decides the last digits, and no graph runtime keeps that order.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from mlops_assets.errors import IntegrityError
from mlops_assets.tasks.tabular.graph import GraphBuilder, Tree, add_tree_ensemble
from mlops_assets.tasks.tabular.measures import loss_name
from mlops_assets.tasks.tabular.native_model import Fitted, Progress, TrainingData, shares
from mlops_assets.whole_files import write_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "model.ubj"
ROWS_AT_ONCE = 16_384
#: Fixed, not the machine's: histograms are summed by thread, and a plan must give the same trees on every machine.
THREADS = 2
#: Below this many cells one thread works: where other processes hold the processors, threads that wait for each other after every
#: small histogram took 41 s instead of 2 s for 295 rounds on 34,000 x 105 cells.
CELLS_FOR_THREADS = 20_000_000


@dataclass(frozen=True)
class Boosting:
    """A fitted booster; ``classes`` is 0 for regression."""

    booster: Any
    classes: int

    @cached_property
    def _document(self) -> dict[str, Any]:
        """The booster in XGBoost's documented JSON form.

        Source: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html
        """
        content: dict[str, Any] = json.loads(self.booster.save_raw("json"))["learner"]
        return content

    @cached_property
    def _trees(self) -> list[tuple[int, dict[str, Any]]]:
        """(output column, tree) in boosting order."""
        model = self._document["gradient_booster"]["model"]
        return list(zip(model["tree_info"], model["trees"], strict=True))

    @property
    def _outputs(self) -> int:
        return self.classes if self.classes > 2 else 1

    def _base(self) -> NDArray[np.float32]:
        """What every row starts from, (outputs,), as margin; the file states it as a probability for two classes."""
        import numpy as np

        stated = np.atleast_1d(json.loads(self._document["learner_model_param"]["base_score"])).astype(np.float32)
        base = -np.log(np.float32(1) / stated - np.float32(1)) if self.classes == 2 else stated
        return np.broadcast_to(base, (self._outputs,)).astype(np.float32)

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``NativeModel``."""
        import numpy as np
        import xgboost

        weights = [np.array(tree["split_conditions"], np.float32).astype(np.float64) for _, tree in self._trees]
        margins = np.tile(self._base().astype(np.float64), (len(x), 1))
        for start in range(0, len(x), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            leaves = self.booster.predict(xgboost.DMatrix(x[part], nthread=_threads(x[part])), pred_leaf=True)
            leaves = leaves.reshape(len(leaves), -1).astype(np.int64)
            for index, (column, _) in enumerate(self._trees):
                margins[part, column] += weights[index][leaves[:, index]]
        return self._outcome(margins.astype(np.float32).astype(np.float64)).astype(np.float32)

    def _outcome(self, margins: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities (N, C) or values (N,) of margins (N, outputs)."""
        import numpy as np

        if not self.classes:
            return margins[:, 0]
        with np.errstate(over="ignore"):  # exp of a huge margin is infinity and its probability 0, as it should be
            if self.classes == 2:
                return np.concatenate([1 / (1 + np.exp(margins)), 1 / (1 + np.exp(-margins))], axis=1)
            powers = np.exp(margins - margins.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def importance(self) -> NDArray[np.float64]:
        """See ``NativeModel``: gain of the loss, summed over the splits that use a feature."""
        import numpy as np

        gains = np.zeros(int(self._document["learner_model_param"]["num_feature"]))
        for name, gain in self.booster.get_score(importance_type="total_gain").items():
            gains[int(name.removeprefix("f"))] = gain
        return shares(gains)

    def write(self, folder: Path) -> None:
        """See ``NativeModel``."""
        write_whole(folder / FILE, self.booster.save_raw("ubj"), durable=True)

    @classmethod
    def read(cls, folder: Path, classes: int) -> Boosting:
        """Load ``model.ubj``.

        Raises:
            IntegrityError: the file is unreadable.
        """
        import xgboost

        try:
            content = (folder / FILE).read_bytes()
            booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(content))
        except (OSError, xgboost.core.XGBoostError) as error:
            raise IntegrityError(f"{folder / FILE} is not an XGBoost model: {error}") from error
        return cls(booster, classes)

    def add_to(self, builder: GraphBuilder, features: str, output: str) -> None:
        """See ``NativeModel``."""
        import numpy as np

        margin = add_tree_ensemble(builder, features, self._graph_trees(), targets=self._outputs, mode="BRANCH_LT")
        if not self.classes:
            builder.add("Reshape", [margin, builder.constant("flat", np.array([-1], np.int64))], outputs=[output])
            return
        exact = builder.to_double(margin)
        builder.to_float(builder.binary_probabilities(exact) if self.classes == 2 else builder.softmax(exact), output)

    def _graph_trees(self) -> Iterator[Tree]:
        import numpy as np

        # the base is a tree of one leaf, so that it is added in float64 like every other leaf
        base = self._base().astype(np.float64)[None, :]
        leaf = np.array([-1])
        yield Tree(leaf, leaf, leaf, np.zeros(1), np.zeros(1, bool), base)
        for column, tree in self._trees:
            conditions = np.array(tree["split_conditions"], np.float32).astype(np.float64)
            leaves = np.zeros((len(conditions), self._outputs))
            leaves[:, column] = conditions
            yield Tree(
                left=np.array(tree["left_children"]),
                right=np.array(tree["right_children"]),
                feature=np.array(tree["split_indices"]),
                threshold=conditions,
                missing_left=np.array(tree["default_left"], bool),
                leaves=leaves,
            )


def _threads(x: NDArray[np.float32]) -> int:
    return THREADS if x.size >= CELLS_FOR_THREADS else 1


def fit(data: TrainingData, knobs: Mapping[str, JsonValue], seed: int, progress: Progress) -> Fitted:
    """Boost up to ``n_estimators`` rounds; with early stopping the model keeps the rounds up to its best validation loss."""
    import xgboost

    rounds = int(str(knobs["n_estimators"]))
    patience = knobs["early_stopping_rounds"]
    metric = "rmse" if not data.classes else "logloss" if data.classes == 2 else "mlogloss"
    training = xgboost.DMatrix(data.x, data.y, nthread=_threads(data.x))
    measured = training
    if data.x_measured is not data.x:
        measured = xgboost.DMatrix(data.x_measured, data.y_measured, nthread=_threads(data.x_measured))
    watched = [(measured, "train")]
    if len(data.y_validation):
        watched.append((xgboost.DMatrix(data.x_validation, data.y_validation, nthread=_threads(data.x_validation)), "validation"))
    log: dict[str, dict[str, list[float]]] = {}
    callbacks = [_reporter(rounds, metric, data.classes, progress)]
    if patience is not None and len(watched) == 2:
        callbacks.append(xgboost.callback.EarlyStopping(rounds=int(str(patience)), metric_name=metric, data_name="validation"))
    booster = xgboost.train(
        _parameters(data, knobs, seed, metric),
        training,
        rounds,
        evals=watched,
        evals_result=log,
        callbacks=callbacks,
        verbose_eval=False,
    )
    if patience is not None and len(watched) == 2:
        booster = booster[: booster.best_iteration + 1]
    curves = {f"{split}_{loss_name(data.classes)}": [float(v) for v in values[metric]] for split, values in log.items()}
    length = len(next(iter(curves.values())))
    return Fitted(Boosting(booster, data.classes), booster.num_boosted_rounds(), "rounds", list(range(1, length + 1)), curves)


def _parameters(data: TrainingData, knobs: Mapping[str, JsonValue], seed: int, metric: str) -> dict[str, Any]:
    own = ("n_estimators", "early_stopping_rounds", "scale_pos_weight")
    parameters: dict[str, Any] = {name: value for name, value in knobs.items() if name not in own}
    parameters.update(seed=seed, nthread=_threads(data.x), tree_method="hist", eval_metric=metric, verbosity=0)
    if not data.classes:
        return parameters | {"objective": "reg:squarederror"}
    if data.classes == 2:
        return parameters | {"objective": "binary:logistic", "scale_pos_weight": knobs["scale_pos_weight"]}
    return parameters | {"objective": "multi:softprob", "num_class": data.classes}


def _reporter(rounds: int, metric: str, classes: int, progress: Progress) -> Any:
    """A callback that reports a few times a second, and always the last round."""
    import xgboost

    class Reporter(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        last = time.perf_counter()

        def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, list[float]]]) -> bool:
            """xgboost would end the training early at a True."""
            now = time.perf_counter()
            if epoch == 0 or epoch + 1 == rounds or now - self.last > 0.1:
                self.last = now
                progress(
                    epoch + 1,
                    rounds,
                    {f"{split}_{loss_name(classes)}": float(log[metric][-1]) for split, log in evals_log.items()},
                )
            return False

    return Reporter()
