"""Closing a training: its record, MLflow, the history commit, the report and the comment, each exactly once.

Every step is an upsert keyed by the training, so closing again after a kill completes what is missing.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock
from pydantic import JsonValue

from mlops_assets.code_version import code_version, environment_versions
from mlops_assets.data.dataset import TABLE, PreparedDataset
from mlops_assets.errors import MlopsError
from mlops_assets.reports.notifications import facts_of_record, notification_for
from mlops_assets.reports.record import (
    DatasetFacts,
    EndpointFacts,
    GateDecision,
    ModelFacts,
    Outcome,
    TrainingRecord,
)
from mlops_assets.reports.report import history_files, report_html, report_markdown
from mlops_assets.request.optimiser.rules import carry_out
from mlops_assets.request.plan import Plan
from mlops_assets.request.schema import Frozen, TrainingRequest
from mlops_assets.serving.package import Examples, ModelMetadata
from mlops_assets.tasks.interface import EvaluationSummary, FeatureSummary, TrainSummary, task_for
from resources.impact import record_impact, with_impact
from resources.ledger import now

if TYPE_CHECKING:
    from resources.platform import Platform

ModelT = TypeVar("ModelT", bound=Frozen)
#: Only field of a row -> type under which the bare file is sent instead, and a name for it.
BARE_FILES = {"image": ("image/png", "image.png"), "points": ("application/octet-stream", "cloud.bin")}
BOXES_SHOWN = 3
#: Fields of a request that a plan on frames fills in, or writes by their own names.
SETTLED = (("dataset", "classes"), ("preprocessing", "input_size"), ("preprocessing", "augmentation"))


class _Facts:
    """What a training has made so far, read through its references in the ledger."""

    def __init__(self, platform: Platform, training_id: str) -> None:
        self._platform = platform
        self._training_id = training_id

    def folder(self, asset: str) -> Path | None:
        reference = self._platform.ledger.reference(self._training_id, asset)
        return None if reference is None else self._platform.store.checkout(reference.prefix)

    def read(self, asset: str, name: str, model: type[ModelT]) -> ModelT | None:
        folder = self.folder(asset)
        return None if folder is None else model.model_validate_json((folder / name).read_bytes())


def build_record(platform: Platform, training_id: str, error: str | None) -> TrainingRecord:
    """Everything known about a training whose run has ended, with ``error`` if it failed."""
    facts = _Facts(platform, training_id)
    identity = platform.ledger.identity(training_id)
    request = platform.ledger.request(training_id)
    plan = facts.read("plan", "plan.json", Plan)
    approval = platform.ledger.approval(training_id, plan.digest) if plan is not None else None
    prepared = facts.read("dataset", "dataset.json", PreparedDataset)
    features = facts.read("features", "summary.json", FeatureSummary)
    trained = facts.read("model", "summary.json", TrainSummary)
    measured = facts.read("evaluation", "results.json", EvaluationSummary)
    gate = facts.read("approved_model", "decision.json", GateDecision) or facts.read(
        "operator_request", "decision.json", GateDecision
    )
    endpoint = facts.read("endpoint", "endpoint.json", EndpointFacts)
    stop = platform.ledger.stopped(training_id)
    outcome: Outcome = "failed"
    if gate is not None and (endpoint is not None or not gate.passed) and error is None:
        outcome = "deployed" if gate.passed else "below_threshold"
    elif stop is not None:
        outcome = stop.reason
    record = TrainingRecord(
        training_id=training_id,
        model_id=identity.model_id,
        issue=identity.issue,
        attempt=identity.attempt,
        outcome=outcome,
        language=request.language,
        started_at=identity.created_at,
        finished_at=now(),
        request=request,
        plan_digest=plan.digest if plan is not None else "",
        approved_by=approval.by if approval is not None else None,
        code_version=plan.code_version if plan is not None else code_version(),
        environment=environment_versions(),
        not_done=tuple(item.key for item in plan.not_done) if plan is not None else (),
        characteristics=plan.characteristics if plan is not None else None,
        optimizations=plan.optimizations if plan is not None else (),
        class_balance=_class_balance(trained),
        dataset=_dataset_facts(prepared, features),
        feature_digest=features.digest if features is not None else None,
        hyperparameters=dict(trained.hyperparameters) if trained is not None else dict(plan.hyperparameters) if plan else {},
        training_seconds=trained.seconds if trained is not None else None,
        settled=_settled(request, plan),
        curves=trained.curves if trained is not None else {},
        metrics={**(trained.metrics if trained is not None else {}), **(measured.metrics if measured is not None else {})},
        conventions=measured.conventions if measured is not None else {},
        per_class=measured.per_class if measured is not None else {},
        confusion_matrix=measured.confusion_matrix if measured is not None else [],
        confusion_classes=measured.classes if measured is not None else (),
        variants=_variants(request),
        importance=measured.importance if measured is not None else {},
        gate=gate,
        model=_model_facts(platform, training_id, facts),
        endpoint=endpoint,
        phases=platform.board.phases(training_id),
        ended_by=stop.by if stop is not None and outcome in ("cancelled", "rejected") and stop.cause is None else None,
        ended_because=stop.cause if stop is not None and outcome == stop.reason else None,
        error=error if outcome == "failed" else None,
    )
    return with_impact(platform, record)


def _settled(request: TrainingRequest, plan: Plan | None) -> dict[str, JsonValue]:
    """What the plan gave to fields of the request that are no optimisation: the default variant, the classes of the copy …"""
    if plan is None:
        return {}
    asked = carry_out(request, plan.optimizations).model_dump(mode="json")
    planned = plan.request.model_dump(mode="json")
    found: dict[str, JsonValue] = {} if asked["variant"] == planned["variant"] else {"variant": planned["variant"]}
    for section, name in SETTLED:
        if asked[section][name] != planned[section][name]:
            found[f"{section}.{name}"] = planned[section][name]
    return found


def _variants(request: TrainingRequest) -> tuple[str, ...]:
    offered = task_for(request.algorithm)
    return offered[1].variants if offered is not None else ()


def _class_balance(trained: TrainSummary | None) -> dict[str, tuple[float, float]]:
    """Share of each class in the training rows before and after they were resampled; empty where they were not."""
    rows = trained.resampled if trained is not None else ()
    before, after = sum(r.before for r in rows) or 1, sum(r.after for r in rows) or 1
    return {r.label: (r.before / before, r.after / after) for r in rows}


def _dataset_facts(prepared: PreparedDataset | None, features: FeatureSummary | None) -> DatasetFacts | None:
    if prepared is None:
        return None
    return DatasetFacts(
        dataset_id=prepared.dataset_id,
        version=prepared.version,
        target=prepared.target,
        rows=prepared.rows,
        removed=prepared.removed,
        split=prepared.split,
        features=len(features.feature_names) if features is not None else 0,
        form=prepared.form,
        parts=features.feature_names if features is not None and prepared.form != TABLE else (),
        objects=features.objects if features is not None else {},
        classes=features.classes if features is not None else (),
        checks=prepared.checks,
        digest=prepared.digest,
    )


def _model_facts(platform: Platform, training_id: str, facts: _Facts) -> ModelFacts | None:
    reference = platform.ledger.reference(training_id, "package")
    metadata = facts.read("package", "model_metadata.json", ModelMetadata)
    if reference is None or metadata is None:
        return None
    return ModelFacts(version=metadata.version, package_digest=reference.digest, uri=platform.store.uri(reference.prefix))


def close_training(platform: Platform, training_id: str, error: str | None = None) -> TrainingRecord:
    """Conclude a training whose run has ended: MLflow, record, report, history, comment and labels.

    Calling it again returns the same record and completes whatever an earlier call did not reach.
    """
    locks = platform.home / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f"close-{training_id}.lock"):  # the daemon and a command may see the same end
        return _close(platform, training_id, error)


def _close(platform: Platform, training_id: str, error: str | None) -> TrainingRecord:
    ledger = platform.ledger
    record = ledger.record(training_id)
    if record is None:
        built = build_record(platform, training_id, error)
        record = ledger.conclude(_registered(platform, built) if built.has_run else built)
    if ledger.is_reported(training_id):
        return record
    if record.has_run:
        _publish(platform, record)
    platform.thread.conclude(record, predict_example(platform, record))
    _notify(platform, record)
    ledger.mark_reported(training_id)
    return record


def _publish(platform: Platform, record: TrainingRecord) -> None:
    """The record in its line's history, as report and as a commit."""
    training_id = record.training_id
    platform.ledger.join_line(record.model_id, training_id)
    record_impact(platform, training_id, record)
    pictures = {path.name: path.read_bytes() for path in _figures(platform, training_id)}
    platform.store.put(f"reports/{training_id}/report.md", report_markdown(record, record.language).encode())
    platform.store.put(f"reports/{training_id}/report.html", report_html(record, record.language, pictures).encode())
    platform.history.commit(training_id, history_files(record), f"{record.model_id}: {record.outcome} ({training_id})")


def _notify(platform: Platform, record: TrainingRecord) -> None:
    """Put the news on its way to the channels that the request names; sending them fails no training."""
    if record.outcome == "superseded" or not record.request.notification_channels:
        return
    issue = platform.docket.seen(record.issue) if record.issue is not None else None
    facts = facts_of_record(
        record,
        issue_title=issue.title if issue is not None else "",
        issue_url=issue.url if issue is not None else None,
        retries_exhausted=record.retries_exhausted,
    )
    platform.outbox.enqueue(notification_for(facts), record.request.notification_channels)


def _figures(platform: Platform, training_id: str) -> list[Path]:
    """The figures of the evaluation in the order in which it wants them read."""
    facts = _Facts(platform, training_id)
    folder, measured = facts.folder("evaluation"), facts.read("evaluation", "results.json", EvaluationSummary)
    return [folder / name for name in measured.figures] if folder is not None and measured is not None else []


def _registered(platform: Platform, record: TrainingRecord) -> TrainingRecord:
    """The record after MLflow knows the run and the model version, with their ids."""
    figures = {f"figures/{path.name}": path for path in _figures(platform, record.training_id)}
    run_id = platform.experiments.log_training(record, experiment=record.model_id, artifacts=figures)
    package = _Facts(platform, record.training_id).folder("package")
    if record.model is None or package is None:
        return record
    version = platform.experiments.register_version(
        record.model_id,
        record.model.version,
        package,
        run_id=run_id,
        digest=record.model.package_digest,
        training_id=record.training_id,
    )
    if record.outcome == "deployed":
        platform.experiments.set_champion(record.model_id, record.model.version)
    return record.model_copy(
        update={"model": record.model.model_copy(update={"mlflow_run_id": run_id, "mlflow_model_version": version})}
    )


def log_to_mlflow(platform: Platform, training_id: str, gate: GateDecision) -> str:
    """Log an evaluated training before it is packaged; the address of its run in MLflow's UI."""
    outcome: Outcome = "deployed" if gate.passed else "below_threshold"
    record = build_record(platform, training_id, None).model_copy(update={"gate": gate, "outcome": outcome})
    figures = {f"figures/{path.name}": path for path in _figures(platform, training_id)}
    return platform.experiments.run_url(platform.experiments.log_training(record, experiment=record.model_id, artifacts=figures))


def example_rows(platform: Platform, training_id: str, count: int = 1) -> Examples | None:
    """The first rows of a training's packaged examples."""
    folder = _Facts(platform, training_id).folder("package")
    if folder is None:
        return None
    examples = Examples.model_validate_json((folder / "examples.json").read_bytes())
    return examples.model_copy(update={"rows": examples.rows[:count]})


def predict_example(platform: Platform, record: TrainingRecord) -> str | None:
    """The exact ``curl`` for one packaged row and the endpoint's actual answer; None where nothing was deployed."""
    if record.endpoint is None:
        return None
    examples = example_rows(platform, record.training_id)
    if examples is None:
        return None
    row = dict(examples.rows[0])
    url = record.endpoint.url
    try:
        # It may have been killed since it was deployed, and have come back at another port.
        url = platform.endpoints.ensure(record.model_id, record.endpoint.environment).url
        given = platform.endpoints.predict(record.model_id, record.endpoint.environment, list(examples.rows))
        answer = example_answer(given)
    except MlopsError as error:
        answer = f"({error})"
    return f"{example_call(url, row)}\n{answer}"


def example_call(url: str, row: Mapping[str, JsonValue]) -> str:
    """The ``curl`` for one row; an image or a cloud, too long to be read, goes as the bare file that a person has."""
    for name, (content_type, file) in BARE_FILES.items():
        if set(row) == {name}:
            return f"curl -s {url}/invocations -H 'Content-Type: {content_type}' --data-binary @{file}"
    body = json.dumps(dict(row), ensure_ascii=False)
    return f"curl -s {url}/invocations -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def example_answer(given: Mapping[str, JsonValue]) -> str:
    """The endpoint's answer as JSON; of a detector the surest boxes, and how many more there are in ``boxes_left_out``."""
    predictions = given.get("predictions")
    first = predictions[0] if isinstance(predictions, list) and predictions else None
    boxes = first.get("boxes") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(boxes, list):
        return json.dumps(given, ensure_ascii=False)
    left = len(boxes) - BOXES_SHOWN
    shown = {**first, "boxes": boxes[:BOXES_SHOWN], **({"boxes_left_out": left} if left > 0 else {})}
    return json.dumps({**given, "predictions": [_rounded(shown)]}, ensure_ascii=False)


def _rounded(value: JsonValue) -> JsonValue:
    """Numbers with four digits behind the point: those of a box go on without telling more."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return {key: _rounded(item) for key, item in value.items()} if isinstance(value, dict) else value
