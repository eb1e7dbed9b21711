"""The ``train`` verb of image detection: the request's settings, a resumable training, the operating threshold, the model folder.

The loop itself is in ``training``; what an issue's words mean in ``recipe``. Imports torch.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import numpy as np
import torch

from mlops_assets.data.dataset import Split
from mlops_assets.errors import IntegrityError, UserError
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.detection.coco_evaluation import ImageBoxes, evaluate_coco
from mlops_assets.tasks.detection.confusion import best_threshold, image_pairs
from mlops_assets.tasks.detection2d.algorithm import YOLOX
from mlops_assets.tasks.detection2d.checkpoint import CHECKPOINT, WEIGHTS, read_checkpoint, write_weights
from mlops_assets.tasks.detection2d.dataset import DetectionDataset
from mlops_assets.tasks.detection2d.decoding import predict
from mlops_assets.tasks.detection2d.image_folder import ImageFolder
from mlops_assets.tasks.detection2d.model import Yolox
from mlops_assets.tasks.detection2d.model_folder import CARD, ModelCard, ThresholdOrigin
from mlops_assets.tasks.detection2d.recipe import settings_of
from mlops_assets.tasks.detection2d.settings import YoloxSettings
from mlops_assets.tasks.detection2d.training import reproducible, train_yolox
from mlops_assets.tasks.detection2d.words import WORDS
from mlops_assets.tasks.interface import ProgressReporter, TrainSummary
from mlops_assets.whole_files import write_whole

#: So often is the network measured on the way, on so many validation images at most, spread evenly over the split.
MEASUREMENTS: Final = 10
IMAGES_ON_THE_WAY: Final = 100
IMAGES_AT_THE_END: Final = 1000
#: Where nothing can be chosen: half sure.
UNCHOSEN_THRESHOLD: Final = 0.5
TRAINED_AT: Final = 0.95
#: Curves whose last value says nothing of the model: how fast it learned, and how its targets were spread.
NO_RESULTS: Final = ("learning_rate", "train_cells_per_object")
_LIBRARIES: Final = ("torch", "numpy", "pillow", "faster-coco-eval")


def train(features: Path, request: TrainingRequest, out: Path, report: ProgressReporter, *, checkpoints: Path) -> TrainSummary:
    """Train on the features folder ``features``, going on from ``checkpoints``, and write the model folder ``out``.

    The weights kept are the moving average after the last epoch: no epoch is picked, so the validation split stays unused but for
    the operating threshold and the curve. The same features and request give the same weights on a CPU, interrupted or not.

    A checkpoint that is damaged or of another training is told and replaced by a new beginning.

    Raises:
        IntegrityError: the features folder is incomplete.
        UserError: settings out of range, or a precision that this device does not have.
        DataRejected: an image cannot be read.
        ComputeError: the loss is not a finite number any more.
    """
    words = WORDS[request.language]
    report(0.0, words["progress.reading"], {})
    folder = ImageFolder.read(features)
    settings = settings_of(request, torch.get_num_threads())
    dataset = folder.images("train")
    _tell_resumption(checkpoints, settings, dataset, report, words)

    def tell(fraction: float, text: str, metrics: Mapping[str, float]) -> None:
        report(fraction * TRAINED_AT, text, {_curve_name(name): value for name, value in metrics.items()})

    trained = train_yolox(
        dataset, settings, checkpoints, tell, text=words["progress.epoch"], validate=_validation(folder, settings),
        validation_epochs=max(1, -(-settings.epochs // MEASUREMENTS)),
    )  # fmt: skip
    report(TRAINED_AT, words["progress.measuring"], {})
    with reproducible(settings):
        threshold, origin, measured = operating_threshold(trained.network, folder, settings)
    curves = {_curve_name(name): values for name, values in trained.curves.items()}
    out.mkdir(parents=True, exist_ok=True)
    write_weights(out / WEIGHTS, trained.network, folder.classes)
    card = ModelCard(
        classes=folder.classes, settings=settings, threshold=threshold, threshold_origin=origin, device=trained.device,
        precision=trained.precision, steps=trained.steps, curves=curves, features=folder.summary.digest, libraries=_libraries(),
    )  # fmt: skip
    write_whole(out / CARD, card.model_dump_json(indent=2))
    metrics = {name: curves[name][-1] for name in curves if curves[name] and name not in NO_RESULTS} | measured
    report(1.0, words["progress.done"], metrics)
    return TrainSummary(
        algorithm=YOLOX.name,
        hyperparameters=shown_settings(settings),
        seconds=trained.seconds,
        iterations=settings.epochs,
        metrics=metrics,
        curves=curves,
    )


def shown_settings(settings: YoloxSettings) -> dict[str, int | float | str | bool | None]:
    """The knobs of ``YOLOX`` as they were used."""
    values = settings.model_dump()
    values["multiscale"] = settings.multiscale != (0, 0)
    return {knob.name: values[knob.name] for knob in YOLOX.hyperparameters}


def evenly(count: int, most: int) -> list[int]:
    """At most ``most`` of the numbers 0 … count - 1, evenly spread."""
    if count <= most:
        return list(range(count))
    return sorted({round(value) for value in np.linspace(0, count - 1, most).tolist()})


def detect(network: Yolox, images: DetectionDataset, rows: Sequence[int], settings: YoloxSettings) -> dict[str, ImageBoxes]:
    """Detections of these images by name, on the device that the network is on."""

    def read() -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        for row in rows:
            yield images.sample(row).image

    # one image at a time on a CPU: a batch would only take more memory
    batch = 8 if next(network.parameters()).is_cuda else 1
    found = predict(network, read(), settings, batch_size=batch)
    return {images.image(row).name: boxes for row, boxes in zip(rows, found, strict=True)}


def operating_threshold(
    network: Yolox, folder: ImageFolder, settings: YoloxSettings
) -> tuple[float, ThresholdOrigin, dict[str, float]]:
    """The score from which on F1 over all classes is largest on the validation split, how it was found, and what it measured."""
    images, truths = _part(folder, "validation", IMAGES_AT_THE_END)
    if not truths:
        return UNCHOSEN_THRESHOLD, "no_validation", {}
    found = detect(network, images[0], images[1], settings)
    chosen = best_threshold([image_pairs(truth, found[name]) for name, truth in truths.items()])
    measured = _measured(truths, found, folder.classes, "validation_mAP@0.5:0.95")
    if chosen is None:
        return settings.score_threshold, "nothing_right", measured
    return chosen[0], "f1", {**measured, "validation_f1": chosen[1]}


def _validation(folder: ImageFolder, settings: YoloxSettings) -> Callable[[Yolox], Mapping[str, float]] | None:
    """What measures the network on the way; None where the validation split has no object."""
    images, truths = _part(folder, "validation", IMAGES_ON_THE_WAY)
    if not truths:
        return None

    def measure(network: Yolox) -> Mapping[str, float]:
        return _measured(truths, detect(network, images[0], images[1], settings), folder.classes)

    return measure


def _part(folder: ImageFolder, split: Split, most: int) -> tuple[tuple[DetectionDataset, list[int]], dict[str, ImageBoxes]]:
    """Images of a split with the rows to look at, and their labels by name; no labels where they hold no object."""
    images, truths = folder.images(split), folder.truths(split)
    rows = evenly(len(images), most)
    chosen = {images.image(row).name: truths[images.image(row).name] for row in rows}
    some = any(truth.crowd is not None and not truth.crowd.all() for truth in chosen.values())
    return (images, rows), chosen if some else {}


def _measured(
    truths: Mapping[str, ImageBoxes], found: Mapping[str, ImageBoxes], classes: Sequence[str], *further: str
) -> dict[str, float]:
    evaluation = evaluate_coco(truths, found, classes)
    return {"validation_mAP@0.5": evaluation.map_50, **dict.fromkeys(further, evaluation.map_50_95)}


def _tell_resumption(
    checkpoints: Path, settings: YoloxSettings, dataset: DetectionDataset, report: ProgressReporter, words: Mapping[str, str]
) -> None:
    """Say how far an earlier process came; take away a checkpoint that cannot be continued."""
    checkpoints.mkdir(parents=True, exist_ok=True)
    try:
        found = read_checkpoint(checkpoints, settings, dataset.digest())
    except (IntegrityError, UserError) as error:
        # a version of this program that changed in between must not end the training for good
        reason = str(error).splitlines()[0]
        (checkpoints / CHECKPOINT).unlink()
        report(0.0, words["progress.restarted"].format(reason=reason), {})
        return
    if found is not None:
        done = int(found["epoch"])
        share = done / settings.epochs * TRAINED_AT
        report(share, words["progress.resumed"].format(done=done, total=settings.epochs), {})


def _curve_name(name: str) -> str:
    return name if name == "learning_rate" or name.startswith("validation_") else f"train_{name}"


def _libraries() -> dict[str, str]:
    """Versions of what decides the numbers of this training."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
