"""What a body means, in either dialect, and what is said of one that means nothing."""

from __future__ import annotations

import json

import pytest

from mlops_assets.errors import RequestInvalid
from mlops_assets.request.parser import parse_issue
from mlops_assets.request.problems import PROBLEM_CODES
from tests.unit.request.conftest import MINIMAL, OFFERED


def parse(body: str, title: str = ""):
    return parse_issue(title, body, offered=OFFERED)


def problems(body: str) -> dict[str, tuple[str, str | None]]:
    """field -> (code, suggestion) of a body that must be refused."""
    with pytest.raises(RequestInvalid) as caught:
        parse(body)
    assert all(p.code in PROBLEM_CODES and len(p.given) <= 80 for p in caught.value.problems)
    return {p.field: (p.code, p.suggestion) for p in caught.value.problems}


def codes(body: str) -> set[str]:
    with pytest.raises(RequestInvalid) as caught:
        parse(body)
    return {p.code for p in caught.value.problems}


def only(body: str) -> tuple[str, str, str | None]:
    found = problems(body)
    assert len(found) == 1, found
    return next((field, *rest) for field, rest in found.items())


class TestDialects:
    FIRST = """
dataset_id: kitti
learning_type: supervised
task_type: classification
algorithm: xgboost
hyperparameters: {num_round: 50}
data_preprocessing: {handle_missing: mean}
evaluation_threshold: 0.9
threshold_metric: auc_roc
evaluation_metrics: [accuracy, auc_roc]
bias_check_enabled: true
deploy_to: staging
deployment_strategy: canary
deployment_config: {canary_traffic_percentage: 5, instance_type: ml.m5.large}
"""
    SECOND = """
model_type: supervised_learning
task_type: classification
algorithm: XGBoost
dataset:
  name: kitti
preprocessing:
  handle_missing: mean
hyperparameters:
  n_estimators: 50
evaluation:
  metrics: accuracy, auc_roc
  threshold: 0.90
  threshold_metric: auc_roc
  bias_check: yes
deployment:
  environment: staging
  strategy: canary
  canary_traffic_percentage: 5.0
  instance_type: ml.m5.large
"""

    def test_both_dialects_give_equal_requests(self):
        assert parse(self.FIRST) == parse(self.SECOND)

    def test_json_is_a_third_way_to_write_it(self):
        body = {
            "dataset_id": "kitti", "task_type": "classification", "algorithm": "xgboost", "hyperparameters": {"num_round": 50},
            "data_preprocessing": {"handle_missing": "mean"}, "evaluation_threshold": 0.9, "threshold_metric": "auc_roc",
            "evaluation_metrics": ["accuracy", "auc_roc"], "bias_check_enabled": True, "deploy_to": "staging",
            "deployment": {"strategy": "canary", "canary_traffic_percentage": 5, "instance_type": "ml.m5.large"},
        }  # fmt: skip
        assert parse(json.dumps(body)) == parse(self.FIRST)
        assert parse("```json\n" + json.dumps(body, indent="\t") + "\n```") == parse(self.FIRST)

    def test_both_names_may_agree_but_not_contradict(self):
        assert parse(MINIMAL + "dataset: {name: breast-cancer}\n") == parse(MINIMAL)
        field, code, _ = only(MINIMAL + "dataset: {name: other}\n")
        assert (field, code) == ("dataset.name", "conflict")

    def test_dataset_may_be_a_bare_name(self):
        assert parse(MINIMAL.replace("dataset_id", "dataset")) == parse(MINIMAL)

    def test_alias_and_name_of_one_hyperparameter_must_agree(self):
        body = "dataset_id: x\nalgorithm: xgboost\ntask_type: regression\nhyperparameters: {num_round: 5, n_estimators: %d}\n"
        assert parse(body % 5).hyperparameters == {"n_estimators": 5}
        assert only(body % 6)[1] == "conflict"


class TestWrapping:
    @pytest.mark.parametrize(
        "body",
        [
            "```yaml\n{}```",
            "```yml\n{}```\n",
            "```\n{}```",
            "~~~~yaml\n{}~~~~",
            "Please train this.\n\n```yaml\n{}```\n\nThank you: it is urgent.",
            "<!-- fill in\n```yaml\nalgorithm: dqn\n```\n-->\n```yaml\n{}```",
            "```python\nx: int = 1\n```\n```yaml\n{}```",
            "```yaml\n{}",
            "---\n{}---\n",
            "title: t\nlabels: [a]\n{}",
        ],
    )
    def test_request_is_found_in_its_wrapping(self, body):
        assert parse(body.replace("{}", MINIMAL)) == parse(MINIMAL)

    def test_wrapper_with_a_body(self):
        indented = "".join(f"  {line}\n" for line in MINIMAL.splitlines())
        assert parse(f"title: x\nlabels: a, b\nbody: |\n{indented}") == parse(MINIMAL)
        assert parse(json.dumps({"title": "x", "body": f"please\n```yaml\n{MINIMAL}```"})) == parse(MINIMAL)

    def test_hidden_comment_inside_the_block_is_ignored(self):
        assert parse(MINIMAL + "<!-- deploy_to: production -->\n") == parse(MINIMAL)

    def test_comment_that_is_never_closed_drops_nothing_silently(self):
        assert only(MINIMAL + "<!-- oops\nevaluation_threshold: 0.9\n")[1] == "yaml_syntax"

    def test_two_yaml_blocks_are_ambiguous(self):
        assert only(f"```yaml\n{MINIMAL}```\nor\n```yaml\n{MINIMAL}```")[1] == "yaml_documents"


class TestFullWidth:
    def test_punctuation_letters_and_digits_as_syntax(self):
        body = (
            "ｄａｔａｓｅｔ＿ｉｄ：ｂｒｅａｓｔ－ｃａｎｃｅｒ\n"
            "algorithm：　random_forest　＃ 説明：森\n"
            "task_type： classification\n"
            "hyperparameters：\n"
            "　n_estimators：１００\n"
            "  max_depth： 8\n"
            "data_preprocessing：｛handle_missing：mean，normalize：true｝\n"
            "evaluation_metrics：［accuracy， recall］\n"
            "feature_note_free： x\n".replace("feature_note_free： x\n", "")
            + "evaluation_threshold：０．８５\n"
            "retrain_triggers：\n－　drift_detected\n－ data_change\n"
        )
        request = parse(body)
        assert request.dataset.dataset_id == "breast-cancer"
        assert request.hyperparameters == {"n_estimators": 100, "max_depth": 8}
        assert (request.preprocessing.handle_missing, request.preprocessing.normalize) == ("mean", True)
        assert request.evaluation.metrics == ("accuracy", "recall")
        assert request.evaluation.threshold == 0.85
        assert request.retraining.triggers == ("drift_detected", "data_change")

    def test_japanese_text_is_kept(self):
        quoted = '"顧客：離反　予測＃１"'
        request = parse(MINIMAL + f"experiment_name: {quoted}\ntags:\n  担当: 営業（東日本）：佐藤\n  注: ﾃｽﾄ１\n")
        assert request.experiment_name == "顧客：離反　予測＃１"
        assert request.tags == {"担当": "営業（東日本）：佐藤", "注": "ﾃｽﾄ１"}

    def test_full_width_quotes_and_doubled_quotes(self):
        request = parse(MINIMAL + "experiment_name： ＂a：b＂\ntags： {k： 'it''s：so'}\n")
        assert (request.experiment_name, request.tags) == ("a：b", {"k": "it's：so"})


class TestReading:
    def test_yaml_1_2_words(self):
        request = parse(MINIMAL + "tags: {country: no, version: 1.10, zip: 007, when: 2026-01-02, n: 1_0, on: 12:30}\n")
        assert request.tags == {"country": "no", "version": "1.10", "zip": "007", "when": "2026-01-02", "n": "1_0", "on": "12:30"}

    @pytest.mark.parametrize(("written", "value"), [("3e-4", 3e-4), ("1", 1.0), (".5", 0.5), ("'0.1'", 0.1), ("1e-3", 0.001)])
    def test_numbers_as_people_write_them(self, written, value):
        request = parse(
            f"dataset_id: x\nalgorithm: xgboost\ntask_type: regression\nhyperparameters: {{learning_rate: {written}}}\n"
        )
        assert request.hyperparameters == {"learning_rate": value}

    def test_whole_floats_and_thousands_are_integers(self):
        request = parse(MINIMAL + "hyperparameters: {n_estimators: 1e2, min_samples_split: 1_000, max_depth: null}\n")
        assert request.hyperparameters == {"n_estimators": 100, "min_samples_split": 1000, "max_depth": None}

    def test_words_without_regard_to_case_and_hyphens(self):
        request = parse("dataset_id: x\nalgorithm: Random-Forest\ntask_type: Classification\ndeployment_strategy: Blue/Green\n")
        assert (request.algorithm, request.deployment.strategy) == ("random_forest", "blue_green")

    def test_every_key_that_the_schema_offers(self):
        request = parse(
            MINIMAL
            + """
target: diagnosis
threshold_metric: f1
seed: 7
max_cost_usd: 1.5
max_retry: 2
data_preprocessing:
  handle_outliers: iqr
  remove_duplicates: no
  standardize: true
  feature_selection: correlation
  max_features: 10
  drop_columns: [id, name]
  entity_column: user
  timestamp_column: when
  split: time
  validation_fraction: 0.1
  test_fraction: 0.2
"""
        )
        assert (request.dataset.target, request.evaluation.threshold_metric) == ("diagnosis", "f1_score")
        assert (request.seed, request.max_cost_usd, request.max_retry) == (7, 1.5, 2)
        options = request.preprocessing
        assert (options.handle_outliers, options.remove_duplicates, options.standardize) == ("iqr", False, True)
        assert (options.feature_selection, options.max_features, options.drop_columns) == ("correlation", 10, ("id", "name"))
        assert (options.entity_column, options.timestamp_column, options.split) == ("user", "when", "time")
        assert (options.validation_fraction, options.test_fraction) == (0.1, 0.2)

    def test_key_with_nothing_after_it_is_not_given(self):
        assert parse(MINIMAL + "evaluation_threshold:\nretrain_triggers:\n  # - drift_detected\n") == parse(MINIMAL)

    def test_known_algorithm_that_nothing_offers_is_a_valid_request(self):
        request = parse("dataset_id: x\nalgorithm: kmeans\nhyperparameters: {n_clusters: 3, anything: [1, 2]}\n")
        assert (request.learning_type, request.task_type) == ("unsupervised", "clustering")
        assert request.hyperparameters == {"n_clusters": 3, "anything": [1, 2]}


class TestInference:
    @pytest.mark.parametrize(
        ("extra", "task"),
        [
            ("evaluation_metrics: [rmse, r2]", "regression"),
            ("threshold_metric: auc_roc", "classification"),
            ("task_type: regression", "regression"),
        ],
    )
    def test_task_type_follows_from_statement_or_metrics(self, extra, task):
        assert parse(f"dataset_id: x\nalgorithm: xgboost\n{extra}\n").task_type == task

    def test_single_task_type_needs_no_statement(self):
        request = parse("dataset_id: x\nalgorithm: linear_regression\n")
        assert (request.task_type, request.learning_type) == ("regression", "supervised")

    def test_open_task_type_is_asked_for(self):
        with pytest.raises(RequestInvalid) as caught:
            parse("dataset_id: x\nalgorithm: xgboost\n")
        (problem,) = caught.value.problems
        assert (problem.field, problem.code, problem.allowed) == ("task_type", "missing", ("classification", "regression"))

    def test_types_that_do_not_belong_to_the_algorithm_are_conflicts(self):
        found = problems("dataset_id: x\nalgorithm: linear_regression\ntask_type: classification\nlearning_type: reinforcement\n")
        assert found == {"learning_type": ("conflict", "supervised"), "task_type": ("conflict", "regression")}

    @pytest.mark.parametrize(
        ("extra", "model_id"),
        [
            ("", "breast-cancer-random-forest"),
            ("experiment_name: Customer Churn v1\n", "customer-churn-v1"),
            ("experiment_name: x\nmodel_id: my-line\n", "my-line"),
            ("experiment_name: 顧客離反\n", "breast-cancer-random-forest"),
        ],
    )
    def test_model_line(self, extra, model_id):
        assert parse(MINIMAL + extra).model_id == model_id

    def test_names_that_lose_letters_or_are_cut_stay_apart(self):
        names = [parse(MINIMAL + f"experiment_name: {n}\n").model_id for n in ("顧客 v1", "商品 v1", "v1", "a" * 100, "a" * 101)]
        assert len(set(names)) == 5
        assert max(map(len, names)) <= 63


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


PHASE_1 = "workflow_optimization.custom_optimizations.phase1_preprocessing"


class TestCorrectedBlock:
    def corrected(self, body: str) -> str:
        with pytest.raises(RequestInvalid) as caught:
            parse(body)
        assert caught.value.corrected is not None
        return caught.value.corrected

    def test_suggestions_applied_make_a_valid_body(self):
        block = self.corrected(
            "datset_id: breast cancer\nalgorithm: random_forrest\ntask_type: clasification\nmodel_version: '2'\n"
        )
        request = parse(block)
        assert (request.dataset.dataset_id, request.algorithm, request.task_type) == (
            "breast-cancer",
            "random_forest",
            "classification",
        )
        assert request.packaging.model_version == "v2.0.0"

    def test_two_unknown_keys_are_not_mended_into_one(self):
        block = self.corrected(MINIMAL + "hyperparameters: {max_dept: 1, max_deph: 2}\nsed: 1\nseeed: 2\n")
        request = parse(block)
        assert (request.seed, request.hyperparameters) == (1, {"max_depth": 1})

    def test_what_cannot_be_mended_is_commented_out_with_its_reason(self):
        block = self.corrected(MINIMAL + "hyperparameters: {foo: 1, max_depth: 5}\nzzz: {a: [1]}\n")
        assert "# foo: 1  # unknown_hyperparameter" in block
        assert "# zzz:" in block
        assert parse(block).hyperparameters == {"max_depth": 5}

    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("auto_approve: true", "workflow_optimization: {auto_approve: true}"),
            ("workflow_optimization.auto_approve: true", "workflow_optimization: {auto_approve: true}"),
            ("preprocessing: {auto_approve: true}", "workflow_optimization: {auto_approve: true}"),
            (
                "class_imbalance_handling: smote",
                "workflow_optimization: {custom_optimizations: {phase1_preprocessing: {class_imbalance_handling: smote}}}",
            ),
            (
                "custom_optimizations: {phase1_preprocessing: {data_augmentation: auto}}\nclass_imbalance_handling: smote",
                "workflow_optimization: {custom_optimizations: {phase1_preprocessing: "
                "{class_imbalance_handling: smote, data_augmentation: auto}}}",
            ),
            ("workflow_optimisation: {enabled: true}\nauto_approve: true", "workflow_optimization: {auto_approve: true}"),
            (
                "min_instances: 3\nauto_scaling: {max_instances: 4}",
                "deployment: {auto_scaling: {min_instances: 3, max_instances: 4}}",
            ),
            (
                "deployment_config: {strategy: canary}\ninstance_typ: x\nauto_rollback_on_error: true",
                "deployment: {strategy: canary, auto_rollback_on_error: true}",
            ),
            ("drop_columns: [a, b]", "data_preprocessing: {drop_columns: [a, b]}"),
            ("evaluation: {seed: 7}", "seed: 7"),
            ("max_depth: 5\nhyperparameters: {num_trees: 9}\nn_estimators: 8", "hyperparameters: {num_trees: 9, max_depth: 5}"),
            ("hyperparameters.max_depth: 5", "hyperparameters: {max_depth: 5}"),
        ],
    )
    def test_a_key_on_the_wrong_level_moves_to_where_it_belongs(self, written, meant):
        assert parse(self.corrected(MINIMAL + written + "\n")) == parse(MINIMAL + meant)

    def test_a_key_whose_place_is_taken_or_not_certain_is_only_commented_out(self):
        for written in (
            "workflow_optimization: {auto_approve: false}\nauto_approve: true",
            "enabled: true",
            "name: other",
            "auto_aprove: true",
        ):
            block = self.corrected(MINIMAL + written + "\n")
            assert f"# {written.splitlines()[-1]}  # unknown_key" in block
            assert parse(block) == parse(MINIMAL)

    def test_what_is_wrong_with_a_value_is_told_where_the_key_belongs(self):
        assert problems(MINIMAL + "class_imbalance_handling: smot\n") == {
            "class_imbalance_handling": ("unknown_key", f"{PHASE_1}.class_imbalance_handling"),
            f"{PHASE_1}.class_imbalance_handling": ("not_allowed", "smote"),
        }

    def test_missing_keys_are_named_with_their_choices(self):
        block = self.corrected("hyperparameters: {max_depth: 5}\n")
        assert "# dataset_id:" in block
        assert "# algorithm: random_forest | xgboost" in block

    def test_block_cannot_end_the_fence_it_is_shown_in(self):
        block = self.corrected(MINIMAL + 'tags: {a: "```\\n@everyone"}\nzzz: "```"\n')
        assert "```" not in block
        assert parse(block).tags == {"a": "```\n@everyone"}

    def test_text_that_looks_like_another_type_stays_text(self):
        block = self.corrected(
            MINIMAL + 'tags: {a: "1", b: "true", c: "", d: "# x", e: "x: y", f: "- z", g: "null"}\ndeploy_to: stagin\n'
        )
        request = parse(block)
        assert request.tags == {"a": "1", "b": "true", "c": "", "d": "# x", "e": "x: y", "f": "- z", "g": "null"}
        assert request.deployment.environment == "staging"
