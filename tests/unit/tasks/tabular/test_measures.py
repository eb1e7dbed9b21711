"""Metrics beside scikit-learn's, and what happens where a metric does not exist."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from mlops_assets.tasks.tabular.measures import measure


def some_probabilities(rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y = generator.integers(0, classes, rows)
    scores = generator.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[y]
    powers = np.exp(scores)
    return y, (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def test_two_classes_are_measured_for_the_positive_one() -> None:
    y, p = some_probabilities(500, 2)
    found = measure(y, p, 2)
    predicted = p.argmax(axis=1)
    assert found.metrics == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(y, predicted),
            "precision": metrics.precision_score(y, predicted),
            "recall": metrics.recall_score(y, predicted),
            "f1_score": metrics.f1_score(y, predicted),
            "auc_roc": metrics.roc_auc_score(y, p[:, 1]),
            "average_precision": metrics.average_precision_score(y, p[:, 1]),
            "log_loss": metrics.log_loss(y, p.astype(np.float64)),
        },
        rel=1e-5,
    )
    assert found.confusion == metrics.confusion_matrix(y, predicted).tolist()
    assert found.per_class[0]["support"] + found.per_class[1]["support"] == 500
    assert not found.left_out


def test_many_classes_are_macro_averaged_one_against_the_rest() -> None:
    y, p = some_probabilities(600, 4)
    found = measure(y, p, 4)
    predicted = p.argmax(axis=1)
    assert found.metrics["precision"] == pytest.approx(metrics.precision_score(y, predicted, average="macro"))
    assert found.metrics["recall"] == pytest.approx(metrics.recall_score(y, predicted, average="macro"))
    assert found.metrics["f1_score"] == pytest.approx(metrics.f1_score(y, predicted, average="macro"))
    one_hot = np.eye(4)[y]
    assert found.metrics["auc_roc"] == pytest.approx(metrics.roc_auc_score(one_hot, p, average="macro"))
    assert found.metrics["average_precision"] == pytest.approx(metrics.average_precision_score(one_hot, p, average="macro"))


def test_a_single_sided_split_leaves_out_what_does_not_exist_and_says_so() -> None:
    y, p = np.zeros(5, np.int64), np.tile(np.array([[0.8, 0.2]], np.float32), (5, 1))
    found = measure(y, p, 2)
    assert found.metrics == {"accuracy": 1.0, "log_loss": pytest.approx(-np.log(0.8), rel=1e-6)}
    assert set(found.left_out) == {"class:1", "precision", "recall", "f1_score", "auc_roc", "average_precision"}
    assert found.per_class[1] == {"support": 0.0}


def test_a_class_without_rows_does_not_pull_the_average_down() -> None:
    y, p = some_probabilities(300, 3)
    kept = y != 2
    found = measure(y[kept], p[kept], 3)
    assert found.metrics["recall"] == pytest.approx(np.mean([found.per_class[0]["recall"], found.per_class[1]["recall"]]))
    assert found.left_out == {"class:2": "class_without_rows"}


def test_a_probability_of_zero_for_the_true_class_keeps_log_loss_finite() -> None:
    found = measure(np.array([1, 0]), np.array([[1.0, 0.0], [1.0, 0.0]], np.float32), 2)
    assert 0 < found.metrics["log_loss"] < 20


def test_no_rows_means_no_metrics() -> None:
    assert measure(np.zeros(0, np.int64), np.zeros((0, 2), np.float32), 2).metrics == {}


def test_values_are_measured_as_scikit_learn_does() -> None:
    generator = np.random.default_rng(1)
    y = generator.normal(10, 3, 400)
    values = (y + generator.normal(0, 1, 400)).astype(np.float32)
    found = measure(y, values, 0)
    assert found.metrics == pytest.approx(
        {
            "rmse": metrics.root_mean_squared_error(y, values),
            "mae": metrics.mean_absolute_error(y, values),
            "r2": metrics.r2_score(y, values),
            "mape": metrics.mean_absolute_percentage_error(y, values),
        }
    )


def test_mape_ignores_zero_targets_and_says_how_many() -> None:
    found = measure(np.array([0.0, 2.0, 4.0]), np.array([1.0, 1.0, 5.0], np.float32), 0)
    assert found.metrics["mape"] == pytest.approx((0.5 + 0.25) / 2)
    assert found.left_out == {"mape_rows:1": "zero_targets_skipped"}


def test_a_constant_zero_target_has_neither_r2_nor_mape() -> None:
    found = measure(np.zeros(4), np.ones(4, np.float32), 0)
    assert set(found.metrics) == {"rmse", "mae"}
    assert set(found.left_out) == {"r2", "mape"}
