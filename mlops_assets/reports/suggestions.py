"""What can be changed when a model stays below its threshold: a pure rule, and the YAML that carries it out.

Keys and values only; the sentences (``suggestion.<key>``) are in the catalogue and are put together in ``comments``.
The rule reads three things: does the model fail on its own training data (too simple), does it do much better there
than on unseen data (overfitted), and are the classes unbalanced.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import JsonValue

from mlops_assets.reports.detector_suggestions import DETECTOR_SUGGESTIONS, detector_changes
from mlops_assets.reports.record import TrainingRecord
from mlops_assets.request.schema import TrainingRequest

SUGGESTIONS: Final[tuple[str, ...]] = (
    "handle_imbalance",
    "regularize",
    "select_features",
    "more_trees",
    "deeper_trees",
    "lower_learning_rate",
    "more_data",
    "other_algorithm",
    *DETECTOR_SUGGESTIONS,
    "lower_threshold",
)
#: A score this much worse on unseen data than in training, or an error that much larger in proportion.
OVERFITTED_SCORE: Final = 0.05
OVERFITTED_ERROR: Final = 0.25
#: A shortfall of at most this share of the threshold is small enough to ask whether the threshold is right.
NEAR_MISS: Final = 0.03
FEW_ROWS: Final = 2_000
ROWS_PER_FEATURE: Final = 20
AT_MOST: Final = 4
MOST_TREES: Final = 2_000
#: The deepest tree that every tree algorithm accepts.
DEEPEST: Final = 16

#: The algorithm of the same kind to try next; both sides are installed with the base distribution.
OTHER_ALGORITHM: Final[dict[str, str]] = {
    "random_forest": "xgboost",
    "xgboost": "random_forest",
    "logistic_regression": "xgboost",
    "linear_regression": "xgboost",
}
_SIMPLE: Final = re.compile(r"[A-Za-z_][\w.]{0,80}=[A-Za-z0-9+-][\w.+-]{0,80}", re.ASCII)
_TREES: Final = ("n_estimators", "num_round", "num_boost_round")
_LEARNING_RATE: Final = ("learning_rate", "eta")
#: Knob -> how a stronger setting is made from the present one, the mildest first.
_REGULARIZE: Final[dict[str, Callable[[float], float]]] = {
    "min_samples_leaf": lambda value: max(5, 2 * value),
    "min_child_weight": lambda value: max(5, 2 * value),
    "reg_lambda": lambda value: max(5, 2 * value),
    "C": lambda value: value / 10,
    "alpha": lambda value: max(0.1, 10 * value),
}


@dataclass(frozen=True)
class Change:
    """One alternative to try: the suggestions it carries out and the YAML keys that do it."""

    suggestions: tuple[str, ...]
    yaml: Mapping[str, JsonValue]


def _number(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _first(names: Sequence[str], knobs: Mapping[str, JsonValue]) -> str | None:
    return next((name for name in names if _number(knobs.get(name)) is not None), None)


def _balance_knob(knobs: Mapping[str, JsonValue]) -> str | None:
    """The knob that weighs the classes, if the algorithm has one and it is not in use."""
    if "class_weight" in knobs and knobs["class_weight"] != "balanced":
        return "class_weight"
    return "scale_pos_weight" if "scale_pos_weight" in knobs and _number(knobs["scale_pos_weight"]) in {None, 1.0} else None


def _fit(direction: str, value: float, threshold: float, trained: float | None) -> Literal["overfitted", "too_simple", "unclear"]:
    """How the model misses, from its value in training beside the one on unseen data."""
    if trained is None or not math.isfinite(trained) or not math.isfinite(value):
        return "unclear"
    sign = 1.0 if direction == "higher" else -1.0
    allowance = OVERFITTED_SCORE if direction == "higher" else OVERFITTED_ERROR * max(abs(trained), 1e-12)
    if sign * (trained - value) > allowance:
        return "overfitted"
    return "too_simple" if sign * (trained - threshold) < allowance else "unclear"


def gate_suggestions(
    *,
    algorithm: str,
    hyperparameters: Mapping[str, JsonValue],
    metric: str,
    direction: Literal["higher", "lower"],
    value: float,
    threshold: float | None,
    metrics: Mapping[str, float],
    imbalanced: bool,
    training_rows: int,
    features: int,
) -> tuple[str, ...]:
    """Keys of what can be changed, most promising first, at most four; empty where the threshold is reached.

    Args:
        hyperparameters: every knob of the algorithm, defaults included; only knobs found here are proposed.
        value: what ``metric`` came to on the test split.
        metrics: ``train_<metric>`` as ``TrainSummary.metrics`` holds it; may be empty.
        imbalanced: a class is rare, as in ``Characteristics.imbalanced``, and the training rows were not resampled for it.
        training_rows: rows of the training split.
        features: columns of the feature matrix.
    """
    if threshold is None or (value >= threshold if direction == "higher" else value <= threshold):
        return ()
    fit = _fit(direction, value, threshold, metrics.get(f"train_{metric}"))
    found: set[str] = set()
    if imbalanced and _balance_knob(hyperparameters):
        found.add("handle_imbalance")
    if fit == "overfitted":
        found.add("more_data")
        if _first(tuple(_REGULARIZE), hyperparameters) or (_number(hyperparameters.get("max_depth")) or 0) > 3:
            found.add("regularize")
        if features > 10 and training_rows < ROWS_PER_FEATURE * features:
            found.add("select_features")
    else:
        trees = _first(_TREES, hyperparameters)
        if trees and (_number(hyperparameters[trees]) or 0) < MOST_TREES:
            found.add("more_trees")
        if (_number(hyperparameters.get("max_depth")) or DEEPEST) < DEEPEST:
            found.add("deeper_trees")
        rate = _first(_LEARNING_RATE, hyperparameters)
        if rate and trees and (_number(hyperparameters[rate]) or 0) > 0.05:
            found.add("lower_learning_rate")
    if training_rows < FEW_ROWS:
        found.add("more_data")
    if algorithm in OTHER_ALGORITHM:
        found.add("other_algorithm")
    return with_threshold([key for key in SUGGESTIONS if key in found], value, threshold)


def with_threshold(found: Sequence[str], value: float, threshold: float) -> tuple[str, ...]:
    """At most four of the suggestions; with the threshold itself where it was missed by little, or nothing else is left."""
    near = math.isfinite(value) and abs(threshold - value) <= NEAR_MISS * abs(threshold)
    chosen = found[: AT_MOST - 1 if near else AT_MOST]
    return (*chosen, "lower_threshold") if near or not chosen else tuple(chosen)


def changes(record: TrainingRecord) -> tuple[Change, ...]:
    """The alternatives to paste into the issue's YAML for the suggestions of a record, each on its own.

    A suggestion that no key can carry out (more data) is in none of them.
    """
    gate = record.gate
    if gate is None or gate.threshold is None:
        return ()
    wanted = gate.suggestions
    alternatives: list[Change] = []
    of_detectors = detector_changes(record.effective_request, wanted, record.hyperparameters, record.variants)
    alternatives += [Change((key,), content) for key, content in of_detectors]
    apart = {"other_algorithm", "lower_threshold", "more_data", *DETECTOR_SUGGESTIONS}
    tuned = [key for key in wanted if key not in apart]
    content = _tuning(tuned, record)
    if content:
        alternatives.append(Change(tuple(tuned), content))
    other = OTHER_ALGORITHM.get(record.request.algorithm)
    if "other_algorithm" in wanted and other:
        alternatives.append(Change(("other_algorithm",), {"algorithm": other, "hyperparameters": {}}))
    if "lower_threshold" in wanted and math.isfinite(gate.value):
        digits = 2 if abs(gate.threshold) < 10 else 0
        scale = 10.0**digits
        rounded = math.floor(gate.value * scale) if gate.direction == "higher" else math.ceil(gate.value * scale)
        alternatives.append(Change(("lower_threshold",), {"evaluation_threshold": rounded / scale}))
    return tuple(alternatives)


def retry_line(change: Change, request: TrainingRequest) -> str | None:
    """``/retry key=value …`` that does what pasting the change does; None where it takes more than simple values."""
    pairs: dict[str, JsonValue] = {}
    for key, value in change.yaml.items():
        if key == "hyperparameters" and isinstance(value, dict):
            pairs.update({name: knob for name, knob in value.items() if request.hyperparameters.get(name) != knob})
        elif isinstance(value, dict):
            pairs.update({f"{key}.{name}": inner for name, inner in value.items()})
        else:
            pairs[key] = value
    words = {key: _word(value) for key, value in pairs.items()}
    if not words or not all(word is not None and _SIMPLE.fullmatch(f"{key}={word}") for key, word in words.items()):
        return None
    return " ".join(["/retry", *(f"{key}={word}" for key, word in words.items())])


def _word(value: JsonValue) -> str | None:
    """A scalar as it is typed in a reply, or sides as in ``640x640``; None for anything else."""
    if isinstance(value, list) and value and all(isinstance(side, int) for side in value):
        return "x".join(map(str, value))
    if isinstance(value, dict | list):
        return None
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _tuning(wanted: Sequence[str], record: TrainingRecord) -> dict[str, JsonValue]:
    """The keys of the issue's YAML that carry out the suggestions which keep the algorithm."""
    knobs = record.hyperparameters
    new: dict[str, JsonValue] = {}
    trees, rate = _first(_TREES, knobs), _first(_LEARNING_RATE, knobs)
    depth = _number(knobs.get("max_depth"))
    if "more_trees" in wanted and trees:
        new[trees] = min(MOST_TREES, max(100, round(2 * (_number(knobs[trees]) or 0))))
    if "deeper_trees" in wanted and depth is not None:
        new["max_depth"] = min(DEEPEST, round(depth + max(2, depth // 2)))
    if "lower_learning_rate" in wanted and rate:
        new[rate] = float(f"{(_number(knobs[rate]) or 0) / 2:.2g}")
    if "regularize" in wanted:
        knob = _first(tuple(_REGULARIZE), knobs)
        if knob:
            new[knob] = _like(knobs[knob], _REGULARIZE[knob](_number(knobs[knob]) or 0))
        if depth is not None and depth > 3:
            new["max_depth"] = round(max(3, depth * 2 // 3))
    if "handle_imbalance" in wanted:
        new.update(_balanced(knobs, record.confusion_matrix))
    content: dict[str, JsonValue] = {"hyperparameters": {**_given(record.request, knobs), **new}} if new else {}
    if "select_features" in wanted and record.dataset is not None:
        content["data_preprocessing"] = {"feature_selection": "importance", "max_features": max(5, record.dataset.features // 2)}
    return content


def _given(request: TrainingRequest, knobs: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """What the issue set itself: kept, because the pasted block replaces the whole key.

    Where the issue used another name of a knob, every knob in use is written out: naming one twice would be a conflict.
    """
    if all(name in knobs for name in request.hyperparameters):
        return dict(request.hyperparameters)
    return {name: value for name, value in knobs.items() if value is not None}


def _like(present: JsonValue, value: float) -> JsonValue:
    """``value`` with the type of the present setting, shortened to two significant digits where it is no integer."""
    return round(value) if isinstance(present, int) else float(f"{value:.2g}")


def _balanced(knobs: Mapping[str, JsonValue], confusion_matrix: Sequence[Sequence[int]]) -> dict[str, JsonValue]:
    """The class-weight knob set so that both classes count alike; the counts are those of the test split."""
    knob = _balance_knob(knobs)
    if knob == "class_weight":
        return {knob: "balanced"}
    if knob == "scale_pos_weight" and len(confusion_matrix) == 2 and sum(confusion_matrix[1]) > 0:
        return {knob: float(f"{sum(confusion_matrix[0]) / sum(confusion_matrix[1]):.2g}")}
    return {}
