"""What several keys say together: defaults that follow from others, contradictions, metrics that do not suit, the request.

Each rule looks at the fields that ``reading`` has found, and logs where the one to change was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import JsonValue, ValidationError

from mlops_assets.request.algorithm_settings import (
    checked_augmentations,
    checked_input_size,
    checked_variant,
    offers_settings,
)
from mlops_assets.request.dialects import FIELDS_OF_TASKS, PRIORITY_METRICS, WORD_ALIASES, first_name
from mlops_assets.request.fields import INVALID, list_from, normal, read_choice, read_value
from mlops_assets.request.hyperparameters import checked_hyperparameters
from mlops_assets.request.language import detect_language
from mlops_assets.request.problems import Path, ProblemLog
from mlops_assets.request.reading import Reading
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.request.task_types import FRACTIONS, gate_metric, inferred_task_type, metrics_of, model_line, slug
from mlops_assets.request.vocabulary import ALGORITHMS, METRICS, LearningType, TaskType
from mlops_assets.request.yaml_nodes import Items, Leaf

_IMBALANCE_HANDLING: Final = "optimization.custom_optimizations.phase1_preprocessing.class_imbalance_handling"


def request_of(reading: Reading, title: str, body: str) -> TrainingRequest | None:
    """The request, or None after logging why there is none."""
    algorithm = reading.values.get("algorithm")
    task_type: TaskType | None = None
    if algorithm is not None:
        _learning_type(reading, algorithm)
        task_type = _task_type(reading, algorithm)
        _hyperparameters(reading, algorithm, task_type)
        _settings(reading, algorithm)
    elif "algorithm" not in reading.refused:
        names = tuple(dict.fromkeys((*reading.offered, *ALGORITHMS)))
        reading.log.add(("algorithm",), "missing", "", names)
    _dataset(reading, task_type)
    if task_type is not None:
        _fields_of(reading, task_type)
    if algorithm is not None:
        _metrics(reading, (task_type,) if task_type is not None else reading.task_types(algorithm))
    low = reading.values.get("deployment.auto_scaling.min_instances", 1)
    high = reading.values.get("deployment.auto_scaling.max_instances")
    if high is not None and low > high:
        where = reading.paths["deployment.auto_scaling.max_instances"]
        reading.log.add(where, "conflict", str(high), (f">= {low}",), str(low))
    return None if reading.log.problems else _build(reading, title, body)


def _learning_type(reading: Reading, algorithm: str) -> None:
    known = reading.offered.get(algorithm)
    expected: LearningType = ALGORITHMS[algorithm][0] if known is None else known.learning_type
    given = reading.values.setdefault("learning_type", expected)
    if given != expected:
        reading.log.add(reading.paths["learning_type"], "conflict", given, (expected,), expected)


def _task_type(reading: Reading, algorithm: str) -> TaskType | None:
    """The task type that is stated, or that follows from the algorithm or the metrics."""
    possible = reading.task_types(algorithm)
    stated: TaskType | None = reading.values.get("task_type")
    if stated in possible:
        return stated
    metrics = [*reading.values.get("evaluation.metrics", ()), *filter(None, [reading.values.get("evaluation.threshold_metric")])]
    inferred = inferred_task_type(possible, metrics)
    if stated is not None:
        suggestion = inferred or (possible[0] if len(possible) == 1 else None)
        reading.log.add(reading.paths["task_type"], "conflict", stated, possible, suggestion)
    elif inferred is not None:
        reading.values["task_type"] = inferred
    elif "task_type" not in reading.refused:
        reading.log.add(("task_type",), "missing", "", possible)
    return inferred


def _hyperparameters(reading: Reading, algorithm: str, task_type: TaskType | None) -> None:
    given: dict[str, JsonValue] = dict(reading.values.get("hyperparameters", {}))
    path = reading.paths.get("hyperparameters", ("hyperparameters",))
    known = reading.offered.get(algorithm)
    for name, field in (("input_size", "preprocessing.input_size"), ("augmentation", "preprocessing.augmentation")):
        # one of the dialects writes them here; for a detector they describe the images, not the learning
        detector = task_type in FIELDS_OF_TASKS["preprocessing.input_size"]
        if name in given and detector and (known is None or known.hyperparameter(name) is None):
            reading.put(field, _read_json(given.pop(name), field, (*path, name), reading.log), (*path, name))
    written = checked_hyperparameters(given, known, path, reading.log)
    kept = {name: value for name, value in reading.standing.get("hyperparameters", {}).items() if name not in written}
    reading.values["hyperparameters"] = {**checked_hyperparameters(kept, known, path, reading.log), **written}


def _settings(reading: Reading, algorithm: str) -> None:
    """Variant, input size and augmentations under the algorithm's own names, where it is known and has any."""
    known = reading.offered.get(algorithm)
    if known is None or not offers_settings(known):
        return
    variant, size = reading.values.get("variant"), reading.values.get("preprocessing.input_size")
    if variant is not None:
        reading.values["variant"] = checked_variant(variant, known, reading.paths["variant"], reading.log)
    if size:
        path = reading.paths["preprocessing.input_size"]
        reading.values["preprocessing.input_size"] = checked_input_size(size, known, path, reading.log) or ()
    names = reading.values.get("preprocessing.augmentation")
    if names:
        paths = [_written_path(reading, "preprocessing.augmentation", name) for name in names]
        reading.values["preprocessing.augmentation"] = checked_augmentations(names, known, paths, reading.log)


def _written_path(reading: Reading, field: str, word: str) -> Path:
    """Where in its list the item that was written as ``word`` stands."""
    path = reading.paths[field]
    nodes = reading.items[field].nodes if field in reading.items else ()
    places = (place for place, item in enumerate(nodes) if isinstance(item, Leaf) and normal(item.text) == word)
    position = next(places, None)
    return path if position is None else (*path, position)


def _dataset(reading: Reading, task_type: TaskType | None) -> None:
    """A simulation learns from its simulator: there the data set is named after it (`carla-town03`)."""
    if "dataset.dataset_id" in reading.values or "dataset.dataset_id" in reading.refused:
        return
    environment = reading.values.get("simulation.environment")
    if task_type == "control" and isinstance(environment, dict):
        named = slug("-".join(str(environment[k]) for k in ("simulator", "town") if isinstance(environment.get(k), (str, int))))
        if named:
            reading.values["dataset.dataset_id"] = named
            return
        reading.log.add(("environment", "simulator"), "missing")
        return
    reading.log.add(("dataset_id",), "missing")


def _fields_of(reading: Reading, task_type: TaskType) -> None:
    for field, tasks in FIELDS_OF_TASKS.items():
        if field in reading.values and task_type not in tasks:
            reading.log.add(reading.paths[field], "conflict", f"task_type: {task_type}", tuple(f"task_type: {t}" for t in tasks))
    method = reading.values.get(_IMBALANCE_HANDLING)
    if task_type != "classification" and method not in (None, "auto", "none"):
        said = f"{method} (task_type: {task_type})"
        reading.log.add(reading.paths[_IMBALANCE_HANDLING], "conflict", said, ("auto", "none"), "auto")


def _metrics(reading: Reading, possible: Sequence[TaskType]) -> None:
    """Metrics must suit the task, and the threshold must lie where its metric can be.

    While the task type is still open, only what holds for every possible one is refused.
    """
    metrics: tuple[str, ...] = reading.values.get("evaluation.metrics", ())
    chosen: str | None = reading.values.get("evaluation.threshold_metric")
    allowed = tuple(dict.fromkeys(metric for task in possible for metric in metrics_of(task)))
    if "dimensionality_reduction" not in possible:
        for field in ("evaluation.metrics", PRIORITY_METRICS):
            for metric in reading.values.get(field, ()):
                if metric not in allowed:
                    reading.log.add(_item_path(reading, field, metric), "not_allowed", metric, allowed)
        if chosen is not None and chosen not in allowed:
            reading.log.add(reading.paths["evaluation.threshold_metric"], "not_allowed", chosen, allowed)
    if len(possible) > 1 and metrics and not any(set(metrics) <= set(metrics_of(task)) for task in possible):
        choice = tuple(f"{task}: {', '.join(metrics_of(task))}" for task in possible)
        reading.log.add(reading.paths["evaluation.metrics"], "conflict", ", ".join(metrics), choice, keep=True)
    threshold = reading.values.get("evaluation.threshold")
    if threshold is None:
        return
    gates = [gate_metric(task, chosen, metrics, imbalanced=False) for task in possible]
    path = reading.paths["evaluation.threshold"]
    if all(g in FRACTIONS and not 0 <= threshold <= 1 for g in gates) or all(
        (g in FRACTIONS or g == "r2") and threshold > 1 for g in gates
    ):
        percent = f"{threshold / 100:g}" if 1 < threshold <= 100 else None
        low = (">= 0",) if gates[0] in FRACTIONS else ()
        reading.log.add(path, "out_of_range", f"{threshold:g}", (str(gates[0]), *low, "<= 1"), percent)


def _item_path(reading: Reading, field: str, word: str) -> Path:
    """Where in its list the item that was read as ``word`` stands."""
    path = reading.paths[field]
    for position, item in enumerate(reading.items[field].nodes if field in reading.items else ()):
        if isinstance(item, Leaf) and read_choice(item.text, METRICS, path, ProblemLog(), WORD_ALIASES.get(field)) == word:
            return (*path, position)
    return path


def _build(reading: Reading, title: str, body: str) -> TrainingRequest | None:
    values = dict(reading.values)
    values["model_id"] = model_line(
        values.get("model_id"), values.get("experiment_name"), values["dataset.dataset_id"], values["algorithm"]
    )
    nested: dict[str, Any] = {"language": detect_language(title, body)}
    for field, value in values.items():
        *parents, last = field.split(".")
        place = nested
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = value
    try:
        return TrainingRequest.model_validate(nested)
    except ValidationError as error:
        # the reading above keeps the same rules; where the schema alone knows one, its word reaches the person too
        for detail in error.errors(include_url=False):
            field = ".".join(str(part) for part in detail["loc"] if not isinstance(part, int))
            path = reading.paths.get(field, tuple(first_name(field).split(".")))
            reading.log.add(path, "not_allowed", str(detail["input"]), (detail["msg"],))
        return None


def _read_json(value: JsonValue, field: str, path: Path, log: ProblemLog) -> Any:
    """``value``, found among the hyperparameters, as the list field it belongs to."""
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return read_value(list_from(Leaf(str(value), True, 0), field), field, path, log)
    if not isinstance(value, list) or any(isinstance(v, (list, dict)) for v in value):
        log.add(path, "wrong_type", str(value), ("list",))
        return INVALID
    return read_value(Items(0, [Leaf(str(v), True, 0) for v in value]), field, path, log)
