"""What is said of a body that means nothing: every problem at once, by field and code."""

from __future__ import annotations

import pytest

from mlops_assets.errors import RequestInvalid
from tests.unit.request.conftest import MINIMAL
from tests.unit.request.parsing import codes, only, parse, problems


class TestRefusals:
    def test_every_problem_at_once(self):
        found = problems("""
dataset_id: ../etc
algoritm: randm_forest
task_type: classification
evaluation_threshold: 85
evaluation_metrics: [acuracy, rmse]
hyperparameters: {n_estimators: lots, max_dpth: 500, foo: 1, bootstrap: maybe, criterion: ginny, min_samples_split: 2.5}
deploy_to: prod
data_preprocessing: {handle_missing: average, colour: red}
handle_outliers: iqr
model_version: 1.2
max_retry: 99
""")
        assert found == {
            "dataset_id": ("bad_identifier", "etc"),
            "algoritm": ("not_allowed", "random_forest"),
            "evaluation_threshold": ("out_of_range", "0.85"),
            "evaluation_metrics[0]": ("not_allowed", "accuracy"),
            "evaluation_metrics[1]": ("not_allowed", None),
            "hyperparameters.n_estimators": ("wrong_type", None),
            "hyperparameters.max_dpth": ("out_of_range", "100"),
            "hyperparameters.foo": ("unknown_hyperparameter", None),
            "hyperparameters.bootstrap": ("wrong_type", None),
            "hyperparameters.criterion": ("not_allowed", "gini"),
            "hyperparameters.min_samples_split": ("wrong_type", None),
            "deploy_to": ("not_allowed", "production"),
            "data_preprocessing.handle_missing": ("not_allowed", None),
            "data_preprocessing.colour": ("unknown_key", None),
            "handle_outliers": ("unknown_key", "data_preprocessing.handle_outliers"),
            "model_version": ("bad_version", "v1.2.0"),
            "max_retry": ("out_of_range", "10"),
        }

    def test_problem_names_what_is_allowed(self):
        with pytest.raises(RequestInvalid) as caught:
            parse(MINIMAL + "hyperparameters: {max_depth: 0}\nhpo_config: {max_trials: 0}\n")
        allowed = {p.field: p.allowed for p in caught.value.problems}
        assert allowed["hyperparameters.max_depth"] == ("integer", ">= 1", "<= 100", "null")
        assert allowed["hpo_config.max_trials"] == ("integer", ">= 1", "<= 1000")

    @pytest.mark.parametrize(
        ("extra", "code"),
        [
            ("evaluation_threshold: .nan", "out_of_range"),
            ("evaluation_threshold: -.inf", "out_of_range"),
            ("evaluation_threshold: 1e999", "out_of_range"),
            ("evaluation_threshold: nan", "out_of_range"),
            ("evaluation_threshold: high", "wrong_type"),
            ("evaluation_threshold: 85%", "wrong_type"),
            ("hyperparameters: {n_estimators: 99999999999999999999999999999999}", "out_of_range"),
            ("hyperparameters: 5", "wrong_type"),
            ("deployment: staging", "wrong_type"),
            ("hpo_enabled: perhaps", "wrong_type"),
            ("tags: [a]", "wrong_type"),
            ("tags: {a: {b: c}}", "wrong_type"),
            ("data_preprocessing: {normalize: [true]}", "wrong_type"),
            ("data_preprocessing: {test_fraction: 0.5}", "out_of_range"),
            ("max_cost_usd: -1", "out_of_range"),
            ("dataset: {s3_uri: /etc/passwd}", "bad_identifier"),
            ("dataset: {s3_uri: 's3://bucket/../x'}", "bad_identifier"),
            ("model_id: 'a; rm -rf /'", "bad_identifier"),
            ("model_id: $(id)", "bad_identifier"),
            ("variant: yolox-m", "conflict"),
            ("reward_function: {a: 1}", "conflict"),
            ("deployment: {auto_scaling: {min_instances: 5, max_instances: 2}}", "conflict"),
            ("target: " + "x" * 300, "too_large"),
            ('target: "a\\u202Eb"', "control_character"),
            ('target: "a\\x07b"', "control_character"),
            ('target: "a\\nb"', "control_character"),
            ('experiment_name: "\\ud800"', "control_character"),
            ("seed: 1\nseed: 2", "duplicate_key"),
            ("tags: !!python/object/apply:os.system [id]", "yaml_tag"),
            ("tags: {a: !secret b}", "yaml_tag"),
        ],
    )
    def test_one_bad_value(self, extra, code):
        assert code in codes(MINIMAL + extra + "\n")

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ("", "empty"),
            ("\n# only a comment\n", "empty"),
            ("```yaml\n```", "empty"),
            ("body:\n", "empty"),
            ("just some words", "not_a_mapping"),
            ("- a\n- b", "not_a_mapping"),
            ("a: [", "yaml_syntax"),
            ("a: b: c", "yaml_syntax"),
            ("{{ template }}: 1", "yaml_syntax"),
            ("%YAML 9" + "9" * 5000 + "\n---\na: 1", "yaml_syntax"),
            ('a: "\\UFFFFFFFF"', "yaml_syntax"),
            ("a: 1\n---\nb: 2", "yaml_documents"),
            ("a: " + "[" * 20 + "]" * 20, "too_deep"),
            ("a: [" + "1," * 600 + "]", "too_many_nodes"),
            ("a: \x00", "control_character"),
            ("a: b\u202ec", "control_character"),
            ("a: b # x\u2028algorithm: dqn", "control_character"),
            ("x" * 70_000, "too_large"),
            ("あ" * 30_000, "too_large"),
        ],
    )
    def test_unreadable_body(self, body, code):
        assert only(body)[:2] == ("", code)

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ("body: [a]", ("body", "not_a_mapping", None)),
            ("body: |\n  dataset_id: x\n  algorithm: kmeans\ndataset_id: y", ("dataset_id", "duplicate_key", None)),
            ("dataset_id: x\nalgorithm: [a]", ("algorithm", "wrong_type", None)),
            ("algorithm: ppo\nenvironment: {town: 5}", None),
            ("algorithm: ppo\nenvironment: {weather: rain}", ("environment.simulator", "missing", None)),
            ("algorithm: kmeans", ("dataset_id", "missing", None)),
            ("dataset_id: x\nalgorithm: kmeans\nthreshold_metric: rmse", ("threshold_metric", "not_allowed", None)),
            (
                "dataset_id: x\nalgorithm: yolox\nhyperparameters: {input_size: {a: 640}}",
                ("hyperparameters.input_size", "wrong_type", None),
            ),
            (
                "dataset_id: x\nalgorithm: linear_regression\nevaluation_threshold: 95",
                ("evaluation_threshold", "out_of_range", "0.95"),
            ),
            ("dataset_id: x\nalgorithm: kmeans\nhyperparameters: {a b: 1}", ("hyperparameters.a b", "bad_identifier", None)),
            (MINIMAL + "tags: {" + ", ".join(f"k{i}: v" for i in range(60)) + "}", ("tags", "too_large", None)),
        ],
    )
    def test_keys_that_say_something_together(self, body, expected):
        if expected is None:
            assert parse(body).dataset.dataset_id == "5"
        else:
            assert only(body) == expected

    def test_metrics_of_two_tasks_with_the_task_left_open(self):
        found = problems("dataset_id: x\nalgorithm: xgboost\nevaluation_metrics: [accuracy, rmse]\nevaluation_threshold: 85\n")
        assert found == {
            "task_type": ("missing", None),
            "evaluation_metrics": ("conflict", None),
            "evaluation_threshold": ("out_of_range", "0.85"),
        }

    def test_billion_laughs_costs_nothing(self):
        lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
        lines += [f"{b}: &{b} [{', '.join(['*' + a] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
        found = problems("\n".join(lines))
        assert ("yaml_anchor", None) in found.values()

    def test_anchor_alias_and_merge_key_are_all_named(self):
        found = problems(MINIMAL + "tags: &t {a: b}\nhyperparameters:\n  <<: *t\n  max_depth: *d\n")
        assert {f for f, (code, _) in found.items() if code == "yaml_anchor"} >= {
            "tags",
            "hyperparameters.<<",
            "hyperparameters.max_depth",
        }

    def test_syntax_problem_names_the_line_in_the_issue(self):
        with pytest.raises(RequestInvalid) as caught:
            parse("prose\n\n```yaml\ndataset_id: x\nalgorithm: [a\n```\n")
        assert "line 5" in caught.value.problems[0].given or "line 6" in caught.value.problems[0].given

    def test_metrics_of_another_task(self):
        assert only("dataset_id: x\nalgorithm: linear_regression\nevaluation_metrics: [rmse, accuracy]\n") == (
            "evaluation_metrics[1]",
            "not_allowed",
            None,
        )
