"""What is stored about an estimate and what became of it: once each, whatever is killed or called again."""

from __future__ import annotations

from typing import Any

from mlops_assets.reports.record import TrainingRecord
from resources import impact
from resources.impact import ImpactReport, estimate_for, record_impact, stored_proposal, with_impact
from resources.platform import Platform
from tests.unit.request.optimisation_cases import body, plan_of, version
from tests.unit.request.test_estimate import past

PLAN = plan_of(body(extra="model_id: churn\n"), version({"No": 45_000, "Yes": 5_000}))
NEW = "train-20250111-000000-ffff"


def conclude(platform: Platform, record: TrainingRecord) -> TrainingRecord:
    """As closing does it."""
    concluded = platform.ledger.conclude(with_impact(platform, record))
    record_impact(platform, record.training_id, concluded)
    return concluded


def test_the_first_estimate_stands_and_knows_nothing_of_later_trainings(platform: Platform) -> None:
    first = estimate_for(platform, NEW, PLAN)
    assert first.similar == ()
    conclude(platform, past())
    assert estimate_for(platform, NEW, PLAN) == first
    assert estimate_for(platform, "train-20250111-000001-ffff", PLAN).similar != ()
    stored = stored_proposal(platform, NEW)
    assert stored is not None
    assert (stored.plan_digest, stored.optimizations, stored.estimate) == (PLAN.digest, PLAN.optimizations, first)


def test_a_later_estimate_uses_what_the_earlier_one_took(platform: Platform) -> None:
    conclude(platform, past(1, fitting=4.0, rest=6.0))
    before = estimate_for(platform, NEW, PLAN)
    conclude(platform, past(2, fitting=4.0, rest=26.0))
    after = estimate_for(platform, "train-20250111-000001-ffff", PLAN)
    assert before.duration_seconds is not None and after.duration_seconds is not None
    assert after.duration_seconds - before.duration_seconds == 10.0


def test_estimate_actual_and_error_are_stored_once(platform: Platform) -> None:
    conclude(platform, past())
    estimate_for(platform, NEW, PLAN)
    concluded = conclude(platform, past(2, rest=9.0, training_id=NEW))
    assert concluded.estimate is not None and concluded.actual is not None
    assert concluded.actual.duration_seconds == 13.0
    keys = platform.store.keys("optimizations")
    report = record_impact(platform, NEW, concluded)
    assert report.errors is not None and report.errors.duration_seconds == 3.0
    assert record_impact(platform, NEW, past(3, training_id=NEW)) == report
    assert platform.store.keys("optimizations") == keys
    written = ImpactReport.model_validate_json(platform.store.get(f"optimizations/{NEW}/impact_report.json"))
    assert written == report
    applied = impact.AppliedOptimizations.model_validate_json(
        platform.store.get(f"optimizations/{NEW}/applied_optimizations.json")
    )
    assert [o.rule for o in applied.optimizations] == ["class_imbalance"]
    assert applied.class_balance["Yes"] == (0.1, 0.5)


def test_a_failed_training_is_recorded_and_helps_no_estimate(platform: Platform) -> None:
    failed = past(outcome="failed", gate=None, error="x")
    conclude(platform, failed)
    assert record_impact(platform, failed.training_id, failed).actual.score is None
    assert estimate_for(platform, NEW, PLAN).similar == ()


def test_a_training_without_a_proposal_has_no_estimate(platform: Platform) -> None:
    concluded = conclude(platform, past(estimate=None))
    assert concluded.estimate is None
    assert record_impact(platform, concluded.training_id, concluded).errors is None


def test_a_kill_between_the_outcome_and_its_impact_is_made_good(platform: Platform) -> None:
    concluded = platform.ledger.conclude(with_impact(platform, past()))
    assert platform.store.keys("optimizations") == []
    assert record_impact(platform, concluded.training_id, concluded) == record_impact(platform, concluded.training_id, concluded)
    assert len(estimate_for(platform, NEW, PLAN).similar) == 1


def test_a_record_that_is_listed_but_not_there_is_passed_over(platform: Platform) -> None:
    platform.store.create("optimizations/by_algorithm/classification/random_forest/train-20250101-000000-dead", b"{}")
    assert estimate_for(platform, NEW, PLAN).similar == ()


def test_reading_stays_bounded_however_long_the_history_is(platform: Platform, monkeypatch: Any) -> None:
    for number in range(60):
        key = f"optimizations/by_algorithm/classification/random_forest/train-20250110-0000{number:02d}-ab12"
        platform.store.create(key, b"{}")
    read: list[str] = []
    monkeypatch.setattr(platform.ledger, "record", read.append)
    estimate_for(platform, NEW, PLAN)
    assert len(read) == impact.CANDIDATES
    assert read == sorted(read, reverse=True)
    assert read[0].startswith("train-20250110-000059")
