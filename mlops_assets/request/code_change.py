"""A push to the repository as a reason to train again (FR-025, `code_change`): which pushes touch model code, and which model
lines then follow.

Pure: reading the payload and deciding. Where pushes come from and how a run is started belongs to the sensor.
Source: https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlops_assets.request.schema import RetrainingRequest

TRIGGER: Final = "code_change"
HISTORY_FOLDER: Final = "training_history/"
"""The platform's own commits lie here: a training that started the next one would never end."""
NO_CODE: Final = (HISTORY_FOLDER, "docs/")
MOST_COMMITS: Final = 2048
"""A payload lists no more commits than these; what the others touched is not told."""
PLATFORM_MAIL: Final = "mlops@localhost"
"""Author of the commits in the local history, which a person may push."""


class _Payload(BaseModel):
    """Base of the parts of a payload that are read; GitHub sends many more keys, and adds some in any year."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Author(_Payload):
    """Who wrote a commit: ``username`` is set where the mail address belongs to an account."""

    email: str | None = None
    username: str | None = None


class PushedCommit(_Payload):
    """One commit of a push with the paths that it touched."""

    id: str
    author: Author = Author()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that the commit touched."""
        return (*self.added, *self.removed, *self.modified)


class _Repository(_Payload):
    default_branch: str = Field(min_length=1)


class Push(_Payload):
    """One push: which branch moved, where to, and over which commits."""

    ref: str
    after: Annotated[str, Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
    deleted: bool = False
    forced: bool = False
    repository: _Repository
    commits: tuple[PushedCommit, ...] = ()


@dataclass(frozen=True)
class Retraining:
    """One model line that is to be trained again because of the push that ended at ``after``."""

    line: str
    after: str

    @property
    def run_key(self) -> str:
        """Identity of the run: however often the push is told of, it is the same run."""
        return f"push:{self.after}:{self.line}"


def read_push(body: bytes) -> Push | None:
    """The push in a payload; None if it is not the payload of one."""
    try:
        return Push.model_validate_json(body)
    except ValidationError:
        return None


def is_model_code(path: str) -> bool:
    """Whether a changed path can change what a training makes: all but the history, the documents and Markdown."""
    return not path.startswith(NO_CODE) and not path.lower().endswith(".md")


def touches_model_code(push: Push, platform_accounts: Iterable[str] = ()) -> bool:
    """Whether a push moved the default branch over a commit, not of the platform's own, that touched model code.

    Where the payload does not tell every path, code counts as touched: a forced push says nothing of the commits that
    it took away, and a very long one is cut.
    """
    if push.deleted or push.ref != f"refs/heads/{push.repository.default_branch}":
        return False
    if len(push.commits) >= MOST_COMMITS:
        return True
    own = frozenset(platform_accounts)
    foreign = [commit for commit in push.commits if not _is_own(commit, own)]
    if push.forced and (foreign or not push.commits):
        return True
    return any(is_model_code(path) for commit in foreign for path in commit.paths)


def _is_own(commit: PushedCommit, accounts: frozenset[str]) -> bool:
    return commit.author.email == PLATFORM_MAIL or commit.author.username in accounts


def decide(
    pushes: Sequence[Push], lines: Mapping[str, RetrainingRequest], platform_accounts: Iterable[str] = ()
) -> tuple[Retraining, ...]:
    """What to train again after ``pushes``, oldest first, with the retraining part of each line's approved configuration.

    Of several pushes the last one that touched model code counts: one training on the newest code is enough for all.
    """
    own = frozenset(platform_accounts)
    touching = [push for push in pushes if touches_model_code(push, own)]
    if not touching:
        return ()
    following = sorted(line for line, wish in lines.items() if wish.enabled and TRIGGER in wish.triggers)
    return tuple(Retraining(line, touching[-1].after) for line in following)
