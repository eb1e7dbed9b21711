"""The life of one issue as a pure state machine: what is known about it -> what happens next.

The sensors and the command line both act on ``decide``; carrying an action out is theirs, storing the facts is the ledger's.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mlops_assets.request.digest import sha256_of
from mlops_assets.request.schema import Frozen

RunState = Literal["none", "running", "succeeded", "failed"]
Action = Literal[
    "read",  # parse the body; refuse it with every problem, or give it a training
    "propose",  # make the plan and post it
    "approve",  # record the approval that the request itself asks for (auto_approve)
    "wait",  # a person has to approve, or a run is under way
    "train",  # run (or resume) the approved plan
    "conclude",  # write the record, the history and the report
    "nothing",  # refused or concluded, and unchanged since
]


def body_digest(title: str, body: str) -> str:
    """Identity of what an issue says; an edit gives another one."""
    return sha256_of({"title": title.strip(), "body": body.replace("\r\n", "\n").strip()})


RETRAINING = "retraining"
"""``body_digest`` of a training that no issue wording asked for: the line's approved configuration again."""


class TrainingIdentity(Frozen):
    """Which issue, in which wording and which attempt, a training belongs to. Created once, atomically."""

    training_id: str
    model_id: str
    issue: int | None = Field(description="None for a retraining that no issue asked for")
    body_digest: str
    attempt: int = Field(ge=1)
    created_at: str
    requested_by: str

    @property
    def is_retraining(self) -> bool:
        """Whether this training repeats an approved configuration instead of answering an issue's wording."""
        return self.body_digest == RETRAINING


class Approval(Frozen):
    """Who approved which plan, when and how; created once, atomically."""

    plan_digest: str
    by: str
    at: str
    how: Literal["command", "reaction", "auto_approve", "retraining"]


class IssueState(Frozen):
    """Everything ``decide`` needs to know about one issue in its present wording."""

    refused: bool = False
    training_id: str | None = None
    plan_digest: str | None = None
    approved_digest: str | None = None
    auto_approve: bool = False
    run: RunState = "none"
    concluded: bool = False


def decide(state: IssueState) -> Action:
    """The next thing to do for an issue; calling it again with the same facts gives the same answer."""
    if state.refused or state.concluded:
        return "nothing"
    if state.training_id is None:
        return "read"
    if state.run == "running":
        return "wait"
    if state.plan_digest is None:
        return "conclude" if state.run == "failed" else "propose"
    if state.approved_digest is None:
        return "approve" if state.auto_approve else "wait"
    return "train" if state.run == "none" else "conclude"
