"""Where training runs: the interface of every kind of compute, and the local one.

``LocalCompute`` starts the same entry point in the same folders as a SageMaker job, as a process of its own. Each try works in a
fresh ``attempt-…`` folder that is moved to ``ml`` once it is complete, so that what lies there is never half a model. What the
process itself does is in ``mlops_assets.tasks.entrypoint``; reporting to Dagster is in ``pipes``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from uuid import uuid4

from filelock import FileLock
from pydantic import JsonValue

import mlops_assets
from mlops_assets.errors import ComputeError, ComputeInterrupted, IntegrityError, UserError
from mlops_assets.request.digest import sha256_of
from mlops_assets.request.schema import Frozen, TrainingRequest
from mlops_assets.serving.package import verify
from mlops_assets.tasks.container import (
    FEATURES_CHANNEL,
    REQUEST_CHANNEL,
    REQUEST_FILE,
    TASK_HYPERPARAMETER,
    TRAINING_ID_HYPERPARAMETER,
    TrainingContainer,
    container_variables,
    make_folders,
    write_configuration,
)
from mlops_assets.tasks.entrypoint import PARENT_VARIABLE
from mlops_assets.tasks.interface import ProgressReporter, TrainSummary
from mlops_assets.whole_files import write_whole
from resources.training_log import LogTail, last_lines

CHANNELS: Final = (FEATURES_CHANNEL, REQUEST_CHANNEL)
HOST: Final = "algo-1"
#: What a training keeps for itself across processes, as SageMaker's ``/opt/ml/checkpoints``; gone once it is complete.
CHECKPOINTS: Final = "checkpoints"
STOP_SECONDS: Final = 5.0
CHECK_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.05
#: All that a training process inherits; credentials of the parent are not among it.
INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
THREAD_LIMITS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
#: Signals that a process brings on itself: trying again would only repeat them.
CRASHES: Final = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT})


@dataclass(frozen=True)
class TrainingJob:
    """One training to run.

    Attributes:
        training_id: its identity; running it again returns the earlier outcome.
        task: name of the learning task.
        features: folder that the task's ``prepare`` wrote; read-only.
        request: what was approved.
        work_folder: where logs and results go; None: below the compute's own folder, named as the training.
        time_limit: seconds after which it is stopped; None: no limit.
        check_wanted: called every second or so; what it raises ends the training process.
    """

    training_id: str
    task: str
    features: Path
    request: TrainingRequest
    work_folder: Path | None = None
    time_limit: float | None = None
    check_wanted: Callable[[], None] | None = None


@dataclass(frozen=True)
class TrainingOutcome:
    """A finished training: model folder (with manifest), summary, log, and wall seconds of the process that made it."""

    model: Path
    summary: TrainSummary
    log: Path
    seconds: float


class Compute(Protocol):
    """Something that can train: this machine, or a cloud service."""

    def train(
        self, job: TrainingJob, on_progress: ProgressReporter, pipes_environment: Mapping[str, str] | None = None
    ) -> TrainingOutcome:
        """Train and wait. A training that is already complete is returned without training again.

        Args:
            job: what to train.
            on_progress: called with each progress report, in the calling thread.
            pipes_environment: bootstrap variables of a Dagster Pipes session, handed to the training process.

        Raises:
            ComputeInterrupted: the process was ended from outside; trying again may succeed.
            ComputeError: it failed, exceeded its time limit, or could not be started.
            IntegrityError: a complete training of that id was made from another request or other features.
        """
        ...


class _Made(Frozen):
    """``job.json`` beside a complete training: what it was made from and how long it took."""

    job_digest: str
    seconds: float


class LocalCompute:
    """Trains in a process on this machine."""

    def __init__(self, work_root: Path, processors: int | None = None) -> None:
        """``work_root`` holds a folder for each training; ``processors`` limits threads (None: what the machine gives)."""
        self._work_root = work_root
        self._processors = processors

    def train(
        self, job: TrainingJob, on_progress: ProgressReporter, pipes_environment: Mapping[str, str] | None = None
    ) -> TrainingOutcome:
        """Train ``job`` in a process of its own; see ``Compute.train``."""
        if not job.features.is_dir():
            raise ComputeError(f"{job.training_id}: features folder {job.features} does not exist; run the features step first")
        work = (self._work_root / (job.work_folder or job.training_id)).absolute()
        with _disk_errors_told(work):
            work.mkdir(parents=True, exist_ok=True)
        # A second call for the same training waits here, then finds the first one's outcome.
        with FileLock(work / ".lock"):
            digest = _digest(job)
            finished = _finished(work, job, digest)
            if finished is not None:
                return finished
            with _disk_errors_told(work):
                for abandoned in work.glob("attempt-*"):
                    shutil.rmtree(abandoned, ignore_errors=True)
                base = work / f"attempt-{uuid4().hex[:8]}"
                container = self._build(job, base)
            seconds = self._run(job, base, container, on_progress, pipes_environment or {})
            with _disk_errors_told(work):
                write_whole(base / "job.json", _Made(job_digest=digest, seconds=seconds).model_dump_json())
                shutil.rmtree(work / "ml", ignore_errors=True)
                container.checkpoints.unlink()
                container.checkpoints.mkdir()
                base.replace(work / "ml")
                shutil.rmtree(work / CHECKPOINTS, ignore_errors=True)
            made = _finished(work, job, digest)
            if made is None:
                raise IntegrityError(f"{work / 'ml'}: the finished training does not match its own manifest")
            return made

    def _build(self, job: TrainingJob, base: Path) -> TrainingContainer:
        container = TrainingContainer.at(base)
        kept = base.parent / CHECKPOINTS
        kept.mkdir(exist_ok=True)
        base.mkdir(parents=True)
        container.checkpoints.symlink_to(kept, target_is_directory=True)
        make_folders(container)
        write_configuration(container, _hyperparameters(job), CHANNELS, HOST)
        (container.data / FEATURES_CHANNEL).symlink_to(job.features.resolve(), target_is_directory=True)
        write_whole(container.data / REQUEST_CHANNEL / REQUEST_FILE, job.request.model_dump_json(indent=2))
        return container

    def _run(
        self,
        job: TrainingJob,
        base: Path,
        container: TrainingContainer,
        on_progress: ProgressReporter,
        pipes_environment: Mapping[str, str],
    ) -> float:
        """Run one attempt to its end; wall seconds."""
        log = base.parent / "training.log"
        before = _stamps(job.features)
        started = time.monotonic()
        with _disk_errors_told(log), log.open("ab") as stream:
            offset = stream.tell()
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "mlops_assets.tasks.entrypoint"],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=base,
                env=self._environment(job, base, container, pipes_environment),
                process_group=0,
            )
        try:
            _follow(process, job, LogTail(log, offset), on_progress, started)
        finally:
            # Also for a KeyboardInterrupt, Dagster's interrupt and an error in `on_progress`.
            _stop(process)
        _check_exit(process.returncode, job, container, log)
        if _stamps(job.features) != before:
            raise ComputeError(f"{job.training_id}: the task `{job.task}` changed its read-only input {job.features}")
        return time.monotonic() - started

    def _environment(
        self, job: TrainingJob, base: Path, container: TrainingContainer, pipes_environment: Mapping[str, str]
    ) -> dict[str, str]:
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        limits = {name: os.environ[name] for name in THREAD_LIMITS if name in os.environ}
        if self._processors is not None:
            limits = dict.fromkeys(THREAD_LIMITS, str(self._processors))
        return {
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            **limits,
            **container_variables(
                container,
                base,
                hyperparameters=_hyperparameters(job),
                channels=CHANNELS,
                job_name=job.training_id,
                host=HOST,
                processors=self._processors or available,
            ),
            **pipes_environment,
            "PYTHONPATH": _python_path(),
            "PYTHONUNBUFFERED": "1",
            "PYTHONHASHSEED": "0",
            PARENT_VARIABLE: str(os.getpid()),
        }


def _hyperparameters(job: TrainingJob) -> dict[str, JsonValue]:
    own: dict[str, JsonValue] = {TASK_HYPERPARAMETER: job.task, TRAINING_ID_HYPERPARAMETER: job.training_id}
    clash = sorted(own.keys() & job.request.hyperparameters.keys())
    if clash:
        raise UserError("a hyperparameter has a reserved name", field=f"hyperparameters.{clash[0]}", next_step="rename it")
    return {**job.request.hyperparameters, **own}


def _python_path() -> str:
    """The parent's PYTHONPATH, with the folder of this package first where it runs from a checkout."""
    root = Path(mlops_assets.__file__).resolve().parents[1]
    parts = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    # An installed package needs no entry, and site-packages on PYTHONPATH would come before the standard library.
    if root != Path(sysconfig.get_paths()["purelib"]).resolve() and str(root) not in parts:
        parts.insert(0, str(root))
    return os.pathsep.join(parts)


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and modification time of every file: enough to see that somebody wrote."""
    files = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (stat.st_size, stat.st_mtime_ns) for path, stat in files}


def _digest(job: TrainingJob) -> str:
    sizes = {name: size for name, (size, _) in _stamps(job.features).items()}
    return sha256_of({"task": job.task, "request": job.request.canonical(), "features": sizes})


def _finished(work: Path, job: TrainingJob, digest: str) -> TrainingOutcome | None:
    """The complete training in ``work``, checked file by file; None where there is none or where it was damaged."""
    container = TrainingContainer.at(work / "ml")
    try:
        made = _Made.model_validate_json((work / "ml" / "job.json").read_bytes())
        summary = TrainSummary.model_validate_json(container.summary.read_bytes())
        verify(container.model)
    except (OSError, ValueError, IntegrityError):
        return None
    if made.job_digest != digest:
        raise IntegrityError(
            f"{job.training_id} is already trained in {work} from another request or other features; "
            "a retry with changed settings is a new training with its own id"
        )
    return TrainingOutcome(model=container.model, summary=summary, log=work / "training.log", seconds=made.seconds)


def _follow(
    process: subprocess.Popen[bytes], job: TrainingJob, tail: LogTail, on_progress: ProgressReporter, started: float
) -> None:
    """Hand on progress until the process ends.

    Raises:
        ComputeError: the time limit is exceeded.
    """
    checked = time.monotonic()
    while True:
        # Asked before reading, so that the last lines are read after the end.
        ended = process.poll() is not None
        for step in tail.progress():
            on_progress(step.fraction, step.text, step.metrics)
        if ended:
            return
        if job.check_wanted is not None and time.monotonic() - checked > CHECK_SECONDS:
            job.check_wanted()
            checked = time.monotonic()
        if job.time_limit is not None and time.monotonic() - started > job.time_limit:
            raise ComputeError(
                f"{job.training_id} exceeded its time limit of {job.time_limit:g} s and was stopped; "
                "raise the limit or ask for fewer iterations"
            )
        time.sleep(POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process, politely first, and whatever it started."""
    if process.poll() is None:
        _signal_group(process, signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGKILL)
            process.wait()
    _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        # Nobody of the group is left (macOS says so with EPERM).
        return


def _check_exit(code: int, job: TrainingJob, container: TrainingContainer, log: Path) -> None:
    number = -code if code < 0 else code - 128 if code in (130, 143) else 0
    if number:
        name = signal.Signals(number).name
        if number in CRASHES:
            raise ComputeError(f"{job.training_id}: the training process crashed ({name}); log: {log}\n{last_lines(log)}")
        memory = "; the system does this too when memory runs out" if number == signal.SIGKILL else ""
        raise ComputeInterrupted(f"{job.training_id}: the training process was ended from outside ({name}{memory}); run it again")
    if code == 0 and container.summary.is_file():
        return
    try:
        told = container.failure.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        told = ""
    # A full disk may leave no room for the failure file; the log then holds the end of the story.
    reason = told or last_lines(log) or "it left neither a summary nor a reason"
    raise ComputeError(f"{job.training_id}: training failed (exit code {code}): {reason}\nlog: {log}")


@contextmanager
def _disk_errors_told(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ComputeError(
            f"{error.filename or place}: {error.strerror or error}; free space or mend access, then run it again"
        ) from error
