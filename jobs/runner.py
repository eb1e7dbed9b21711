"""Carries an issue through in this process: the same decisions and the same Dagster jobs as the sensors and the daemon."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable

from dagster import DagsterInstance, DagsterRunStatus, JobDefinition
from dagster._utils.warnings import PreviewWarning
from filelock import FileLock

from mlops_assets.errors import NotApproved, UserError
from mlops_assets.partitions import MODEL_LINES
from mlops_assets.reports.record import TrainingRecord
from mlops_assets.request.lifecycle import Action, IssueState, TrainingIdentity, decide
from resources.artifacts import ISSUE_TAG, MODEL_TAG, TRAINING_TAG
from resources.closing import close_training
from resources.platform import Platform
from resources.runs import PROCESS_TAG, PROPOSE_JOB, TRAIN_JOB, failure_of, reap, run_state, this_process
from resources.tracker import Issue

POLL_SECONDS = 0.5


class Runner:
    """Runs the model-line jobs of one installation in process; ``announce`` gets each action as it begins."""

    def __init__(self, platform: Platform, instance: DagsterInstance, announce: Callable[[Action, str], None]) -> None:
        self._platform = platform
        self._instance = instance
        self._announce = announce
        self._proposed_again = False

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
        issue = self._platform.tracker.issue(number)
        state = self._state(issue)
        if state.refused or (state.concluded and (again or self._ended_in_failure(state))):
            self._another_attempt(issue, state.training_id, again=again)
        while True:
            issue = self._platform.tracker.issue(number)
            state = self._state(issue)
            action = decide(state)
            if action == "nothing":
                self._sweep()
                record = self._platform.ledger.record(state.training_id) if state.training_id is not None else None
                if record is not None:
                    self._keep_served(record)
                return record
            if action == "read":
                self._announce(action, "")
                self._platform.front_desk.read(issue)
                continue
            identity = self._platform.ledger.identity(state.training_id or "")
            if action == "approve" and plan_only:  # asked for a plan only, an issue that approves itself stops here too
                self._platform.thread.propose(identity.training_id, f"mlops run {number}")
                return None
            if action == "wait" and state.run != "running":
                self._platform.thread.propose(identity.training_id, f"mlops run {number}")
                if plan_only:
                    return None
                by = self._platform.tracker.current_actor()
                self._announce("approve", by)
                self._platform.front_desk.approve(identity.training_id, by, "command")
            elif action == "wait":
                time.sleep(POLL_SECONDS)  # another process is at it, unless it was killed meanwhile
                reap(self._instance)
            else:
                self._announce(action, identity.training_id)
                self._act(action, issue, identity)

    def _act(self, action: Action, issue: Issue, identity: TrainingIdentity) -> None:
        platform, training_id = self._platform, identity.training_id
        if action == "approve":
            platform.front_desk.approve(training_id, issue.author, "auto_approve")
        elif action == "propose":
            self._execute(PROPOSE_JOB, action, identity)
        elif action == "train":
            try:
                platform.front_desk.require_approved(training_id)
            except NotApproved as changed:
                close_training(platform, training_id, str(changed))
                if self._proposed_again:
                    raise  # it changed within a minute: something is changing it all the time
                self._proposed_again = True
                self._another_attempt(issue, training_id, again=True)
                return
            platform.thread.progress(training_id)
            self._execute(TRAIN_JOB, action, identity)
        elif action == "conclude":
            close_training(platform, training_id, self._error_of(training_id))

    def _execute(self, job: str, action: Action, identity: TrainingIdentity) -> None:
        """Run a job in this process, one at a time per model line; how it ended is in the instance.

        Whoever waited for another process looks again whether ``action`` is still the one to take.
        """
        from mlops_assets.definitions import defs

        locks = self._platform.home / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"line-{identity.model_id}.lock"):
            state = self._state(self._platform.tracker.issue(identity.issue)) if identity.issue is not None else None
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

    def _state(self, issue: Issue) -> IssueState:
        return self._platform.front_desk.state(issue, lambda training, job: run_state(self._instance, training, job))

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

    def _error_of(self, training_id: str) -> str | None:
        from dagster import RunsFilter

        runs = self._instance.get_runs(RunsFilter(tags={TRAINING_TAG: training_id}), limit=1)
        if runs and runs[0].status == DagsterRunStatus.FAILURE:
            return failure_of(self._instance, runs[0].run_id)
        return None

    def _sweep(self) -> None:
        """Remove scratch folders of trainings that are over."""
        if self._platform.scratch.is_dir():
            for folder in self._platform.scratch.glob("train-*"):
                if self._platform.ledger.is_reported(folder.name):
                    shutil.rmtree(folder, ignore_errors=True)
