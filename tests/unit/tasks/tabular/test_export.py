"""The exported graph against the native model, on every row, and proof that the comparison can fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prepared_features import Prepared, concatenation, silent

from mlops_assets.errors import IntegrityError
from mlops_assets.serving.package import Examples
from mlops_assets.tasks.interface import Signature
from mlops_assets.tasks.tabular import TabularTask
from mlops_assets.tasks.tabular.labels import labels_from_probabilities
from mlops_assets.tasks.tabular.native_model import read_model

pytest.importorskip("mlops_assets.tasks.tabular.raw_inputs")
TASK = TabularTask()


def trained(data: Prepared, folder: Path, algorithm: str, **knobs: Any) -> tuple[Any, Path]:
    request = data.request(algorithm, hyperparameters=knobs)
    TASK.train(data.features, request, folder / "model", silent)
    return request, folder / "model"


def session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def raw_test_rows(data: Prepared, names: list[str]) -> dict[str, np.ndarray]:
    frame = pd.read_parquet(data.dataset / "test.parquet")
    return {name: frame[[name]].to_numpy(np.float32) for name in names}


@pytest.mark.parametrize(
    ("data", "algorithm", "knobs"),
    [
        ("breast_cancer", "random_forest", {"n_estimators": 100}),
        ("breast_cancer", "random_forest", {"n_estimators": 40, "min_samples_leaf": 1, "class_weight": "balanced"}),
        ("breast_cancer", "xgboost", {}),
        ("breast_cancer", "xgboost", {"scale_pos_weight": 2.0, "early_stopping_rounds": None, "n_estimators": 80}),
        ("breast_cancer", "logistic_regression", {}),
        ("breast_cancer", "logistic_regression", {"penalty": None, "max_iter": 50}),
        ("three_classes", "random_forest", {}),
        ("three_classes", "xgboost", {}),
        ("three_classes", "logistic_regression", {}),
        ("diabetes", "random_forest", {"n_estimators": 40}),
        ("diabetes", "xgboost", {}),
        ("diabetes", "linear_regression", {}),
        ("diabetes", "linear_regression", {"fit_intercept": False, "alpha": 1.0}),
    ],
)
def test_graph_and_native_model_agree_on_every_test_row(
    data: str, algorithm: str, knobs: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source: Prepared = request.getfixturevalue(data)
    asked, model = trained(source, tmp_path, algorithm, **knobs)
    summary = TASK.export(source.dataset, source.features, model, asked, tmp_path / "package")
    with np.load(source.features / "test.npz") as test:
        expected = read_model(model)[0].predict(test["X"])
    assert summary.rows_compared == len(expected)
    assert summary.largest_difference <= 1e-6
    graph = session(tmp_path / "package/model.onnx")
    fed = graph.run(None, raw_test_rows(source, [field.name for field in summary.signature.inputs]))
    if source.classes:
        assert [output.name for output in graph.get_outputs()] == ["label", "probabilities"]
        assert fed[0].dtype == np.int64
        assert fed[0].shape == (len(expected),)
        assert fed[1].dtype == np.float32
        assert fed[1].shape == (len(expected), len(source.classes))
        assert np.array_equal(fed[0], labels_from_probabilities(expected))
        assert np.abs(fed[1] - expected).max() <= 1e-6
    else:
        assert [output.name for output in graph.get_outputs()] == ["value"]
        assert fed[0].dtype == np.float32
        assert fed[0].shape == expected.shape
        assert fed[0] == pytest.approx(expected, rel=1e-6)


def test_one_row_and_many_rows_get_the_same_answer(breast_cancer: Prepared, tmp_path: Path) -> None:
    asked, model = trained(breast_cancer, tmp_path, "xgboost")
    summary = TASK.export(breast_cancer.dataset, breast_cancer.features, model, asked, tmp_path / "package")
    graph = session(tmp_path / "package/model.onnx")
    raw = raw_test_rows(breast_cancer, [field.name for field in summary.signature.inputs])
    together = graph.run(["probabilities"], raw)[0]
    singly = [graph.run(["probabilities"], {name: column[row : row + 1] for name, column in raw.items()})[0] for row in range(40)]
    assert np.array_equal(np.concatenate(singly), together[:40])


@pytest.mark.parametrize("algorithm", ["random_forest", "xgboost"])
def test_missing_feature_values_go_the_same_way_in_the_graph(
    algorithm: str, prepared: Callable[..., Prepared], tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(600, 4))
    y = ((x[:, 0] > 0) ^ (x[:, 1] > 0.3)).astype(np.int64)
    x[generator.random(x.shape) < 0.25] = np.nan
    data = prepared(x, y, classes=("no", "yes"))
    asked, model = trained(data, tmp_path, algorithm, n_estimators=40)
    summary = TASK.export(data.dataset, data.features, model, asked, tmp_path / "package")
    assert summary.largest_difference <= 1e-6
    examples = Examples.model_validate_json((tmp_path / "package/examples.json").read_bytes())
    assert any(value is None for row in examples.rows for value in row.values())


def test_a_value_on_the_threshold_goes_the_same_way_in_the_graph(prepared: Callable[..., Prepared], tmp_path: Path) -> None:
    # neighbouring float32 numbers: every threshold lies between two values that nothing wider than a rounding step separates
    steps = np.float32(1) + np.arange(600) * np.finfo(np.float32).eps
    x = np.column_stack([steps, -steps]).astype(np.float64)
    y = (np.arange(600) // 7 % 2).astype(np.int64)
    data = prepared(x, y, classes=("no", "yes"))
    for algorithm, knobs in (("random_forest", {"min_samples_leaf": 1}), ("xgboost", {"max_depth": 8})):
        asked, model = trained(data, tmp_path / algorithm, algorithm, n_estimators=30, **knobs)
        assert TASK.export(data.dataset, data.features, model, asked, tmp_path / algorithm / "package").largest_difference <= 1e-6


@pytest.mark.parametrize("algorithm", ["random_forest", "xgboost", "logistic_regression"])
def test_exact_ties_get_the_earliest_class_on_both_sides(
    algorithm: str, prepared: Callable[..., Prepared], tmp_path: Path
) -> None:
    # the features say nothing: every row's classes are equally likely up to rounding
    y = np.tile([0, 1, 2], 100)
    data = prepared(np.ones((300, 2)), y, classes=("a", "b", "c"), sizes=(0.7, 0.15), shuffle=False)
    whole = {"random_forest": {"bootstrap": False}, "xgboost": {"subsample": 1.0}}.get(algorithm, {})
    asked, model = trained(data, tmp_path, algorithm, **whole)
    TASK.export(data.dataset, data.features, model, asked, tmp_path / "package")
    examples = Examples.model_validate_json((tmp_path / "package/examples.json").read_bytes())
    assert set(examples.labels) == {"a"}


@pytest.mark.parametrize("algorithm", ["random_forest", "xgboost", "logistic_regression"])
def test_a_class_without_training_rows_keeps_its_column(
    algorithm: str, prepared: Callable[..., Prepared], tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 3))
    y = np.where(x[:, 0] > 0, 2, 0)
    y[-5:] = 1  # only the test split knows it
    data = prepared(x, y, classes=("a", "b", "c"), shuffle=False)
    asked, model = trained(data, tmp_path, algorithm)
    summary = TASK.export(data.dataset, data.features, model, asked, tmp_path / "package")
    assert summary.signature.classes == ("a", "b", "c")
    evaluation = TASK.evaluate(data.features, model, asked, tmp_path / "evaluation")
    assert evaluation.per_class["b"]["recall"] == 0.0


def test_boosting_that_found_no_split_still_exports(breast_cancer: Prepared, tmp_path: Path) -> None:
    asked, model = trained(breast_cancer, tmp_path, "xgboost", gamma=1e6, n_estimators=3)
    assert TASK.export(breast_cancer.dataset, breast_cancer.features, model, asked, tmp_path / "package").labels_equal
    assert not any(TASK.evaluate(breast_cancer.features, model, asked, tmp_path / "e").importance.values())


def test_a_large_offset_of_the_target_survives_the_graph(prepared: Callable[..., Prepared], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(400, 3))
    data = prepared(x, 2e6 + 1e4 * x[:, 0] + generator.normal(size=400))
    for algorithm in ("xgboost", "random_forest", "linear_regression"):
        asked, model = trained(data, tmp_path / algorithm, algorithm)
        assert TASK.export(data.dataset, data.features, model, asked, tmp_path / algorithm / "package").largest_difference <= 1e-6


def test_columns_named_like_outputs_or_inner_tensors_still_export(prepared: Callable[..., Prepared], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 3))
    data = prepared(x, (x[:, 0] > 0).astype(np.int64), classes=("no", "yes"), names=("model/tie", "model/0_Cast", "a b"))
    asked, model = trained(data, tmp_path, "random_forest", n_estimators=5)
    TASK.export(data.dataset, data.features, model, asked, tmp_path / "package")
    names = [entry.name for entry in session(tmp_path / "package/model.onnx").get_inputs()]
    assert names == ["model/tie", "model/0_Cast", "a b"]


def test_examples_are_request_objects_with_the_native_answers(breast_cancer: Prepared, tmp_path: Path) -> None:
    asked, model = trained(breast_cancer, tmp_path, "random_forest", n_estimators=20)
    TASK.export(breast_cancer.dataset, breast_cancer.features, model, asked, tmp_path / "package")
    examples = Examples.model_validate_json((tmp_path / "package/examples.json").read_bytes())
    signature = Signature.model_validate_json((tmp_path / "package/signature.json").read_bytes())
    assert len(examples.rows) == len(examples.labels) == len(examples.probabilities) == 20
    assert signature.target == "target"
    feed = {
        field.name: np.array([[row[field.name]] for row in examples.rows], np.float32)  # type: ignore[misc]
        for field in signature.inputs
    }
    labels, probabilities = session(tmp_path / "package/model.onnx").run(["label", "probabilities"], feed)
    assert [signature.classes[index] for index in labels] == list(examples.labels)
    assert np.abs(probabilities - np.array(examples.probabilities)).max() <= 1e-6


def test_missing_texts_and_times_are_written_as_a_client_would() -> None:
    from mlops_assets.tasks.interface import InputField
    from mlops_assets.tasks.tabular.export import make_examples

    inputs = [
        InputField(name="size", kind="number", required=False),
        InputField(name="colour", kind="string", required=False),
        InputField(name="when", kind="timestamp", required=False),
    ]
    raw = {
        "size": np.array([[0.1], [np.nan]], np.float32),
        "colour": np.array([["赤"], [""]], object),
        "when": np.array([[-1], [np.iinfo(np.int64).min]], np.int64),
    }
    examples = make_examples(raw, np.array([1.5, 2.5], np.float32), inputs, ())
    assert examples.rows == (
        {"size": 0.1, "colour": "赤", "when": "1969-12-31T23:59:59+00:00"},
        {"size": None, "colour": None, "when": None},
    )
    assert examples.values == (1.5, 2.5)


def test_the_same_model_exports_to_the_same_bytes(breast_cancer: Prepared, tmp_path: Path) -> None:
    asked, model = trained(breast_cancer, tmp_path, "xgboost", n_estimators=20)
    for name in ("one", "two"):
        TASK.export(breast_cancer.dataset, breast_cancer.features, model, asked, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["examples.json", "model.onnx", "signature.json"]
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.fixture
def small(prepared: Callable[..., Prepared]) -> Prepared:
    x = np.random.default_rng(0).normal(size=(200, 2))
    return prepared(x, (x[:, 0] + 0.5 * x[:, 1] > 0).astype(np.int64), classes=("no", "yes"), names=("left", "right"))


@pytest.mark.parametrize("algorithm", ["random_forest", "xgboost", "logistic_regression"])
def test_a_feature_graph_that_computes_something_else_fails_the_comparison(
    small: Prepared, tmp_path: Path, algorithm: str
) -> None:
    asked, model = trained(small, tmp_path, algorithm)
    tampered = concatenation(["right", "left"])
    (small.features / "features.onnx").write_bytes(tampered)
    with pytest.raises(IntegrityError, match=r"test row \d+: the graph .* the native model"):
        TASK.export(small.dataset, small.features, model, asked, tmp_path / "package")
    assert not (tmp_path / "package").exists()


def test_one_altered_raw_row_is_found_and_named(small: Prepared, tmp_path: Path) -> None:
    asked, model = trained(small, tmp_path, "logistic_regression")
    frame = pd.read_parquet(small.dataset / "test.parquet")
    frame.loc[frame.index[17], "left"] *= -1
    frame.to_parquet(small.dataset / "test.parquet")
    with pytest.raises(IntegrityError, match="test row 17:"):
        TASK.export(small.dataset, small.features, model, asked, tmp_path / "package")


def test_a_value_off_by_more_than_its_tolerance_is_found(diabetes: Prepared, tmp_path: Path) -> None:
    from mlops_assets.tasks.tabular.export import build_graph, compare

    _, model = trained(diabetes, tmp_path, "linear_regression")
    native, _ = read_model(model)
    with np.load(diabetes.features / "test.npz") as test:
        expected = native.predict(test["X"])
    raw = raw_test_rows(diabetes, [f"column_{index}" for index in range(10)])
    content = build_graph(diabetes.features / "features.onnx", native, ()).SerializeToString()
    assert compare(content, raw, expected, classes=0) <= 1e-6
    expected[5] *= np.float32(1 + 3e-4)
    with pytest.raises(IntegrityError, match="test row 5:"):
        compare(content, raw, expected, classes=0)
    expected[5] = np.nan
    with pytest.raises(IntegrityError, match="test row 5:"):
        compare(content, raw, expected, classes=0)


def test_a_changed_leaf_of_the_graph_fails_the_comparison(small: Prepared, tmp_path: Path) -> None:
    from onnx import numpy_helper

    from mlops_assets.tasks.tabular.export import build_graph, compare

    _, model = trained(small, tmp_path, "random_forest", n_estimators=10)
    native, card = read_model(model)
    graph = build_graph(small.features / "features.onnx", native, card.classes)
    (forest,) = [node for node in graph.graph.node if node.op_type == "TreeEnsembleRegressor"]
    (weights,) = [attribute for attribute in forest.attribute if attribute.name == "target_weights_as_tensor"]
    changed = numpy_helper.to_array(weights.t).copy()
    changed[:2] += 1e-3
    weights.t.CopyFrom(numpy_helper.from_array(changed, weights.t.name))
    with np.load(small.features / "test.npz") as test:
        expected = native.predict(test["X"])
        raw = {"left": test["X"][:, :1], "right": test["X"][:, 1:]}
    with pytest.raises(IntegrityError, match="test row"):
        compare(graph.SerializeToString(), raw, expected, classes=2)


def test_rows_that_do_not_match_the_features_are_refused(small: Prepared, tmp_path: Path) -> None:
    asked, model = trained(small, tmp_path, "logistic_regression")
    frame = pd.read_parquet(small.dataset / "test.parquet")
    frame.iloc[:-1].to_parquet(small.dataset / "test.parquet")
    with pytest.raises(IntegrityError, match="29 rows, the test features have 30"):
        TASK.export(small.dataset, small.features, model, asked, tmp_path / "package")


def test_a_model_of_other_features_is_refused(small: Prepared, breast_cancer: Prepared, tmp_path: Path) -> None:
    asked, model = trained(breast_cancer, tmp_path, "logistic_regression")
    with pytest.raises(IntegrityError, match="was trained on 30 features"):
        TASK.export(small.dataset, small.features, model, asked, tmp_path / "package")


def test_a_feature_graph_that_cannot_be_joined_is_refused(small: Prepared, tmp_path: Path) -> None:
    import onnx

    asked, model = trained(small, tmp_path, "logistic_regression")
    path = small.features / "features.onnx"
    good = onnx.load_model(path)
    good.graph.output[0].name = "something"
    good.graph.node[0].output[0] = "something"
    onnx.save_model(good, path)
    with pytest.raises(IntegrityError, match="expected the one output 'features'"):
        TASK.export(small.dataset, small.features, model, asked, tmp_path / "package")
    path.write_bytes(b"\xff\xff\xff")
    with pytest.raises(IntegrityError, match="not an ONNX graph"):
        TASK.export(small.dataset, small.features, model, asked, tmp_path / "package")
