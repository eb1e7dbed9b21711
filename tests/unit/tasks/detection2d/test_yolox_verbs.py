"""All four verbs on generated streets: prepared, trained (killed and resumed, too), measured, exported."""

from __future__ import annotations

import base64
import io
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from generated_frames import SPLIT, asked, prepared_frames, relisted
from PIL import Image

from mlops_assets.errors import IntegrityError
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.serving.images import ImageReader, decode_image
from mlops_assets.serving.package import Examples
from mlops_assets.tasks.detection2d.checkpoint import CHECKPOINT, read_weights
from mlops_assets.tasks.detection2d.model_folder import ModelCard
from mlops_assets.tasks.detection2d.task import ImageDetectionTask
from mlops_assets.tasks.detection2d.words import WORDS
from mlops_assets.tasks.interface import EvaluationSummary, ExportSummary, FeatureSummary, Signature, TrainSummary

ROOT = Path(__file__).resolve().parents[4]
TASK = ImageDetectionTask()
REQUEST = asked({"epochs": 6, "batch_size": 2, "lr": 0.32}, augmentation=("mosaic", "random_flip"))

Reported = list[tuple[float, str, dict[str, float]]]


def train(features: Path, request: TrainingRequest, out: Path, checkpoints: Path) -> tuple[TrainSummary, Reported]:
    told: Reported = []
    summary = TASK.train(
        features, request, out, lambda share, text, metrics: told.append((share, text, dict(metrics))), checkpoints=checkpoints
    )
    return summary, told


@dataclass(frozen=True)
class Run:
    """One pass through the verbs."""

    folder: Path
    dataset: Path
    prepared: FeatureSummary
    trained: TrainSummary
    told: Reported
    evaluated: EvaluationSummary
    exported: ExportSummary


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    dataset = prepared_frames(folder / "dataset")
    prepared = TASK.prepare(dataset, REQUEST, folder / "features")
    trained, told = train(folder / "features", REQUEST, folder / "model", folder / "checkpoints")
    evaluated = TASK.evaluate(folder / "features", folder / "model", REQUEST, folder / "evaluation")
    exported = TASK.export(dataset, folder / "features", folder / "model", REQUEST, folder / "export")
    return Run(folder, dataset, prepared, trained, told, evaluated, exported)


def test_training_tells_how_far_it_is_and_what_it_measured(run: Run) -> None:
    shares = [share for share, _, _ in run.told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert "epoch 3/6" in [text for _, text, _ in run.told]
    curves = run.trained.curves
    assert {"train_loss", "train_iou_loss", "train_objectness_loss", "train_class_loss", "learning_rate"} <= curves.keys()
    assert len(curves["train_loss"]) == run.trained.iterations == 6
    assert len(curves["validation_mAP@0.5"]) == 6
    assert curves["train_objectness_loss"][-1] < curves["train_objectness_loss"][0]
    assert run.trained.metrics["train_loss"] == curves["train_loss"][-1]
    assert {"validation_mAP@0.5", "validation_mAP@0.5:0.95"} <= run.trained.metrics.keys()
    assert run.trained.hyperparameters["learning_rate"] == 0.32
    assert run.trained.hyperparameters["mosaic_probability"] == 0.5
    assert run.trained.seconds > 0


def test_the_model_says_what_it_is(run: Run) -> None:
    card = ModelCard.model_validate_json((run.folder / "model/model.json").read_bytes())
    assert card.classes == run.prepared.classes == ("Car", "Pedestrian", "Cyclist")
    assert card.features == run.prepared.digest
    assert card.settings.cpu_threads == 1, "two threads on so small images wait for each other"
    assert (card.weights, card.steps) == ("moving_average", 24)
    assert card.threshold >= card.settings.score_threshold
    assert sorted(path.name for path in (run.folder / "model").iterdir()) == ["model.json", "weights.pt"]


def test_the_evaluation_names_its_conventions_and_adds_up(run: Run) -> None:
    evaluated = run.evaluated
    assert list(evaluated.metrics) == ["mAP@0.5", "mAP@0.5:0.95", "recall", "precision", "inference_latency_ms"]
    assert evaluated.conventions.keys() == evaluated.metrics.keys()
    assert all(0 <= value <= 1 for name, value in evaluated.metrics.items() if name != "inference_latency_ms")
    assert evaluated.metrics["mAP@0.5"] >= evaluated.metrics["mAP@0.5:0.95"]
    assert evaluated.metrics["inference_latency_ms"] > 0
    assert evaluated.classes == ("Car", "Pedestrian", "Cyclist", "background")
    matrix = np.array(evaluated.confusion_matrix)
    assert matrix.shape == (4, 4)
    support = [evaluated.per_class[name]["support"] for name in run.prepared.classes]
    assert matrix[:3].sum(axis=1).tolist() == support
    assert sum(support) == run.prepared.objects["test"]
    assert evaluated.metrics["recall"] == pytest.approx(np.trace(matrix[:3, :3]) / sum(support))
    assert evaluated.rows == len(SPLIT["test"])
    for name in evaluated.figures:
        with Image.open(run.folder / "evaluation" / name) as picture:
            picture.verify()
    assert {"pr_curve.png", "confusion_matrix.png", "detections.png"} <= set(evaluated.figures)


def test_the_same_model_gives_the_same_numbers_and_pictures(run: Run, tmp_path: Path) -> None:
    measured = TASK.evaluate(run.folder / "features", run.folder / "model", REQUEST, tmp_path)
    numbers = [{**summary.metrics, "inference_latency_ms": 0.0} for summary in (measured, run.evaluated)]
    assert numbers[0] == numbers[1]
    assert (measured.confusion_matrix, measured.per_class) == (run.evaluated.confusion_matrix, run.evaluated.per_class)
    assert all((tmp_path / name).read_bytes() == (run.folder / "evaluation" / name).read_bytes() for name in measured.figures)


def test_the_export_is_what_the_server_reads(run: Run) -> None:
    folder = run.folder / "export"
    assert run.exported.labels_equal
    assert run.exported.rows_compared == len(SPLIT["test"])
    signature = Signature.model_validate_json((folder / "signature.json").read_bytes())
    assert signature == run.exported.signature
    assert (signature.inputs[0].name, signature.inputs[0].kind, signature.target) == ("image", "image", "objects")
    assert signature.settings["input_size"] == [96, 256]
    assert {"brightness", "contrast"} <= signature.reference.keys()
    assert sum(signature.reference["brightness"].counts) == len(SPLIT["train"])
    examples = Examples.model_validate_json((folder / "examples.json").read_bytes())
    assert 1 <= len(examples.rows) == len(examples.boxes) <= 3
    reader = ImageReader(signature, {"model.onnx": (folder / "model.onnx").read_bytes()}, "v1")
    reader.check(examples)
    png = base64.b64decode(str(examples.rows[0]["image"]))
    assert decode_image(png, 0, "image").shape == (96, 256, 3)
    assert len(png) < 30_000
    assert all(box["class"] in signature.classes for boxes in examples.boxes for box in boxes)


def test_a_large_image_becomes_a_small_example_that_still_has_to_be_scaled(run: Run) -> None:
    from mlops_assets.tasks.detection2d.served import small_png

    card = ModelCard.model_validate_json((run.folder / "model/model.json").read_bytes())
    with Image.open(io.BytesIO(small_png(np.full((375, 1242, 3), 7, np.uint8), card.settings))) as picture:
        assert picture.size == (320, 96)


@pytest.mark.slow
def test_a_network_of_one_epoch_is_exported_and_passes_the_check(run: Run, tmp_path: Path) -> None:
    request = asked({"epochs": 1, "batch_size": 2, "lr": 0.01}, language="ja")
    train(run.folder / "features", request, tmp_path / "model", tmp_path / "checkpoints")
    evaluated = TASK.evaluate(run.folder / "features", tmp_path / "model", request, tmp_path / "evaluation")
    assert any(word in " ".join(evaluated.conventions.values()) for word in ("しきい値", "検証データ"))
    exported = TASK.export(run.dataset, run.folder / "features", tmp_path / "model", request, tmp_path / "export")
    examples = Examples.model_validate_json((tmp_path / "export/examples.json").read_bytes())
    graph = (tmp_path / "export/model.onnx").read_bytes()
    ImageReader(exported.signature, {"model.onnx": graph}, "v1").check(examples)


#: Trains in a process of its own; after the second epoch it waits to be killed, if told to.
PROCESS = """
import sys, time
from pathlib import Path
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.detection2d.task import ImageDetectionTask
features, request, out, checkpoints, waits = sys.argv[1:]
def report(share, text, metrics):
    print(text, flush=True)
    if waits == "waits" and text.startswith("epoch 3/"):
        time.sleep(60)
read = TrainingRequest.model_validate_json(Path(request).read_bytes())
ImageDetectionTask().train(Path(features), read, Path(out), report, checkpoints=Path(checkpoints))
"""


@pytest.mark.slow
def test_a_training_killed_midway_goes_on_and_ends_with_the_very_same_weights(run: Run, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text(REQUEST.model_dump_json(), encoding="utf-8")
    features, model = run.folder / "features", tmp_path / "model"
    arguments = [sys.executable, "-c", PROCESS, str(features), str(tmp_path / "request.json"), str(model), str(tmp_path / "kept")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([*arguments, "waits"], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch 3/"):
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert not model.exists()
    assert (tmp_path / "kept" / CHECKPOINT).is_file()
    done = subprocess.run([*arguments, "-"], capture_output=True, text=True, env=environment, check=True, timeout=120)
    lines = done.stdout.splitlines()
    assert "going on after epoch 3 of 6 from the checkpoint" in lines
    assert "epoch 1/6" not in lines
    whole, halves = read_weights(run.folder / "model/weights.pt")[0], read_weights(model / "weights.pt")[0]
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in halves.state_dict().items())
    cards = [ModelCard.model_validate_json((folder / "model.json").read_bytes()) for folder in (run.folder / "model", model)]
    assert cards[0] == cards[1]


def test_a_checkpoint_that_is_damaged_or_of_other_settings_is_told_and_begun_anew(run: Run, tmp_path: Path) -> None:
    request = asked({"epochs": 1, "batch_size": 8})
    content = (run.folder / "checkpoints" / CHECKPOINT).read_bytes()
    for damaged in (content, content[: len(content) // 2]):
        (tmp_path / CHECKPOINT).write_bytes(damaged)
        _, told = train(run.folder / "features", request, tmp_path / "model", tmp_path)
        assert any("cannot be continued" in text for _, text, _ in told)


def test_without_validation_objects_the_threshold_is_not_chosen_and_that_is_said(run: Run, tmp_path: Path) -> None:
    request = asked({"epochs": 1, "batch_size": 4})
    TASK.prepare(relisted(run.dataset, tmp_path / "copy", validation=()), request, tmp_path / "features")
    trained, _ = train(tmp_path / "features", request, tmp_path / "model", tmp_path / "checkpoints")
    assert not [name for name in trained.metrics if name.startswith("validation")]
    evaluated = TASK.evaluate(tmp_path / "features", tmp_path / "model", request, tmp_path / "evaluation")
    assert "0.5 or more" in evaluated.conventions["recall"]
    assert any("not chosen on data" in warning for warning in evaluated.warnings)


def test_a_model_of_other_classes_is_refused(run: Run, tmp_path: Path) -> None:
    request = asked(classes=("Car",))
    TASK.prepare(run.dataset, request, tmp_path / "features")
    with pytest.raises(IntegrityError, match="was trained on the classes"):
        TASK.evaluate(tmp_path / "features", run.folder / "model", request, tmp_path / "evaluation")
    with pytest.raises(IntegrityError, match="not a complete YOLOX model"):
        TASK.evaluate(run.folder / "features", tmp_path / "features", request, tmp_path / "evaluation")
    with pytest.raises(IntegrityError, match="not a complete features folder"):
        TASK.train(tmp_path, request, tmp_path / "m", lambda *_: None, checkpoints=tmp_path / "c")


def test_both_languages_say_the_same_things_with_the_same_fields() -> None:
    import string

    def fields(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert WORDS["en"].keys() == WORDS["ja"].keys()
    assert all(fields(text) == fields(WORDS["ja"][key]) for key, text in WORDS["en"].items())
