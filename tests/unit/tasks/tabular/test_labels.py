"""One rule for the label, on both sides."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.tasks.tabular.labels import TIE, labels_from_probabilities


def graph_labels(probabilities: np.ndarray, opset: int) -> np.ndarray:
    import onnxruntime
    from onnx import TensorProto, helper

    from mlops_assets.tasks.tabular.graph import GraphBuilder
    from mlops_assets.tasks.tabular.labels import add_label

    builder = GraphBuilder(opset=opset, taken=frozenset({"p", "model/tie"}))
    add_label(builder, "p", "label")
    graph = helper.make_graph(
        builder.nodes,
        "rule",
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["N", "C"])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["N"])],
        initializer=list(builder.constants.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"p": probabilities.astype(np.float32)})[0]


def test_the_largest_probability_wins() -> None:
    assert labels_from_probabilities(np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]])).tolist() == [1, 0]


def test_a_tie_goes_to_the_earliest_class_even_when_rounding_broke_it() -> None:
    probabilities = np.array([[0.5, 0.5], [0.5 - 4e-7, 0.5 + 4e-7], [0.499, 0.501], [1 / 3, 1 / 3 + 1e-7]])
    assert labels_from_probabilities(probabilities).tolist() == [0, 0, 1, 0]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=30),
    st.sampled_from([0.0, TIE / 2, TIE, TIE * 1.01, TIE * 2]),
    st.sampled_from([13, 17, 18]),
)
def test_the_graph_applies_the_same_rule_to_every_row(rows: list[list[float]], gap: float, opset: int) -> None:
    probabilities = np.array(rows, np.float32)
    probabilities[:, 1] = probabilities[:, 0] + np.float32(gap)  # straddle the edge of the tie
    assert graph_labels(probabilities, opset).tolist() == labels_from_probabilities(probabilities).tolist()
