"""Holding an issue's variant, input size and augmentations against what an algorithm offers, and giving them their own names.

For algorithms that describe such settings (``Algorithm.variants``, ``input_size``, ``augmentations``); knobs are in
``hyperparameters``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mlops_assets.data.dataset import TABLE
from mlops_assets.request.problems import Path, ProblemLog, nearest
from mlops_assets.tasks.interface import Algorithm

#: Pixels of a side that a graph is built for; beyond them memory ends before the training does.
SMALLEST_SIDE: Final = 64
LARGEST_SIDE: Final = 4096


def offers_settings(algorithm: Algorithm) -> bool:
    """Whether variant, input size and augmentations are this algorithm's to judge: those of tables have none."""
    return algorithm.form != TABLE


def checked_variant(given: str, algorithm: Algorithm, path: Path, log: ProblemLog) -> str | None:
    """The variant's own name for ``yolox-m``, ``YOLOX_M`` or ``m``; None after logging that there is none."""
    if not algorithm.variants:
        log.add(path, "not_offered", given)
        return None
    own = _bare(algorithm.name)
    known = {_bare(name): name for name in algorithm.variants}
    known |= {_bare(name).removeprefix(own): name for name in algorithm.variants}
    known |= {own + _bare(name): name for name in algorithm.variants}
    found = known.get(_bare(given))
    if found is None:
        word = _bare(given).removeprefix(own)
        begun = next((name for bare, name in known.items() if word and bare.startswith(word)), None)
        near = nearest(_bare(given), known)
        found = begun or (known[near] if near else None)
        log.add(path, "not_allowed", given, algorithm.variants, found)
    return found


def checked_input_size(given: Sequence[int], algorithm: Algorithm, path: Path, log: ProblemLog) -> tuple[int, ...] | None:
    """As many sides as the algorithm takes, each a multiple of its step; one number means that all sides are equal."""
    if algorithm.input_size is None:
        log.add(path, "not_offered", ", ".join(map(str, given)))
        return None
    count, step = algorithm.input_size
    low, high = -(-SMALLEST_SIDE // step) * step, LARGEST_SIDE // step * step
    if len(given) not in (1, count):
        log.add(path, "not_allowed", ", ".join(map(str, given)), (f"[{', '.join('DHW'[-count:])}]", "N"))
        return None
    sides = []
    for position, side in enumerate(given):
        nearest_side = min(high, max(low, round(side / step) * step))
        if side != nearest_side:
            allowed = (f"{step} × n", f">= {low}", f"<= {high}")
            log.add((*path, position), "not_allowed", str(side), allowed, str(nearest_side))
        sides.append(nearest_side)
    return tuple(sides) * count if len(sides) == 1 else tuple(sides)


def checked_augmentations(given: Sequence[str], algorithm: Algorithm, paths: Sequence[Path], log: ProblemLog) -> tuple[str, ...]:
    """The augmentations by the algorithm's own names, each once; ``paths`` say where each was written."""
    known = {_bare(name): own for own, others in algorithm.augmentations.items() for name in (own, *others)}
    found = []
    for name, path in zip(given, paths, strict=True):
        own = known.get(_bare(name))
        if own is None:
            near = nearest(_bare(name), known)
            own = known[near] if near else None
            log.add(path, "not_allowed" if known else "not_offered", name, tuple(algorithm.augmentations), own)
        if own is not None:
            found.append(own)
    return tuple(dict.fromkeys(found))


def _bare(word: str) -> str:
    return re.sub(r"[\s_./-]+", "", word.lower())
