"""One pass over the mapping of an issue: every known key to its field, each value read, and where it was written.

What a key means is in ``dialects``, how a value is read in ``fields``; what several fields say together is in ``agreement``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlops_assets.request.dialects import FREE_FIELDS, KEYS, first_name, keys_below
from mlops_assets.request.fields import Invalid, field_type, list_from, read_choice, read_value
from mlops_assets.request.free_fields import read_free
from mlops_assets.request.misplaced import Stray, meant_by, own_hyperparameters, settled
from mlops_assets.request.problems import Path, ProblemLog, dotted
from mlops_assets.request.vocabulary import ALGORITHMS, TaskType
from mlops_assets.request.yaml_nodes import Items, Leaf, Node, Pairs
from mlops_assets.tasks.interface import Algorithm


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
            if algorithm in (*self.offered, *ALGORITHMS) and standing.get("task_type") not in self.task_types(algorithm):
                standing.pop("task_type", None)
        for field, value in standing.items():
            self.standing[field] = value
            if field not in self.values and field not in self.refused and field != "hyperparameters":
                self.values[field] = value
                self.paths[field] = tuple(first_name(field).split("."))

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
                self.put(field, read_free(value, field, path, self.log), path)
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
            self.put(field, read_value(value, field, path, self.log), path)

    def put(self, field: str, value: Any, path: Path) -> None:
        """Note the value, or that it was refused; one that differs from what another key said of the field is a problem."""
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
            self.put("algorithm", read_choice(value.text, names, path, self.log), path)
        else:
            self.log.add(path, "wrong_type", "…", names)
            self.refused.add("algorithm")

    def task_types(self, algorithm: str) -> tuple[TaskType, ...]:
        """Every type of task that the algorithm can learn, by the installed task or else by the vocabulary."""
        return self.offered[algorithm].task_types if algorithm in self.offered else ALGORITHMS[algorithm][1]


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
