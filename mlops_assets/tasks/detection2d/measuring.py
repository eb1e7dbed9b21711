"""The ``evaluate`` verb of image detection: the test split detected, counted, timed and drawn.

Counting is in ``tasks.detection``, figures in ``detection_figures``; the operating threshold comes with the model. Imports torch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mlops_assets.request.schema import TrainingRequest
from mlops_assets.request.vocabulary import Language
from mlops_assets.tasks.detection.coco_evaluation import CocoEvaluation, ImageBoxes, evaluate_coco
from mlops_assets.tasks.detection.confusion import (
    BACKGROUND,
    NOBODY,
    ClassCurve,
    Counts,
    FramePairs,
    class_curves,
    confusion_matrix,
    counts_at,
    image_pairs,
    matches,
    together,
)
from mlops_assets.tasks.detection2d.dataset import DetectionDataset
from mlops_assets.tasks.detection2d.decoding import predict
from mlops_assets.tasks.detection2d.fitting import detect, evenly
from mlops_assets.tasks.detection2d.image_folder import ImageFolder
from mlops_assets.tasks.detection2d.model import Yolox
from mlops_assets.tasks.detection2d.model_folder import ModelCard, read_model
from mlops_assets.tasks.detection2d.settings import YoloxSettings
from mlops_assets.tasks.detection2d.training import device_of, reproducible
from mlops_assets.tasks.detection2d.words import WORDS
from mlops_assets.tasks.interface import EvaluationSummary

#: Images that are timed, until so many seconds are over, after so many that are not counted.
TIMED_IMAGES: Final = 50
TIMED_SECONDS: Final = 30.0
WARM_UP: Final = 2
IMAGES_SHOWN: Final = 6


@dataclass(frozen=True, eq=False)
class _Measured:
    """The test split as the network saw it."""

    truths: Mapping[str, ImageBoxes]
    found: Mapping[str, ImageBoxes]
    pairs: Sequence[FramePairs]
    curves: Sequence[ClassCurve]
    counts: Sequence[Counts]
    evaluation: CocoEvaluation


def evaluate(features: Path, model: Path, request: TrainingRequest, out: Path) -> EvaluationSummary:
    """Measure the model folder ``model`` on the test split of ``features`` and draw its figures into ``out``.

    The operating threshold is the model's own, chosen on the validation split: nothing is chosen here. All metrics but the
    latency are the same each time.

    Raises:
        IntegrityError: a folder is incomplete, damaged, or of other classes.
        DataRejected: an image cannot be read, or the test split holds no object.
    """
    folder = ImageFolder.read(features)
    network, card = read_model(model, folder)
    settings, language = card.settings, request.language
    images, truths = folder.images("test"), folder.truths("test")
    latency, timed = latency_ms(network, images, settings.model_copy(update={"score_threshold": card.threshold}))
    with reproducible(settings):
        network.to(device_of(settings.model_copy(update={"device": "auto"})))
        started = time.perf_counter()
        found = detect(network, images, range(len(images)), settings)
        seconds = time.perf_counter() - started
    pairs = [image_pairs(truth, found[name]) for name, truth in truths.items()]
    count = len(card.classes)
    measured = _Measured(
        truths, found, pairs, class_curves(pairs, count), counts_at(pairs, card.threshold, count),
        evaluate_coco(truths, found, card.classes),
    )  # fmt: skip
    every = together(measured.counts)
    out.mkdir(parents=True, exist_ok=True)
    matrix = confusion_matrix(pairs, card.threshold, count)
    return EvaluationSummary(
        metrics={
            "mAP@0.5": measured.evaluation.map_50,
            "mAP@0.5:0.95": measured.evaluation.map_50_95,
            "recall": every.recall or 0.0,
            "precision": every.precision or 0.0,
            "inference_latency_ms": latency,
        },
        conventions=_conventions(card, timed, language),
        per_class=_per_class(measured),
        confusion_matrix=matrix,
        classes=(*card.classes, BACKGROUND),
        rows=len(images),
        figures=_draw(measured, matrix, images, card, language, out),
        rows_per_second=len(images) / seconds if seconds > 0 else None,
        warnings=_warnings(measured.evaluation, card, language),
    )


def latency_ms(network: Yolox, images: DetectionDataset, settings: YoloxSettings) -> tuple[float, int]:
    """Median milliseconds from a decoded image to its boxes, one at a time, one processor thread; and how many were timed."""
    rows = evenly(len(images), TIMED_IMAGES)
    taken: list[float] = []
    begun = time.perf_counter()
    with reproducible(settings.model_copy(update={"cpu_threads": 1})):
        for number, row in enumerate([*rows[:WARM_UP], *rows]):
            pixels = images.sample(row).image
            started = time.perf_counter()
            list(predict(network, [pixels], settings, batch_size=1))
            if number >= min(WARM_UP, len(rows)):
                taken.append((time.perf_counter() - started) * 1000)
            if taken and time.perf_counter() - begun > TIMED_SECONDS:
                break
    return statistics.median(taken), len(taken)


def _per_class(measured: _Measured) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for entry, counts in zip(measured.evaluation.classes, measured.counts, strict=True):
        numbers = {"ap50": entry.ap_50, "ap50_95": entry.ap_50_95, "recall": counts.recall, "precision": counts.precision}
        table[entry.name] = {name: value for name, value in numbers.items() if value is not None}
        table[entry.name]["support"] = float(entry.ground_truths)
    return table


def _conventions(card: ModelCard, timed: int, language: Language) -> dict[str, str]:
    say = WORDS[language]
    values = {"least": card.settings.score_threshold, "threshold": card.threshold, "images": timed}
    how = say[f"threshold.{card.threshold_origin}"]
    sentences = {
        "mAP@0.5": "map_50", "mAP@0.5:0.95": "map", "recall": "recall", "precision": "precision",
        "inference_latency_ms": "latency",
    }  # fmt: skip
    return {metric: say[f"convention.{key}"].format(how=how, **values) for metric, key in sentences.items()}


def _warnings(evaluation: CocoEvaluation, card: ModelCard, language: Language) -> tuple[str, ...]:
    say, least = WORDS[language], card.settings.score_threshold
    told = [say["warning.class_without_objects"].format(name=one.name) for one in evaluation.classes if not one.ground_truths]
    for remark in evaluation.remarks:
        match remark.code:
            case "no_detections":
                told.append(say["warning.no_detections"].format(least=least))
            case "class_never_detected":
                told.append(say["warning.never_detected"].format(name=remark.class_name, least=least))
            case "classes_mixed_up":
                told.append(say["warning.mixed_up"])
            case "class_without_ground_truth":
                pass  # told above, whether detected or not
    if card.threshold_origin != "f1":
        how = say[f"threshold.{card.threshold_origin}"]
        told.append(say["warning.threshold"].format(threshold=card.threshold, how=how))
    return tuple(told)


def _draw(
    measured: _Measured, matrix: list[list[int]], images: DetectionDataset, card: ModelCard, language: Language, out: Path
) -> tuple[str, ...]:
    """The figures' names in reading order."""
    from mlops_assets.tasks.detection.detection_figures import (
        DrawnImage,
        draw_confidence,
        draw_confusion_matrix,
        draw_images,
        draw_precision_recall,
    )

    averages = [one.ap_50 for one in measured.evaluation.classes]
    draw_precision_recall(out / "pr_curve.png", measured.curves, averages, card.classes, card.threshold, language)
    draw_confusion_matrix(out / "confusion_matrix.png", matrix, card.classes, card.threshold, language)
    holding = [row for row in range(len(images)) if _holds_objects(measured.truths[images.image(row).name])]
    shown = []
    for place in evenly(len(holding), IMAGES_SHOWN):
        row = holding[place]
        name = images.image(row).name
        shown.append(DrawnImage(images.sample(row).image, measured.truths[name], kept(measured.found[name], card.threshold)))
    draw_images(out / "detections.png", shown, card.classes, language)
    scores: tuple[list[float], list[float]] = ([], [])
    for frame in measured.pairs:
        right = matches(frame) != NOBODY
        scores[0].extend(frame.scores[right].tolist())
        scores[1].extend(frame.scores[~right & ~frame.excused].tolist())
    draw_confidence(out / "confidence.png", np.array(scores[0]), np.array(scores[1]), card.threshold, language)
    return "pr_curve.png", "confusion_matrix.png", "detections.png", "confidence.png"


def _holds_objects(truth: ImageBoxes) -> bool:
    return bool(len(truth.boxes)) and (truth.crowd is None or not truth.crowd.all())


def kept(boxes: ImageBoxes, threshold: float) -> ImageBoxes:
    """The detections with a score of ``threshold`` or more."""
    if boxes.scores is None:
        return boxes
    rows = boxes.scores >= threshold
    return ImageBoxes(boxes.boxes[rows], boxes.classes[rows], boxes.scores[rows])
