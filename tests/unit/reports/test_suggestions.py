"""Which changes are suggested below the threshold, and that the YAML to paste carries them out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.reports.record import GateDecision
from mlops_assets.reports.suggestions import SUGGESTIONS, Change, changes, gate_suggestions, retry_line
from mlops_assets.request.adjustment import adjusted
from mlops_assets.request.commands import Retry, parse_command
from mlops_assets.tasks.tabular.algorithms import ALGORITHMS

FOREST: dict[str, Any] = {"n_estimators": 100, "max_depth": 6, "min_samples_leaf": 1, "class_weight": None}
BOOSTING: dict[str, Any] = {"n_estimators": 100, "max_depth": 5, "learning_rate": 0.3, "reg_lambda": 1.0, "scale_pos_weight": 1.0}


def suggested(**changed: Any) -> tuple[str, ...]:
    facts: dict[str, Any] = {
        "algorithm": "random_forest",
        "hyperparameters": FOREST,
        "metric": "accuracy",
        "direction": "higher",
        "value": 0.70,
        "threshold": 0.85,
        "metrics": {"train_accuracy": 0.72},
        "imbalanced": False,
        "training_rows": 50_000,
        "features": 20,
    }
    return gate_suggestions(**{**facts, **changed})


def test_a_model_that_reaches_its_threshold_needs_nothing() -> None:
    assert suggested(value=0.85) == ()
    assert suggested(threshold=None) == ()
    assert suggested(metric="rmse", direction="lower", value=3.0, threshold=3.0) == ()


def test_a_model_too_simple_for_its_own_training_data_is_made_larger() -> None:
    assert suggested() == ("more_trees", "deeper_trees", "other_algorithm")
    boosted = suggested(algorithm="xgboost", hyperparameters=BOOSTING)
    assert {"more_trees", "deeper_trees", "lower_learning_rate"} <= set(boosted)


def test_an_overfitted_model_is_restrained_and_never_made_larger() -> None:
    found = suggested(metrics={"train_accuracy": 0.99})
    assert found == ("regularize", "more_data", "other_algorithm")
    assert "select_features" in suggested(metrics={"train_accuracy": 0.99}, features=5_000)


def test_an_error_metric_is_read_in_its_own_direction() -> None:
    facts: dict[str, Any] = {"metric": "rmse", "direction": "lower", "imbalanced": False}
    assert "regularize" in suggested(**facts, value=9.0, threshold=5.0, metrics={"train_rmse": 2.0})
    assert "more_trees" in suggested(**facts, value=9.0, threshold=5.0, metrics={"train_rmse": 8.5})


def test_unbalanced_classes_come_first_where_the_algorithm_can_weigh_them() -> None:
    assert suggested(imbalanced=True)[0] == "handle_imbalance"
    assert "handle_imbalance" not in suggested(imbalanced=True, hyperparameters={**FOREST, "class_weight": "balanced"})
    assert "handle_imbalance" not in suggested(imbalanced=True, hyperparameters={"max_iter": 100})


def test_lowering_the_threshold_is_said_only_for_a_near_miss_and_last() -> None:
    assert suggested(value=0.84)[-1] == "lower_threshold"
    assert "lower_threshold" not in suggested(value=0.6)


def test_few_rows_ask_for_more() -> None:
    assert "more_data" in suggested(training_rows=300)


@settings(max_examples=100, deadline=None)
@given(
    facts=st.fixed_dictionaries(
        {
            "value": st.floats(allow_nan=True),
            "threshold": st.floats(-1e6, 1e6),
            "direction": st.sampled_from(["higher", "lower"]),
            "imbalanced": st.booleans(),
            "training_rows": st.integers(0, 10**7),
            "hyperparameters": st.sampled_from([FOREST, BOOSTING, {}, {"C": 1.0, "class_weight": None}, {"alpha": 0.0}]),
            "algorithm": st.sampled_from(["random_forest", "xgboost", "logistic_regression", "linear_regression", "kmeans"]),
        }
    ),
    trained=st.none() | st.floats(allow_nan=True),
)
def test_below_the_threshold_there_is_always_something_known_to_suggest(facts: dict[str, Any], trained: float | None) -> None:
    metrics = {} if trained is None else {"train_accuracy": trained}
    found = suggested(**facts, metrics=metrics)
    value, threshold = facts["value"], facts["threshold"]
    passed = value >= threshold if facts["direction"] == "higher" else value <= threshold
    assert bool(found) != passed
    assert set(found) <= set(SUGGESTIONS)
    assert len(found) == len(set(found)) <= 4


def tuned(churn: SimpleNamespace, knobs: dict[str, Any], given_knobs: dict[str, Any], *wanted: str, **changed: Any) -> Any:
    gate = GateDecision(metric="auc_roc", direction="higher", value=0.7, threshold=0.85, passed=False, suggestions=wanted)
    request = churn.request(hyperparameters=given_knobs)
    record = churn.below_threshold(gate=gate, hyperparameters=knobs, request=request, **changed)
    return [dict(change.yaml) for change in changes(record)]


def test_the_yaml_keeps_what_the_issue_set_and_stays_within_limits(churn: SimpleNamespace) -> None:
    found = tuned(churn, BOOSTING, {"max_depth": 5}, "more_trees", "deeper_trees", "lower_learning_rate")
    assert found == [{"hyperparameters": {"max_depth": 7, "n_estimators": 200, "learning_rate": 0.15}}]
    assert tuned(churn, {"n_estimators": 1500}, {}, "more_trees") == [{"hyperparameters": {"n_estimators": 2000}}]
    assert tuned(churn, {"max_depth": 15}, {}, "deeper_trees") == [{"hyperparameters": {"max_depth": 16}}]


def test_a_knob_known_by_another_name_is_not_written_twice(churn: SimpleNamespace) -> None:
    found = tuned(churn, FOREST, {"num_trees": 100}, "more_trees")
    assert found == [{"hyperparameters": {"n_estimators": 200, "max_depth": 6, "min_samples_leaf": 1}}]


def test_regularisation_takes_the_knob_that_the_algorithm_has(churn: SimpleNamespace) -> None:
    assert tuned(churn, FOREST, {}, "regularize") == [{"hyperparameters": {"min_samples_leaf": 5, "max_depth": 4}}]
    assert tuned(churn, {"C": 1.0}, {}, "regularize") == [{"hyperparameters": {"C": 0.1}}]
    assert tuned(churn, {"alpha": 0.0}, {}, "regularize") == [{"hyperparameters": {"alpha": 0.1}}]


def test_weighing_the_classes_makes_both_count_alike(churn: SimpleNamespace) -> None:
    assert tuned(churn, FOREST, {}, "handle_imbalance") == [{"hyperparameters": {"class_weight": "balanced"}}]
    found = tuned(churn, BOOSTING, {}, "handle_imbalance", confusion_matrix=[[850, 50], [40, 60]])
    assert found == [{"hyperparameters": {"scale_pos_weight": 9.0}}]


@pytest.mark.parametrize(
    ("direction", "value", "threshold", "expected"),
    [("higher", 0.8379, 0.85, 0.83), ("lower", 5.231, 5.2, 5.24), ("lower", 5100.5, 5000.0, 5101.0)],
)
def test_a_lowered_threshold_is_one_that_this_model_reaches(
    churn: SimpleNamespace, direction: Any, value: float, threshold: float, expected: float
) -> None:
    wanted = ("lower_threshold",)
    gate = GateDecision(metric="x", direction=direction, value=value, threshold=threshold, passed=False, suggestions=wanted)
    assert changes(churn.below_threshold(gate=gate))[0].yaml == {"evaluation_threshold": expected}


@pytest.mark.parametrize("outcome", ["deployed", "failed"])
def test_a_training_that_missed_no_threshold_has_nothing_to_paste(churn: SimpleNamespace, outcome: str) -> None:
    assert changes(getattr(churn, outcome)()) == ()


@pytest.mark.parametrize("algorithm", [algorithm for algorithm in ALGORITHMS if algorithm.name != "linear_regression"])
def test_the_one_line_and_the_block_change_the_request_alike(churn: SimpleNamespace, algorithm: Any) -> None:
    gate = GateDecision(metric="auc_roc", direction="higher", value=0.84, threshold=0.85, passed=False, suggestions=SUGGESTIONS)
    asked = churn.request(algorithm=algorithm.name, hyperparameters={})
    record = churn.below_threshold(gate=gate, hyperparameters=algorithm.resolved({}), request=asked)
    alternatives = changes(record)
    assert len(alternatives) == 3
    for change in alternatives:
        line = retry_line(change, asked)
        assert line is not None
        command = parse_command(line)
        assert isinstance(command, Retry)
        by_line = adjusted(asked, command.changes, offered=ALGORITHMS)
        assert by_line == adjusted(asked, change.yaml, offered=ALGORITHMS)
        assert by_line != asked


def test_what_takes_more_than_simple_values_has_no_line(churn: SimpleNamespace) -> None:
    request = churn.request()
    assert retry_line(Change((), {"evaluation_metrics": ["recall"]}), request) is None
    assert retry_line(Change((), {"experiment_name": "two words"}), request) is None
    assert retry_line(Change((), {"hyperparameters": dict(request.hyperparameters)}), request) is None
