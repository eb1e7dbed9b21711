"""What runs inside a training container or a local training process: ``python -m mlops_assets.tasks.entrypoint``.

It finds the learning task by name, trains it on the container's channels and leaves a model, its manifest and a summary; on an
error it leaves ``output/failure`` and exit code 1. It stops within two seconds of SIGTERM (exit code 143) or SIGINT (130), and
ends itself when the process that started it disappears. Starting and supervising this process is ``resources.compute``.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import entry_points
from types import TracebackType
from typing import TYPE_CHECKING, Final

from mlops_assets.errors import ComputeError, IntegrityError
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.serving.package import MANIFEST, make_manifest
from mlops_assets.tasks.container import (
    FEATURES_CHANNEL,
    REQUEST_CHANNEL,
    REQUEST_FILE,
    TASK_HYPERPARAMETER,
    TRAINING_ID_HYPERPARAMETER,
    TrainingContainer,
)
from mlops_assets.tasks.interface import LearningTask, TrainSummary
from mlops_assets.tasks.progress import progress_line
from mlops_assets.whole_files import write_whole

if TYPE_CHECKING:
    from dagster_pipes import PipesContext

#: Process id of the supervisor; absent in a container, where the orchestrator ends the whole container.
PARENT_VARIABLE: Final = "MLOPS_PARENT_PID"
POLL_SECONDS: Final = 0.5
#: A line in Dagster's event log is a database write: one for each tenth of the way, or after this many seconds.
EVENT_SECONDS: Final = 5.0


def find_task(name: str) -> LearningTask:
    """The installed learning task whose entry point is called ``name``; the other families are not imported for it.

    Raises:
        ComputeError: no installed distribution offers it.
    """
    for point in entry_points(group="mlops.tasks", name=name):
        task: LearningTask = point.load()()
        return task
    installed = sorted(point.name for point in entry_points(group="mlops.tasks"))
    raise ComputeError(f"no learning task `{name}` is installed here; installed: {', '.join(installed) or 'none'}")


class Reporter:
    """Tells progress on stdout, one line each, and now and then to Dagster."""

    def __init__(self, pipes: PipesContext | None) -> None:
        self._pipes = pipes
        self._told_tenth = -1
        self._told_at = -EVENT_SECONDS

    def __call__(self, fraction: float, text: str, metrics: Mapping[str, float]) -> None:
        """Report one step; see ``ProgressReporter``."""
        line = progress_line(fraction, text, metrics)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        now = time.monotonic()
        tenth = int(fraction * 10)
        if self._pipes is not None and (tenth > self._told_tenth or now - self._told_at >= EVENT_SECONDS):
            self._told_tenth, self._told_at = tenth, now
            self._pipes.log.info(line)


class FailureFile(AbstractContextManager[None]):
    """Writes ``output/failure`` for whatever ends the block, then lets it end the process with exit code 1."""

    def __init__(self, container: TrainingContainer) -> None:
        self._container = container

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the headline, then the end of the traceback."""
        if error is None or kind is None:
            return
        headline = f"{kind.__name__}: {error}"[:900]
        tail = "".join(traceback.format_exception(kind, error, trace))[-4000:]
        write_whole(self._container.failure, f"{headline}\n\n{tail}")


def train(container: TrainingContainer, pipes: PipesContext | None) -> TrainSummary:
    """Train in ``container``: the model, its manifest, then the summary, last of all.

    Raises:
        ComputeError: a channel or the task is missing, or the task left no model.
        IntegrityError: the hyperparameters of the job are not those of the approved request.
    """
    hyperparameters = container.hyperparameters()
    request = TrainingRequest.model_validate_json((container.channel(REQUEST_CHANNEL) / REQUEST_FILE).read_bytes())
    _check_hyperparameters(hyperparameters, request)
    name = str(hyperparameters.get(TASK_HYPERPARAMETER, ""))
    report = Reporter(pipes)
    report(0.0, f"loading {name}", {})
    task = find_task(name)
    container.model.mkdir(parents=True, exist_ok=True)
    container.checkpoints.mkdir(parents=True, exist_ok=True)
    features = container.channel(FEATURES_CHANNEL)
    summary = task.train(features, request, container.model, report, checkpoints=container.checkpoints)
    manifest = make_manifest(container.model)
    if not manifest.files:
        raise ComputeError(f"the learning task `{name}` ended without writing a model into {container.model}")
    write_whole(container.model / MANIFEST, manifest.model_dump_json(indent=2))
    if pipes is not None:
        _tell_dagster(pipes, summary, str(hyperparameters.get(TRAINING_ID_HYPERPARAMETER, "")))
    write_whole(container.summary, summary.model_dump_json(indent=2))
    report(1.0, "trained", {})
    return summary


def _check_hyperparameters(job: Mapping[str, object], request: TrainingRequest) -> None:
    # SageMaker's console shows, and its tuner changes, the job's values; training runs on the approved request. They must agree.
    ours = (TASK_HYPERPARAMETER, TRAINING_ID_HYPERPARAMETER)
    own = {name: value for name, value in job.items() if name not in ours and not name.startswith("sagemaker_")}
    if own != request.hyperparameters:
        raise IntegrityError(
            f"hyperparameters of the job are {own}, those of the request are {dict(request.hyperparameters)}: "
            "start the job with those of the request"
        )


def _tell_dagster(pipes: PipesContext, summary: TrainSummary, training_id: str) -> None:
    payload = {"training_id": training_id, "summary": summary.model_dump(mode="json")}
    pipes.report_custom_message(payload)
    if pipes.is_asset_step and len(pipes.asset_keys) == 1:
        pipes.report_asset_materialization(metadata={**training_metadata(training_id, summary)})


def training_metadata(training_id: str, summary: TrainSummary) -> dict[str, str | int | float]:
    """What a materialization says of the training that made it; metrics as numbers, so that Dagster plots them."""
    return {
        "training_id": training_id,
        "algorithm": summary.algorithm,
        "training_seconds": summary.seconds,
        "iterations": summary.iterations,
        **summary.metrics,
    }


def watch(parent: int | None) -> None:
    """Start the watchdog thread: it ends this process on SIGTERM, SIGINT, or when ``parent`` is no longer its parent.

    A thread, because Python runs signal handlers only between two steps of the main thread, and one step of a learning
    library may take minutes. The interpreter's C handler writes to a pipe at once; the thread waits on that pipe.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    # A forked worker shares the pipe: ending it with SIGTERM would otherwise end us.
    os.register_at_fork(after_in_child=_forget_signals)
    threading.Thread(target=_watchdog, args=(reading, parent), name="watchdog", daemon=True).start()


def _forget_signals() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _watchdog(reading: int, parent: int | None) -> None:
    while True:
        ready, _, _ = select.select([reading], [], [], POLL_SECONDS)
        number = os.read(reading, 1)[0] if ready else 0
        if number in (signal.SIGTERM, signal.SIGINT):
            os.write(2, f"stopped by {signal.Signals(number).name}\n".encode())
            os._exit(128 + number)
        if parent is not None and os.getppid() != parent:
            if os.getpgrp() == os.getpid():
                os.killpg(os.getpid(), signal.SIGKILL)
            os._exit(1)


def pipes_of(environment: Mapping[str, str]) -> AbstractContextManager[PipesContext | None]:
    """The connection to Dagster where its bootstrap variables are set, else nothing."""
    from dagster_pipes import DAGSTER_PIPES_CONTEXT_ENV_VAR, open_dagster_pipes

    if DAGSTER_PIPES_CONTEXT_ENV_VAR not in environment:
        return nullcontext()
    return open_dagster_pipes()


def main() -> None:
    """Run the training that the environment describes; an error leaves ``output/failure`` and exit code 1."""
    supervisor = os.environ.get(PARENT_VARIABLE)
    watch(int(supervisor) if supervisor else None)
    container = TrainingContainer.from_environment(os.environ)
    with FailureFile(container), pipes_of(os.environ) as pipes:
        train(container, pipes)


if __name__ == "__main__":
    main()
