"""Carries an issue through in this process: the same decisions and the same Dagster jobs as the sensors and the daemon."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

from dagster import DagsterInstance, JobDefinition
from dagster._utils.warnings import PreviewWarning
from filelock import FileLock

from mlops_assets.errors import NotApproved, UserError
from mlops_assets.partitions import MODEL_LINES
from mlops_assets.reports.record import TrainingRecord
from mlops_assets.request.lifecycle import Action, IssueState, TrainingIdentity, decide
from resources.artifacts import ISSUE_TAG, MODEL_TAG, TRAINING_TAG
from resources.attendant import Attendant
from resources.conversation import Conversation
from resources.front_desk import TRIGGER_LABEL
from resources.platform import Platform
from resources.runs import PROCESS_TAG, PROPOSE_JOB, TRAIN_JOB, InstanceRuns, reap, this_process
from resources.tracker import Issue

POLL_SECONDS = 0.5
APPROVALS = 2
"""Plans that one command approves: the one it was started for, and one more where the code or the data changed meanwhile."""


class Runner:
    """Runs the model-line jobs of one installation in process; ``announce`` gets each action as it begins."""

    def __init__(self, platform: Platform, instance: DagsterInstance, announce: Callable[[Action, str], None]) -> None:
        self._platform = platform
        self._instance = instance
        self._announce = announce
        self._runs = InstanceRuns(instance)
        self._attendant = Attendant(platform, self._runs)
        self._approved: set[str] = set()

    def carry(self, number: int, *, plan_only: bool = False, again: bool = False) -> TrainingRecord | None:
        """Take issue ``number`` as far as it goes: to an endpoint, to the operator, or to a proposal with ``plan_only``.

        Returns:
            The record of its training; None if it stops at the proposal.

        Raises:
            NotFound: there is no such issue.
            RequestInvalid: the issue was refused; its thread says why.
            NotApproved: the person typing has no write permission where the issue lives.
        """
        reap(self._instance)
        self._sweep()
        issue = self._issue(number)
        Conversation(self._platform, self._runs).answer(issue)
        state = self._attendant.state(issue, ())
        if state.refused or (state.concluded and (again or self._ended_in_failure(state))):
            self._another_attempt(issue, state.training_id, again=again)
        if state.training_id is None:
            self._announce("read", "")
        attendant = Attendant(self._platform, self._runs, approving=not plan_only)
        while True:
            task = attendant.attend(self._issue(number))
            identity = task.identity
            if identity is None or task.action == "nothing":
                return self._concluded(identity)
            if task.awaits_approval:
                if plan_only:
                    return None
                self._approve(identity)
            elif task.action in ("wait", "stop"):
                time.sleep(POLL_SECONDS)  # another process is at it, unless it was killed meanwhile
                reap(self._instance)
            else:
                self._announce(task.action, identity.training_id)
                self._execute(PROPOSE_JOB if task.action == "propose" else TRAIN_JOB, task.action, identity)

    def _issue(self, number: int) -> Issue:
        """The issue as it is now; asked for by its number, it needs no label."""
        issue = self._platform.tracker.issue(number)
        return replace(issue, labels=issue.labels | {TRIGGER_LABEL})

    def _approve(self, identity: TrainingIdentity) -> None:
        by = self._platform.tracker.current_actor()
        if len(self._approved) >= APPROVALS:
            raise NotApproved("the plan changes within a minute again and again; what is changing it?")
        self._announce("approve", by)
        self._platform.front_desk.approve(identity.training_id, by, "command")
        self._approved.add(identity.training_id)

    def _concluded(self, identity: TrainingIdentity | None) -> TrainingRecord | None:
        self._sweep()
        record = self._platform.ledger.record(identity.training_id) if identity is not None else None
        if record is not None:
            self._keep_served(record)
        return record

    def _execute(self, job: str, action: Action, identity: TrainingIdentity) -> None:
        """Run a job in this process, one at a time per model line; how it ended is in the instance.

        Whoever waited for another process looks again whether ``action`` is still the one to take.
        """
        from mlops_assets.definitions import defs

        locks = self._platform.home / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"line-{identity.model_id}.lock"):
            state = self._attendant.state(self._issue(identity.issue), ()) if identity.issue is not None else None
            if state is not None and (state.training_id, decide(state)) != (identity.training_id, action):
                return
            self._instance.add_dynamic_partitions(MODEL_LINES, [identity.model_id])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PreviewWarning)  # Pipes readers are in preview; the release is pinned
                self._run(defs.resolve_job_def(job), identity)

    def _run(self, job: JobDefinition, identity: TrainingIdentity) -> None:
        job.execute_in_process(
            instance=self._instance,
            partition_key=identity.model_id,
            raise_on_error=False,
            resources={"platform": self._platform},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={
                TRAINING_TAG: identity.training_id,
                MODEL_TAG: identity.model_id,
                PROCESS_TAG: this_process(),
                **({ISSUE_TAG: str(identity.issue)} if identity.issue is not None else {}),
            },
        )

    def _keep_served(self, record: TrainingRecord) -> None:
        """Start the endpoint that this training stands behind, if its processes were killed since."""
        if record.endpoint is None or record.model is None:
            return
        place = (record.model_id, record.endpoint.environment, record.model.version)
        for endpoint in self._platform.endpoints.list():
            if (endpoint.model_id, endpoint.environment, endpoint.version) == place and not endpoint.healthy:
                self._platform.endpoints.ensure(endpoint.model_id, endpoint.environment)

    def _ended_in_failure(self, state: IssueState) -> bool:
        record = self._platform.ledger.record(state.training_id) if state.training_id is not None else None
        return record is not None and record.outcome == "failed"

    def _another_attempt(self, issue: Issue, after: str | None, *, again: bool) -> None:
        from mlops_assets.request.lifecycle import body_digest

        earlier = self._platform.ledger.attempts(issue.number, body_digest(issue.title, issue.body))
        if earlier and not again:
            request = self._platform.ledger.request(earlier[-1].training_id)
            if len(earlier) > request.max_retry:
                raise UserError(
                    f"issue {issue.number} has failed {len(earlier)} times",
                    field="max_retry",
                    given=request.max_retry,
                    next_step=f"edit the issue, or force another attempt with: mlops run {issue.number} --again",
                )
        self._announce("read", "")
        self._platform.front_desk.read(issue, after=after)

    def _sweep(self) -> None:
        """Remove scratch folders of trainings that are over, and of shards to which nobody came back."""
        self._platform.workshop.sweep()
        if self._platform.scratch.is_dir():
            for folder in self._platform.scratch.glob("train-*"):
                if self._platform.ledger.is_reported(folder.name):
                    shutil.rmtree(folder, ignore_errors=True)
