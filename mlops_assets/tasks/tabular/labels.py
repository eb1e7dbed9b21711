"""The one rule that turns probabilities into a label, for the native model and for the ONNX graph alike.

The label is the class with the largest probability; probabilities within 1e-6 of the largest count as a tie, and a tie goes
to the earliest class. Both sides apply it to float32 probabilities, so an exact tie that rounding breaks on one side only
cannot split them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mlops_assets.tasks.tabular.graph import GraphBuilder

TIE: Final = 1e-6


def labels_from_probabilities(probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """Class index (N,) int64 of each row of ``probabilities`` (N, C)."""
    import numpy as np

    rounded = probabilities.astype(np.float32)
    near: NDArray[np.bool_] = rounded >= rounded.max(axis=1, keepdims=True) - np.float32(TIE)
    return np.asarray(near.argmax(axis=1), np.int64)


def add_label(builder: GraphBuilder, probabilities: str, label: str) -> None:
    """Add the same rule to a graph: reads the float32 tensor ``probabilities`` (N, C), writes ``label`` (N,) int64."""
    import numpy as np
    from onnx import TensorProto

    largest = builder.reduce_max(probabilities)
    limit = builder.add("Sub", [largest, builder.constant("tie", np.array(TIE, np.float32))])
    near = builder.add("Cast", [builder.add("GreaterOrEqual", [probabilities, limit])], to=TensorProto.FLOAT)
    builder.add("ArgMax", [near], outputs=[label], axis=1, keepdims=0)
