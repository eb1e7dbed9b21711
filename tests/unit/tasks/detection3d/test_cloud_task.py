"""Detection in clouds as a task: a request trains, is killed and goes on, is measured, drawn, exported and served."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from mlops_assets.errors import IntegrityError
from mlops_assets.serving.clouds import CloudReader
from mlops_assets.serving.package import Examples
from mlops_assets.tasks.detection.confusion import BACKGROUND
from mlops_assets.tasks.detection3d.cloud_features import CloudFeatures
from mlops_assets.tasks.detection3d.fitting import CARD, ModelCard, curve_name, read_trained
from mlops_assets.tasks.detection3d.pillar_checkpoints import CHECKPOINT, MODEL, read_model
from mlops_assets.tasks.detection3d.pillar_detector import NativeDetector
from mlops_assets.tasks.detection3d.served import in_range, require_equal_classes
from mlops_assets.tasks.detection3d.task import CloudDetectionTask
from mlops_assets.tasks.interface import EvaluationSummary, ExportSummary, LearningTask, Signature, TrainSummary
from tests.unit.tasks.detection3d.cloud_worlds import request, silent, write_dataset

ROOT = Path(__file__).resolve().parents[4]
REQUEST = request({"epochs": 10}, classes=("Car", "Pedestrian"), language="en")
#: Trains with a checkpoint after every step; the last line before each is what the parent kills it by.
CHILD = """
import sys
from pathlib import Path
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.detection3d import pillar_request
from mlops_assets.tasks.detection3d import pillar_training
pillar_request.CHECKPOINT_SECONDS = pillar_training.REPORT_SECONDS = 0.0
from mlops_assets.tasks.detection3d.fitting import train
features, out, checkpoints, request = sys.argv[1:]
train(
    Path(features), TrainingRequest.model_validate_json(request), Path(out),
    lambda fraction, text, metrics: print(text, flush=True), checkpoints=Path(checkpoints),
)
"""


@dataclass(frozen=True)
class Trained:
    data: Path
    features: Path
    model: Path
    summary: TrainSummary
    told: list[str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("clouds")
    data, features, model = write_dataset(folder / "data"), folder / "features", folder / "model"
    task = CloudDetectionTask()
    assert isinstance(task, LearningTask)
    task.prepare(data, REQUEST, features)
    told: list[str] = []
    summary = task.train(
        features, REQUEST, model, lambda fraction, text, metrics: told.append(text), checkpoints=folder / "checkpoints"
    )
    return Trained(data, features, model, summary, told)


@pytest.fixture(scope="module")
def evaluated(trained: Trained) -> tuple[EvaluationSummary, Path]:
    out = trained.model.parent / "evaluation"
    return CloudDetectionTask().evaluate(trained.features, trained.model, REQUEST, out), out


@pytest.fixture(scope="module")
def exported(trained: Trained) -> tuple[ExportSummary, Path]:
    out = trained.model.parent / "export"
    return CloudDetectionTask().export(trained.data, trained.features, trained.model, REQUEST, out), out


def weights(model: Path) -> dict[str, torch.Tensor]:
    return read_model(model / MODEL)[0].state_dict()


def test_training_reports_losses_of_both_splits_and_an_operating_threshold(trained: Trained) -> None:
    summary = trained.summary
    assert summary.iterations == 30
    assert {len(values) for values in summary.curves.values()} == {10}
    assert {"train_loss", "validation_loss"} <= set(summary.curves)
    assert summary.curves["train_loss"][-1] < summary.curves["train_loss"][0]
    assert {"train_loss", "validation_loss", "validation_mAP@0.5"} <= set(summary.metrics)
    assert all(math.isfinite(value) for value in summary.metrics.values())
    card = ModelCard.model_validate_json((trained.model / CARD).read_bytes())
    assert card.classes == ("Car", "Pedestrian")
    assert 0.1 <= card.threshold < 1
    assert summary.hyperparameters["forward_range"] == 17.92
    assert any("epoch 10/10" in line for line in trained.told)
    assert curve_name("validation_loss") == "validation_loss"


def test_the_same_request_gives_the_same_bits(trained: Trained, tmp_path: Path) -> None:
    short = request({"epochs": 1}, classes=("Car", "Pedestrian"))
    summaries = [
        CloudDetectionTask().train(trained.features, short, tmp_path / name, silent, checkpoints=tmp_path / f"kept-{name}")
        for name in ("one", "two")
    ]
    assert summaries[0].metrics == summaries[1].metrics
    assert summaries[0].curves == summaries[1].curves
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_training_that_is_killed_goes_on_and_ends_with_the_same_bits(trained: Trained, tmp_path: Path) -> None:
    # The range is off by a little on purpose: the settings of the second run must come out the same.
    asked = request({"epochs": 3, "forward_range": 17.0}, classes=("Car", "Pedestrian")).model_dump_json()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def start(out: str, kept: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", CHILD, str(trained.features), str(tmp_path / out), str(tmp_path / kept), asked],
            stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    process = start("killed", "kept")
    assert process.stdout is not None
    for line in process.stdout:
        if "step 5/9" in line:
            break
    process.send_signal(signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    process.stdout.close()
    assert (tmp_path / "kept" / CHECKPOINT).is_file()
    assert not (tmp_path / "killed" / CARD).exists()
    runs = {name: start(name, kept) for name, kept in (("killed", "kept"), ("whole", "other"))}
    lines = {name: run.communicate(timeout=60)[0] for name, run in runs.items()}
    assert [run.returncode for run in runs.values()] == [0, 0]
    assert "step 5/9 on cpu" in lines["killed"]
    assert "step 3/9" not in lines["killed"]
    assert "step 0/9 on cpu" in lines["whole"]
    first, second = weights(tmp_path / "killed"), weights(tmp_path / "whole")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (tmp_path / "killed" / CARD).read_bytes() == (tmp_path / "whole" / CARD).read_bytes()


def test_a_checkpoint_that_cannot_be_continued_is_told_of_and_dropped(trained: Trained, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / CHECKPOINT).write_bytes(b"half a fi")
    told: list[str] = []
    CloudDetectionTask().train(
        trained.features, request({"epochs": 1}, classes=("Car", "Pedestrian")), tmp_path / "model",
        lambda fraction, text, metrics: told.append(text), checkpoints=kept,
    )  # fmt: skip
    assert any("begins anew" in line for line in told)
    assert (tmp_path / "model" / CARD).is_file()


def test_every_number_tells_what_it_counts(evaluated: tuple[EvaluationSummary, Path]) -> None:
    summary, _ = evaluated
    assert set(summary.conventions) == set(summary.metrics)
    assert {"mAP@0.5", "mAP@0.5:0.95", "recall", "precision", "inference_latency_ms"} <= set(summary.metrics)
    assert {"car_3d_ap_hard_r40", "car_bev_ap_hard_r11", "car_2d_ap_hard_r40", "car_aos_ap_hard_r40"} <= set(summary.metrics)
    assert all(0 <= value <= 1 for name, value in summary.metrics.items() if name != "inference_latency_ms")
    assert summary.metrics["inference_latency_ms"] > 0
    assert "above 0.7 in space" in summary.conventions["car_3d_ap_hard_r40"]
    assert summary.rows == 3


def test_the_confusion_matrix_counts_every_object_once(evaluated: tuple[EvaluationSummary, Path]) -> None:
    summary, _ = evaluated
    assert summary.classes == ("Car", "Pedestrian", BACKGROUND)
    for row, name in zip(summary.confusion_matrix, summary.classes[:-1], strict=False):
        assert sum(row) == summary.per_class[name]["support"]
    assert summary.confusion_matrix[-1][-1] == 0


def test_figures_are_drawn(evaluated: tuple[EvaluationSummary, Path]) -> None:
    summary, out = evaluated
    assert summary.figures == (
        "pr_curve.png", "confusion_matrix.png", "birds_eye.png", "image_boxes.png", "points_per_pillar.png",
    )  # fmt: skip
    assert {path.name for path in out.iterdir()} == set(summary.figures)
    assert all((out / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for name in summary.figures)


def test_measuring_again_in_japanese_gives_the_same_numbers(
    trained: Trained, evaluated: tuple[EvaluationSummary, Path], tmp_path: Path
) -> None:
    first, _ = evaluated
    asked = request({"epochs": 10}, classes=("Car", "Pedestrian"), language="ja")
    again = CloudDetectionTask().evaluate(trained.features, trained.model, asked, tmp_path)
    latency = "inference_latency_ms"
    assert again.metrics | {latency: 0} == first.metrics | {latency: 0}
    assert again.confusion_matrix == first.confusion_matrix
    assert set(again.conventions) == set(first.conventions)
    assert "クラス平均" in again.conventions["mAP@0.5"]
    assert len(again.warnings) == len(first.warnings)


def test_the_served_graphs_say_what_the_network_says(trained: Trained, exported: tuple[ExportSummary, Path]) -> None:
    summary, out = exported
    assert summary.labels_equal
    assert summary.rows_compared == 3
    assert summary.largest_difference < 1e-4
    signature = Signature.model_validate_json((out / "signature.json").read_bytes())
    assert signature == summary.signature
    assert (signature.inputs[0].name, signature.inputs[0].kind, signature.target) == ("points", "points", "objects")
    assert set(signature.reference) == {"points", "density", "confidence"}
    assert sum(signature.reference["points"].counts) == 6
    card = ModelCard.model_validate_json((trained.model / CARD).read_bytes())
    pillar = signature.settings["pillar"]
    assert isinstance(pillar, dict)
    assert pillar["score_threshold"] == card.threshold


def test_the_server_answers_the_examples_as_the_network_does(exported: tuple[ExportSummary, Path]) -> None:
    summary, out = exported
    examples = Examples.model_validate_json((out / "examples.json").read_bytes())
    assert 1 <= len(examples.rows) == len(examples.boxes) <= 2
    assert any(examples.boxes)
    graphs = {path.name: path.read_bytes() for path in out.glob("*.onnx")}
    reader = CloudReader(summary.signature, graphs, "v1.0.0")
    reader.check(examples)
    answer = json.loads(reader.answer("application/json", json.dumps({"rows": list(examples.rows)}).encode()).body)
    boxes = answer["predictions"][0]["boxes"]
    assert {"class", "score", "center", "size", "yaw"} == set(boxes[0])
    assert len(boxes) == len(examples.boxes[0])


def test_folders_of_other_trainings_are_refused(trained: Trained, tmp_path: Path) -> None:
    other = tmp_path / "features"
    CloudDetectionTask().prepare(trained.data, request(classes=("Car",)), other)
    with pytest.raises(IntegrityError, match="was trained on classes"):
        read_trained(trained.model, CloudFeatures.read(other))
    (other / "frames.json").unlink()
    with pytest.raises(IntegrityError, match="not a complete features folder"):
        CloudFeatures.read(other)
    with pytest.raises(IntegrityError, match="not a complete model folder"):
        read_trained(tmp_path, CloudFeatures.read(trained.features))


def test_a_cloud_cut_to_the_range_gives_the_same_boxes(trained: Trained) -> None:
    folder = CloudFeatures.read(trained.features)
    network, settings, _ = read_trained(trained.model, folder)
    detector, cloud = NativeDetector(network, settings), folder.copy.cloud("000009")
    near = in_range(cloud, settings)
    assert 0 < len(near) < len(cloud)
    whole, cut = detector.detect(cloud), detector.detect(near)
    assert whole.names == cut.names
    np.testing.assert_array_equal(whole.boxes, cut.boxes)


def test_graphs_that_name_another_class_are_refused(trained: Trained) -> None:
    folder = CloudFeatures.read(trained.features)
    network, settings, _ = read_trained(trained.model, folder)
    given = NativeDetector(network, settings).outputs(folder.copy.cloud("000009"))
    require_equal_classes("000009", given, given, settings)
    kinds, classes = settings.anchors_per_cell, len(settings.classes)
    swapped = given.class_logits.reshape(kinds, classes, -1)[:, ::-1].reshape(given.class_logits.shape)
    with pytest.raises(IntegrityError, match="test frame 000009"):
        require_equal_classes("000009", given, given._replace(class_logits=swapped), settings)
