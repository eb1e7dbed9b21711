"""Semantic versions of a model line, and which one comes next. Where versions are kept is the registry's business."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mlops_assets.errors import UserError
from mlops_assets.request.vocabulary import SEMANTIC_VERSION_PATTERN

Change = Literal["major", "minor", "patch"]
LARGEST: Final = 999_999
_PATTERN = re.compile(SEMANTIC_VERSION_PATTERN)


@dataclass(frozen=True, order=True)
class SemanticVersion:
    """``vMAJOR.MINOR.PATCH``, ordered by number; each part 0..999,999.

    Source: https://semver.org/spec/v2.0.0.html, without pre-release and build parts.
    """

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> SemanticVersion:
        """Read ``v1.2.0``.

        Raises:
            UserError: the text is not of that form.
        """
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise UserError(
                "this is no model version",
                field="model_version",
                given=repr(text)[:80],
                allowed=("vMAJOR.MINOR.PATCH, e.g. v1.2.0",),
            )
        return cls(*(int(part) for part in match.groups()))

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}.{self.patch}"

    def bumped(self, change: Change) -> SemanticVersion:
        """The next version after a change of that size; a part that is full carries into the one before it.

        Raises:
            UserError: no version is left.
        """
        if change == "patch" and self.patch < LARGEST:
            return SemanticVersion(self.major, self.minor, self.patch + 1)
        if change != "major" and self.minor < LARGEST:
            return SemanticVersion(self.major, self.minor + 1, 0)
        if self.major < LARGEST:
            return SemanticVersion(self.major + 1, 0, 0)
        raise UserError("no model version is left after this one", given=str(self), next_step="start a new model line")


@dataclass(frozen=True)
class VersionChoice:
    """The version to use. ``note`` is the key of a sentence for the requester where it is not the requested one."""

    version: str
    note: Literal["version_taken", "version_not_newer"] | None = None


def next_version(existing: Sequence[str], requested: str | None, change: Change) -> VersionChoice:
    """The version of the next model of a line.

    The first is ``v1.0.0`` or the requested one. Later a requested version is used if it is newer than all that exist; otherwise,
    and where none is requested, the newest is bumped by ``change``, so that versions of a line only ever grow.

    Args:
        existing: versions of the line so far, in any order.
        requested: ``packaging.model_version`` of the request.
        change: ``major`` where the inputs of the signature changed, else ``minor``; ``patch`` for the same data and settings.

    Raises:
        UserError: a version is not of the form ``vX.Y.Z``, or none is left.
    """
    wanted = SemanticVersion.parse(requested) if requested is not None else None
    if not existing:
        return VersionChoice(str(wanted or SemanticVersion(1, 0, 0)))
    taken = {SemanticVersion.parse(text) for text in existing}
    newest = max(taken)
    if wanted is not None and wanted > newest:
        return VersionChoice(str(wanted))
    following = str(newest.bumped(change))
    if wanted is None:
        return VersionChoice(following)
    return VersionChoice(following, "version_taken" if wanted in taken else "version_not_newer")
