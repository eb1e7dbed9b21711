"""Every issue body that users were shown is accepted as it stands."""

from __future__ import annotations

import pytest

from mlops_assets.request.draft import draft_issue
from mlops_assets.request.parser import parse_issue
from tests.unit.request.conftest import EXAMPLES, OFFERED, ROOT


def parsed(text: str, name: str = "request"):
    draft = draft_issue(text, name=name)
    return parse_issue(draft.title, draft.body, offered=OFFERED)


def test_random_forest_full_keeps_every_section(example):
    request = parsed(example("random_forest_full.yaml"))
    assert request.model_id == "customer-churn-v1"
    assert request.dataset.dataset_id == "dataset-20250128-001"
    assert request.hyperparameters == {"n_estimators": 100, "max_depth": 10, "min_samples_split": 2}
    assert request.preprocessing.feature_engineering == ("aggregate_by_user", "time_features")
    assert request.evaluation.metrics == ("accuracy", "precision", "recall", "f1_score", "auc_roc")
    assert (request.evaluation.threshold, request.evaluation.threshold_metric) == (0.85, None)
    assert (request.evaluation.bias_check, request.evaluation.ci_tests, request.search.enabled) == (True, True, False)
    assert (request.packaging.model_version, request.deployment.strategy, request.deployment.environment) == (
        "v1.2.0",
        "canary",
        "staging",
    )
    assert request.monitoring.alert_thresholds.latency_p95_ms == 100
    assert request.retraining.triggers == ("data_change", "schedule_weekly", "drift_detected", "metric_degradation")
    assert request.tags == {"project": "customer-churn", "team": "data-science", "priority": "high"}
    assert request.language == "ja"


def test_xgboost_short_uses_the_algorithms_own_names(example):
    request = parsed(example("xgboost_short.yaml"))
    assert request.hyperparameters == {"n_estimators": 100, "max_depth": 5}
    assert request.model_id == "dataset-20250128-001-xgboost"
    assert request.language == "ja"


def test_yolox_in_its_wrapper(example):
    text = example("yolox_kitti.yaml")
    draft = draft_issue(text, name="x")
    assert draft.title == "[MLOps] YOLOX-M on KITTI Object Detection"
    assert draft.labels == ("mlops:train", "mlops", "supervised_learning", "yolox", "kitti")
    request = parsed(text)
    assert (request.task_type, request.learning_type, request.variant) == ("detection_2d", "supervised", "yolox-m")
    assert request.preprocessing.input_size == (640, 640)
    assert request.preprocessing.augmentation[-1] == "random_horizontal_flip"
    assert request.dataset.classes == ("Car", "Pedestrian", "Cyclist")
    assert request.evaluation.test_dataset == "kitti_val"
    assert request.hyperparameters["lr"] == 0.01
    assert request.deployment.auto_scaling.max_instances == 5


def test_yolox_short_writes_the_same_things_elsewhere(example):
    request = parsed(example("yolox_kitti_short.yaml"))
    assert request.preprocessing.input_size == (640, 640)
    assert "input_size" not in request.hyperparameters
    assert request.preprocessing.augmentation == ("mosaic", "mixup", "hsv_jitter", "random_flip")
    assert (request.dataset.train_size, request.dataset.validation_size) == (7481, 7518)
    assert request.evaluation.metrics == ("mAP@0.5", "mAP@0.5:0.95", "inference_latency_ms")


def test_ppo_reads_exponents_and_rewards(example):
    request = parsed(example("vad_ppo_carla.yaml"))
    assert (request.learning_type, request.task_type) == ("reinforcement", "control")
    assert request.hyperparameters["learning_rate"] == 0.0003
    assert request.simulation["reward_function"]["forward_progress"] == "+1.0 per meter"
    assert request.simulation["reward_function"]["collision"] == -100.0
    assert request.simulation["environment"]["version"] == "0.9.15"
    assert request.evaluation.success_criteria[1] == "avg_speed > 20 km/h"
    assert request.dataset.dataset_id == "carla-town03"


@pytest.mark.parametrize("end", ["\r\n", "\r"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_line_ends_and_byte_order_mark_change_nothing(example, name, end):
    text = example(name)
    assert parse_issue("", "\ufeff" + text.replace("\n", end), offered=OFFERED) == parse_issue("", text, offered=OFFERED)


@pytest.mark.parametrize(
    ("name", "dataset", "algorithm", "language"),
    [
        ("breast_cancer.md", "breast-cancer", "random_forest", "en"),
        ("breast_cancer.ja.md", "breast-cancer", "random_forest", "ja"),
        ("telco_churn.md", "telco-churn", "xgboost", "en"),
        ("adult_income.md", "adult-income", "xgboost", "ja"),
    ],
)
def test_shipped_issue_parses(name, dataset, algorithm, language):
    request = parsed((ROOT / "examples" / "issues" / name).read_text(encoding="utf-8"))
    assert (request.dataset.dataset_id, request.algorithm, request.language) == (dataset, algorithm, language)
    assert request.task_type == "classification"
    assert request.evaluation.threshold is not None


def test_japanese_twin_asks_for_the_same():
    folder = ROOT / "examples" / "issues"
    english = parsed((folder / "breast_cancer.md").read_text(encoding="utf-8"))
    japanese = parsed((folder / "breast_cancer.ja.md").read_text(encoding="utf-8"))
    assert japanese.model_copy(update={"language": "en"}) == english


def test_draft_takes_the_heading_as_title():
    draft = draft_issue("# My title\n\nprose\n```yaml\na: 1\n```\n", name="file")
    assert (draft.title, draft.labels) == ("My title", ("mlops:train",))
    assert draft.body.startswith("prose")


def test_draft_keeps_a_leading_yaml_comment_in_the_body():
    text = "# フェーズ1\ndataset_id: x\n"
    draft = draft_issue(text, name="churn")
    assert (draft.title, draft.body) == ("churn", text)
