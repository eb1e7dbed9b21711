"""The kinds of problem that an issue body can have, and how one is recorded while reading.

The sentences that people read (``problem.<code>``, Japanese and English) belong to ``reports``; finding the problems
belongs to ``yaml_nodes``, ``fields`` and ``parser``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from mlops_assets.errors import Problem

#: Every code that a ``Problem`` of a request can carry, with what it means.
PROBLEM_CODES: Final[dict[str, str]] = {
    "unknown_key": "the key is not part of the issue format",
    "missing": "a key that is needed here is not given",
    "wrong_type": "the value is of another kind than the key takes",
    "not_allowed": "the value is not one of those that are accepted here",
    "out_of_range": "the number is outside the accepted range, or not finite",
    "too_large": "the text or the whole body is longer than accepted",
    "yaml_syntax": "the body cannot be read as YAML or JSON",
    "yaml_anchor": "anchors, aliases and merge keys are not accepted",
    "yaml_tag": "YAML tags are not accepted",
    "yaml_documents": "more than one YAML document or block was given",
    "duplicate_key": "the same key is written twice in one mapping",
    "too_deep": "values are nested deeper than accepted",
    "too_many_nodes": "there are more keys and values than accepted",
    "not_a_mapping": "the body is not a list of `key: value` lines",
    "empty": "the body holds no request",
    "control_character": "the text holds an invisible control character",
    "bad_identifier": "the name holds characters that are not accepted in it",
    "bad_version": "the version is not of the form v1.2.3",
    "conflict": "two keys of the body contradict each other",
    "unknown_hyperparameter": "the algorithm has no hyperparameter of that name",
    "not_offered": "the algorithm has no such setting at all",
    "wrong_form": "the algorithm does not learn from data of this form",
    "missing_parts": "no frame of the dataset has a part that the algorithm needs",
    "algorithm_needs_extra": "distributions that the algorithm needs are not installed",
    "unlabelled_class": "the labels of the dataset have no object of this class",
    "unknown_command": "no command of a reply has that name",
    "two_commands": "one reply asks for different things",
    "unexpected_argument": "the command takes nothing of that kind after it",
    "not_key_value": "what follows `/retry` is written `key=value`",
    "not_by_reply": "a reply cannot change it: it needs an issue of its own",
    "only_narrowed": "a reply may only make it stricter",
}

#: Those of a key itself, not of its value.
KEY_CODES: Final = ("unknown_key", "unknown_hyperparameter")
GIVEN_LENGTH: Final = 80

#: Where a problem sits: the keys and list positions as written, from the top of the body.
Path = tuple[str | int, ...]


def dotted(path: Path) -> str:
    """``("evaluation", "metrics", 2)`` as ``evaluation.metrics[2]``, each key shortened."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{shortened(part)}" if text else shortened(part)
    return text


def shortened(text: str) -> str:
    """``text`` on one line without control characters, at most 80 characters."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text[: GIVEN_LENGTH * 4]).split())
    return clean if len(clean) <= GIVEN_LENGTH else clean[: GIVEN_LENGTH - 1] + "…"


def nearest(given: str, allowed: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The accepted word most like ``given`` ("did you mean"), or None when nothing is near."""
    words = {word.lower(): word for word in allowed}
    word = given[:GIVEN_LENGTH].lower()
    found = difflib.get_close_matches(word, words, n=1, cutoff=cutoff)
    if not found and len(word) >= 3 and cutoff <= 0.6:
        found = [w for w in words if w.startswith(word)][:1]  # an abbreviation: prod
    return words[found[0]] if found else None


class ProblemLog:
    """Collects the problems of one body, and the mending of each that has a suggestion.

    ``renamed``, ``replaced`` and ``removed`` say how the body would have to change, for the corrected block.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.renamed: dict[Path, str] = {}
        self.replaced: dict[Path, str] = {}
        self.removed: dict[Path, str] = {}
        self.wanted: list[Problem] = []

    def add(
        self,
        path: Path,
        code: str,
        given: str = "",
        allowed: Iterable[str] = (),
        suggestion: str | None = None,
        *,
        keep: bool = False,
    ) -> None:
        """Record a problem with the value at ``path``; one said before is not said again.

        In the corrected block a suggestion replaces the value and a value without one is commented out, unless ``keep``
        says that the value itself may stay.
        """
        problem = Problem(dotted(path), code, shortened(given), tuple(allowed), suggestion)
        if problem in self.problems:
            return
        self.problems.append(problem)
        if code == "missing":
            self.wanted.append(problem)
        elif suggestion is not None:
            self.replaced[path] = suggestion
        elif path and not keep:
            self.removed[path] = code

    def add_key(self, path: Path, code: str, allowed: Iterable[str], suggestion: str | None, *, rename: bool = True) -> None:
        """Record a problem with the last key of ``path`` itself; a suggestion renames the key in the corrected block.

        A suggestion that lies on another level cannot be a mere renaming: ``rename`` is False.
        """
        problem = Problem(dotted(path), code, shortened(str(path[-1])), tuple(allowed), suggestion)
        if problem not in self.problems:
            self.problems.append(problem)
        if suggestion is not None and rename:
            self.renamed[path] = suggestion
        else:
            self.removed[path] = code
