"""What the optimiser recommends and why, what it changes, and that a person's own words always win."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.errors import RequestInvalid, UserError
from mlops_assets.request.optimiser.built_in import RULES
from mlops_assets.request.optimiser.custom import SETTINGS
from mlops_assets.request.optimiser.models import Recommendation, Statement
from mlops_assets.request.optimiser.rules import carry_out, installed_rules
from mlops_assets.request.prices import instance_types, price_table
from tests.unit.request.optimisation_cases import (
    BALANCED,
    IMBALANCED,
    LOCAL,
    SAGEMAKER,
    body,
    by_rule,
    custom,
    facts_of,
    plan_of,
    request_of,
    version,
)


def refused(text: str, data: Any = None) -> dict[str, tuple[str, str, str | None]]:
    with pytest.raises(RequestInvalid) as caught:
        plan_of(text, data)
    return {p.field.rpartition(".")[2]: (p.code, p.given, p.suggestion) for p in caught.value.problems}


class TestImbalance:
    def test_a_quarter_of_positives_counts_as_imbalanced_and_is_balanced_with_smote(self):
        plan = plan_of(body())
        found = {o.rule: o for o in plan.optimizations}["class_imbalance"]
        assert (found.requirement, found.phase, found.source, found.carried_out) == ("FR-035", "data", "rule", True)
        assert found.changes == {"preprocessing.resample": "smote"}
        assert found.reason.values["share"] == pytest.approx(0.2654, abs=1e-4)
        assert found.reason.values["limit"] == pytest.approx(0.3)
        assert plan.request.preprocessing.resample == "smote"

    @pytest.mark.parametrize(
        ("counts", "method"),
        [
            (BALANCED, None),
            ({"a": 70, "b": 30}, None),
            ({"a": 71, "b": 29}, "smote"),
            ({"a": 34, "b": 33, "c": 33}, None),
            ({"a": 45, "b": 36, "c": 19}, "smote"),
            ({"a": 500, "b": 9}, "smote"),  # 6.3 rows expected in the training split, 6 needed
            ({"a": 500, "b": 8}, "oversample"),
            ({"a": 90_000, "b": 20_000}, "undersample"),
            ({"a": 200_000, "b": 900}, "smote"),  # undersampled, 1,260 rows of 200,900 would be left
        ],
    )
    def test_method_follows_from_the_classes(self, counts, method):
        changes = [o.changes for o in plan_of(body(), version(counts)).optimizations if o.rule == "class_imbalance"]
        assert changes == ([{"preprocessing.resample": method}] if method else [])

    @pytest.mark.parametrize(
        ("algorithm", "knob"), [("random_forest", "class_weight: balanced"), ("xgboost", "scale_pos_weight: 3")]
    )
    def test_a_request_that_weighs_the_classes_is_left_alone(self, algorithm, knob):
        plan = plan_of(body(algorithm, f"hyperparameters: {{{knob}}}\n"))
        assert plan.request.preprocessing.resample == "none"

    @pytest.mark.parametrize("neutral", ["class_weight: null"])
    def test_a_weight_that_does_nothing_hinders_nothing(self, neutral):
        assert plan_of(body(extra=f"hyperparameters: {{{neutral}}}\n")).request.preprocessing.resample == "smote"

    @pytest.mark.parametrize(("metric", "method"), [("auc_roc", "none"), ("average_precision", "none"), ("f1_score", "smote")])
    def test_a_request_that_is_decided_by_a_ranking_is_left_alone(self, metric, method):
        plan = plan_of(body(extra=f"evaluation_threshold: 0.7\nthreshold_metric: {metric}\n"))
        assert plan.request.preprocessing.resample == method

    def test_numbers_to_predict_have_no_classes(self):
        assert "class_imbalance" not in by_rule(body("xgboost", task="regression"))


class TestTraining:
    @pytest.mark.parametrize(
        ("counts", "profile", "method"),
        [
            ({"a": 5_000, "b": 4_999}, "balanced", "grid"),
            ({"a": 5_000, "b": 5_000}, "balanced", "bayesian"),
            ({"a": 5_000, "b": 5_000}, "speed", "random"),
            ({"a": 50_000, "b": 50_001}, "speed", "bayesian"),
        ],
    )
    def test_search_by_size(self, counts, profile, method):
        found = by_rule(body(extra=f"workflow_optimization: {{performance_profile: {profile}}}\n"), version(counts))
        search = found["hyperparameter_search"]
        assert search.changes["search.method"] == method
        assert not search.carried_out
        assert search.changes["search.max_trials"] == {"balanced": 20, "speed": 10}[profile]

    def test_a_search_that_is_not_built_is_not_switched_on(self):
        plan = plan_of(body())
        assert not plan.request.search.enabled
        assert plan.not_done == ()

    def test_a_search_that_was_asked_for_is_not_recommended_again(self):
        plan = plan_of(body(extra="hpo_enabled: true\n"))
        assert "hyperparameter_search" not in {o.rule for o in plan.optimizations}
        assert [item.key for item in plan.not_done] == ["hyperparameter_search"]

    @pytest.mark.parametrize(("profile", "patience"), [("speed", 10), ("cost", 10), ("balanced", 20), ("accuracy", 50)])
    def test_boosting_stops_early_with_the_patience_of_the_profile(self, profile, patience):
        plan = plan_of(body("xgboost", f"workflow_optimization: {{performance_profile: {profile}}}\n"))
        assert plan.hyperparameters["early_stopping_rounds"] == patience

    def test_only_boosting_stops_early(self):
        assert "early_stopping" not in by_rule(body("random_forest"))

    @pytest.mark.parametrize(
        ("algorithm", "profile", "trees"),
        [
            ("random_forest", "speed", 50), ("random_forest", "cost", 50), ("random_forest", "balanced", 100),
            ("random_forest", "accuracy", 300), ("xgboost", "accuracy", 900), ("xgboost", "speed", 150),
        ],
    )  # fmt: skip
    def test_profiles_set_the_number_of_trees(self, algorithm, profile, trees):
        plan = plan_of(body(algorithm, f"workflow_optimization: {{performance_profile: {profile}}}\n"))
        assert plan.hyperparameters["n_estimators"] == trees
        said = {o.rule: o for o in plan.optimizations}.get("profile_trees")
        assert (said is None) == (profile == "balanced")
        assert said is None or (said.source, said.requirement) == ("profile", "FR-037")

    def test_forests_grow_in_parallel_where_there_are_processors(self):
        assert by_rule(body())["parallel_forest"].carried_out
        assert "parallel_forest" not in by_rule(body(), resources={**LOCAL, "processors": 1})
        assert "parallel_forest" not in by_rule(body("xgboost"))


class TestEvaluation:
    def test_missing_metrics_of_rare_classes_are_added_after_those_named(self):
        plan = plan_of(body(extra="evaluation_metrics: [auc_roc, recall]\n"))
        assert plan.request.evaluation.metrics == ("auc_roc", "recall", "precision", "f1_score")
        assert plan.metrics == plan.request.evaluation.metrics

    def test_balanced_classes_and_complete_metrics_stay(self):
        named = "evaluation_metrics: [auc_roc, recall]\n"
        assert plan_of(body(extra=named), version(BALANCED)).metrics == ("auc_roc", "recall")
        assert by_rule(body())["priority_metrics"].changes == {}
        assert plan_of(body()).metrics == ("accuracy", "precision", "recall", "f1_score", "auc_roc")

    def test_added_metrics_do_not_move_the_gate(self):
        assert plan_of(body(extra="evaluation_metrics: [log_loss]\n")).gate_metric == "log_loss"

    def test_sensitive_columns_ask_for_a_bias_check(self):
        found = by_rule(body(), version(sensitive=("gender",)))["bias_check"]
        assert (found.carried_out, found.reason.values) == (False, {"columns": ["gender"]})
        assert "bias_check" not in by_rule(body())
        assert "bias_check" not in by_rule(body(extra="bias_check_enabled: true\n"), version(sensitive=("gender",)))
        dropped = "data_preprocessing: {drop_columns: [gender]}\n"
        assert "bias_check" not in by_rule(body(extra=dropped), version(sensitive=("gender",)))


class TestResources:
    def test_processors_for_trees_and_a_gpu_for_networks(self):
        assert by_rule(body())["compute_type"].action.key == "cpu_local"
        away = by_rule(body(), resources=SAGEMAKER)["compute_type"]
        assert (away.carried_out, away.action.values["instance"]) == (False, "ml.m5.xlarge")
        network = by_rule(body("neural_network"))["compute_type"]
        assert (network.carried_out, network.action.values["instance"]) == (False, "ml.g4dn.xlarge")
        assert network.action.values["date"] == price_table().date

    def test_spot_for_small_jobs_away_from_here_only(self):
        assert not by_rule(body(), resources=SAGEMAKER)["spot_instances"].carried_out
        assert "spot_instances" not in by_rule(body())
        assert "spot_instances" not in by_rule(body(), version({"a": 9_000, "b": 9_000}), SAGEMAKER)

    def test_several_machines_for_large_data(self):
        assert not by_rule(body(), version({"a": 60_000, "b": 60_000}))["distributed_training"].carried_out
        assert "distributed_training" not in by_rule(body())


class TestDelivery:
    @pytest.mark.parametrize(
        ("extra", "strategy", "carried_out"),
        [
            ("deploy_to: dev\n", "simple", False),
            ("deploy_to: staging\n", "canary", False),
            ("deploy_to: production\nmodel_version: v2.0.0\n", "canary", False),
            ("deploy_to: production\nmodel_version: v1.3.0\n", "ab_test", False),
            ("deploy_to: production\nmodel_version: v1.3.1\n", "blue_green", True),
        ],
    )
    def test_way_of_release(self, extra, strategy, carried_out):
        plan = plan_of(body(extra=extra))
        found = {o.rule: o for o in plan.optimizations}["deployment_strategy"]
        assert (found.action.values, found.carried_out) == ({"strategy": strategy}, carried_out)
        assert plan.request.deployment.strategy == "blue_green"

    def test_a_strategy_that_is_named_stands(self):
        assert "deployment_strategy" not in by_rule(body(extra="deploy_to: staging\ndeployment_strategy: canary\n"))

    def test_packaging_monitoring_and_retraining(self):
        found = by_rule(body())
        assert found["packaging"].action.key == "light_rest"
        assert (found["monitoring"].action.key, found["monitoring"].carried_out) == ("monitor_classification", False)
        assert found["retraining_frequency"].changes["retraining.triggers"] == ["schedule_monthly"]
        fresh = by_rule(body(), version(fresh_within_hours=24.0))
        assert fresh["retraining_frequency"].changes["retraining.triggers"] == ["schedule_weekly"]
        asked = "api_type: grpc\nmonitoring_enabled: true\nauto_retrain_enabled: true\n"
        assert not {"packaging", "monitoring", "retraining_frequency"} & by_rule(body(extra=asked)).keys()
        scaled = by_rule(body(extra="deployment: {auto_scaling: {max_instances: 8}}\n"))["packaging"]
        assert (scaled.action.key, scaled.carried_out) == ("grpc", False)

    def test_lag_features_for_numbers_along_a_time(self):
        assert not by_rule(body(task="regression"), version(timestamp="signup"))["lag_features"].carried_out
        assert "lag_features" not in by_rule(body(task="regression"))
        assert "lag_features" not in by_rule(body(), version(timestamp="signup"))


class TestCustom:
    @pytest.mark.parametrize("method", ["smote", "undersample", "oversample", "none"])
    def test_a_method_set_by_hand_replaces_the_rule(self, method):
        plan = plan_of(body(extra=custom(phase1_preprocessing=f"class_imbalance_handling: {method}")))
        assert plan.request.preprocessing.resample == method
        (found,) = [o for o in plan.optimizations if o.phase == "data"]
        assert (found.source, found.reason.key, found.carried_out) == ("custom", "set_by_hand", True)

    def test_auto_leaves_everything_to_the_rules(self):
        sections = {
            "phase1_preprocessing": "class_imbalance_handling: auto, data_augmentation: Auto",
            "phase2_training": "resource_type: auto, instance_type: auto",
            "phase3_evaluation": "priority_metrics: auto",
            "phase5_deployment": "strategy_override:",
        }
        assert plan_of(body(extra=custom(**sections))).digest == plan_of(body()).digest

    def test_metrics_set_by_hand_are_measured(self):
        plan = plan_of(body(extra=custom(phase3_evaluation="priority_metrics: [F1, log-loss]")))
        assert plan.metrics == ("accuracy", "precision", "recall", "f1_score", "auc_roc", "log_loss")

    def test_a_strategy_set_by_hand_overrides_the_one_asked_for(self):
        override = custom(phase5_deployment="strategy_override: blue_green")
        plan = plan_of(body(extra=f"deployment_strategy: canary\n{override}"))
        assert (plan.request.deployment.strategy, plan.not_done) == ("blue_green", ())

    @pytest.mark.parametrize(
        ("section", "setting", "key"),
        [
            ("phase1_preprocessing", "data_augmentation: enabled", "augmentation"),
            ("phase2_training", "resource_type: gpu", "training_instance"),
            ("phase2_training", "instance_type: ml.p3.2xlarge", "training_instance"),
            ("phase2_training", "distributed_training: enabled", "distributed_training"),
            ("phase2_training", "use_spot_instances: enabled", "spot_instances"),
            ("phase3_evaluation", "bias_check_level: strict", "bias_check"),
            ("phase5_deployment", "strategy_override: canary", "canary"),
            ("phase5_deployment", "strategy_override: ab_test", "ab_test"),
            ("phase6_monitoring", "monitoring_intensity: high", "monitoring"),
            ("phase6_monitoring", "drift_detection_frequency: daily", "monitoring"),
            ("phase7_improvement", "retrain_frequency: weekly", "retraining"),
        ],
    )
    def test_what_cannot_be_carried_out_is_told(self, section, setting, key):
        plan = plan_of(body(extra=custom(**{section: setting})))
        (item,) = plan.not_done
        name, _, value = setting.partition(": ")
        assert (item.key, item.asked) == (key, value)
        assert item.field == f"workflow_optimization.custom_optimizations.{section}.{name}"
        assert name not in {o.rule.rpartition(".")[2] for o in plan.optimizations}

    @pytest.mark.parametrize(
        ("section", "setting"),
        [
            ("phase1_preprocessing", "data_augmentation: disabled"),
            ("phase2_training", "use_spot_instances: disabled"),
            ("phase3_evaluation", "bias_check_level: none"),
        ],
    )
    def test_what_is_switched_off_is_not_recommended_and_not_missed(self, section, setting):
        plan = plan_of(body(extra=custom(**{section: setting})), version(sensitive=("gender",)), SAGEMAKER)
        assert plan.not_done == ()
        replaced = {rule.name for rule in RULES if rule.setting == f"{section}.{setting.partition(':')[0]}"}
        assert not replaced & {o.rule for o in plan.optimizations}

    def test_every_mistake_is_told_at_once(self):
        sections = {
            "phase1_preprocessing": "class_imbalance_handling: smoat, data_augmentaton: auto",
            "phase2_training": "instance_type: ml.m5.xlrge",
            "phase3_evaluation": "priority_metrics: [rmse]",
            "phase9": "a: b",
        }
        found = refused(body(extra=custom(**sections)))
        assert found["class_imbalance_handling"] == ("not_allowed", "smoat", "smote")
        assert found["data_augmentaton"] == ("unknown_key", "data_augmentaton", "data_augmentation")
        assert found["instance_type"] == ("not_allowed", "ml.m5.xlrge", "ml.m5.xlarge")
        assert found["priority_metrics[0]"][:2] == ("not_allowed", "rmse")
        assert found["phase9"][0] == "unknown_key"

    def test_a_setting_on_the_wrong_level_is_told_where_it_belongs(self):
        ((code, _, suggestion),) = refused(body(extra="class_imbalance_handling: smote\n")).values()
        assert code == "unknown_key"
        assert suggestion == "workflow_optimization.custom_optimizations.phase1_preprocessing.class_imbalance_handling"

    def test_resampling_belongs_to_the_optimiser(self):
        assert refused(body(extra="data_preprocessing: {resample: smote}\n")).keys() == {"resample"}

    def test_balancing_numbers_is_a_contradiction(self):
        text = body("xgboost", custom(phase1_preprocessing="class_imbalance_handling: smote"), task="regression")
        assert refused(text)["class_imbalance_handling"] == ("conflict", "smote (task_type: regression)", "auto")

    def test_smote_with_too_few_rows_is_refused_before_anything_is_approved(self):
        text = body(extra=custom(phase1_preprocessing="class_imbalance_handling: smote"))
        code, _, suggestion = refused(text, version({"No": 500, "Yes": 5}))["class_imbalance_handling"]
        assert (code, suggestion) == ("not_allowed", "oversample")
        assert plan_of(text, version({"No": 500, "Yes": 60}))

    def test_every_setting_of_the_format_is_known(self):
        written = {
            f"{section}.{name}"
            for section, content in request_of(body()).optimization.custom_optimizations.model_dump().items()
            for name in content
        }
        assert written == SETTINGS.keys()
        assert {rule.setting for rule in RULES if rule.setting} <= written


words = st.sampled_from(["auto", "smote", "undersample", "oversample", "none"])


@st.composite
def bodies(draw: st.DrawFn) -> str:
    algorithm = draw(st.sampled_from(["random_forest", "xgboost", "logistic_regression", "linear_regression"]))
    task = "regression" if algorithm == "linear_regression" else "classification"
    extra = draw(st.sampled_from(["", "deploy_to: staging\n", "hpo_enabled: true\n", "api_type: grpc\n"]))
    if task == "classification":
        extra += draw(st.sampled_from(["", "evaluation_metrics: [auc_roc]\n", "evaluation_metrics: [recall, accuracy]\n"]))
    if algorithm in ("random_forest", "xgboost"):
        extra += draw(
            st.sampled_from(["", "hyperparameters: {n_estimators: 17}\n", "hyperparameters: {num_trees: 17}\n"])
        ).replace("num_trees", "num_trees" if algorithm == "random_forest" else "num_round")
    profile = draw(st.sampled_from(["speed", "accuracy", "cost", "balanced"]))
    method = draw(words) if task == "classification" else "auto"
    inner = f"custom_optimizations: {{phase1_preprocessing: {{class_imbalance_handling: {method}}}}}"
    return body(algorithm, f"{extra}workflow_optimization: {{performance_profile: {profile}, {inner}}}\n", task)


counts = st.lists(st.integers(10, 60_000), min_size=2, max_size=4).map(lambda sizes: {f"c{i}": n for i, n in enumerate(sizes)})


class TestProperties:
    @settings(max_examples=80, deadline=None)
    @given(text=bodies(), classes=counts)
    def test_same_inputs_same_plan_and_planning_the_result_changes_nothing(self, text, classes):
        first, second = plan_of(text, version(classes)), plan_of(text, version(classes))
        assert first.digest == second.digest
        assert type(first).model_validate_json(first.model_dump_json()).digest == first.digest
        again = plan_of(text, version(classes), request=first.request)
        assert again.request == first.request
        assert carry_out(first.request, first.optimizations) == first.request
        assert carry_out(request_of(text), first.optimizations) == first.request

    @settings(max_examples=80, deadline=None)
    @given(text=bodies(), classes=counts)
    def test_what_a_person_wrote_wins(self, text, classes):
        asked, effective = request_of(text), plan_of(text, version(classes)).request
        for name, value in asked.hyperparameters.items():
            assert effective.hyperparameters[name] == value
        named = asked.evaluation.metrics
        assert effective.evaluation.metrics[: len(named)] == named
        method = asked.optimization.custom_optimizations.phase1_preprocessing.class_imbalance_handling
        assert method in ("auto", effective.preprocessing.resample)
        untouched = {"hyperparameters", "evaluation", "preprocessing"}
        assert effective.model_dump(exclude=untouched) == asked.model_dump(exclude=untouched)

    @settings(max_examples=40, deadline=None)
    @given(classes=counts, profile=st.sampled_from(["speed", "accuracy", "cost", "balanced"]))
    def test_switched_off_nothing_is_recommended_and_nothing_changes(self, classes, profile):
        text = body("xgboost", f"workflow_optimization: {{enabled: false, performance_profile: {profile}}}\n")
        plan = plan_of(text, version(classes))
        assert plan.optimizations == ()
        assert plan.request == request_of(text)

    def test_switched_off_what_was_set_by_hand_still_holds(self):
        inner = "custom_optimizations: {phase1_preprocessing: {class_imbalance_handling: oversample}}"
        plan = plan_of(body(extra=f"workflow_optimization: {{enabled: false, {inner}}}\n"))
        assert plan.request.preprocessing.resample == "oversample"
        assert [o.source for o in plan.optimizations] == ["custom"]

    @settings(max_examples=40, deadline=None)
    @given(text=bodies(), classes=counts)
    def test_what_is_not_built_is_never_applied(self, text, classes):
        plan = plan_of(text, version(classes))
        built = {"preprocessing.resample", "evaluation.metrics", "hyperparameters.n_estimators"}
        built.add("hyperparameters.early_stopping_rounds")
        for optimization in plan.optimizations:
            assert optimization.changes.keys() <= built or not optimization.carried_out


@dataclass(frozen=True)
class Eager:
    """A rule of another distribution."""

    changes: Any
    name: str = "eager"
    requirement: str = "FR-035"
    phase: str = "training"
    source: str = "rule"
    setting: str | None = None

    def propose(self, facts: Any) -> Recommendation:
        return Recommendation(action=Statement(key="eager"), reason=Statement(key="always"), changes=self.changes)


class TestPlugIns:
    def test_built_in_rules_are_there_once_in_the_order_of_phases(self):
        names = [rule.name for rule in installed_rules()]
        assert len(names) == len(set(names))
        assert set(names) >= {rule.name for rule in RULES}
        assert names.index("class_imbalance") < names.index("early_stopping") < names.index("monitoring")
        assert all(rule.requirement.startswith(("FR-03", "NFR-021")) for rule in RULES)

    def test_the_distribution_names_them_in_its_entry_points(self):
        import tomllib
        from pathlib import Path

        content = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
        (target,) = content["project"]["entry-points"]["mlops.optimisation_rules"].values()
        assert target == f"{RULES[0].__module__.rpartition('.')[0]}.built_in:RULES"

    def test_a_rule_may_fill_what_was_left_open_only(self):
        rule = Eager({"hyperparameters.max_depth": 3, "hyperparameters.n_estimators": 7, "preprocessing.standardize": True})
        request, made = facts_of(body(extra="hyperparameters: {num_trees: 10}\n"), [rule])
        assert (request.hyperparameters, request.preprocessing.standardize) == ({"n_estimators": 10, "max_depth": 3}, True)
        assert made[0].changes.keys() == {"hyperparameters.max_depth", "preprocessing.standardize"}
        assert facts_of(body(extra="seed: 7\n"), [Eager({"seed": 8})]) == (request_of(body(extra="seed: 7\n")), ())

    def test_of_two_rules_for_one_field_the_first_stands(self):
        request, made = facts_of(body(), [Eager({"seed": 8}), Eager({"seed": 9}, name="later")])
        assert (request.seed, [o.rule for o in made]) == (8, ["eager"])

    @pytest.mark.parametrize("changes", [{"no.such.field": 1}, {"preprocessing.resample": "magic"}, {"seed": "x"}])
    def test_a_rule_that_proposes_nonsense_is_named(self, changes):
        with pytest.raises(UserError) as caught:
            facts_of(body(), [Eager(changes)])
        assert caught.value.field == "eager"


class TestPrices:
    def test_every_price_names_a_source_and_the_table_its_day(self):
        table = price_table()
        assert (table.currency, table.region) == ("USD", "us-east-1")
        assert len(table.date.split("-")) == 3
        assert {p.source for p in table.instances.values()} - {"own"} <= table.sources.keys()
        assert instance_types()[0].startswith("ml.")

    def test_cost_is_hours_times_price(self):
        assert price_table().cost("ml.m5.xlarge", 1800) == pytest.approx(0.115)
        assert price_table().cost("local", 1e6) == 0.0
        assert price_table().cost("ml.unheard.of", 10) is None
        assert price_table().cheapest(gpu=True) == "ml.g4dn.xlarge"


def test_the_users_full_example_is_accepted_with_every_setting_left_to_the_rules(example):
    request = request_of(example("random_forest_full.yaml"))
    assert request.optimization.custom_optimizations == type(request.optimization.custom_optimizations)()
    assert IMBALANCED["Yes"] / sum(IMBALANCED.values()) < 0.3
