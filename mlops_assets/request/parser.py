"""Issue text to training request: ``parse_issue`` finds every problem at once, or gives the one canonical request.

The text is treated as data: at most 64 KiB, no anchors, tags or second documents, known keys only. What a key means is
in ``dialects``, how a value is read in ``fields``; deciding what will be done about a request is in ``planner``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import JsonValue, ValidationError

from mlops_assets.errors import RequestInvalid
from mlops_assets.request.algorithm_settings import (
    checked_augmentations,
    checked_input_size,
    checked_variant,
    offers_settings,
)
from mlops_assets.request.correction import corrected_block
from mlops_assets.request.dialects import (
    FIELDS_OF_TASKS,
    FREE_FIELDS,
    KEYS,
    PRIORITY_METRICS,
    WORD_ALIASES,
    WRAPPER_KEYS,
    first_name,
    keys_below,
)
from mlops_assets.request.fields import INVALID, Invalid, field_type, list_from, normal, read_choice, read_value
from mlops_assets.request.free_fields import read_free
from mlops_assets.request.hyperparameters import checked_hyperparameters
from mlops_assets.request.issue_text import MAX_BYTES, request_blocks, to_ascii_syntax, with_plain_lines
from mlops_assets.request.language import detect_language
from mlops_assets.request.misplaced import Stray, meant_by, own_hyperparameters, settled
from mlops_assets.request.problems import Path, ProblemLog, dotted
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.request.task_types import FRACTIONS, gate_metric, inferred_task_type, metrics_of, model_line, slug
from mlops_assets.request.vocabulary import ALGORITHMS, METRICS, LearningType, TaskType
from mlops_assets.request.yaml_nodes import (
    Items,
    Leaf,
    Node,
    Pairs,
    Unreadable,
    read_yaml,
)
from mlops_assets.tasks.interface import Algorithm

_IMBALANCE_HANDLING: Final = "optimization.custom_optimizations.phase1_preprocessing.class_imbalance_handling"


def parse_issue(title: str, body: str, *, offered: Sequence[Algorithm]) -> TrainingRequest:
    """The training request that the issue asks for, in canonical form; both dialects of one request give equal objects.

    ``offered`` are the algorithms of the installed tasks: their hyperparameters are checked by name, type and range.
    An algorithm that is known but not offered is a valid request; that nothing installed runs it is for the plan to say.

    Raises:
        RequestInvalid: with every problem of the body, and a corrected block wherever the body could be read.
    """
    log = ProblemLog()
    root: Pairs | None = None
    try:
        root = _tree(body, log)
        reading = Reading(root, log, offered)
        request = reading.request(title, body)
    except Unreadable:
        request = None
    if request is None or log.problems:
        raise RequestInvalid(log.problems, corrected=corrected_block(root, log) if root is not None else None)
    return request


def _tree(body: str, log: ProblemLog, *, unwrap: bool = True) -> Pairs:
    """The mapping in an issue body, with the `title/labels/body` wrapper taken off.

    Raises:
        Unreadable: there is none; the log says why.
    """
    size = len(body) if len(body) > MAX_BYTES else len(body.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        log.add((), "too_large", f"{size} bytes", (f"<= {MAX_BYTES} bytes",))
        raise Unreadable
    blocks = request_blocks(with_plain_lines(body))
    if len(blocks) > 1:
        log.add((), "yaml_documents", ", ".join(f"line {b.line}: ```{b.info}" for b in blocks[:5]))
        raise Unreadable
    node = read_yaml(to_ascii_syntax(blocks[0].text), log, first_line=blocks[0].line + 1)
    if node is None or (isinstance(node, Pairs) and not node.entries):
        if not log.problems:
            log.add((), "empty")
        raise Unreadable
    if not isinstance(node, Pairs):
        log.add((), "not_a_mapping", node.text if isinstance(node, Leaf) else "[…]")
        raise Unreadable
    inner = node.entries.pop("body", None) if unwrap else None
    if isinstance(inner, Leaf) and inner.value is not None:
        inner = _tree(inner.text, log, unwrap=False)
    if isinstance(inner, Items):
        log.add(("body",), "not_a_mapping", "[…]")
        raise Unreadable
    if isinstance(inner, Pairs):
        for key, value in inner.entries.items():
            if key in node.entries and key not in WRAPPER_KEYS:
                log.add((key,), "duplicate_key", key, keep=True)
            node.entries.setdefault(key, value)
    for key in WRAPPER_KEYS:
        node.entries.pop(key, None)
    if not node.entries and not log.problems:
        log.add((), "empty")
        raise Unreadable
    return node


class Reading:
    """One pass over the mapping of an issue: field -> value, and where each was written.

    ``standing`` are fields of an accepted request that hold where the mapping says nothing (``adjustment``). An algorithm that
    the mapping replaces takes its hyperparameters and what follows from it along.
    """

    def __init__(
        self, root: Pairs, log: ProblemLog, offered: Sequence[Algorithm], standing: Mapping[str, Any] | None = None
    ) -> None:
        self.log = log
        self.offered = {a.name: a for a in offered}
        self.values: dict[str, Any] = {}
        self.paths: dict[str, Path] = {}
        self.items: dict[str, Items] = {}
        self.refused: set[str] = set()
        self.standing: dict[str, Any] = {}
        self._root, self._own, self._strays = root, own_hyperparameters(root, self.offered), list[Stray]()
        self._section(root, (), "")
        for stray in settled(self._strays, root, log, {*self.values, *self.refused} - FREE_FIELDS, self._own):
            if stray[-1] == "hyperparameters":
                self.values.pop("hyperparameters", None)  # read again with what has joined them
            self._entry(*stray)
        self._stand(dict(standing or {}))

    def _stand(self, standing: dict[str, Any]) -> None:
        """Let the fields of ``standing`` hold where nothing was written."""
        algorithm = self.values.get("algorithm", standing.get("algorithm"))
        if algorithm != standing.get("algorithm"):
            for field in (
                "hyperparameters",
                "learning_type",
                "variant",
                "preprocessing.input_size",
                "preprocessing.augmentation",
            ):
                standing.pop(field, None)
            if algorithm in (*self.offered, *ALGORITHMS) and standing.get("task_type") not in self._task_types(algorithm):
                standing.pop("task_type", None)
        for field, value in standing.items():
            self.standing[field] = value
            if field not in self.values and field not in self.refused and field != "hyperparameters":
                self.values[field] = value
                self.paths[field] = tuple(first_name(field).split("."))

    # --- keys ---------------------------------------------------------------------------------------------------

    def _section(self, node: Pairs, path: Path, section: str) -> None:
        """Read every key of the mapping at ``path``, which the issue format knows as ``section``."""
        known = keys_below(section)
        taken = set(node.entries)
        for key, value in list(node.entries.items()):
            here = (*path, key)
            meant: str | None = known.get(key)
            if meant is None:
                found = meant_by(key, (k for k in known if k not in taken), self._root, self._own)
                self.log.add_key(here, "unknown_key", known, found.suggestion, rename=found.near is not None)
                if found.home:
                    self._strays.append(Stray(node, here, found.home))
                meant = known[found.near] if found.near else None
                taken.add(found.near or key)
            if meant is not None:
                self._entry(node, key, value, here, meant)

    def _entry(self, parent: Pairs, key: str, value: Node, path: Path, meant: str) -> None:
        field = KEYS.get(meant)
        below = keys_below(meant)
        empty = isinstance(value, Leaf) and value.value is None
        if field in FREE_FIELDS:
            if not empty:
                self._put(field, read_free(value, field, path, self.log), path)
        elif isinstance(value, Pairs) and below:
            self._section(value, path, meant)
        elif empty:
            return  # `key:` with nothing after it is a key not given
        elif field is None:
            self.log.add(path, "wrong_type", value.text if isinstance(value, Leaf) else "[…]", ("mapping", *below))
        elif field == "algorithm":
            self._algorithm(value, path)
        else:
            if isinstance(value, Leaf) and field_type(field).is_list:
                value = parent.entries[key] = list_from(value, field)
            if isinstance(value, Items):
                self.items.setdefault(field, value)
            self._put(field, read_value(value, field, path, self.log), path)

    def _put(self, field: str, value: Any, path: Path) -> None:
        if isinstance(value, Invalid):
            self.refused.add(field)
        elif field in self.values and self.values[field] not in (value, self.standing.get(field)):
            self.log.add(path, "conflict", _said(value), (f"{dotted(self.paths[field])}: {_said(self.values[field])}",))
        else:
            self.values[field] = value
            self.paths[field] = path

    def _algorithm(self, value: Node, path: Path) -> None:
        names = tuple(dict.fromkeys((*ALGORITHMS, *self.offered)))
        if isinstance(value, Leaf):
            self._put("algorithm", read_choice(value.text, names, path, self.log), path)
        else:
            self.log.add(path, "wrong_type", "…", names)
            self.refused.add("algorithm")

    # --- what several keys say together -------------------------------------------------------------------------

    def request(self, title: str, body: str) -> TrainingRequest | None:
        """The request, or None after logging why there is none."""
        algorithm = self.values.get("algorithm")
        task_type: TaskType | None = None
        if algorithm is not None:
            self._learning_type(algorithm)
            task_type = self._task_type(algorithm)
            self._hyperparameters(algorithm, task_type)
            self._settings(algorithm)
        elif "algorithm" not in self.refused:
            names = tuple(dict.fromkeys((*self.offered, *ALGORITHMS)))
            self.log.add(("algorithm",), "missing", "", names)
        self._dataset(task_type)
        if task_type is not None:
            self._fields_of(task_type)
        if algorithm is not None:
            self._metrics((task_type,) if task_type is not None else self._task_types(algorithm))
        low, high = (
            self.values.get("deployment.auto_scaling.min_instances", 1),
            self.values.get("deployment.auto_scaling.max_instances"),
        )
        if high is not None and low > high:
            where = self.paths["deployment.auto_scaling.max_instances"]
            self.log.add(where, "conflict", str(high), (f">= {low}",), str(low))
        return None if self.log.problems else self._build(title, body)

    def _learning_type(self, algorithm: str) -> None:
        expected: LearningType = self.offered[algorithm].learning_type if algorithm in self.offered else ALGORITHMS[algorithm][0]
        given = self.values.setdefault("learning_type", expected)
        if given != expected:
            self.log.add(self.paths["learning_type"], "conflict", given, (expected,), expected)

    def _task_types(self, algorithm: str) -> tuple[TaskType, ...]:
        return self.offered[algorithm].task_types if algorithm in self.offered else ALGORITHMS[algorithm][1]

    def _task_type(self, algorithm: str) -> TaskType | None:
        """The task type that is stated, or that follows from the algorithm or the metrics."""
        possible = self._task_types(algorithm)
        stated: TaskType | None = self.values.get("task_type")
        if stated in possible:
            return stated
        metrics = [*self.values.get("evaluation.metrics", ()), *filter(None, [self.values.get("evaluation.threshold_metric")])]
        inferred = inferred_task_type(possible, metrics)
        if stated is not None:
            suggestion = inferred or (possible[0] if len(possible) == 1 else None)
            self.log.add(self.paths["task_type"], "conflict", stated, possible, suggestion)
        elif inferred is not None:
            self.values["task_type"] = inferred
        elif "task_type" not in self.refused:
            self.log.add(("task_type",), "missing", "", possible)
        return inferred

    def _hyperparameters(self, algorithm: str, task_type: TaskType | None) -> None:
        given: dict[str, JsonValue] = dict(self.values.get("hyperparameters", {}))
        path = self.paths.get("hyperparameters", ("hyperparameters",))
        known = self.offered.get(algorithm)
        for name, field in (("input_size", "preprocessing.input_size"), ("augmentation", "preprocessing.augmentation")):
            # one of the dialects writes them here; for a detector they describe the images, not the learning
            detector = task_type in FIELDS_OF_TASKS["preprocessing.input_size"]
            if name in given and detector and (known is None or known.hyperparameter(name) is None):
                self._put(field, _read_json(given.pop(name), field, (*path, name), self.log), (*path, name))
        written = checked_hyperparameters(given, known, path, self.log)
        kept = {name: value for name, value in self.standing.get("hyperparameters", {}).items() if name not in written}
        self.values["hyperparameters"] = {**checked_hyperparameters(kept, known, path, self.log), **written}

    def _settings(self, algorithm: str) -> None:
        """Variant, input size and augmentations under the algorithm's own names, where it is known and has any."""
        known = self.offered.get(algorithm)
        if known is None or not offers_settings(known):
            return
        variant, size = self.values.get("variant"), self.values.get("preprocessing.input_size")
        if variant is not None:
            self.values["variant"] = checked_variant(variant, known, self.paths["variant"], self.log)
        if size:
            path = self.paths["preprocessing.input_size"]
            self.values["preprocessing.input_size"] = checked_input_size(size, known, path, self.log) or ()
        names = self.values.get("preprocessing.augmentation")
        if names:
            paths = [self._written_path("preprocessing.augmentation", name) for name in names]
            self.values["preprocessing.augmentation"] = checked_augmentations(names, known, paths, self.log)

    def _written_path(self, field: str, word: str) -> Path:
        """Where in its list the item that was written as ``word`` stands."""
        path = self.paths[field]
        nodes = self.items[field].nodes if field in self.items else ()
        places = (place for place, item in enumerate(nodes) if isinstance(item, Leaf) and normal(item.text) == word)
        position = next(places, None)
        return path if position is None else (*path, position)

    def _dataset(self, task_type: TaskType | None) -> None:
        """A simulation learns from its simulator: there the data set is named after it (`carla-town03`)."""
        if "dataset.dataset_id" in self.values or "dataset.dataset_id" in self.refused:
            return
        environment = self.values.get("simulation.environment")
        if task_type == "control" and isinstance(environment, dict):
            named = slug(
                "-".join(str(environment[k]) for k in ("simulator", "town") if isinstance(environment.get(k), (str, int)))
            )
            if named:
                self.values["dataset.dataset_id"] = named
                return
            self.log.add(("environment", "simulator"), "missing")
            return
        self.log.add(("dataset_id",), "missing")

    def _fields_of(self, task_type: TaskType) -> None:
        for field, tasks in FIELDS_OF_TASKS.items():
            if field in self.values and task_type not in tasks:
                self.log.add(self.paths[field], "conflict", f"task_type: {task_type}", tuple(f"task_type: {t}" for t in tasks))
        method = self.values.get(_IMBALANCE_HANDLING)
        if task_type != "classification" and method not in (None, "auto", "none"):
            said = f"{method} (task_type: {task_type})"
            self.log.add(self.paths[_IMBALANCE_HANDLING], "conflict", said, ("auto", "none"), "auto")

    def _metrics(self, possible: Sequence[TaskType]) -> None:
        """Metrics must suit the task, and the threshold must lie where its metric can be.

        While the task type is still open, only what holds for every possible one is refused.
        """
        metrics: tuple[str, ...] = self.values.get("evaluation.metrics", ())
        chosen: str | None = self.values.get("evaluation.threshold_metric")
        allowed = tuple(dict.fromkeys(metric for task in possible for metric in metrics_of(task)))
        if "dimensionality_reduction" not in possible:
            for field in ("evaluation.metrics", PRIORITY_METRICS):
                for metric in self.values.get(field, ()):
                    if metric not in allowed:
                        self.log.add(self._item_path(field, metric), "not_allowed", metric, allowed)
            if chosen is not None and chosen not in allowed:
                self.log.add(self.paths["evaluation.threshold_metric"], "not_allowed", chosen, allowed)
        if len(possible) > 1 and metrics and not any(set(metrics) <= set(metrics_of(task)) for task in possible):
            choice = tuple(f"{task}: {', '.join(metrics_of(task))}" for task in possible)
            self.log.add(self.paths["evaluation.metrics"], "conflict", ", ".join(metrics), choice, keep=True)
        threshold = self.values.get("evaluation.threshold")
        if threshold is None:
            return
        gates = [gate_metric(task, chosen, metrics, imbalanced=False) for task in possible]
        path = self.paths["evaluation.threshold"]
        if all(g in FRACTIONS and not 0 <= threshold <= 1 for g in gates) or all(
            (g in FRACTIONS or g == "r2") and threshold > 1 for g in gates
        ):
            percent = f"{threshold / 100:g}" if 1 < threshold <= 100 else None
            low = (">= 0",) if gates[0] in FRACTIONS else ()
            self.log.add(path, "out_of_range", f"{threshold:g}", (str(gates[0]), *low, "<= 1"), percent)

    def _item_path(self, field: str, word: str) -> Path:
        """Where in its list the item that was read as ``word`` stands."""
        path = self.paths[field]
        for position, item in enumerate(self.items[field].nodes if field in self.items else ()):
            if isinstance(item, Leaf) and read_choice(item.text, METRICS, path, ProblemLog(), WORD_ALIASES.get(field)) == word:
                return (*path, position)
        return path

    # --- the result ---------------------------------------------------------------------------------------------

    def _build(self, title: str, body: str) -> TrainingRequest | None:
        values = dict(self.values)
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
                path = self.paths.get(field, tuple(first_name(field).split(".")))
                self.log.add(path, "not_allowed", str(detail["input"]), (detail["msg"],))
            return None


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _read_json(value: JsonValue, field: str, path: Path, log: ProblemLog) -> Any:
    """``value``, found among the hyperparameters, as the list field it belongs to."""
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return read_value(list_from(Leaf(str(value), True, 0), field), field, path, log)
    if not isinstance(value, list) or any(isinstance(v, (list, dict)) for v in value):
        log.add(path, "wrong_type", str(value), ("list",))
        return INVALID
    return read_value(Items(0, [Leaf(str(v), True, 0) for v in value]), field, path, log)
