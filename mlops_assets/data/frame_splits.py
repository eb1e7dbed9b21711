"""Which frame goes to training, validation and test: pure arithmetic on ids, the same on every machine.

Every choice that is not given follows the key ``md5("<seed>:<id>")`` of a frame or a sequence, smallest first, as in ``splits``.

*listed*: the copy's own lists decide. With ``train``, ``val`` and ``test`` they are the three splits. With ``train`` and one of
the others, that one is the test split, as in KITTI's usual train/val, and validation is taken out of train. A frame in two
lists belongs to the more protected one (test, then validation); a frame in none is not used.

*sequences*: without lists, whole sequences of the tracking layout, because frames a tenth of a second apart are nearly equal.
*time*: fewer than three sequences, so each is cut: its first frames train, its last ones test.
*random*: single frames.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mlops_assets.data.dataset import SPLITS, Split
from mlops_assets.data.splits import allocate
from mlops_assets.request.schema import Preprocessing

FrameSplit = Literal["listed", "sequences", "time", "random"]
Ids = dict[Split, list[str]]


@dataclass(frozen=True)
class Assignment:
    """How frames were split: the rule, ids of each split in ascending order, and how many frames no list names."""

    rule: FrameSplit
    splits: Ids
    unlisted: int = 0


def split_frames(frame_ids: Sequence[str], lists: Mapping[str, Sequence[str]], options: Preprocessing, seed: int) -> Assignment:
    """Split these frames (ids of the source, ``0003/000012`` in sequences) as the module tells.

    ``options.split`` set to ``random`` or ``time`` overrides lists and sequences.
    """
    usable = set(frame_ids)
    within = {name: [frame_id for frame_id in ids if frame_id in usable] for name, ids in lists.items()}
    sequences = _by_sequence(frame_ids)
    rule: FrameSplit = "random"
    if options.split in ("random", "time"):
        rule = "time" if options.split == "time" else "random"
    elif within.get("train") and (within.get("val") or within.get("test")):
        rule = "listed"
    elif all("/" in frame_id for frame_id in frame_ids):
        rule = "sequences" if len(sequences) >= len(SPLITS) else "time"
    if rule == "listed":
        splits, unlisted = _listed(within, options, seed), len(usable - {i for ids in within.values() for i in ids})
        return Assignment(rule, _ordered(splits), unlisted)
    if rule == "sequences":
        return Assignment(rule, _ordered(_whole_sequences(sequences, options, seed)))
    if rule == "time":
        return Assignment(rule, _ordered(_in_time(sequences, options)))
    return Assignment(rule, _ordered(_cut(keyed(frame_ids, seed), options, test_first=True)))


def keyed(ids: Sequence[str], seed: int) -> list[str]:
    """Ids in the order of their keys. MD5 mixes here, it protects nothing."""
    return sorted(ids, key=lambda name: (hashlib.md5(f"{seed}:{name}".encode(), usedforsecurity=False).hexdigest(), name))


def _ordered(splits: Ids) -> Ids:
    return {name: sorted(splits[name]) for name in SPLITS}


def _by_sequence(frame_ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for frame_id in sorted(frame_ids):
        found.setdefault(frame_id.rpartition("/")[0], []).append(frame_id)
    return found


def _cut(ids: Sequence[str], options: Preprocessing, *, test_first: bool = False) -> Ids:
    """Consecutive parts of these ids, in their order: train, validation, test, or test first."""
    counts = allocate(len(ids), options.validation_fraction, options.test_fraction)
    parts: Ids = {}
    start = 0
    for name in reversed(SPLITS) if test_first else SPLITS:
        parts[name] = list(ids[start : start + counts[name]])
        start += counts[name]
    return parts


def _in_time(sequences: Mapping[str, list[str]], options: Preprocessing) -> Ids:
    """Each sequence cut by itself, or all in a row where they are too short for that."""
    parts = [_cut(ids, options) for ids in sequences.values()]
    together: Ids = {name: [i for part in parts for i in part[name]] for name in SPLITS}
    return together if all(together.values()) else _cut([i for ids in sequences.values() for i in ids], options)


def _listed(lists: Mapping[str, list[str]], options: Preprocessing, seed: int) -> Ids:
    if lists.get("val") and lists.get("test"):
        held_out, judged = set(lists["test"]), set(lists["val"]) - set(lists["test"])
        train = [i for i in lists["train"] if i not in held_out | judged]
        return {"train": train, "validation": list(judged), "test": list(held_out)}
    test = set(lists.get("val") or lists["test"])
    rest = [frame_id for frame_id in lists["train"] if frame_id not in test]
    wanted = min(round(options.validation_fraction * (len(rest) + len(test))), len(rest) // 2)
    wanted = max(wanted, 1 if len(rest) > 1 else 0)
    validation = _whole(_by_sequence(rest), wanted, seed) if _has_sequences(rest) else keyed(rest, seed)[:wanted]
    taken = set(validation)
    return {"train": [i for i in rest if i not in taken], "validation": validation, "test": list(test)}


def _has_sequences(ids: Sequence[str]) -> bool:
    return len({frame_id.rpartition("/")[0] for frame_id in ids}) > 1


def _whole_sequences(sequences: Mapping[str, list[str]], options: Preprocessing, seed: int) -> Ids:
    total = sum(map(len, sequences.values()))
    test = _whole(sequences, round(options.test_fraction * total), seed, leave=2)
    left = {name: ids for name, ids in sequences.items() if ids[0] not in set(test)}
    validation = _whole(left, round(options.validation_fraction * total), seed, leave=1)
    taken = {*test, *validation}
    return {"train": [i for ids in left.values() for i in ids if i not in taken], "validation": validation, "test": test}


def _whole(sequences: Mapping[str, list[str]], wanted: int, seed: int, *, leave: int = 1) -> list[str]:
    """Frames of whole sequences, at least one, as near to ``wanted`` as adding the next by key can come."""
    taken: list[str] = []
    for name in keyed(list(sequences), seed)[: len(sequences) - leave]:
        ids = sequences[name]
        if taken and abs(len(taken) + len(ids) - wanted) >= abs(len(taken) - wanted):
            break
        taken += ids
    return taken
