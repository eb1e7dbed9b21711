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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from pydantic import Field, JsonValue, ValidationError

from mlops_assets.errors import IntegrityError, UserError
from mlops_assets.request.schema import Frozen, TrainingRequest
from mlops_assets.tasks.detection.confusion import best_threshold
from mlops_assets.tasks.detection3d.augmentation import AugmentationSettings, augment
from mlops_assets.tasks.detection3d.box_evaluation import evaluate_boxes
from mlops_assets.tasks.detection3d.cloud_features import OBJECTS, CloudFeatures, spread
from mlops_assets.tasks.detection3d.frame_detection import detect_frames
from mlops_assets.tasks.detection3d.kitti_clouds import KittiLidarFrames
from mlops_assets.tasks.detection3d.object_sampling import read_database
from mlops_assets.tasks.detection3d.pillar_checkpoints import CHECKPOINT, MODEL, read_checkpoint, read_model
from mlops_assets.tasks.detection3d.pillar_detector import NativeDetector, validation_loss
from mlops_assets.tasks.detection3d.pillar_devices import device_of
from mlops_assets.tasks.detection3d.pillar_request import PillarTraining, RoundedRange, pillar_training
from mlops_assets.tasks.detection3d.pillar_settings import PillarSettings
from mlops_assets.tasks.detection3d.pillar_training import Augment, Validate, checkpoint_version, train_pointpillars
from mlops_assets.tasks.detection3d.pointpillars import PointPillars
from mlops_assets.tasks.detection3d.training_frame import TrainingFrame
from mlops_assets.tasks.detection3d.words import PROGRESS
from mlops_assets.tasks.interface import ProgressReporter, TrainSummary
from mlops_assets.whole_files import write_whole

CARD: Final = "card.json"
#: Validation frames whose loss is taken after every epoch, at most one for so many training frames: a few percent of the time.
LOSS_FRAMES, TRAINING_FRAMES_EACH = 32, 8
#: Validation frames in which objects are detected once, in the end.
DETECTION_FRAMES: Final = 100
#: A CPU run of fewer pillars seen (frames x epochs x cells of the canvas) trains on one thread: threads cost more than they give.
SMALL_RUN: Final = 1e9
TRAINED_TO: Final = 0.96
GPU_SAMPLE_THREADS: Final = 8
#: Where the validation split has nothing to choose a threshold on.
UNCHOSEN_THRESHOLD: Final = 0.3

ThresholdOrigin = Literal["f1", "nothing_right", "no_validation"]


class ModelCard(Frozen):
    """What a detector was trained on, and how."""

    algorithm: str
    classes: tuple[str, ...]
    features_digest: str
    hyperparameters: dict[str, JsonValue]
    augmentation: dict[str, JsonValue] | None = Field(description="settings of what was done to training frames; None: nothing")
    rounded: dict[str, tuple[float, float]] = Field(default_factory=dict, description="range -> asked and used [m]")
    seed: int
    threshold: float = Field(
        description="operating threshold: boxes from this score on are served and counted by recall and precision"
    )
    threshold_origin: ThresholdOrigin = Field(description="how the threshold was found; see `measuring_words`")
    device: str
    libraries: dict[str, str]


def train(features: Path, request: TrainingRequest, out: Path, report: ProgressReporter, *, checkpoints: Path) -> TrainSummary:
    """Train PointPillars on the training split of ``features`` and write the model folder ``out``.

    A run killed at any moment goes on from its last checkpoint and, on a CPU, ends with the same bits as one that never stopped.
    A checkpoint that does not fit is told of and dropped. ``metrics`` holds the last losses and, over at most 100 validation
    frames, mAP as the evaluation counts it; on these frames the operating threshold is chosen too.

    Raises:
        UserError: a knob, a variant or an augmentation that there is not.
        DataRejected: a frame cannot be used.
        IntegrityError: the features folder is damaged.
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

    def tell(fraction: float, text: str, metrics: Mapping[str, float]) -> None:
        report(TRAINED_TO * fraction, text, {curve_name(name): value for name, value in metrics.items()})

    with torch_threads(wanted.settings, len(frames)) as threads:
        settings = wanted.settings.model_copy(update={"workers": sample_threads(wanted.settings, threads)})
        _drop_unusable(checkpoints / CHECKPOINT, checkpoint_version(folder.summary.digest, frames), settings, report, words)
        trained = train_pointpillars(
            frames,
            settings,
            out,
            tell,
            augment=augmenting,
            validate=_validate(folder, settings, len(frames)),
            data_version=folder.summary.digest,
            checkpoints=checkpoints,
            language=request.language,
        )
        curves = {curve_name(name): values for name, values in trained.curves.items()}
        metrics = {name: values[-1] for name, values in curves.items()}
        shown = spread(held_out, DETECTION_FRAMES)
        report(TRAINED_TO, words["validating"].format(frames=len(shown)), metrics)
        detector = NativeDetector(*read_model(trained.model))
        threshold, origin, measured = operating_threshold(folder, detector, shown)
        metrics |= measured
    write_whole(out / CARD, _card(folder, request, wanted, (threshold, origin), detector.device.type).model_dump_json(indent=1))
    report(1.0, words["trained"], metrics)
    return TrainSummary(
        algorithm=request.algorithm,
        hyperparameters=wanted.knobs,
        seconds=time.monotonic() - started,
        iterations=trained.steps,
        metrics=metrics,
        curves=curves,
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
    """Torch's threads for so many frames: one where the run is small or a GPU computes, else all processors but one."""
    before = torch.get_num_threads()
    small = frames * settings.epochs * math.prod(settings.canvas) < SMALL_RUN
    threads = 1 if small or device_of(settings).type == "cuda" else max(1, min(before, _processors() - 1))
    torch.set_num_threads(threads)
    try:
        yield threads
    finally:
        torch.set_num_threads(before)


def sample_threads(settings: PillarSettings, threads: int) -> int:
    """Threads that make samples ahead of the network: a GPU must not wait for them, on a CPU the network takes longer."""
    if device_of(settings).type == "cuda":
        return min(GPU_SAMPLE_THREADS, _processors())
    return 1 if threads == 1 else 2


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


def operating_threshold(
    folder: CloudFeatures, detector: NativeDetector, ids: Sequence[str]
) -> tuple[float, ThresholdOrigin, dict[str, float]]:
    """The score from which on F1 over all classes is largest on these frames, how it was found, and what they measured."""
    if not ids:
        return UNCHOSEN_THRESHOLD, "no_validation", {}
    found = detect_frames(folder, detector.detect, ids)
    judged = evaluate_boxes(found.labels, found.detections, folder.summary.classes)
    if judged.map_50 is None or judged.map_50_95 is None:
        return UNCHOSEN_THRESHOLD, "no_validation", {}
    measured = {"validation_mAP@0.5": judged.map_50, "validation_mAP@0.5:0.95": judged.map_50_95}
    chosen = best_threshold(judged.pairs)
    if chosen is None:
        return detector.settings.score_threshold, "nothing_right", measured
    return max(chosen[0], detector.settings.score_threshold), "f1", {**measured, "validation_f1": chosen[1]}


def curve_name(name: str) -> str:
    """As a curve or metric of the training: which split it was measured on comes first."""
    return name if name.startswith("validation_") else f"train_{name}"


def _drop_unusable(
    checkpoint: Path, data_version: str, settings: PillarSettings, report: ProgressReporter, words: Mapping[str, str]
) -> None:
    """Take away a checkpoint that cannot be continued: a program that has changed must not end a training for good."""
    if not checkpoint.is_file():
        return
    try:
        read_checkpoint(checkpoint, settings, data_version, torch.device("cpu"))
    except (IntegrityError, UserError) as error:
        report(0.0, words["restarted"].format(reason=str(error).splitlines()[0]), {})
        checkpoint.unlink()


def _rounding(entry: RoundedRange, words: Mapping[str, str]) -> str:
    return words["rounded"].format(name=entry.name, asked=entry.asked, used=entry.used)


def _card(
    folder: CloudFeatures,
    request: TrainingRequest,
    wanted: PillarTraining,
    threshold: tuple[float, ThresholdOrigin],
    device: str,
) -> ModelCard:
    return ModelCard(
        algorithm=request.algorithm,
        classes=folder.summary.classes,
        features_digest=folder.summary.digest,
        hyperparameters=wanted.knobs,
        augmentation=None if wanted.augmentation is None else wanted.augmentation.model_dump(mode="json"),
        rounded={entry.name: (entry.asked, entry.used) for entry in wanted.rounded},
        seed=request.seed,
        threshold=threshold[0],
        threshold_origin=threshold[1],
        device=device,
        libraries={"python": platform.python_version(), **{name: version(name) for name in ("numpy", "torch")}},
    )
