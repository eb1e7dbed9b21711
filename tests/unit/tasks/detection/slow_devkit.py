"""The evaluation of the KITTI development kit in four nested loops, with shapely: slow, plain, and with rules to break.

Tests hold the evaluator to it on generated frames, and hold the frames to it: breaking a rule must change a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import shapely

from mlops_assets.data.kitti.labels import KittiObjects

Curves = dict[tuple[str, str, str, float], tuple[float, ...]]
NEAR = {"car": "van", "pedestrian": "person_sitting"}
MINIMA = {"Car": {"bbox": (0.7,), "bev": (0.7, 0.5), "3d": (0.7, 0.5)}} | {
    name: {"bbox": (0.5,), "bev": (0.5, 0.25), "3d": (0.5, 0.25)} for name in ("Pedestrian", "Cyclist")
}


@dataclass(frozen=True)
class Rules:
    """What the devkit does; each switch away from its default is a mistake that evaluators make."""

    ignored_neighbours: tuple[str, ...] = ("van", "person_sitting")
    dont_care_excuses: bool = True
    low_detections_are_ignored: bool = True
    low_detections_of_other_classes_take_labels: bool = True
    equal_height_counts: bool = True
    min_height: tuple[int, int, int] = (40, 25, 25)
    max_occlusion: tuple[int, int, int] = (0, 1, 2)
    max_truncation: tuple[float, float, float] = (0.15, 0.3, 0.5)
    envelope: bool = True
    false_alarms_lower_orientation: bool = True
    second_pass_by_overlap: bool = True
    any_missing_alpha_drops_orientation: bool = True
    exact_copies_overlap: bool = True


def polygon(objects: KittiObjects, row: int) -> shapely.Polygon:
    _, width, length = objects.dimensions[row]
    cosine, sine = math.cos(objects.rotation_y[row]), math.sin(objects.rotation_y[row])
    corners = [(length / 2, width / 2), (length / 2, -width / 2), (-length / 2, -width / 2), (-length / 2, width / 2)]
    x, z = objects.locations[row, 0], objects.locations[row, 2]
    return shapely.Polygon([(x + cosine * a + sine * b, z - sine * a + cosine * b) for a, b in corners])


def overlap(metric: str, truths: KittiObjects, i: int, found: KittiObjects, j: int, rules: Rules) -> tuple[float, float]:
    """Intersection over union, and over the detection's own size."""
    if metric == "bbox":
        a, b = truths.boxes_2d[i], found.boxes_2d[j]
        width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        if width <= 0 or height <= 0:
            return 0.0, 0.0
        shared, one, two = width * height, (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
        return shared / (one + two - shared), shared / two
    if min(*truths.dimensions[i], *found.dimensions[j]) <= 0:
        return 0.0, 0.0
    if not rules.exact_copies_overlap and np.array_equal(truths.locations[i], found.locations[j]):
        return 0.0, 0.0
    first, second = polygon(truths, i), polygon(found, j)
    shared, one, two = first.intersection(second).area, first.area, second.area
    if metric == "3d":
        bottom = min(truths.locations[i, 1], found.locations[j, 1])
        top = max(truths.locations[i, 1] - truths.dimensions[i, 0], found.locations[j, 1] - found.dimensions[j, 0])
        shared *= max(0.0, bottom - top)
        one, two = one * truths.dimensions[i, 0], two * found.dimensions[j, 0]
    return shared / (one + two - shared), shared / two


def parts(name: str, level: int, truths: KittiObjects, found: KittiObjects, rules: Rules) -> tuple[list[int], list[int]]:
    truth, detection = [], []
    for i, given in enumerate(truths.names.tolist()):
        height = truths.boxes_2d[i, 3] - truths.boxes_2d[i, 1]
        low = height < rules.min_height[level] or (not rules.equal_height_counts and height == rules.min_height[level])
        hidden = truths.occlusion[i] > rules.max_occlusion[level] or truths.truncation[i] > rules.max_truncation[level]
        near = NEAR.get(name.lower()) == given.lower() and given.lower() in rules.ignored_neighbours
        if given.lower() == name.lower():
            truth.append(1 if low or hidden else 0)
        else:
            truth.append(1 if near else -1)
    for j, given in enumerate(found.names.tolist()):
        same = given.lower() == name.lower()
        low = rules.low_detections_are_ignored and abs(found.boxes_2d[j, 3] - found.boxes_2d[j, 1]) < rules.min_height[level]
        low = low and (same or rules.low_detections_of_other_classes_take_labels)
        detection.append(1 if low else 0 if same else -1)
    return truth, detection


def statistics(frame: dict, least: float, threshold: float | None, rules: Rules) -> tuple[list[float], int, int, float]:  # type: ignore[type-arg]
    """Scores of the hits, false alarms, misses and summed similarity of one frame; the first pass has no threshold."""
    truths, found, truth, detection, matrix = (frame[key] for key in ("truths", "found", "truth", "detection", "matrix"))
    assigned = [False] * len(detection)
    below = [threshold is not None and score < threshold for score in found.scores]
    hits, misses, similarity = [], 0, 0.0
    for i in range(len(truth)):
        if truth[i] == -1:
            continue
        best, best_value, best_ignored = -1, -math.inf, False
        for j in range(len(detection)):
            value = matrix[i][j][0]
            if detection[j] == -1 or assigned[j] or below[j] or not value > least:
                continue
            if threshold is None or not rules.second_pass_by_overlap:
                if found.scores[j] > best_value:
                    best, best_value = j, found.scores[j]
            elif detection[j] == 0 and (best == -1 or best_ignored or value > best_value):
                best, best_value, best_ignored = j, value, False
            elif detection[j] == 1 and best == -1:
                best, best_ignored = j, True
        if best == -1:
            misses += truth[i] == 0
            continue
        assigned[best] = True
        if truth[i] == 0 and detection[best] == 0:
            hits.append(float(found.scores[best]))
            similarity += (1 + math.cos(truths.alpha[i] - found.alpha[best])) / 2
    alarms = sum(detection[j] == 0 and not assigned[j] and not below[j] for j in range(len(detection)))
    for i, given in enumerate(truths.names.tolist()):
        for j in range(len(detection)):
            if given == "DontCare" and rules.dont_care_excuses and detection[j] == 0 and not assigned[j] and not below[j]:
                assigned[j] = matrix[i][j][1] > least
                alarms -= assigned[j]
    return hits, alarms, misses, similarity


def thresholds(scores: list[float], truths: int) -> list[float]:
    scores, kept, recall = sorted(scores, reverse=True), [], 0.0
    for i, score in enumerate(scores):
        left, right = (i + 1) / truths, (i + 2) / truths if i < len(scores) - 1 else (i + 1) / truths
        if right - recall < recall - left and i < len(scores) - 1:
            continue
        kept.append(score)
        recall += 1 / 40
    return kept


def curves(labels: Mapping[str, KittiObjects], detections: Mapping[str, KittiObjects], rules: Rules = Rules()) -> Curves:
    """``(class, metric, difficulty, minimum overlap)`` to 41 values."""
    alphas = np.concatenate([one.alpha for one in detections.values()])
    no_alpha = (alphas == -10).any() if rules.any_missing_alpha_drops_orientation else alphas[0] == -10
    answer: Curves = {}
    for metric in ("bbox", "bev", "3d"):
        matrices = {
            key: [
                [overlap(metric, labels[key], i, detections[key], j, rules) for j in range(len(detections[key]))]
                for i in range(len(labels[key]))
            ]
            for key in labels
        }
        for name, minima in MINIMA.items():
            for level, difficulty in enumerate(("easy", "moderate", "hard")):
                frames = []
                for key in labels:
                    truth, detection = parts(name, level, labels[key], detections[key], rules)
                    frame = {"truths": labels[key], "found": detections[key], "truth": truth, "detection": detection}
                    frames.append({**frame, "matrix": matrices[key]})
                counted = sum(part == 0 for frame in frames for part in frame["truth"])
                for least in minima[metric]:
                    scores = [score for frame in frames for score in statistics(frame, least, None, rules)[0]]
                    precision, orientation = [0.0] * 41, [0.0] * 41
                    for step, threshold in enumerate(thresholds(scores, counted)):
                        sums = [statistics(frame, least, threshold, rules) for frame in frames]
                        hits, alarms = sum(len(one[0]) for one in sums), sum(one[1] for one in sums)
                        precision[step] = hits / (hits + alarms) if hits + alarms else 0.0
                        claimed = hits + alarms if rules.false_alarms_lower_orientation else hits
                        orientation[step] = sum(one[3] for one in sums) / claimed if claimed else 0.0
                    if rules.envelope:
                        precision = [max(precision[step:]) for step in range(41)]
                        orientation = [max(orientation[step:]) for step in range(41)]
                    answer[name, metric, difficulty, least] = tuple(precision)
                    if metric == "bbox" and not no_alpha:
                        answer[name, "aos", difficulty, least] = tuple(orientation)
    return answer
