"""Keys of an issue that stand on the wrong level: where each belongs, and putting it there for the corrected block.

Only a place that nobody could mean otherwise is taken. What a key means is in ``dialects``; guessing at misspelt ones on the
right level is ``problems.nearest``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from mlops_assets.request.dialects import KEYS
from mlops_assets.request.fields import read_choice
from mlops_assets.request.problems import Path, ProblemLog, nearest
from mlops_assets.request.yaml_nodes import Leaf, Node, Pairs
from mlops_assets.tasks.interface import Algorithm

#: How alike a word must be to a key of another level; many more words are near to one of those than to one of its own level.
VERY_NEAR: Final = 0.8


@dataclass(frozen=True)
class Stray:
    """A key on the wrong level: the mapping it stands in, the path there, and the full path where it belongs."""

    parent: Pairs
    path: Path
    home: str


@cache
def _homes() -> Mapping[str, Mapping[tuple[str, ...], tuple[str, ...]]]:
    """Last word of a full path, and full path -> for each meaning that it has, the full paths of that meaning."""
    sections = {path.rsplit(".", depth)[0] for path in KEYS for depth in range(1, path.count(".") + 1)}
    found: dict[str, dict[tuple[str, ...], tuple[str, ...]]] = {}
    for path in (*KEYS, *sorted(sections - set(KEYS))):
        below = tuple(sorted(field for key, field in KEYS.items() if key.startswith(f"{path}.")))
        meaning = (KEYS[path],) if path in KEYS else below
        for word in dict.fromkeys((path.rsplit(".", 1)[-1], path)):
            of_word = found.setdefault(word, {})
            of_word[meaning] = (*of_word.get(meaning, ()), path)
    return found


def own_hyperparameters(root: Pairs, offered: Mapping[str, Algorithm]) -> dict[str, tuple[str, ...]]:
    """Every name of the hyperparameters of the algorithm that the mapping names -> all names of the same one."""
    named = root.entries.get("algorithm")
    name = read_choice(named.text, tuple(offered), (), ProblemLog()) if isinstance(named, Leaf) else None
    knobs = offered[name].hyperparameters if isinstance(name, str) and name in offered else ()
    return {word: (knob.name, *knob.aliases) for knob in knobs for word in (knob.name, *knob.aliases)}


class Meant(NamedTuple):
    """What an unknown key is for: the full path where it surely belongs, else the nearest key here, else one elsewhere."""

    home: str | None = None
    near: str | None = None
    like: str | None = None
    is_dotted: bool = False

    @property
    def suggestion(self) -> str | None:
        """What people are told; where the path itself was written as one key, how an issue writes it."""
        if self.home and self.is_dotted:
            return self.home.replace(".", ": {") + ": …" + "}" * self.home.count(".")
        return self.home or self.near or self.like


def meant_by(key: str, free: Iterable[str], root: Pairs, own: Collection[str] = ()) -> Meant:
    """What an unknown key is for, where ``free`` keys could stand instead; ``own`` are names of hyperparameters.

    Of two names of one section the one that the mapping uses is taken, e.g. ``deployment`` or ``deployment_config``.
    """
    meanings = _homes().get(key)
    if meanings is not None:
        paths = next(iter(meanings.values()))
        home = next((path for path in paths if path.split(".")[0] in root.entries), paths[0])
        return Meant(home=home, is_dotted="." in key) if len(meanings) == 1 else Meant(like=home)
    if key.removeprefix("hyperparameters.") in own:
        return Meant(home=f"hyperparameters.{key.removeprefix('hyperparameters.')}", is_dotted=key not in own)
    near = nearest(key, free)
    like = nearest(key, (*([near] if near else ()), *(word for word in _homes() if "." not in word)), cutoff=VERY_NEAR)
    if like is None or like == near:
        return Meant(near=near)
    return Meant(like=next(iter(_homes()[like].values()))[0])


def settled(
    strays: list[Stray], root: Pairs, log: ProblemLog, said: Collection[str], own: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[Pairs, str, Node, Path, str]]:
    """Move each stray to where it belongs, and hand it out to be read there: mapping, key, value, path, full path.

    One whose field is among those ``said``, or that finds its place taken, stays where it is, commented out. ``strays`` is
    used up, and may grow meanwhile: a section that has moved may hold others.
    """
    while strays:
        stray = min(strays, key=lambda one: one.home.count("."))  # sections before what may join them
        strays.remove(stray)
        key = stray.path[-1]
        *sections, last = stray.home.split(".")
        if KEYS.get(stray.home, "") in said or not isinstance(key, str) or key not in stray.parent.entries:
            continue
        place = _place(root, sections, (), log)
        if place is None:
            continue
        section, path = place
        written = {log.renamed.get((*path, name), name) for name in section.entries}
        names = own.get(last, (last,)) if sections == ["hyperparameters"] else (last,)
        if written.isdisjoint(names):
            value = section.entries[last] = stray.parent.entries.pop(key)
            log.removed.pop(stray.path, None)
            if sections == ["hyperparameters"]:
                yield root, str(path[0]), section, path, "hyperparameters"
            else:
                yield section, last, value, (*path, last), stray.home


def _place(node: Pairs, sections: Sequence[str], path: Path, log: ProblemLog) -> tuple[Pairs, Path] | None:
    """The mapping of these ``sections`` below ``node``, made where it is absent; None where something else stands there."""
    if not sections:
        return node, path
    name = sections[0]
    key = next((key for key in node.entries if log.renamed.get((*path, key), key) == name), name)
    below = node.entries.get(key)
    if below is None or (isinstance(below, Leaf) and below.value is None):
        below = Pairs(node.line)
    here = (*path, key)
    if not isinstance(below, Pairs) or here in log.removed or here in log.replaced:
        return None
    found = _place(below, sections[1:], here, log)
    if found is not None:
        node.entries[key] = below
    return found
