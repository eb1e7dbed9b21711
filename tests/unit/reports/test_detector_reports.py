"""What people read of a detector: proposal, result, report, suggestions, and the call of its endpoint, in both languages."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest

from mlops_assets.errors import Problem
from mlops_assets.reports.comments import refusal_comment, result_comment
from mlops_assets.reports.gate import decide_gate
from mlops_assets.reports.proposal import proposal_comment
from mlops_assets.reports.replies import explain_comment
from mlops_assets.reports.report import report_html, report_markdown
from mlops_assets.reports.suggestions import changes, retry_line
from mlops_assets.request.adjustment import adjusted
from mlops_assets.request.vocabulary import METRICS
from mlops_assets.tasks.interface import EvaluationSummary, FeatureSummary, TrainSummary
from resources.closing import example_answer, example_call
from resources.experiment_content import renamed_metrics, run_parameters, run_tags, tracked_name
from resources.installed import install_command, missing_extras
from tests.unit.frame_cases import CLOUDS, LONG, OFFERED, fell_short, plan_of, trained

LARGEST = LONG.replace("yolox-m", "yolox-x").replace("[640, 640]", "[1280, 1280]").replace("epochs: 300", "epochs: 600", 1)
PROPOSED = {
    "ja": (
        "- アルゴリズム: YOLOX（`yolox-m`）",
        "- データサイズ: 7,481フレーム（中規模）",
        "- フレームの構成: 画像 7,481、点群 7,481、キャリブレーション 7,481、ラベル 7,481",
        "`Car` 82.5%（28,742個）",
        "クラスの比率は調整せず、そのまま学習します",
        "入力サイズ: 640 × 640 px（高さ × 幅）",
        "データ拡張: Mosaic、MixUp、HSV の変化、左右反転（Issue で指定されたものだけ",
        "KITTI の評価用7,518フレームにはラベルがありません",
        "GPU インスタンス `ml.g4dn.xlarge`",
        "まだ見積もりはありません",
    ),
    "en": (
        "- Data size: 7,481 frames (medium)",
        "- Parts of a frame: images 7,481, point clouds 7,481, calibrations 7,481, labels 7,481",
        "`Car` 82.5% (28,742 objects)",
        "the classes are learned as they are",
        "Augmentation: Mosaic, MixUp, HSV jitter, horizontal flip (only what the issue lists",
        "the 7,518 test frames of KITTI have no labels",
        "no estimate yet",
    ),
}


@pytest.mark.parametrize("language", ["ja", "en"])
def test_a_proposal_speaks_of_frames_and_objects(language: Any) -> None:
    text = proposal_comment(plan_of(LONG), language, approved_by=None, how_to_approve="how")
    for expected in PROPOSED[language]:
        assert expected in text
    for of_tables in ("SMOTE", "欠損", "missing", "one-hot", "columns", "列"):
        assert of_tables not in text


def test_a_recipe_is_named_where_the_issue_lists_nothing() -> None:
    text = proposal_comment(plan_of(CLOUDS), "en", approved_by=None, how_to_approve="")
    assert "Augmentation: the whole recipe of PointPillars" in text
    assert "augment the training frames (flip, rotation of the whole cloud" in text


@pytest.mark.parametrize("language", ["ja", "en"])
def test_a_report_shows_classes_background_and_conventions(language: Any) -> None:
    record = trained()
    text = report_markdown(record, language)
    assert "mAP@0.5" in text and "AP@0.5:0.95" in text
    assert {"ja": "背景", "en": "background"}[language] in text
    assert {"ja": "指標の測り方", "en": "How these numbers are measured"}[language] in text
    assert "COCO AP, IoU 0.5, 3 classes" in text
    assert {"ja": "5,236フレーム（24,000個）", "en": "5,236 frames (24,000 objects)"}[language] in text
    assert "重要度" not in text and "importance" not in text
    page = report_html(record, language, {})
    assert {"ja": "7,480フレーム", "en": "7,480 frames"}[language] in page


def test_numbers_of_kitti_are_a_table_by_difficulty_and_the_thread_has_the_official_ones() -> None:
    record = trained(CLOUDS)
    whole, short = report_markdown(record, "en"), result_comment(record, "en")
    assert "| Car 3D AP_R40 " in whole and "| Car 3D AP_R11 " in whole
    assert "| Car 3D AP_R40 " in short and "AP_R11" not in short
    assert "KITTI, 40 recall positions" in whole and "KITTI, 40 recall positions" not in short
    assert "| KITTI metric" in short and "0.7010 |   0.6310 | 0.5610 |" in short


def test_tables_of_a_detector_fit_a_terminal() -> None:
    for text in (result_comment(trained(CLOUDS), "ja"), result_comment(fell_short(), "ja", by_reply=True)):
        tables = [line for line in text.splitlines() if line.startswith("|")]
        width = max(sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line) for line in tables)
        assert width <= 80


def test_explain_says_why_without_features_or_importance() -> None:
    text = explain_comment(plan_of(LONG), "ja", record=trained())
    assert "7,481フレーム" in text and "mAP@0.5" in text


def measured(**metrics: float) -> EvaluationSummary:
    return EvaluationSummary(metrics={"mAP@0.5": 0.3, "inference_latency_ms": 90.0, **metrics}, rows=10)


def gate(body: str, trained_metrics: dict[str, float] | None = None) -> Any:
    plan = plan_of(body)
    features = FeatureSummary(feature_names=("image",), rows={"train": 5_000}, digest="d")
    summary = TrainSummary(algorithm="yolox", hyperparameters={}, seconds=1, iterations=1, metrics=trained_metrics or {})
    variants = next(a.variants for a in OFFERED if a.name == plan.request.algorithm)
    return decide_gate(plan, features, summary, measured(), variants=variants)


def test_a_detector_that_falls_short_is_offered_epochs_a_larger_variant_and_larger_inputs() -> None:
    assert gate(LONG + "evaluation_threshold: 0.5\n").suggestions == ("more_epochs", "larger_variant", "larger_input")
    assert gate(LARGEST + "evaluation_threshold: 0.9\n").suggestions == ("lower_threshold",)
    overfitted = gate(LONG + "evaluation_threshold: 0.5\n", {"train_mAP@0.5": 0.8})
    assert overfitted.suggestions == ("more_data", "whole_recipe")


def test_a_detector_that_is_too_slow_is_offered_a_smaller_one() -> None:
    slow = gate(LONG + "threshold_metric: inference_latency_ms\nevaluation_threshold: 30\n")
    assert (slow.passed, slow.direction, slow.suggestions) == (False, "lower", ("smaller_variant", "smaller_input"))
    huge = LONG.replace("[640, 640]", "[2048, 2048]") + "threshold_metric: inference_latency_ms\nevaluation_threshold: 30\n"
    assert gate(huge).suggestions == ("smaller_variant", "smaller_input"), "too large to grow is not too large to shrink"


@pytest.mark.parametrize("language", ["ja", "en"])
def test_a_threshold_is_not_called_near_because_nothing_else_is_left(language: Any) -> None:
    text = result_comment(fell_short(gate=gate(LARGEST + "evaluation_threshold: 0.9\n")), language)
    assert {"ja": "閾値を見直す", "en": "Review the threshold"}[language] in text
    assert "わずか" not in text and "small" not in text


@pytest.mark.parametrize("key", ["more_epochs", "larger_variant", "larger_input", "smaller_variant", "smaller_input"])
def test_the_line_to_reply_with_does_what_the_block_does(key: str) -> None:
    record = fell_short()
    record = record.model_copy(update={"gate": record.gate.model_copy(update={"suggestions": (key,)})})
    (change,) = changes(record)
    line = retry_line(change, record.request)
    assert line is not None
    pairs = dict(pair.split("=") for pair in line.split()[1:])
    by_line = adjusted(record.request, {name: int(v) if v.isdecimal() else v for name, v in pairs.items()}, offered=OFFERED)
    assert by_line == adjusted(record.request, change.yaml, offered=OFFERED) != record.request


def test_a_missing_library_is_told_with_the_command_that_installs_it() -> None:
    command = install_command(("deep", "perception"))
    assert command == 'pip install "issue-mlops[deep,perception]"'
    problem = Problem("algorithm", "algorithm_needs_extra", "yolox", (command,))
    for language in ("ja", "en"):
        assert f"`{command}`" in refusal_comment([problem], None, language)
    needy = OFFERED[-1].__class__(
        "x", "X", "supervised", ("detection_2d",), (), requires=(("pillow", "deep"), ("no-such-thing", "other"))
    )
    assert missing_extras(needy) == ("other",)


def test_the_call_of_an_endpoint_shows_a_file_and_the_surest_boxes() -> None:
    call = example_call("http://127.0.0.1:1", {"image": "A" * 100_000})
    assert call == "curl -s http://127.0.0.1:1/invocations -H 'Content-Type: image/png' --data-binary @image.png"
    assert "application/octet-stream" in example_call("u", {"points": "x"}) and "@cloud.bin" in example_call("u", {"points": "x"})
    assert example_call("u", {"a": 1.5, "image": "x"}).endswith("""-d '{"a": 1.5, "image": "x"}'""")
    boxes = [{"class": "Car", "score": 0.912345678, "box": [1.23456, 2.0, 3.0, 4.0]}] * 40
    shown = json.loads(example_answer({"predictions": [{"boxes": boxes}], "model_version": "v1.0.0"}))
    (prediction,) = shown["predictions"]
    assert (len(prediction["boxes"]), prediction["boxes_left_out"], shown["model_version"]) == (3, 37, "v1.0.0")
    assert prediction["boxes"][0]["score"] == 0.9123
    table = {"predictions": [{"label": "No", "probabilities": {"No": 0.123456789}}]}
    assert json.loads(example_answer(table)) == table


def test_names_that_mlflow_does_not_take_lead_back_to_the_metric() -> None:
    assert len({tracked_name(name) for name in METRICS}) == len(METRICS)
    record = trained()
    assert renamed_metrics(record)["mAP_at_0.5:0.95"] == "mAP@0.5:0.95"
    assert json.loads(run_tags(record)["mlops.metric_names"])["mAP_at_0.5"] == "mAP@0.5"
    assert run_parameters(record)["request.variant"] == "yolox-m"
