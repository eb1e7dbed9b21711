"""Building the model's half of the ONNX graph: unique names, constants, tree ensembles.

Nothing here knows an algorithm; each model adds its own nodes through ``GraphBuilder``. Joining the halves is in ``export``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

ML_DOMAIN = "ai.onnx.ml"


@dataclass
class GraphBuilder:
    """Collects nodes and constants under names that nothing in ``taken`` uses."""

    opset: int
    taken: frozenset[str]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def name(self, stem: str) -> str:
        """A tensor name of this half that no column or tensor of the other half has."""
        candidate = f"model/{stem}"
        while candidate in self.taken:
            candidate += "_"
        return candidate

    def constant(self, stem: str, content: NDArray[Any]) -> str:
        """Store ``content`` as an initializer; returns its name."""
        from onnx import numpy_helper

        name = self.name(stem)
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(content, name)
        return name

    def add(
        self, operator: str, inputs: Sequence[str], *, outputs: Sequence[str] = (), domain: str = "", **attributes: Any
    ) -> str:
        """Append one node; returns the name of its first output."""
        from onnx import helper

        stem = f"{len(self.nodes)}_{operator}"
        made = list(outputs) or [self.name(stem)]
        self.nodes.append(helper.make_node(operator, list(inputs), made, name=f"model/{stem}", domain=domain, **attributes))
        return made[0]

    def to_double(self, tensor: str) -> str:
        """``tensor`` as float64."""
        from onnx import TensorProto

        return self.add("Cast", [tensor], to=TensorProto.DOUBLE)

    def to_float(self, tensor: str, output: str) -> str:
        """``tensor`` as float32 under the name ``output``."""
        from onnx import TensorProto

        return self.add("Cast", [tensor], outputs=[output], to=TensorProto.FLOAT)

    def reduce_max(self, tensor: str) -> str:
        """Largest value of each row, (N, 1); the axes moved from attribute to input in opset 18."""
        import numpy as np

        if self.opset < 18:
            return self.add("ReduceMax", [tensor], axes=[1], keepdims=1)
        return self.add("ReduceMax", [tensor, self.constant("axis_1", np.array([1], np.int64))], keepdims=1)

    def softmax(self, scores: str) -> str:
        """Row-wise softmax of a float64 tensor, written out because that is the same arithmetic as the native side's."""
        import numpy as np

        axis = self.constant("axis_1", np.array([1], np.int64))
        powers = self.add("Exp", [self.add("Sub", [scores, self.reduce_max(scores)])])
        return self.add("Div", [powers, self.add("ReduceSum", [powers, axis], keepdims=1)])

    def binary_probabilities(self, margin: str) -> str:
        """Both columns (N, 2) float64 from the positive class's float64 margin (N, 1)."""
        import numpy as np

        one = self.constant("one", np.array(1.0, np.float64))

        def logistic(score: str) -> str:
            return self.add("Div", [one, self.add("Add", [one, self.add("Exp", [self.add("Neg", [score])])])])

        return self.add("Concat", [logistic(self.add("Neg", [margin])), logistic(margin)], axis=1)


@dataclass(frozen=True)
class Tree:
    """One decision tree as arrays over its nodes, root first; a leaf has ``left`` = -1.

    A row goes left where ``x[feature] <= threshold`` (or ``<``, by the ensemble's mode), and where the value is missing and
    ``missing_left``. ``leaves`` is (nodes, targets): what each leaf adds to each target, float64.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    leaves: NDArray[np.float64]


def add_tree_ensemble(builder: GraphBuilder, features: str, trees: Iterable[Tree], *, targets: int, mode: str) -> str:
    """Sum of the trees' leaves, (N, targets) float32, for a float32 ``features`` tensor.

    The ensemble is evaluated in float64: thresholds keep every digit, and the sum does not depend on the order in which the
    runtime's threads add the trees. ``mode`` is ``BRANCH_LEQ`` or ``BRANCH_LT``.

    Source: TreeEnsembleRegressor, ONNX ai.onnx.ml opset 3.
    """
    import numpy as np
    from onnx import numpy_helper

    nodes: dict[str, list[NDArray[Any]]] = {
        key: [] for key in ("tree", "node", "feature", "threshold", "left", "right", "missing", "leaf")
    }
    leaves: dict[str, list[NDArray[Any]]] = {key: [] for key in ("tree", "node", "target", "weight")}
    for index, tree in enumerate(trees):
        size = len(tree.left)
        is_leaf = tree.left < 0
        nodes["tree"].append(np.full(size, index))
        nodes["node"].append(np.arange(size))
        nodes["feature"].append(np.where(is_leaf, 0, tree.feature))
        nodes["threshold"].append(np.where(is_leaf, 0.0, tree.threshold))
        nodes["left"].append(np.where(is_leaf, 0, tree.left))
        nodes["right"].append(np.where(is_leaf, 0, tree.right))
        nodes["missing"].append(np.where(is_leaf, False, tree.missing_left))
        nodes["leaf"].append(is_leaf)
        node, target = np.nonzero(np.broadcast_to(is_leaf[:, None], tree.leaves.shape))
        leaves["tree"].append(np.full(len(node), index))
        leaves["node"].append(node)
        leaves["target"].append(target)
        leaves["weight"].append(tree.leaves[node, target])

    def integers(parts: list[NDArray[Any]]) -> list[int]:
        return [int(value) for value in np.concatenate(parts).tolist()]

    modes = np.where(np.concatenate(nodes["leaf"]), "LEAF", mode).tolist()
    missing = integers(nodes["missing"])
    return builder.add(
        "TreeEnsembleRegressor",
        [builder.to_double(features)],
        domain=ML_DOMAIN,
        n_targets=targets,
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_treeids=integers(nodes["tree"]),
        nodes_nodeids=integers(nodes["node"]),
        nodes_featureids=integers(nodes["feature"]),
        nodes_values_as_tensor=numpy_helper.from_array(np.concatenate(nodes["threshold"]).astype(np.float64), "thresholds"),
        nodes_modes=modes,
        nodes_truenodeids=integers(nodes["left"]),
        nodes_falsenodeids=integers(nodes["right"]),
        target_treeids=integers(leaves["tree"]),
        target_nodeids=integers(leaves["node"]),
        target_ids=integers(leaves["target"]),
        target_weights_as_tensor=numpy_helper.from_array(np.concatenate(leaves["weight"]).astype(np.float64), "weights"),
        nodes_missing_value_tracks_true=missing if any(missing) else None,
    )
