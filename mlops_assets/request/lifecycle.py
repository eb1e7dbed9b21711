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
    "approve",  # record an approval: of a person's thumb, or the one that the request or the operator's reply asks for
    "reject",  # a person who may decide said no
    "wait",  # a person has to approve, or a run is under way
    "stop",  # end the run of a training that is not wanted any more
    "train",  # run (or resume) the approved plan
    "conclude",  # write the record, the history and the report
    "nothing",  # refused or concluded, and unchanged since
]
Verdict = Literal["none", "approved", "rejected"]
StopReason = Literal["cancelled", "rejected", "superseded"]
StopCause = Literal[
    "edited",  # the issue says something else now
    "another_attempt",  # an operator's reply asked for other settings
    "plan_changed",  # code or limits are not those that were approved
    "closed",  # the issue was closed
    "unlabelled",  # it no longer carries the label that asks for a training
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
    attempt: int = Field(ge=1, description="as people count: trainings of this wording that ran before it, and this one")
    created_at: str
    requested_by: str
    cause: str | None = Field(default=None, description="`comment:<id>` of the operator's reply that asked for this attempt")

    @property
    def is_retraining(self) -> bool:
        """Whether this training repeats an approved configuration instead of answering an issue's wording."""
        return self.body_digest == RETRAINING


class Approval(Frozen):
    """Who approved which plan, when and how; created once, atomically."""

    plan_digest: str
    by: str
    at: str
    how: Literal["command", "reaction", "auto_approve", "operator", "retraining"]


class Stop(Frozen):
    """That a training is not wanted any more: who said so, when and why; created once, atomically."""

    reason: StopReason
    by: str
    at: str
    cause: StopCause | None = Field(default=None, description="None: somebody said so in the thread")
    detail: str = ""


class IssueState(Frozen):
    """Everything ``decide`` needs to know about one issue in its present wording."""

    wanted: bool = Field(default=True, description="the issue is open and carries the label that asks for a training")
    refused: bool = False
    training_id: str | None = None
    plan_digest: str | None = None
    approved_digest: str | None = None
    verdict: Verdict = Field(default="none", description="what people who may decide have said with their thumbs")
    decided_by: str | None = None
    approves_itself: bool = Field(default=False, description="auto_approve, or an operator's reply, by a person who may approve")
    stop: StopReason | None = None
    run: RunState = "none"
    concluded: bool = False


def decide(state: IssueState) -> Action:
    """The next thing to do for an issue; calling it again with the same facts gives the same answer."""
    if state.refused or state.concluded:
        return "nothing"
    if state.training_id is None:
        return "read" if state.wanted else "nothing"
    if state.run == "running":
        return "wait" if state.stop is None else "stop"
    if state.stop is not None:
        return "conclude"
    return _next_run(state)


def _next_run(state: IssueState) -> Action:
    if state.plan_digest is None:
        return "conclude" if state.run == "failed" else "propose"
    if state.approved_digest is None:
        return _before_approval(state)
    return "train" if state.run == "none" else "conclude"


def _before_approval(state: IssueState) -> Action:
    if state.verdict == "rejected" or not state.wanted:
        return "reject"
    return "approve" if state.verdict == "approved" or state.approves_itself else "wait"
