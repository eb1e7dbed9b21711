"""What a training is expected to take, from similar trainings that have been run; and beside it what it really took.

Advisory and no part of the plan: the numbers change with every training in the history. Pure; reading the history and
storing estimates is in ``resources/impact.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from mlops_assets.request.plan import Characteristics, Plan
from mlops_assets.request.prices import LOCAL, price_table
from mlops_assets.request.schema import Frozen, TrainingRequest

if TYPE_CHECKING:
    from mlops_assets.reports.record import TrainingRecord

SIMILAR_SHOWN: Final = 5
#: Sizes within this factor of each other are similar.
SIZE_FACTOR: Final = 3.0
#: Phases that belong to a run; the time that a proposal waits for a person does not.
RUN_PHASES: Final = ("data", "features", "training", "evaluation", "package", "deployment")
#: Knobs that say how many trees, rounds or epochs are fitted.
_ITERATIONS: Final = ("n_estimators", "epochs")

CostBasis = Literal["local", "price_table", "no_duration", "no_price"]


class SimilarTraining(Frozen):
    """One past training that resembles the planned one, and what it reached."""

    training_id: str
    model_id: str
    dataset_id: str
    rows: int
    iterations: int = Field(description="trees, rounds or epochs that it was to fit; 1 for algorithms without")
    metric: str
    score: float
    duration_seconds: float = Field(description="of its run, without the wait for approval")
    fitting_seconds: float = Field(description="of fitting the model, a part of the run")
    optimizations: tuple[str, ...] = Field(default=(), description="rules whose changes were carried out")


class Estimate(Frozen):
    """What the run is expected to take and reach; None where no similar training has been run yet."""

    duration_seconds: float | None
    cost_usd: float | None
    cost_basis: CostBasis
    instance_type: str
    price_date: str
    similar: tuple[SimilarTraining, ...] = ()
    expected_score: float | None = Field(default=None, description="of the gate metric; only from trainings on the same dataset")


class Actual(Frozen):
    """What the run really took and reached."""

    duration_seconds: float | None
    cost_usd: float | None
    metric: str | None = None
    score: float | None = None


class Errors(Frozen):
    """Actual minus estimate, in the unit of each; None where either is missing."""

    duration_seconds: float | None
    cost_usd: float | None
    score: float | None


def similar(
    characteristics: Characteristics, request: TrainingRequest, records: Iterable[TrainingRecord], limit: int = SIMILAR_SHOWN
) -> tuple[SimilarTraining, ...]:
    """The newest ``limit`` of ``records`` with the same task type and algorithm, a size within a factor of three, and classes
    that are imbalanced where these are; trainings that failed or were never measured are left out.

    Of a detector the variant and the size of its input, on which the work of a frame depends, must be the same too.
    """
    found = []
    for record in records:
        candidate = _as_similar(record)
        if candidate is None or (record.request.task_type, record.request.algorithm) != (request.task_type, request.algorithm):
            continue
        near = candidate.rows <= characteristics.rows * SIZE_FACTOR and characteristics.rows <= candidate.rows * SIZE_FACTOR
        if near and _imbalanced(record) == characteristics.imbalanced and _same_network(record.effective_request, request):
            found.append((record.finished_at, candidate))
    found.sort(key=lambda pair: (pair[0], pair[1].training_id), reverse=True)
    return tuple(candidate for _, candidate in found[:limit])


def _same_network(one: TrainingRequest, other: TrainingRequest) -> bool:
    return (one.variant, one.preprocessing.input_size) == (other.variant, other.preprocessing.input_size)


def _as_similar(record: TrainingRecord) -> SimilarTraining | None:
    seconds = run_seconds(record)
    if record.dataset is None or record.gate is None or record.training_seconds is None or seconds is None:
        return None
    if record.outcome == "failed":
        return None
    rows = sum(record.dataset.rows.values()) + sum(record.dataset.removed.values())
    return SimilarTraining(
        training_id=record.training_id,
        model_id=record.model_id,
        dataset_id=record.dataset.dataset_id,
        rows=record.characteristics.rows if record.characteristics is not None else rows,
        iterations=_iterations(record.hyperparameters),
        metric=record.gate.metric,
        score=record.gate.value,
        duration_seconds=seconds,
        fitting_seconds=min(record.training_seconds, seconds),
        optimizations=tuple(o.rule for o in record.optimizations if o.carried_out and o.changes),
    )


def _imbalanced(record: TrainingRecord) -> bool:
    """Whether the record's classes were imbalanced; one of an earlier release has them in its confusion matrix only."""
    if record.characteristics is not None:
        return record.characteristics.imbalanced
    counts = {str(position): sum(row) for position, row in enumerate(record.confusion_matrix)}
    total = sum(counts.values())
    if not total:
        return False
    return Characteristics(
        rows=total, columns=0, size_class="small", target="", task_type="classification", class_counts=counts,
        minority_share=min(counts.values()) / total,
    ).imbalanced  # fmt: skip


def _iterations(hyperparameters: object) -> int:
    knobs = hyperparameters if isinstance(hyperparameters, dict) else {}
    return next((max(1, knobs[name]) for name in _ITERATIONS if isinstance(knobs.get(name), int)), 1)


def estimate(plan: Plan, found: Sequence[SimilarTraining]) -> Estimate:
    """The estimate of a plan from trainings similar to it.

    Fitting is taken to last in proportion to rows x iterations: the median of seconds per row and iteration among the similar
    trainings, times those of the plan. Everything else (starting processes, reading, packaging, deployment) is their median as it
    is, because start-up rules it. The scaling never leaves the similar set, whose sizes lie within a factor of three. Without
    a similar training there is no duration and no cost, except that this machine's own processors cost nothing. A score is
    expected only from trainings on the same dataset with the same gate metric: metrics of other data are not comparable.
    """
    instance = str(plan.resources.get("instance_type") or plan.resources.get("compute") or LOCAL)
    duration = None
    if found:
        rate = median(s.fitting_seconds / (max(1, s.rows) * s.iterations) for s in found)
        rest = median(s.duration_seconds - s.fitting_seconds for s in found)
        duration = rate * plan.characteristics.rows * _iterations(plan.hyperparameters) + rest
    basis: CostBasis = "local" if instance == LOCAL else "price_table"
    cost = price_table().cost(instance, 0.0 if instance == LOCAL else duration or 0.0)
    if instance not in price_table().instances:
        basis = "no_price"
    elif duration is None and instance != LOCAL:
        basis, cost = "no_duration", None
    scores = [s.score for s in found if s.dataset_id == plan.dataset_id and s.metric == plan.gate_metric]
    return Estimate(
        duration_seconds=duration,
        cost_usd=cost,
        cost_basis=basis,
        instance_type=instance,
        price_date=price_table().date,
        similar=tuple(found),
        expected_score=median(scores) if scores else None,
    )


def run_seconds(record: TrainingRecord) -> float | None:
    """How long the phases of the run took together; None where none was timed."""
    timed = [row.seconds for row in record.phases if row.phase in RUN_PHASES and row.seconds is not None]
    return sum(timed) if timed else None


def actual_of(record: TrainingRecord, instance_type: str) -> Actual:
    """What a training took and reached, its cost by the price table of this release."""
    seconds = run_seconds(record)
    return Actual(
        duration_seconds=seconds,
        cost_usd=None if seconds is None else price_table().cost(instance_type, seconds),
        metric=record.gate.metric if record.gate is not None else None,
        score=record.gate.value if record.gate is not None else None,
    )


def errors_of(expected: Estimate, actual: Actual) -> Errors:
    """By how much each number of the estimate was missed."""

    def missed(guess: float | None, measured: float | None) -> float | None:
        return None if guess is None or measured is None else measured - guess

    return Errors(
        duration_seconds=missed(expected.duration_seconds, actual.duration_seconds),
        cost_usd=missed(expected.cost_usd, actual.cost_usd),
        score=missed(expected.expected_score, actual.score),
    )
