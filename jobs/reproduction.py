"""Running a past training again from its history file, and comparing every metric."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import Field

from mlops_assets.code_version import code_version, environment_versions
from mlops_assets.data.dataset import DatasetVersion
from mlops_assets.data.forms import Preparation, form_of
from mlops_assets.errors import UserError
from mlops_assets.reports.record import Phase, PhaseState
from mlops_assets.request.schema import Frozen
from mlops_assets.request.task_types import ANY_TASK_METRICS
from mlops_assets.tasks.interface import task_for
from resources.board import ProgressEvent
from resources.compute import TrainingJob
from resources.platform import Platform
from resources.workshop import passing


class Comparison(Frozen):
    """One metric as recorded and as measured now; equal means to the last digit."""

    metric: str
    recorded: float
    reproduced: float | None

    @property
    def equal(self) -> bool:
        """Whether both are the same number."""
        return self.recorded == self.reproduced


class Reproduction(Frozen):
    """What became of running a training again."""

    training_id: str
    comparisons: tuple[Comparison, ...]
    same_data: bool = Field(description="the prepared dataset's digest is the recorded one")
    same_features: bool
    changed: dict[str, str] = Field(description="what differs in code or libraries: name -> `recorded -> now`")

    @property
    def reproduced(self) -> bool:
        """Whether data, features and every metric are the recorded ones."""
        return self.same_data and self.same_features and all(c.equal for c in self.comparisons)

    @property
    def verdict(self) -> str:
        """One or two lines for a person."""
        if self.reproduced:
            return f"reproduced: all {len(self.comparisons)} metrics of {self.training_id} are equal to the last digit"
        causes = [name for name, same in (("data", self.same_data), ("features", self.same_features)) if not same]
        causes += [f"{name} {change}" for name, change in self.changed.items()]
        return "NOT reproduced" + (f"; different: {', '.join(causes)}" if causes else "; nothing recorded explains it")


def reproduce_training(platform: Platform, training_id: str, show: Callable[[ProgressEvent], None]) -> Reproduction:
    """Prepare, train and evaluate again what the history file records; nothing is registered or deployed.

    Raises:
        NotFound: there is no such training, or its dataset version is gone.
        UserError: the recorded training failed before it was evaluated, or its algorithm is not installed.
    """
    record = platform.history.read(training_id)
    if record.dataset is None or not record.metrics:
        raise UserError(
            "this training was never evaluated, so there is nothing to compare",
            field="TRAINING_ID",
            given=f"{training_id} ({record.outcome})",
        )
    found = task_for(record.request.algorithm)
    if found is None:
        raise UserError("no installed learning task offers this algorithm", field="algorithm", given=record.request.algorithm)
    task, request = found[0], record.effective_request

    def tell(phase: Phase, state: PhaseState, text: str = "") -> None:
        show(ProgressEvent(training_id, phase, state, None, text, {}))

    with passing(platform.scratch, "reproduce") as work:
        folders = {name: work / name for name in ("dataset", "features", "evaluation")}
        for folder in folders.values():
            folder.mkdir(parents=True)
        tell("data", "running")
        source = platform.catalogue.folder(record.dataset.dataset_id, record.dataset.version)
        version = DatasetVersion.model_validate_json((source / "version.json").read_bytes())
        prepared = form_of(version).prepare(
            Preparation(
                source=source,
                request=request,
                target=record.dataset.target,
                out=folders["dataset"],
                now=datetime.now(UTC),
                memory_limit=platform.settings.memory_limit,
                shard=lambda number: platform.shards.frames(version, number)[0],
                told=lambda fraction, text: show(ProgressEvent(training_id, "data", "running", fraction, text, {})),
            )
        )
        tell("data", "done", prepared.digest[:12])
        tell("features", "running")
        features = task.prepare(folders["dataset"], request, folders["features"])
        (folders["features"] / "summary.json").write_text(features.model_dump_json())
        tell("features", "done", features.digest[:12])
        tell("training", "running")
        outcome = platform.compute.train(
            TrainingJob(
                training_id=training_id,
                task=task.name,
                features=folders["features"],
                request=request,
                work_folder=work / "training",
                time_limit=platform.settings.training_time_limit_seconds,
            ),
            lambda fraction, text, metrics: show(ProgressEvent(training_id, "training", "running", fraction, text, metrics)),
        )
        tell("training", "done", f"{outcome.seconds:.1f} s")
        tell("evaluation", "running")
        measured = task.evaluate(folders["features"], outcome.model, request, folders["evaluation"])
        tell("evaluation", "done")
    now = {**outcome.summary.metrics, **measured.metrics}
    then = {**record.environment, "code": record.code_version}
    today = {**environment_versions(), "code": code_version()}
    return Reproduction(
        training_id=training_id,
        comparisons=tuple(
            Comparison(metric=name, recorded=value, reproduced=now.get(name))
            for name, value in record.metrics.items()
            if name not in ANY_TASK_METRICS  # times, which no two runs share
        ),
        same_data=prepared.digest == record.dataset.digest,
        same_features=features.digest == record.feature_digest,
        changed={name: f"{then[name]} -> {today.get(name)}" for name in then if then[name] != today.get(name)},
    )
