"""Second verb of detection in clouds: training from a features folder to a model folder, or on from where it was killed.

::

    pointpillars.pt   weights and settings, see ``pillar_checkpoints``
    card.json         ModelCard: what it was trained on, and how

The training itself is ``pillar_training``. Importing this module imports torch.
"""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import torch
from pydantic import Field, JsonValue, ValidationError

from mlops_assets.errors import IntegrityError
from mlops_assets.request.schema import Frozen, TrainingRequest
from mlops_assets.tasks.detection3d.augmentation import AugmentationSettings, augment
from mlops_assets.tasks.detection3d.box_evaluation import evaluate_boxes
from mlops_assets.tasks.detection3d.cloud_features import OBJECTS, CloudFeatures, spread
from mlops_assets.tasks.detection3d.frame_detection import detect_frames
from mlops_assets.tasks.detection3d.kitti_clouds import KittiLidarFrames
from mlops_assets.tasks.detection3d.object_sampling import read_database
from mlops_assets.tasks.detection3d.pillar_checkpoints import MODEL, read_model
from mlops_assets.tasks.detection3d.pillar_detector import NativeDetector, validation_loss
from mlops_assets.tasks.detection3d.pillar_request import PillarTraining, RoundedRange, pillar_training
from mlops_assets.tasks.detection3d.pillar_settings import PillarSettings
from mlops_assets.tasks.detection3d.pillar_training import Augment, Validate, train_pointpillars
from mlops_assets.tasks.detection3d.pointpillars import PointPillars
from mlops_assets.tasks.detection3d.training_frame import TrainingFrame
from mlops_assets.tasks.detection3d.words import PROGRESS
from mlops_assets.tasks.interface import ProgressReporter, TrainSummary

CARD: Final = "card.json"
#: Validation frames whose loss is taken after every epoch, at most one for so many training frames: a few percent of the time.
LOSS_FRAMES, TRAINING_FRAMES_EACH = 32, 8
#: Validation frames in which objects are detected once, in the end.
DETECTION_FRAMES: Final = 100
#: A CPU run of fewer pillars seen (frames x epochs x cells of the canvas) trains on one thread: threads cost more than they give.
SMALL_RUN: Final = 1e9
TRAINED_TO: Final = 0.96


class ModelCard(Frozen):
    """What a detector was trained on, and how."""

    algorithm: str
    classes: tuple[str, ...]
    features_digest: str
    hyperparameters: dict[str, JsonValue]
    augmentation: dict[str, JsonValue] | None = Field(description="settings of what was done to training frames; None: nothing")
    rounded: dict[str, tuple[float, float]] = Field(default_factory=dict, description="range -> asked and used [m]")
    seed: int
    device: str
    libraries: dict[str, str]


def train(features: Path, request: TrainingRequest, out: Path, report: ProgressReporter, *, checkpoints: Path) -> TrainSummary:
    """Train PointPillars on the training split of ``features`` and write the model folder ``out``.

    A run killed at any moment goes on from its last checkpoint and, on a CPU, ends with the same bits as one that never stopped.
    ``metrics`` holds the last losses and, over at most 100 validation frames, mAP@0.5 as the evaluation counts it.

    Raises:
        UserError: a knob, a variant or an augmentation that there is not, or a checkpoint of other settings or data.
        DataRejected: a frame cannot be used.
        IntegrityError: the features folder or a checkpoint is damaged.
        ComputeError: the loss is not finite any more.
    """
    words = PROGRESS[request.language]
    folder = CloudFeatures.read(features)
    wanted = pillar_training(request, folder.summary.classes)
    frames, held_out = folder.training_frames("train"), folder.frame_ids("validation")
    augmenting, objects = _augment(folder, wanted.augmentation)
    report(0.0, words["reading"].format(train=f"{len(frames):,}", validation=f"{len(held_out):,}", objects=f"{objects:,}"), {})
    for entry in wanted.rounded:
        report(0.0, _rounding(entry, words), {})
    started = time.monotonic()
    with torch_threads(wanted.settings, len(frames)) as threads:
        # Threads that make samples ahead of the network; the network itself takes the others.
        settings = wanted.settings.model_copy(update={"workers": 1 if threads == 1 else 2})
        trained = train_pointpillars(
            frames,
            settings,
            out,
            lambda fraction, text, metrics: report(TRAINED_TO * fraction, text, metrics),
            augment=augmenting,
            validate=_validate(folder, settings, len(frames)),
            data_version=folder.summary.digest,
            checkpoints=checkpoints,
            language=request.language,
        )
        model, settings = read_model(trained.model)
        metrics = {f"train_{name}": values[-1] for name, values in trained.curves.items() if not name.startswith("validation")}
        metrics |= {name: values[-1] for name, values in trained.curves.items() if name.startswith("validation")}
        if held_out:
            shown = spread(held_out, DETECTION_FRAMES)
            report(TRAINED_TO, words["validating"].format(frames=len(shown)), metrics)
            metrics |= _validation_metrics(folder, NativeDetector(model, settings), shown)
            device = next(model.parameters()).device.type
        else:
            device = "cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu"
    _write_card(out, _card(folder, request, wanted, device))
    report(1.0, words["trained"], metrics)
    return TrainSummary(
        algorithm=request.algorithm,
        hyperparameters=wanted.knobs,
        seconds=time.monotonic() - started,
        iterations=trained.steps,
        metrics=metrics,
        curves=dict(trained.curves),
    )


def read_trained(model: Path, features: CloudFeatures) -> tuple[PointPillars, PillarSettings, ModelCard]:
    """The detector of a model folder on the CPU in evaluation mode, its settings and its card.

    Raises:
        IntegrityError: the folder is incomplete or damaged, or the detector was trained on other features.
    """
    try:
        card = ModelCard.model_validate_json((model / CARD).read_bytes())
        network, settings = read_model(model / MODEL)
    except (OSError, ValidationError) as error:
        raise IntegrityError(f"{model} is not a complete model folder: {str(error).splitlines()[0]}") from error
    if card.classes != features.summary.classes or settings.class_names != card.classes:
        raise IntegrityError(
            f"{model} was trained on classes {list(card.classes)}; {features.path} has {list(features.summary.classes)}"
        )
    return network, settings, card


@contextmanager
def torch_threads(settings: PillarSettings, frames: int) -> Iterator[int]:
    """Torch's threads for a training: one where the run is small or a GPU computes, else all processors but one."""
    before = torch.get_num_threads()
    gpu = settings.device != "cpu" and torch.cuda.is_available()
    small = frames * settings.epochs * math.prod(settings.canvas) < SMALL_RUN
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = 1 if small or gpu else max(1, min(before, processors - 1))
    torch.set_num_threads(threads)
    try:
        yield threads
    finally:
        torch.set_num_threads(before)


def _augment(folder: CloudFeatures, settings: AugmentationSettings | None) -> tuple[Augment | None, int]:
    """What is done to a frame, and how many objects there are to put in."""
    if settings is None:
        return None, 0
    database = read_database(folder.path / OBJECTS) if settings.sampling is not None else None

    def changed(frame: TrainingFrame, random: np.random.Generator) -> TrainingFrame:
        return augment(frame, settings, random, database)

    return changed, 0 if database is None else len(database)


def _validate(folder: CloudFeatures, settings: PillarSettings, training_frames: int) -> Validate | None:
    most = min(LOSS_FRAMES, math.ceil(training_frames / TRAINING_FRAMES_EACH))
    ids = spread(folder.frame_ids("validation"), most)
    if not ids:
        return None
    held_out = folder.training_frames("validation")
    return validation_loss(KittiLidarFrames(held_out.copy, ids, held_out.widths), settings)


def _validation_metrics(folder: CloudFeatures, detector: NativeDetector, ids: tuple[str, ...]) -> dict[str, float]:
    found = detect_frames(folder, detector.detect, ids)
    judged = evaluate_boxes(found.labels, found.detections, folder.summary.classes)
    return {} if judged.map_50 is None else {"validation_mAP@0.5": judged.map_50}


def _rounding(entry: RoundedRange, words: Mapping[str, str]) -> str:
    return words["rounded"].format(name=entry.name, asked=entry.asked, used=entry.used)


def _card(folder: CloudFeatures, request: TrainingRequest, wanted: PillarTraining, device: str) -> ModelCard:
    return ModelCard(
        algorithm=request.algorithm,
        classes=folder.summary.classes,
        features_digest=folder.summary.digest,
        hyperparameters=wanted.knobs,
        augmentation=None if wanted.augmentation is None else wanted.augmentation.model_dump(mode="json"),
        rounded={entry.name: (entry.asked, entry.used) for entry in wanted.rounded},
        seed=request.seed,
        device=device,
        libraries={"python": platform.python_version(), **{name: version(name) for name in ("numpy", "torch")}},
    )


def _write_card(out: Path, card: ModelCard) -> None:
    beside = out / f".{CARD}.{os.getpid()}"
    beside.write_text(card.model_dump_json(indent=1), encoding="utf-8")
    beside.replace(out / CARD)
