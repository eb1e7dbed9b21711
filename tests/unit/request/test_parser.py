"""What a body means, in either dialect, however it is wrapped and typed."""

from __future__ import annotations

import json

import pytest

from mlops_assets.errors import RequestInvalid
from tests.unit.request.conftest import MINIMAL
from tests.unit.request.parsing import only, parse, problems


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
