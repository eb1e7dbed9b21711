"""Random forests of scikit-learn: fitting with live progress, predicting, saving without pickle, and their graph.

Prediction walks the trees one after another: scikit-learn's own ``predict_proba`` adds them in the order in which threads
finish, so its last digits change from call to call, and with them a metric that must be reproduced exactly.
"""

from __future__ import annotations

import importlib
import sys
import time
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from pydantic import JsonValue

from mlops_assets.errors import IntegrityError
from mlops_assets.tasks.tabular.graph import GraphBuilder, Tree, add_tree_ensemble
from mlops_assets.tasks.tabular.measures import loss_name, loss_of
from mlops_assets.tasks.tabular.native_model import Fitted, Progress, TrainingData, shares
from mlops_assets.whole_files import whole_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "model.skops"
#: Everything beyond skops' own list that the file may hold; anything else in it is refused.
TRUSTED = ("sklearn.tree._tree.Tree",)
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Forest:
    """A fitted ``RandomForestClassifier`` or ``RandomForestRegressor``; ``classes`` is 0 for regression."""

    estimator: Any
    classes: int

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``NativeModel``: mean over the trees, added in float64 in tree order."""
        import numpy as np

        sums = self.empty_sums(len(x))
        for start in range(0, len(x), ROWS_AT_ONCE):
            part = x[start : start + ROWS_AT_ONCE]
            for tree in self.estimator.estimators_:
                self.add_tree(sums[start : start + ROWS_AT_ONCE], tree, part)
        return self.mean(sums, len(self.estimator.estimators_)).astype(np.float32)

    def empty_sums(self, rows: int) -> NDArray[np.float64]:
        """Zeros (N, C), or (N, 1) for regression, to add trees to."""
        import numpy as np

        return np.zeros((rows, max(self.classes, 1)))

    def add_tree(self, sums: NDArray[np.float64], tree: Any, x: NDArray[np.float32]) -> None:
        """Add one tree's prediction of ``x`` to ``sums``."""
        sums[:, self._columns()] += tree.tree_.predict(x).reshape(len(x), -1)

    def mean(self, sums: NDArray[np.float64], trees: int) -> NDArray[np.float64]:
        """Prediction from the sums over ``trees`` trees: (N, C) or (N,)."""
        average = sums / trees
        return average if self.classes else average[:, 0]

    def _columns(self) -> Any:
        """Output columns that the trees know: a class without a training row has none and keeps probability 0."""
        return self.estimator.classes_ if self.classes else [0]

    def importance(self) -> NDArray[np.float64]:
        """See ``NativeModel``: mean decrease of impurity."""
        import numpy as np

        return shares(np.asarray(self.estimator.feature_importances_, np.float64))

    def write(self, folder: Path) -> None:
        """See ``NativeModel``."""
        with whole_file(folder / FILE, durable=True) as path:
            _skops().dump(self.estimator, path)

    @classmethod
    def read(cls, folder: Path, classes: int) -> Forest:
        """Load ``model.skops``.

        Raises:
            IntegrityError: the file is unreadable, holds a type that is not trusted, or is another kind of model.
        """
        skops = _skops()
        from skops.io.exceptions import UntrustedTypesFoundException

        try:
            estimator = skops.load(folder / FILE, trusted=list(TRUSTED))
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, UntrustedTypesFoundException) as error:
            raise IntegrityError(f"{folder / FILE} is not a forest that may be loaded: {error}") from error
        if type(estimator).__name__ != ("RandomForestClassifier" if classes else "RandomForestRegressor"):
            raise IntegrityError(f"{folder / FILE} holds a {type(estimator).__name__}, not the forest that model.json names")
        return cls(estimator, classes)

    def add_to(self, builder: GraphBuilder, features: str, output: str) -> None:
        """See ``NativeModel``."""
        import numpy as np

        mean = add_tree_ensemble(builder, features, self._trees(), targets=max(self.classes, 1), mode="BRANCH_LEQ")
        if self.classes:
            builder.add("Identity", [mean], outputs=[output])
        else:
            builder.add("Reshape", [mean, builder.constant("flat", np.array([-1], np.int64))], outputs=[output])

    def _trees(self) -> Iterator[Tree]:
        import numpy as np

        members = self.estimator.estimators_
        for member in members:
            tree = member.tree_
            leaves = np.zeros((tree.node_count, max(self.classes, 1)))
            leaves[:, self._columns()] = tree.value[:, 0, :] / len(members)
            yield Tree(
                left=tree.children_left,
                right=tree.children_right,
                feature=tree.feature,
                threshold=tree.threshold,
                missing_left=tree.missing_go_to_left.astype(bool),
                leaves=leaves,
            )


def _skops() -> Any:
    """``skops.io``, imported without torch.

    Its import walks every package of scikit-learn, and one of them imports torch where that is installed: more than a second and
    200 MB for nothing. The walk passes over a package that cannot be imported, so this one cannot, for as long as the walk takes.
    """
    hidden = "sklearn.externals.array_api_compat.torch"
    absent = hidden not in sys.modules
    if absent:
        sys.modules[hidden] = cast(ModuleType, None)  # what the import system takes for "there is no such module"
    try:
        return importlib.import_module("skops.io")
    finally:
        if absent:
            del sys.modules[hidden]


def fit(data: TrainingData, knobs: Mapping[str, JsonValue], seed: int, progress: Progress) -> Fitted:
    """Grow the forest in chunks, measuring training and validation loss after every tree.

    Each tree has its own seed, drawn in order: the forest is the same whatever the chunks and the number of threads.
    """
    forest = Forest(_estimator(data, knobs, seed), data.classes)
    wanted = int(str(knobs["n_estimators"]))
    splits = {"train": (data.x_measured, data.y_measured), "validation": (data.x_validation, data.y_validation)}
    splits = {name: split for name, split in splits.items() if len(split[1])}
    sums = {name: forest.empty_sums(len(y)) for name, (_, y) in splits.items()}
    curves: dict[str, list[float]] = {f"{name}_{loss_name(data.classes)}": [] for name in splits}
    done, chunk = 0, 2
    while done < wanted:
        target = min(wanted, done + chunk)
        started = time.perf_counter()
        forest.estimator.set_params(n_estimators=target)
        with warnings.catch_warnings():
            # "balanced" is recomputed by each fit on the same rows, so the warning about changing data does not apply
            warnings.filterwarnings("ignore", message="class_weight presets", category=UserWarning)
            forest.estimator.fit(data.x, data.y)
        for number, tree in enumerate(forest.estimator.estimators_[done:target], start=done + 1):
            for name, (x, y) in splits.items():
                forest.add_tree(sums[name], tree, x)
                curves[f"{name}_{loss_name(data.classes)}"].append(loss_of(y, forest.mean(sums[name], number), data.classes))
        done = target
        progress(done, wanted, {name: values[-1] for name, values in curves.items()})
        # a few reports a second: often enough to watch, rare enough not to cost
        if time.perf_counter() - started < 0.3:
            chunk *= 2
    return Fitted(forest, wanted, "trees", list(range(1, wanted + 1)), curves)


def _estimator(data: TrainingData, knobs: Mapping[str, JsonValue], seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    max_features = {"auto": "sqrt" if data.classes else 1 / 3, "third": 1 / 3, "all": None}.get(
        str(knobs["max_features"]), knobs["max_features"]
    )
    common: dict[str, Any] = {
        name: knobs[name] for name in ("max_depth", "min_samples_split", "min_samples_leaf", "max_leaf_nodes", "bootstrap")
    }
    common.update(n_estimators=1, max_features=max_features, random_state=seed, n_jobs=-1, warm_start=True)
    if data.classes:
        return RandomForestClassifier(class_weight=knobs["class_weight"], **common)
    return RandomForestRegressor(**common)
