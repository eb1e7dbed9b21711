"""What is planned, what is refused on sight of the data, and what is said not to be done."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.data.dataset import CatalogueEntry, Column, DatasetVersion
from mlops_assets.errors import RequestInvalid
from mlops_assets.request.parser import parse_issue
from mlops_assets.request.planner import NOT_DONE_KEYS, algorithm_not_offered, make_plan, not_done
from tests.unit.request.conftest import LINEAR, OFFERED, RANDOM_FOREST, XGBOOST

CHURN = "dataset_id: telco-churn\nalgorithm: xgboost\ntask_type: classification\n"


class Tabular:
    """Only what the planner asks of a task: its name."""

    name = "tabular"
    algorithms = OFFERED


def request_of(body: str):
    return parse_issue("", body, offered=OFFERED)


def plan_of(body: str, version: DatasetVersion, **changes):
    given = {
        "task": Tabular(),
        "algorithm": XGBOOST,
        "resources": {"compute": "local", "processors": 2},
        "cost_cap_usd": None,
    } | changes
    return make_plan(request_of(body), version, "code-1", **given)


def refused(body: str, version: DatasetVersion, **changes) -> dict[str, tuple[str, str | None, tuple[str, ...]]]:
    with pytest.raises(RequestInvalid) as caught:
        plan_of(body, version, **changes)
    return {p.field: (p.code, p.suggestion, p.allowed) for p in caught.value.problems}


def keys(body: str) -> list[str]:
    return [item.key for item in not_done(request_of(body))]


class TestPlan:
    def test_says_everything_that_will_happen(self, churn):
        plan = plan_of(CHURN + "hyperparameters: {num_round: 300}\n", churn)
        assert (plan.task, plan.target, plan.dataset_version, plan.code_version) == ("tabular", "Churn", churn.version, "code-1")
        assert plan.hyperparameters == {"n_estimators": 300, "max_depth": 6, "learning_rate": 0.3}
        assert plan.metrics == ("accuracy", "precision", "recall", "f1_score", "auc_roc")
        facts = plan.characteristics
        assert (facts.rows, facts.columns, facts.size_class, facts.missing_cells, facts.duplicate_rows) == (
            7043,
            6,
            "small",
            11,
            22,
        )
        assert facts.minority_share == pytest.approx(0.2654, abs=1e-4)
        assert (facts.learning_type, facts.algorithm, facts.features, facts.imbalanced) == ("supervised", "xgboost", 4, True)
        assert plan.cost_cap_usd is None

    @pytest.mark.parametrize(("rows", "size"), [(9_999, "small"), (10_000, "medium"), (100_000, "medium"), (100_001, "large")])
    def test_size_class(self, churn, rows, size):
        assert plan_of(CHURN, churn.model_copy(update={"rows": rows})).characteristics.size_class == size

    @pytest.mark.parametrize(
        ("extra", "counts", "gate"),
        [
            ("", {"No": 60, "Yes": 40}, "accuracy"),
            ("", {"No": 70, "Yes": 30}, "accuracy"),
            ("", {"No": 71, "Yes": 29}, "auc_roc"),
            ("", {"a": 44, "b": 43, "c": 13}, "auc_roc"),
            ("threshold_metric: recall\n", {"No": 95, "Yes": 5}, "recall"),
            ("evaluation_metrics: [accuracy, auc_roc]\n", {"No": 50, "Yes": 50}, "auc_roc"),
            ("evaluation_metrics: [f1_score, recall]\n", {"No": 95, "Yes": 5}, "f1_score"),
            ("evaluation_metrics: [accuracy, recall]\n", {"No": 95, "Yes": 5}, "auc_roc"),
        ],
    )
    def test_gate_metric(self, churn, extra, counts, gate):
        plan = plan_of(CHURN + extra, churn.model_copy(update={"target_counts": counts}))
        assert plan.gate_metric == gate
        assert gate in plan.metrics

    @pytest.mark.parametrize(
        ("extra", "gate"), [("", "r2"), ("evaluation_metrics: [rmse, mae]\n", "rmse"), ("evaluation_metrics: [rmse, r2]\n", "r2")]
    )
    def test_gate_metric_of_regression(self, churn, extra, gate):
        body = f"dataset_id: telco-churn\nalgorithm: linear_regression\ntarget: MonthlyCharges\n{extra}"
        plan = plan_of(body, churn, algorithm=LINEAR)
        assert (plan.gate_metric, plan.target, plan.characteristics.minority_share) == (gate, "MonthlyCharges", None)

    def test_classes_of_a_target_other_than_the_catalogues(self, churn):
        facts = plan_of(CHURN + "target: Contract\n", churn).characteristics
        assert facts.class_counts == {"Month-to-month": 3875, "One year": 1473, "Two year": 1695}

    @pytest.mark.parametrize(
        ("asked", "platform", "cap"),
        [("", None, None), ("", 5.0, 5.0), ("max_cost_usd: 2\n", 5.0, 2.0), ("max_cost_usd: 9\n", 5.0, 5.0)],
    )
    def test_lower_cost_cap_holds(self, churn, asked, platform, cap):
        assert plan_of(CHURN + asked, churn, cost_cap_usd=platform).cost_cap_usd == cap


class TestDigest:
    @settings(max_examples=40, deadline=None)
    @given(
        order=st.permutations(["n_estimators", "max_depth", "learning_rate"]),
        seed=st.integers(0, 3),
        code=st.sampled_from(["a", "b"]),
    )
    def test_same_inputs_same_digest(self, order, seed, code):
        version = _version()
        values = {"n_estimators": 10, "max_depth": 3, "learning_rate": 0.1}
        lines = "".join(f"  {name}: {values[name]}\n" for name in order)
        made = [
            make_plan(
                request_of(f"{CHURN}seed: {seed}\nhyperparameters:\n{text}"),
                version,
                code,
                task=Tabular(),
                algorithm=XGBOOST,
                resources=resources,
                cost_cap_usd=1.0,
            )
            for text, resources in (
                (lines, {"compute": "local", "processors": 2}),
                ("".join(f"  {name}: {value}\n" for name, value in values.items()), {"processors": 2, "compute": "local"}),
            )
        ]
        assert made[0].digest == made[1].digest
        assert made[0].model_validate_json(made[0].model_dump_json()).digest == made[0].digest

    @pytest.mark.parametrize(
        "change", ["seed: 1\n", "hyperparameters: {max_depth: 2}\n", "evaluation_threshold: 0.5\n", "target: Contract\n"]
    )
    def test_any_change_of_the_request_changes_it(self, churn, change):
        assert plan_of(CHURN, churn).digest != plan_of(CHURN + change, churn).digest

    def test_data_code_and_limits_change_it(self, churn):
        digests = {
            plan_of(CHURN, churn).digest,
            plan_of(CHURN, churn.model_copy(update={"version": "sha256-other"})).digest,
            plan_of(CHURN, churn, resources={"compute": "local", "processors": 4}).digest,
            plan_of(CHURN, churn, cost_cap_usd=1.0).digest,
            make_plan(
                request_of(CHURN),
                churn,
                "code-2",
                task=Tabular(),
                algorithm=XGBOOST,
                resources={"compute": "local", "processors": 2},
                cost_cap_usd=None,
            ).digest,
        }
        assert len(digests) == 5


class TestRefusedOnSightOfTheData:
    NAMES = ("customerID", "tenure", "MonthlyCharges", "Contract", "signup", "Churn")

    def test_no_target_anywhere(self, churn):
        version = churn.model_copy(update={"entry": churn.entry.model_copy(update={"target": None})})
        assert refused(CHURN, version) == {"target": ("missing", None, self.NAMES)}

    def test_columns_that_do_not_exist_all_at_once(self, churn):
        options = "{drop_columns: [customerId, zzz], entity_column: user, timestamp_column: sign_up}"
        found = refused(f"{CHURN}target: churn_\ndata_preprocessing: {options}\n", churn)
        assert found["target"] == ("not_allowed", "Churn", self.NAMES)
        assert found["data_preprocessing.timestamp_column"][1] == "signup"
        assert found["data_preprocessing.entity_column"][:2] == ("not_allowed", None)
        assert "data_preprocessing.drop_columns" in found

    def test_target_cannot_be_dropped(self, churn):
        assert (
            refused(CHURN + "data_preprocessing: {drop_columns: [Churn]}\n", churn)["data_preprocessing.drop_columns"][0]
            == "conflict"
        )

    def test_derived_features_without_their_columns_are_told_as_not_done(self, churn):
        body = CHURN + "data_preprocessing: {feature_engineering: [aggregate_by_user, time_features]}\n"
        assert [item.key for item in plan_of(body, churn).not_done] == ["aggregate_by_user", "time_features"]
        declared = churn.model_copy(
            update={"entry": churn.entry.model_copy(update={"entity": "customerID", "timestamp": "signup"})}
        )
        assert plan_of(body, declared).not_done == ()

    def test_classification_of_a_continuous_column(self, churn):
        assert refused(CHURN + "target: MonthlyCharges\n", churn) == {"task_type": ("not_allowed", "regression", ("regression",))}
        assert plan_of(CHURN + "target: tenure\n", churn).target == "tenure"

    def test_regression_on_text(self, churn):
        body = "dataset_id: telco-churn\nalgorithm: xgboost\ntask_type: regression\n"
        assert refused(body, churn) == {"task_type": ("not_allowed", "classification", ("classification",))}

    def test_target_with_one_value(self, churn):
        constant = churn.model_copy(
            update={"columns": (*churn.columns, Column(name="same", kind="category", missing=0, distinct=1))}
        )
        assert refused(CHURN + "target: same\n", constant)["target"][0] == "not_allowed"

    def test_algorithm_that_came_to_be_offered_checks_its_hyperparameters(self, churn):
        request = parse_issue("", CHURN + "hyperparameters: {num_round: 5, foo: 1}\n", offered=())
        with pytest.raises(RequestInvalid) as caught:
            make_plan(request, churn, "c", task=Tabular(), algorithm=XGBOOST, resources={}, cost_cap_usd=None)
        assert [(p.field, p.code) for p in caught.value.problems] == [("hyperparameters.foo", "unknown_hyperparameter")]

    def test_task_type_that_the_algorithm_does_not_offer(self, churn):
        assert refused(CHURN, churn, algorithm=LINEAR)["task_type"][0] == "not_allowed"

    def test_algorithm_that_nothing_runs_names_those_that_run(self):
        request = parse_issue("", "dataset_id: x\nalgorithm: neural_network\ntask_type: classification\n", offered=OFFERED)
        (problem,) = algorithm_not_offered(request, OFFERED).problems
        assert (problem.field, problem.given, problem.allowed) == ("algorithm", "neural_network", ("random_forest", "xgboost"))


class TestNotDone:
    def test_plain_request_leaves_nothing_undone(self):
        assert keys(CHURN) == []

    @pytest.mark.parametrize(
        ("extra", "expected"),
        [
            ("hpo_enabled: true\n", ["hyperparameter_search"]),
            ("hpo_enabled: false\nhpo_config: {max_trials: 5}\n", []),
            ("bias_check_enabled: true\nci_tests_enabled: true\n", ["bias_check", "ci_tests"]),
            ("monitoring_enabled: true\n", ["monitoring"]),
            ("alert_thresholds: {error_rate: 0.1}\n", ["monitoring"]),
            ("retrain_triggers: [data_change]\n", ["retraining"]),
            ("auto_retrain_enabled: true\n", ["retraining"]),
            ("deployment_strategy: canary\n", ["canary"]),
            ("deployment_strategy: ab_test\n", ["ab_test"]),
            ("deployment_strategy: shadow\n", ["shadow"]),
            ("deployment_strategy: blue_green\ncontainer_optimization: true\nseed: 3\n", []),
            ("track_with: sagemaker_experiments\n", ["sagemaker_experiments"]),
            ("api_type: grpc\n", ["grpc"]),
            ("deployment: {auto_scaling: {max_instances: 3}}\n", ["auto_scaling"]),
            (
                "deployment: {target: sagemaker_endpoint, instance_type: ml.m5.large}\n",
                ["deployment_target", "deployment_target"],
            ),
            ("deployment: {target: local}\n", []),
            ("notification_channels: [slack, github_issue]\n", []),
            ("workflow_optimization: {performance_profile: speed}\n", []),
            ("augmentation: [mosaic]\n", ["augmentation"]),
            ("dataset: {classes: [a], train_size: 5}\n", ["dataset_selection", "dataset_selection"]),
            ("max_retry: 3\n", []),
            ("max_retry: 5\n", []),
        ],
    )
    def test_what_was_asked_for_and_only_that(self, extra, expected):
        assert keys(CHURN + extra) == expected

    def test_full_example_names_all_that_it_asks(self, example):
        done = not_done(request_of(example("random_forest_full.yaml")))
        assert [item.key for item in done] == [
            "bias_check", "ci_tests", "monitoring", "retraining", "canary", "sagemaker_experiments",
        ]  # fmt: skip
        assert {item.key for item in done} <= set(NOT_DONE_KEYS)
        asked = {item.key: (item.field, item.asked) for item in done}
        assert asked["canary"] == ("deployment_strategy", "canary")

    def test_plan_carries_the_list(self, churn):
        plan = plan_of(CHURN + "api_type: grpc\n", churn, algorithm=XGBOOST)
        assert [item.key for item in plan.not_done] == ["grpc"]
        assert RANDOM_FOREST.name != plan.request.algorithm


def _version() -> DatasetVersion:
    return DatasetVersion(
        dataset_id="telco-churn",
        version="v",
        raw_sha256="0" * 64,
        raw_bytes=1,
        rows=100,
        columns=(
            Column(name="x", kind="number", missing=0, distinct=90),
            Column(name="Churn", kind="category", missing=0, distinct=2),
        ),
        duplicate_rows=0,
        target_counts={"No": 60, "Yes": 40},
        entry=CatalogueEntry(dataset_id="telco-churn", source="x", target="Churn"),
        added_at="2026-11-01T00:00:00Z",
    )
