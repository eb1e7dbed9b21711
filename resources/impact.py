"""Estimates and what became of them: reads similar trainings, stores the estimate with the proposal, and the actual beside it.

Objects, each created once so that the first one stands::

    optimizations/{training_id}/proposal.json               what was proposed and expected, before the run
    optimizations/{training_id}/applied_optimizations.json  what was carried out, with its effect on the training rows
    optimizations/{training_id}/impact_report.json          estimate, actual, error
    optimizations/by_algorithm/{task_type}/{algorithm}/{training_id}   which trainings may be similar to a new one

How similarity, estimates and errors are computed is ``mlops_assets.request.optimiser.estimate``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlops_assets.errors import NotFound
from mlops_assets.reports.record import TrainingRecord
from mlops_assets.request.optimiser.estimate import Actual, Errors, Estimate, actual_of, errors_of, estimate, similar
from mlops_assets.request.optimiser.models import Optimization
from mlops_assets.request.plan import Characteristics, Plan
from mlops_assets.request.schema import Frozen

if TYPE_CHECKING:
    from resources.platform import Platform

#: Records that are read for one proposal at most; the newest are.
CANDIDATES = 40


class Proposal(Frozen):
    """What a proposal said before the run."""

    training_id: str
    plan_digest: str
    characteristics: Characteristics
    optimizations: tuple[Optimization, ...]
    estimate: Estimate


class AppliedOptimizations(Frozen):
    """What of a proposal was carried out in the run that followed."""

    training_id: str
    optimizations: tuple[Optimization, ...]
    class_balance: dict[str, tuple[float, float]]


class ImpactReport(Frozen):
    """Estimate, actual and error of one training; the estimate is None where none had been made."""

    training_id: str
    estimate: Estimate | None
    actual: Actual
    errors: Errors | None


def estimate_for(platform: Platform, training_id: str, plan: Plan) -> Estimate:
    """The estimate that was stored with the training's proposal, else one made now and stored; the first one stands."""
    stored = stored_proposal(platform, training_id)
    if stored is not None:
        return stored.estimate
    found = similar(plan.characteristics, plan.request, _candidates(platform, plan, training_id))
    proposal = Proposal(
        training_id=training_id,
        plan_digest=plan.digest,
        characteristics=plan.characteristics,
        optimizations=plan.optimizations,
        estimate=estimate(plan, found),
    )
    if platform.store.create(_key(training_id, "proposal"), _json(proposal)):
        return proposal.estimate
    winner = stored_proposal(platform, training_id)
    return winner.estimate if winner is not None else proposal.estimate


def stored_proposal(platform: Platform, training_id: str) -> Proposal | None:
    """What was proposed for a training; None where nothing was."""
    try:
        return Proposal.model_validate_json(platform.store.get(_key(training_id, "proposal")))
    except NotFound:
        return None


def with_impact(platform: Platform, record: TrainingRecord) -> TrainingRecord:
    """The record with the estimate that was made before its run, if one was, and with what it took."""
    proposal = stored_proposal(platform, record.training_id)
    expected = proposal.estimate if proposal is not None else None
    actual = actual_of(record, expected.instance_type if expected is not None else "local")
    return record.model_copy(update={"estimate": expected, "actual": actual})


def record_impact(platform: Platform, training_id: str, record: TrainingRecord) -> ImpactReport:
    """Store what was applied, what it took and by how much the estimate was missed, and make the training a candidate for
    later estimates; calling it again changes nothing."""
    applied = AppliedOptimizations(
        training_id=training_id,
        optimizations=tuple(o for o in record.optimizations if o.carried_out) if record.dataset is not None else (),
        class_balance=record.class_balance,
    )
    platform.store.create(_key(training_id, "applied_optimizations"), _json(applied))
    actual = record.actual or actual_of(record, "local")
    expected = record.estimate
    report = ImpactReport(
        training_id=training_id,
        estimate=expected,
        actual=actual,
        errors=errors_of(expected, actual) if expected is not None else None,
    )
    platform.store.create(_key(training_id, "impact_report"), _json(report))
    if record.outcome != "failed":
        task, algorithm = record.request.task_type, record.request.algorithm
        platform.store.create(f"{_group(task, algorithm)}/{training_id}", b"{}")
    return ImpactReport.model_validate_json(platform.store.get(_key(training_id, "impact_report")))


def _candidates(platform: Platform, plan: Plan, training_id: str) -> Iterator[TrainingRecord]:
    """Records of the newest trainings with the plan's task type and algorithm; of the line's own before they were listed."""
    group = _group(plan.request.task_type, plan.request.algorithm)
    listed = {key.rsplit("/", 1)[-1] for key in platform.store.keys(group)}
    listed.update(platform.ledger.trainings(plan.request.model_id))
    for other in sorted(listed - {training_id}, reverse=True)[:CANDIDATES]:
        record = platform.ledger.record(other)
        if record is not None:
            yield record


def _group(task_type: str, algorithm: str) -> str:
    return f"optimizations/by_algorithm/{task_type}/{algorithm}"


def _key(training_id: str, name: str) -> str:
    return f"optimizations/{training_id}/{name}.json"


def _json(model: Frozen) -> bytes:
    return model.model_dump_json(indent=1).encode()
