"""Training: the same digits every time, real progress, honest refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prepared_features import Prepared, silent

from mlops_assets.errors import DataRejected, IntegrityError, UserError
from mlops_assets.tasks.tabular import TabularTask
from mlops_assets.tasks.tabular.native_model import read_model

TASK = TabularTask()
FAST = {
    "random_forest": {"n_estimators": 25},
    "xgboost": {"n_estimators": 25},
    "logistic_regression": {},
    "linear_regression": {},
}


@pytest.mark.parametrize("algorithm", ["random_forest", "xgboost", "logistic_regression"])
def test_the_same_request_twice_gives_the_same_digits(breast_cancer: Prepared, tmp_path: Path, algorithm: str) -> None:
    request = breast_cancer.request(algorithm, hyperparameters=FAST[algorithm])
    first = TASK.train(breast_cancer.features, request, tmp_path / "a", silent)
    second = TASK.train(breast_cancer.features, request, tmp_path / "b", silent)
    assert first.model_copy(update={"seconds": 0.0}) == second.model_copy(update={"seconds": 0.0})
    assert (tmp_path / "a/model.json").read_bytes() == (tmp_path / "b/model.json").read_bytes()
    evaluations = [TASK.evaluate(breast_cancer.features, tmp_path / name, request, tmp_path / f"e{name}") for name in "ab"]
    timeless = [summary.model_copy(update={"rows_per_second": None}) for summary in evaluations]
    assert timeless[0] == timeless[1]


def test_another_seed_gives_another_forest(breast_cancer: Prepared, tmp_path: Path) -> None:
    def loss(seed: int) -> float:
        request = breast_cancer.request("random_forest", hyperparameters={"n_estimators": 10}, seed=seed)
        return TASK.train(breast_cancer.features, request, tmp_path / str(seed), silent).metrics["train_log_loss"]

    assert loss(1) != loss(2)


def test_boosting_does_not_depend_on_the_number_of_threads(
    breast_cancer: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlops_assets.tasks.tabular import boosting

    request = breast_cancer.request("xgboost", hyperparameters={"n_estimators": 30})
    alone = TASK.train(breast_cancer.features, request, tmp_path / "one", silent)
    monkeypatch.setattr(boosting, "CELLS_FOR_THREADS", 0)
    shared = TASK.train(breast_cancer.features, request, tmp_path / "two", silent)
    assert alone.metrics == shared.metrics
    assert alone.curves == shared.curves


def test_a_forest_grown_in_chunks_is_the_forest_grown_at_once(breast_cancer: Prepared, tmp_path: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier

    request = breast_cancer.request("random_forest", hyperparameters={"n_estimators": 30})
    TASK.train(breast_cancer.features, request, tmp_path / "model", silent)
    model, _ = read_model(tmp_path / "model")
    with np.load(breast_cancer.features / "train.npz") as train, np.load(breast_cancer.features / "test.npz") as test:
        at_once = RandomForestClassifier(30, min_samples_leaf=3, random_state=request.seed, n_jobs=1).fit(train["X"], train["y"])
        assert np.array_equal(model.predict(test["X"]), at_once.predict_proba(test["X"]).astype(np.float32))


def test_boosting_predicts_what_the_library_predicts(three_classes: Prepared, tmp_path: Path) -> None:
    import xgboost

    request = three_classes.request("xgboost", hyperparameters={"n_estimators": 40})
    TASK.train(three_classes.features, request, tmp_path / "model", silent)
    model, _ = read_model(tmp_path / "model")
    with np.load(three_classes.features / "test.npz") as test:
        native = xgboost.Booster(model_file=tmp_path / "model/model.ubj").predict(xgboost.DMatrix(test["X"]))
        assert np.abs(model.predict(test["X"]) - native).max() < 1e-6


def test_least_squares_equals_scikit_learn(diabetes: Prepared, tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression

    TASK.train(diabetes.features, diabetes.request("linear_regression"), tmp_path / "model", silent)
    model, _ = read_model(tmp_path / "model")
    with np.load(diabetes.features / "train.npz") as train, np.load(diabetes.features / "test.npz") as test:
        reference = LinearRegression().fit(train["X"].astype(np.float64), train["y"]).predict(test["X"].astype(np.float64))
        assert model.predict(test["X"]) == pytest.approx(reference, rel=1e-6)


def test_ridge_equals_scikit_learn_on_standardised_features(diabetes: Prepared, tmp_path: Path) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    TASK.train(
        diabetes.features, diabetes.request("linear_regression", hyperparameters={"alpha": 7.5}), tmp_path / "model", silent
    )
    model, _ = read_model(tmp_path / "model")
    with np.load(diabetes.features / "train.npz") as train, np.load(diabetes.features / "test.npz") as test:
        reference = make_pipeline(StandardScaler(), Ridge(7.5)).fit(train["X"].astype(np.float64), train["y"])
        assert model.predict(test["X"]) == pytest.approx(reference.predict(test["X"].astype(np.float64)), rel=1e-6)


def test_dependent_columns_do_not_blow_up_the_coefficients(prepared: Callable[..., Prepared], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    colour = generator.integers(0, 3, 400)
    one_hot = np.eye(3)[colour]
    x = np.column_stack([one_hot, one_hot[:, 0] + one_hot[:, 1], np.full(400, 7.0)])  # dummy trap, a copy, a constant
    y = np.array([1.0, 2.0, 4.0])[colour]
    data = prepared(x, y)
    summary = TASK.train(data.features, data.request("linear_regression"), tmp_path / "model", silent)
    assert summary.metrics["train_rmse"] < 1e-6
    with np.load(tmp_path / "model/model.npz") as stored:
        assert np.abs(stored["coefficients"]).max() < 10


@pytest.mark.parametrize("algorithm", sorted(FAST))
def test_progress_moves_forward_from_nothing_to_done(
    breast_cancer: Prepared, diabetes: Prepared, tmp_path: Path, algorithm: str
) -> None:
    data = diabetes if algorithm == "linear_regression" else breast_cancer
    seen: list[tuple[float, str, dict[str, float]]] = []

    def report(fraction: float, line: str, metrics: Mapping[str, float]) -> None:
        seen.append((fraction, line, dict(metrics)))

    request = data.request(algorithm, hyperparameters=FAST[algorithm], language="ja")
    TASK.train(data.features, request, tmp_path / "model", report)
    fractions = [fraction for fraction, _, _ in seen]
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert fractions == sorted(fractions)
    assert sum(1 for _, _, metrics in seen if any(name.startswith("validation_") for name in metrics)) >= 3
    assert seen[0][1] == "特徴量を読み込み中"


@pytest.mark.parametrize("algorithm", ["random_forest", "xgboost"])
def test_an_interrupt_while_fitting_ends_the_training_and_leaves_no_model(
    breast_cancer: Prepared, tmp_path: Path, algorithm: str
) -> None:
    def interrupt(fraction: float, line: str, metrics: Mapping[str, float]) -> None:
        if metrics:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TASK.train(breast_cancer.features, breast_cancer.request(algorithm), tmp_path / "model", interrupt)
    assert not list(tmp_path.rglob("*.*"))


def test_a_curve_has_one_value_for_each_tree_and_each_round(breast_cancer: Prepared, tmp_path: Path) -> None:
    forest = TASK.train(
        breast_cancer.features,
        breast_cancer.request("random_forest", hyperparameters={"n_estimators": 17}),
        tmp_path / "f",
        silent,
    )
    assert forest.iterations == 17
    assert {name: len(values) for name, values in forest.curves.items()} == {"train_log_loss": 17, "validation_log_loss": 17}
    assert forest.curves["validation_log_loss"][-1] == pytest.approx(forest.metrics["validation_log_loss"], rel=1e-6)


def test_early_stopping_keeps_the_best_round_and_null_keeps_all(breast_cancer: Prepared, tmp_path: Path) -> None:
    def rounds(**knobs: Any) -> tuple[int, list[float]]:
        request = breast_cancer.request("xgboost", hyperparameters={"num_round": 150, "eta": 0.3, **knobs})
        summary = TASK.train(breast_cancer.features, request, tmp_path / "model", silent)
        return summary.iterations, summary.curves["validation_log_loss"]

    kept, losses = rounds(early_stopping_rounds=5)
    assert kept == int(np.argmin(losses)) + 1 == len(losses) - 5
    assert rounds(early_stopping_rounds=None)[0] == 150


def test_another_name_of_a_knob_sets_it(breast_cancer: Prepared, tmp_path: Path) -> None:
    request = breast_cancer.request("xgboost", hyperparameters={"num_boost_round": 7, "lr": 0.5, "lambda": 2.0, "alpha": 0.1})
    summary = TASK.train(breast_cancer.features, request, tmp_path / "model", silent)
    assert summary.iterations == 7
    knobs = summary.hyperparameters
    assert (knobs["learning_rate"], knobs["reg_lambda"], knobs["reg_alpha"]) == (0.5, 2.0, 0.1)


def test_balanced_weights_raise_the_recall_of_a_rare_class(prepared: Callable[..., Prepared], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    y = (generator.random(900) < 0.08).astype(np.int64)
    data = prepared(generator.normal(size=(900, 4)) + y[:, None], y, classes=("no", "yes"))

    def recall(algorithm: str, weight: str | None) -> float:
        request = data.request(algorithm, hyperparameters={"class_weight": weight})
        return TASK.train(data.features, request, tmp_path / "model", silent).metrics["validation_recall"]

    assert recall("random_forest", "balanced") > recall("random_forest", None)
    assert recall("logistic_regression", "balanced") > recall("logistic_regression", None)


def test_knobs_that_do_not_apply_are_refused_by_name(diabetes: Prepared, three_classes: Prepared, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"hyperparameters\.class_weight"):
        request = diabetes.request("random_forest", hyperparameters={"class_weight": "balanced"})
        TASK.train(diabetes.features, request, tmp_path / "m", silent)
    with pytest.raises(UserError, match=r"hyperparameters\.scale_pos_weight"):
        request = three_classes.request("xgboost", hyperparameters={"scale_pos_weight": 3.0})
        TASK.train(three_classes.features, request, tmp_path / "m", silent)
    with pytest.raises(UserError, match="linear_regression"):
        TASK.train(three_classes.features, three_classes.request("linear_regression"), tmp_path / "m", silent)


def test_data_that_cannot_be_learned_from_is_refused(prepared: Callable[..., Prepared], tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 2))
    one_class = prepared(x, np.zeros(60, np.int64), classes=("no", "yes"))
    with pytest.raises(DataRejected, match="one class only"):
        TASK.train(one_class.features, one_class.request("xgboost"), tmp_path / "m", silent)
    empty = prepared(x[:0], np.zeros(0))
    with pytest.raises(DataRejected, match="no rows"):
        TASK.train(empty.features, empty.request("linear_regression"), tmp_path / "m", silent)
    huge = x.copy()
    huge[3, 1] = np.inf
    infinite = prepared(huge, x[:, 0], shuffle=False)
    with pytest.raises(DataRejected, match="column_1"):
        TASK.train(infinite.features, infinite.request("random_forest"), tmp_path / "m", silent)
    missing = x.copy()
    missing[3, 1] = np.nan
    holes = prepared(missing, x[:, 0], shuffle=False)
    with pytest.raises(DataRejected, match="handle_missing"):
        TASK.train(holes.features, holes.request("linear_regression"), tmp_path / "m", silent)


def test_a_damaged_features_folder_is_refused(prepared: Callable[..., Prepared], tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 2))
    data = prepared(x, (x[:, 0] > 0).astype(np.int64), classes=("no", "yes"))
    request = data.request("logistic_regression")
    good = (data.features / "train.npz").read_bytes()
    for damaged in (b"", good[: len(good) // 2], b"not an archive"):
        (data.features / "train.npz").write_bytes(damaged)
        with pytest.raises(IntegrityError, match=r"train\.npz"):
            TASK.train(data.features, request, tmp_path / "m", silent)
    np.savez(data.features / "train.npz", X=x[:5].astype(np.float32), y=np.ones(5, np.int64))
    with pytest.raises(IntegrityError, match="expected X"):
        TASK.train(data.features, request, tmp_path / "m", silent)
    (data.features / "summary.json").unlink()
    with pytest.raises(IntegrityError, match="not a complete features folder"):
        TASK.train(data.features, request, tmp_path / "m", silent)


def test_the_model_folder_says_what_it_holds_and_holds_no_pickle(breast_cancer: Prepared, tmp_path: Path) -> None:
    files = {"random_forest": "model.skops", "xgboost": "model.ubj", "logistic_regression": "model.npz"}
    for algorithm, file in files.items():
        folder = tmp_path / algorithm
        TASK.train(breast_cancer.features, breast_cancer.request(algorithm, hyperparameters=FAST[algorithm]), folder, silent)
        assert sorted(path.name for path in folder.iterdir()) == sorted([file, "model.json"])
        card = json.loads((folder / "model.json").read_bytes())
        assert card["classes"] == ["benign", "malignant"]
        assert card["libraries"]["scikit-learn"]
        assert b"\x80\x04" not in (folder / file).read_bytes()[:2]


def test_reading_a_forest_does_not_import_torch(breast_cancer: Prepared, tmp_path: Path) -> None:
    TASK.train(
        breast_cancer.features, breast_cancer.request("random_forest", hyperparameters={"n_estimators": 2}), tmp_path, silent
    )
    code = (
        "import sys; from pathlib import Path; from mlops_assets.tasks.tabular.forest import Forest; "
        f"forest = Forest.read(Path({str(tmp_path)!r}), 2); "
        "print(len(forest.estimator.estimators_), 'torch' in sys.modules); "
        "import sklearn.externals.array_api_compat.torch; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["2 False", "True"]  # torch is installed, and found by whoever wants it


def test_a_forest_file_with_a_foreign_type_is_refused(breast_cancer: Prepared, tmp_path: Path) -> None:
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    request = breast_cancer.request("random_forest", hyperparameters={"n_estimators": 3})
    TASK.train(breast_cancer.features, request, tmp_path / "model", silent)
    skops.io.dump(FunctionTransformer(json.dumps), tmp_path / "model/model.skops")
    with pytest.raises(IntegrityError, match="may be loaded"):
        TASK.evaluate(breast_cancer.features, tmp_path / "model", request, tmp_path / "e")
    (tmp_path / "model/model.skops").write_bytes(b"cut")
    with pytest.raises(IntegrityError, match="may be loaded"):
        TASK.evaluate(breast_cancer.features, tmp_path / "model", request, tmp_path / "e")


@pytest.mark.parametrize(("algorithm", "file"), [("xgboost", "model.ubj"), ("logistic_regression", "model.npz")])
def test_a_cut_model_file_is_refused(breast_cancer: Prepared, tmp_path: Path, algorithm: str, file: str) -> None:
    request = breast_cancer.request(algorithm, hyperparameters=FAST[algorithm])
    TASK.train(breast_cancer.features, request, tmp_path / "model", silent)
    content = (tmp_path / "model" / file).read_bytes()
    (tmp_path / "model" / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(IntegrityError, match=file.replace(".", r"\.")):
        TASK.evaluate(breast_cancer.features, tmp_path / "model", request, tmp_path / "e")
