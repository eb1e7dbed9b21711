"""Third verb of detection in clouds: a trained detector on the test split, in numbers and figures.

The network detects in the whole cloud, as the endpoint does. KITTI's numbers come from ``detection.kitti_evaluation``, those that
a model is released by from ``box_evaluation``; what each counts is told beside it in the language of the issue. Shares of 1
throughout. Importing this module imports torch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mlops_assets.data.kitti.boxes import camera_boxes, camera_to_lidar_boxes, has_box
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.detection.confusion import BACKGROUND, Counts, confusion_matrix, counts_at, together
from mlops_assets.tasks.detection.kitti_evaluation import DIFFICULTIES, STRICT, evaluate_kitti
from mlops_assets.tasks.detection.kitti_result import METRICS, KittiEvaluation, Metric
from mlops_assets.tasks.detection3d.box_evaluation import BoxEvaluation, evaluate_boxes
from mlops_assets.tasks.detection3d.cloud_features import CloudFeatures, spread
from mlops_assets.tasks.detection3d.fitting import ModelCard, read_trained, torch_threads
from mlops_assets.tasks.detection3d.frame_detection import FoundFrames, detect_frames
from mlops_assets.tasks.detection3d.measuring_words import WORDS
from mlops_assets.tasks.detection3d.pillar_detector import NativeDetector
from mlops_assets.tasks.detection3d.pillar_export import build_graphs
from mlops_assets.tasks.detection3d.pillar_inference import OnnxPillars
from mlops_assets.tasks.detection3d.pillar_settings import PillarSettings
from mlops_assets.tasks.detection3d.pointpillars import PointPillars
from mlops_assets.tasks.interface import EvaluationSummary

LATENCY_CLOUDS, WARM_UP_CLOUDS = 20, 2
#: As metrics name KITTI's boxes in the image.
SHORT: Final[dict[Metric, str]] = {"bbox": "2d", "aos": "aos", "bev": "bev", "3d": "3d"}
#: With fewer labels than recall positions R40 cannot reach 1.
POSITIONS: Final = 40


@dataclass
class _Numbers:
    """Metrics, what each counts, and what could not be measured."""

    metrics: dict[str, float]
    conventions: dict[str, str]
    warnings: list[str]


def evaluate(features: Path, model: Path, request: TrainingRequest, out: Path) -> EvaluationSummary:
    """Measure ``model`` on the test split of ``features`` and draw its figures into ``out``.

    Metrics named ``car_3d_ap_moderate_r40`` are KITTI's: class, boxes (2d, aos, bev, 3d), difficulty, recall positions.

    Raises:
        IntegrityError: a folder is incomplete, or the model was trained on other features.
        DataRejected: a file of a test frame is damaged.
    """
    from mlops_assets.tasks.detection3d.measuring_figures import draw_figures

    folder = CloudFeatures.read(features)
    network, settings, card = read_trained(model, folder)
    ids = folder.frame_ids("test")
    latency, timed = _latency(folder, network, settings, spread(ids, LATENCY_CLOUDS))
    with torch_threads(settings, len(ids)):
        found = detect_frames(folder, NativeDetector(network, settings).detect, ids)
    boxes = evaluate_boxes(found.labels, found.detections, card.classes)
    words = WORDS[request.language]
    counts = counts_at(boxes.pairs, card.threshold, len(card.classes))
    numbers = _box_numbers(boxes, counts, card, words)
    numbers.metrics["inference_latency_ms"] = latency
    numbers.conventions["inference_latency_ms"] = words["latency"].format(clouds=timed)
    kitti = evaluate_kitti(
        {name: frame.objects for name, frame in found.labels.items()}, found.detections, classes=card.classes, overlaps=[STRICT]
    )
    _add_kitti(numbers, kitti, found, card.classes, words)
    numbers.warnings += _notes(folder, found, settings, card, words)
    matrix = confusion_matrix(boxes.pairs, card.threshold, len(card.classes))
    out.mkdir(parents=True, exist_ok=True)
    figures = draw_figures(folder, found, boxes, matrix, settings, threshold=card.threshold, language=request.language, out=out)
    seconds = sum(found.seconds)
    return EvaluationSummary(
        metrics=numbers.metrics,
        conventions=numbers.conventions,
        per_class=_per_class(boxes, counts),
        confusion_matrix=matrix,
        classes=(*card.classes, BACKGROUND),
        rows=len(ids),
        figures=figures,
        rows_per_second=len(ids) / seconds if seconds > 0 else None,
        warnings=tuple(numbers.warnings),
    )


def _latency(folder: CloudFeatures, network: PointPillars, settings: PillarSettings, ids: Sequence[str]) -> tuple[float, int]:
    """Median milliseconds of a cloud through the served graphs, and over how many clouds."""
    pillar_graph, canvas_graph = (graph.SerializeToString() for graph in build_graphs(network, settings))
    detector = OnnxPillars(pillar_graph, canvas_graph, settings, threads=1)
    clouds = [folder.copy.cloud(name) for name in ids]
    for cloud in clouds[:WARM_UP_CLOUDS]:
        detector.detect(cloud)
    times = []
    for cloud in clouds:
        started = time.perf_counter()
        detector.detect(cloud)
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times), len(times)


def _box_numbers(boxes: BoxEvaluation, counts: Sequence[Counts], card: ModelCard, words: Mapping[str, str]) -> _Numbers:
    numbers = _Numbers({}, {}, [])
    counted = {name: curve.objects for name, curve in zip(boxes.classes, boxes.curves, strict=True) if curve.objects}
    every = together(counts)
    how = words[f"threshold.{card.threshold_origin}"]
    values = {
        "mAP@0.5": (boxes.map_50, "map_50"),
        "mAP@0.5:0.95": (boxes.map_50_95, "map_50_95"),
        "recall": (every.recall, "recall"),
        "precision": (every.precision or 0.0, "precision"),
    }
    told = {"classes": ", ".join(counted), "objects": f"{sum(counted.values()):,}", "threshold": card.threshold, "how": how}
    for name, (value, sentence) in values.items():
        if value is not None:
            numbers.metrics[name] = value
            numbers.conventions[name] = words[sentence].format(**told)
    for name, curve in zip(boxes.classes, boxes.curves, strict=True):
        if not curve.objects:
            numbers.warnings.append(words["warning.no_objects"].format(name=name))
        elif not len(curve.scores):
            numbers.warnings.append(words["warning.never_detected"].format(name=name))
    if every.precision is None:
        numbers.warnings.append(words["warning.no_precision"].format(threshold=card.threshold))
    if card.threshold_origin != "f1":
        numbers.warnings.append(words["warning.threshold"].format(threshold=card.threshold, how=how))
    return numbers


def _add_kitti(
    numbers: _Numbers, kitti: KittiEvaluation, found: FoundFrames, classes: Sequence[str], words: Mapping[str, str]
) -> None:
    """KITTI's numbers as shares of 1. What the devkit leaves out because nothing was detected is 0 here: a miss is no gap."""
    known = {(n.class_name, n.metric, n.difficulty, n.recall_positions): n.value / 100 for n in kitti.numbers}
    few: list[str] = []
    empty: list[str] = []
    for name in classes:
        for limits in DIFFICULTIES:
            objects = sum(
                int(
                    (
                        (frame.objects.names == name)
                        & (frame.objects.boxes_2d[:, 3] - frame.objects.boxes_2d[:, 1] >= limits.min_height)
                        & (frame.objects.occlusion <= limits.max_occlusion)
                        & (frame.objects.truncation <= limits.max_truncation)
                    ).sum()
                )
                for frame in found.labels.values()
            )
            if not objects:
                empty.append(f"{name} {limits.name}")
                continue
            if objects < POSITIONS:
                few.append(f"{name} {limits.name} {objects}")
            for metric in METRICS:
                for positions in ("R40", "R11"):
                    value = known.get((name, metric, limits.name, positions))
                    key = f"{name.lower()}_{SHORT[metric]}_ap_{limits.name}_{positions.lower()}"
                    numbers.metrics[key] = 0.0 if value is None else value
                    numbers.conventions[key] = words["kitti"].format(
                        what=words[f"kitti.{metric}"], name=name, difficulty=limits.name, height=limits.min_height,
                        occlusion=limits.max_occlusion, truncation=limits.max_truncation, overlap=STRICT.of(name, metric),
                        where=words[f"where.{metric}"], positions=words[f"positions.{positions}"], objects=f"{objects:,}",
                    ) + (words["never"] if value is None else "")  # fmt: skip
    if empty:
        numbers.warnings.append(words["warning.no_ground_truth"].format(cases=", ".join(empty)))
    if few:
        numbers.warnings.append(words["warning.few"].format(cases=", ".join(few)))


def _notes(
    folder: CloudFeatures, found: FoundFrames, settings: PillarSettings, card: ModelCard, words: Mapping[str, str]
) -> list[str]:
    notes = [words["warning.rounded"].format(name=name, asked=asked, used=used) for name, (asked, used) in card.rounded.items()]
    beyond = objects = 0
    for name, frame in found.labels.items():
        mine = np.isin(frame.objects.names, card.classes) & has_box(frame.objects) & (frame.points > 0)
        centres = camera_to_lidar_boxes(camera_boxes(frame.objects.select(mine)), folder.copy.calibration(name))[:, :2]
        inside = ((centres >= settings.range_min[:2]) & (centres < settings.range_max[:2])).all(axis=1)
        beyond, objects = beyond + int((~inside).sum()), objects + len(centres)
    if beyond:
        text = words["warning.beyond"].format(
            count=f"{beyond:,}", objects=f"{objects:,}", forward=settings.range_max[0], side=settings.range_max[1]
        )
        notes.append(text)
    lacking = len(set(folder.notes.without_image) & set(found.labels))
    if lacking:
        notes.append(words["warning.no_image"].format(count=f"{lacking:,}", frames=f"{len(found.labels):,}"))
    return notes


def _per_class(boxes: BoxEvaluation, counts: Sequence[Counts]) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for name, averages, count, curve in zip(boxes.classes, boxes.average_precisions, counts, boxes.curves, strict=True):
        numbers = {
            "ap50": None if averages is None else averages[0],
            "ap50_95": None if averages is None else float(np.mean(averages)),
            "recall": count.recall,
            "precision": count.precision,
        }
        table[name] = {key: value for key, value in numbers.items() if value is not None}
        table[name]["support"] = float(curve.objects)
    return table
