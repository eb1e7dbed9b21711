"""What a reply changes of a request, what it may not change, and that the merged request keeps every rule of an issue."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.errors import RequestInvalid
from mlops_assets.request.adjustment import Difference, adjusted, difference
from mlops_assets.request.commands import Retry, parse_command
from mlops_assets.request.parser import parse_issue
from mlops_assets.request.problems import PROBLEM_CODES
from mlops_assets.request.schema import TrainingRequest
from tests.unit.request.conftest import EXAMPLES, MINIMAL, OFFERED
from tests.unit.request.hostile import FULL

BODY = """\
dataset_id: telco-churn
model_id: customer-churn
algorithm: random_forest
task_type: classification
hyperparameters: {n_estimators: 100, max_depth: 10}
evaluation_threshold: 0.85
max_cost_usd: 5
tags: {team: a, project: churn}
workflow_optimization:
  custom_optimizations: {phase1_preprocessing: {class_imbalance_handling: auto, data_augmentation: disabled}}
"""


def asked(body: str = BODY, title: str = "顧客の離反予測") -> TrainingRequest:
    return parse_issue(title, body, offered=OFFERED)


def by_reply(text: str, before: TrainingRequest | None = None) -> TrainingRequest:
    command = parse_command(text)
    assert isinstance(command, Retry)
    return adjusted(before or asked(), command.changes, offered=OFFERED)


def refused(text: str, before: TrainingRequest | None = None) -> RequestInvalid:
    with pytest.raises(RequestInvalid) as caught:
        by_reply(text, before)
    return caught.value


def test_bare_hyperparameters_change_and_the_others_stay():
    after = by_reply("/retry max_depth=8 num_trees=300")
    assert after.hyperparameters == {"n_estimators": 300, "max_depth": 8}
    assert difference(asked(), after) == [
        Difference("hyperparameters.n_estimators", 100, 300),
        Difference("hyperparameters.max_depth", 10, 8),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "/retry evaluation_threshold=0.8 deploy_to=staging metrics_do_not_exist=1",
        "/retry evaluation.threshold=0.8 deployment.environment=staging evaluation_metics=x",
    ],
)
def test_keys_of_either_dialect_hold_and_unknown_ones_are_told_with_the_corrected_changes(text):
    invalid = refused(text)
    assert invalid.problems[0].code == "unknown_key"
    good = text.rsplit(" ", 1)[0]
    after = by_reply(good)
    assert (after.evaluation.threshold, after.deployment.environment) == (0.8, "staging")
    assert [d.field for d in difference(asked(), after)] == ["evaluation_threshold", "deploy_to"]


def test_a_block_and_a_line_that_say_the_same_give_the_same():
    block = "```yaml\nhyperparameters:\n  max_depth: 8\ndata_preprocessing: {feature_selection: importance}\n```"
    line = "/retry max_depth=8 data_preprocessing.feature_selection=importance"
    assert by_reply(block) == by_reply(line) == by_reply("/retry max_depth=8\n```yaml\n" + block.split("\n", 3)[3])


def test_a_misspelt_hyperparameter_is_suggested_although_the_right_one_is_set_already():
    invalid = refused("/retry max_deph=8 n_estimators=many")
    assert [(p.field, p.code, p.suggestion) for p in invalid.problems] == [
        ("hyperparameters.max_deph", "unknown_hyperparameter", "max_depth"),
        ("hyperparameters.n_estimators", "wrong_type", None),
    ]
    assert invalid.corrected == "hyperparameters:\n  max_depth: 8\n  # n_estimators: many  # wrong_type\n"
    assert by_reply(f"```yaml\n{invalid.corrected}```").hyperparameters["max_depth"] == 8


@pytest.mark.parametrize(
    ("change", "field", "near"),
    [
        ("max_dept=abc", "hyperparameters.max_dept", "max_depth"),
        ("n_estimator=0", "hyperparameters.n_estimator", "n_estimators"),
        ("hyperparameters.max_dept=xyz", "hyperparameters.max_dept", "max_depth"),
        ("seeed=abc", "seeed", "seed"),
        ("max_retyr=99", "max_retyr", "max_retry"),
        ("datset_id=x", "datset_id", "dataset_id"),
        ("algoritm=foo", "algoritm", "algorithm"),
        ("task_typ=clustering", "task_typ", "task_type"),
        ("treshold=abc", "treshold", "evaluation.threshold"),
        ("auto_aprove=maybe", "auto_aprove", "workflow_optimization.auto_approve"),
        ("hpo_confg.max_trials=abc", "hpo_confg", "hpo_config"),
    ],
)
def test_a_misspelt_key_is_one_mistake_whatever_stands_after_it(change, field, near):
    alone, beside = refused(f"/retry {change}"), refused(f"/retry {change} max_depth=8 evaluation_threshold=85")
    assert [(p.field, p.suggestion) for p in alone.problems] == [(field, near)]
    assert alone.corrected is None, "nothing of it can be used"
    assert {(p.field, p.code) for p in beside.problems} == {
        (field, alone.problems[0].code),
        ("evaluation_threshold", "out_of_range"),
    }
    mended = by_reply(f"```yaml\n{beside.corrected}```")
    assert (mended.hyperparameters["max_depth"], mended.evaluation.threshold) == (8, 0.85)


def test_a_key_on_the_wrong_level_is_put_in_its_place_in_the_corrected_changes():
    invalid = refused("/retry class_imbalance_handling=smote max_trials=5")
    assert [(p.field, p.code) for p in invalid.problems] == [
        ("class_imbalance_handling", "unknown_key"),
        ("max_trials", "unknown_key"),
    ]
    after = by_reply(f"```yaml\n{invalid.corrected}```")
    assert after.optimization.custom_optimizations.phase1_preprocessing.class_imbalance_handling == "smote"
    assert after.search.max_trials == 5


def test_another_algorithm_starts_from_its_own_defaults_and_the_line_stays():
    before = asked(MINIMAL + "hyperparameters: {max_depth: 10}\n")
    after = by_reply("/retry algorithm=XGBoost eta=0.1", before)
    assert (after.algorithm, after.hyperparameters) == ("xgboost", {"learning_rate": 0.1})
    assert after.model_id == before.model_id == "breast-cancer-random-forest"
    assert after.task_type == "classification"
    assert by_reply("/retry algorithm=linear_regression", before).task_type == "regression"


def test_free_mappings_keep_the_entries_that_the_reply_does_not_name():
    after = by_reply(
        "/retry tags.team=b workflow_optimization.custom_optimizations.phase1_preprocessing.class_imbalance_handling=smote"
    )
    assert after.tags == {"team": "b", "project": "churn"}
    chosen = after.optimization.custom_optimizations.phase1_preprocessing
    assert (chosen.class_imbalance_handling, chosen.data_augmentation) == ("smote", "disabled")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("model_id=other", "model_id"),
        ("dataset_id=other", "dataset_id"),
        ("dataset.name=other", "dataset.name"),
        ("dataset=other", "dataset"),
        ("language=en", "language"),
    ],
)
def test_a_reply_cannot_make_it_another_issue(change, field):
    invalid = refused(f"/retry {change} max_depth=8")
    assert [(p.field, p.code) for p in invalid.problems] == [(field, "not_by_reply")]
    assert invalid.corrected is not None
    assert by_reply(f"```yaml\n{invalid.corrected}```") == by_reply("/retry max_depth=8")


def test_saying_again_what_cannot_change_is_no_mistake():
    assert by_reply("/retry model_id=customer-churn dataset_id=telco-churn language=ja") == asked()


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ("max_cost_usd=50", "max_cost_usd: 5"),
        ("max_retry=9", "max_retry: 3"),
        ("workflow_optimization.auto_approve=true", "  auto_approve: false"),
    ],
)
def test_a_limit_can_be_narrowed_and_not_widened_by_a_reply(change, remedy):
    invalid = refused(f"/retry {change}")
    assert [p.code for p in invalid.problems] == ["only_narrowed"]
    assert remedy in str(invalid.corrected).splitlines()


def test_narrowing_is_allowed():
    after = by_reply("/retry max_cost_usd=1 max_retry=2")
    assert (after.max_cost_usd, after.max_retry) == (1.0, 2)
    assert by_reply("/retry max_cost_usd=null") == asked(), "a key with nothing after it takes no limit away"
    assert by_reply("/retry max_cost_usd=7", asked(MINIMAL)).max_cost_usd == 7
    automatic = asked(BODY.replace("workflow_optimization:", "workflow_optimization:\n  auto_approve: true"))
    assert by_reply("/retry workflow_optimization.auto_approve=true", automatic) == automatic
    assert not by_reply("/retry workflow_optimization.auto_approve=false", automatic).optimization.auto_approve


def test_every_problem_is_told_at_once_also_what_follows_from_the_merge():
    invalid = refused(
        "/retry evaluation_threshold=85 dataset_id=x max_depth=0 evaluation_metrics=[rmse, accuracy] deploy_to=prod"
    )
    assert {(p.field, p.code) for p in invalid.problems} == {
        ("evaluation_threshold", "out_of_range"),
        ("dataset_id", "not_by_reply"),
        ("hyperparameters.max_depth", "out_of_range"),
        ("evaluation_metrics[0]", "not_allowed"),
        ("deploy_to", "not_allowed"),
    }


def test_two_values_of_one_field_are_a_contradiction():
    assert [p.code for p in refused("/retry max_depth=3 hyperparameters.max_depth=4").problems] == ["duplicate_key"]
    assert [p.code for p in refused("/retry deploy_to=dev deployment.environment=staging").problems] == ["conflict"]
    assert [p.code for p in refused("/retry tags=x tags.a=b").problems] == ["conflict", "wrong_type"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_users_examples_change_nothing_by_nothing(example, name):
    request = parse_issue("x", example(name), offered=OFFERED)
    assert adjusted(request, {}, offered=OFFERED) == request
    assert difference(request, request) == []


def test_the_language_of_the_issue_stays():
    assert by_reply("/retry seed=1").language == "ja"
    assert by_reply("/retry experiment_name=顧客の離反", asked(title="Churn", body=MINIMAL)).language == "en"


BODIES = [
    MINIMAL,
    BODY,
    FULL.split("\n", 2)[2].replace("deployment: {target: x, ", "deployment: {target: x, strategy: canary, "),
    MINIMAL + "deployment: {auto_scaling: {min_instances: 1}}\n",
    MINIMAL.replace("random_forest", "xgboost") + "hyperparameters: {num_round: 5, eta: 0.1}\nhpo_enabled: true\n",
    MINIMAL.replace("classification", "regression") + "evaluation_metrics: [rmse]\nevaluation_threshold: 3\nmax_retry: 0\n",
    "algorithm: ppo\nenvironment: {simulator: carla, town: Town03}\nevaluation: {episodes: 5}\nvariant: small\n",
]
WORDS = ["xgboost", "random_forest", "classification", "accuracy", "x", "staging", "production", "あ", "1_000"]
VALUES = [1, 3, 0.5, True, False, None, *WORDS, "", ["accuracy"], {}, {"max_depth": 3}, [], [[1]], {"a": {"b": 1}}, -1, 1e300]
KEYS = [
    "max_depth",
    "n_estimators",
    "num_trees",
    "eta",
    "max_deph",
    "hyperparameters",
    "hyperparameters.max_depth",
    "algorithm",
    "task_type",
    "evaluation_threshold",
    "evaluation.threshold",
    "evaluation_metrics",
    "evaluation",
    "deploy_to",
    "deployment",
    "tags",
    "tags.a",
    "max_retry",
    "max_cost_usd",
    "seed",
    "dataset",
    "model_id",
    "language",
    "environment",
    "environment.town",
    "target",
    "variant",
    "deployment.auto_scaling.max_instances",
    "body",
    "a.b.c",
    ".",
    "workflow_optimization.auto_approve",
    "hpo_config.max_trials",
]
values: st.SearchStrategy[Any] = st.sampled_from(VALUES) | st.text(max_size=4)
keys = st.sampled_from(KEYS) | st.text(max_size=5)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(BODIES), st.dictionaries(keys, values, max_size=4))
def test_whatever_is_changed_the_result_is_valid_stable_and_within_limits_or_refused(body, changes):
    before = asked(body, "t")
    assert adjusted(before, {}, offered=OFFERED) == before
    try:
        after = adjusted(before, changes, offered=OFFERED)
    except RequestInvalid as invalid:
        assert invalid.problems
        assert all(p.code in PROBLEM_CODES and len(p.given) <= 80 for p in invalid.problems)
        return
    assert TrainingRequest.model_validate_json(after.model_dump_json()) == after
    assert adjusted(after, changes, offered=OFFERED) == after
    assert adjusted(after, {}, offered=OFFERED) == after
    assert (after.model_id, after.dataset.dataset_id, after.language) == (
        before.model_id,
        before.dataset.dataset_id,
        before.language,
    )
    assert after.optimization.auto_approve <= before.optimization.auto_approve
    assert after.max_retry <= before.max_retry
    assert before.max_cost_usd is None or (after.max_cost_usd is not None and after.max_cost_usd <= before.max_cost_usd)
    shown = {d.field for d in difference(before, after)}
    assert bool(shown) == (after != before) or after.hyperparameters != before.hyperparameters
