"""Similar past trainings, the estimate made from them, and by how much it was missed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.reports.record import PhaseProgress, TrainingRecord
from mlops_assets.request.optimiser.estimate import (
    SIZE_FACTOR,
    Actual,
    actual_of,
    errors_of,
    estimate,
    run_seconds,
    similar,
)
from tests.unit.reports.conftest import deployed
from tests.unit.request.optimisation_cases import BALANCED, SAGEMAKER, body, plan_of, version

PLAN = plan_of(body(extra="hyperparameters: {n_estimators: 100}\n"), version({"No": 45_000, "Yes": 5_000}))


def past(number: int = 1, *, rows: int = 50_000, fitting: float = 4.0, rest: float = 6.0, **changed: Any) -> TrainingRecord:
    """One past training of the plan's kind that ran ``fitting + rest`` seconds."""
    content: dict[str, Any] = {
        "training_id": f"train-20250110-0000{number:02d}-ab12",
        "finished_at": f"2025-01-10T00:00:{number:02d}+00:00",
        "characteristics": PLAN.characteristics.model_copy(update={"rows": rows}),
        "training_seconds": fitting,
        "hyperparameters": {"n_estimators": 100},
        "phases": (
            PhaseProgress(phase="plan", state="done", seconds=9_999.0),
            PhaseProgress(phase="training", state="done", seconds=fitting + 1),
            PhaseProgress(phase="package", state="done", seconds=rest - 1),
            PhaseProgress(phase="deployment", state="waiting"),
        ),
    }
    return deployed(**{**content, **changed})


def found(*records: TrainingRecord) -> list[str]:
    return [s.training_id for s in similar(PLAN.characteristics, PLAN.request, records)]


class TestSimilar:
    def test_the_newest_five_of_the_same_kind(self):
        records = [past(number) for number in (3, 1, 7, 5, 2, 6, 4)]
        assert found(*records) == [past(number).training_id for number in (7, 6, 5, 4, 3)]

    @pytest.mark.parametrize(("rows", "near"), [(16_667, True), (16_666, False), (150_000, True), (150_001, False)])
    def test_sizes_within_a_factor_of_three(self, rows, near):
        assert bool(found(past(rows=rows))) == near

    def test_other_tasks_algorithms_balances_and_failures_are_no_help(self):
        balanced = PLAN.characteristics.model_copy(update={"class_counts": BALANCED, "minority_share": 0.49})
        other = past().request.model_copy(update={"algorithm": "xgboost"})
        regression = past().request.model_copy(update={"task_type": "regression"})
        unlike = [past(characteristics=balanced), past(request=other), past(request=regression), past(outcome="failed")]
        unfinished = [past(gate=None), past(dataset=None), past(training_seconds=None), past(phases=())]
        assert found(*unlike, *unfinished) == []

    def test_a_record_of_an_earlier_release_is_read_by_its_confusion_matrix(self):
        assert found(past(characteristics=None)) == [past().training_id]
        assert found(past(characteristics=None, confusion_matrix=[[3000, 800], [700, 3000]])) == []
        content = past().model_dump(mode="json")
        for name in ("characteristics", "optimizations", "estimate", "actual", "class_balance"):
            del content[name]
        old = TrainingRecord.model_validate(content)
        assert (old.optimizations, old.estimate, old.effective_request) == ((), None, old.request)

    def test_what_it_reached_and_what_was_applied_is_told(self):
        (one,) = similar(PLAN.characteristics, PLAN.request, [past()])
        assert (one.metric, one.score, one.rows, one.iterations) == ("auc_roc", 0.9123456, 50_000, 100)
        assert (one.duration_seconds, one.fitting_seconds, one.optimizations) == (10.0, 4.0, ("class_imbalance",))


class TestEstimate:
    def made(self, *records: TrainingRecord, plan: Any = PLAN) -> Any:
        return estimate(plan, similar(plan.characteristics, plan.request, records))

    def test_without_history_there_is_no_duration_and_no_score(self):
        nothing = self.made()
        assert (nothing.duration_seconds, nothing.expected_score, nothing.similar) == (None, None, ())
        assert (nothing.cost_usd, nothing.cost_basis) == (0.0, "local")

    def test_fitting_scales_with_rows_and_trees_and_the_rest_does_not(self):
        small = past(rows=25_000, fitting=2.0, rest=6.0)
        half_the_trees = past(2, fitting=2.0, rest=6.0, hyperparameters={"n_estimators": 50})
        assert self.made(small).duration_seconds == pytest.approx(10.0)
        assert self.made(half_the_trees).duration_seconds == pytest.approx(10.0)
        assert self.made(past(1, rest=6.0), past(2, rest=100.0), past(3, rest=8.0)).duration_seconds == pytest.approx(12.0)

    def test_waiting_for_a_person_is_no_part_of_it(self):
        assert run_seconds(past()) == pytest.approx(10.0)

    def test_a_score_is_expected_from_the_same_data_and_metric_only(self):
        same = past().dataset
        elsewhere = past(2, dataset=same.model_copy(update={"dataset_id": "other-data"}))
        assert self.made(elsewhere).expected_score is None
        plan = PLAN.model_copy(update={"gate_metric": "auc_roc"})
        assert self.made(elsewhere, past(), plan=plan).expected_score == 0.9123456
        assert self.made(past(), plan=PLAN.model_copy(update={"gate_metric": "recall"})).expected_score is None

    def test_cost_is_time_times_the_price_of_the_instance(self):
        plan = plan_of(body(extra="hyperparameters: {n_estimators: 100}\n"), version({"No": 45_000, "Yes": 5_000}), SAGEMAKER)
        there = self.made(past(), plan=plan)
        assert there.cost_usd == pytest.approx(10.0 / 3600 * 0.23)
        assert (there.cost_basis, there.instance_type, there.price_date) == ("price_table", "ml.m5.xlarge", "2026-11-21")
        assert (self.made(plan=plan).cost_usd, self.made(plan=plan).cost_basis) == (None, "no_duration")
        unknown = plan.model_copy(update={"resources": {"compute": "sagemaker", "instance_type": "ml.z9.huge"}})
        assert (self.made(past(), plan=unknown).cost_usd, self.made(past(), plan=unknown).cost_basis) == (None, "no_price")

    def test_errors_are_actual_minus_estimate(self):
        expected = self.made(past())
        actual = actual_of(past(rest=8.0), "ml.m5.xlarge")
        assert actual == Actual(duration_seconds=12.0, cost_usd=12.0 / 3600 * 0.23, metric="auc_roc", score=0.9123456)
        missed = errors_of(expected, actual)
        assert missed.duration_seconds == pytest.approx(2.0)
        assert missed.score == pytest.approx(0.0)
        assert errors_of(self.made(), actual).duration_seconds is None

    @settings(max_examples=60, deadline=None)
    @given(
        rows=st.lists(st.integers(1, 1_000_000), max_size=12),
        fitting=st.floats(0, 1e6),
        rest=st.floats(2, 1e6),
    )
    def test_the_estimate_stays_within_what_the_similar_ones_took_scaled(self, rows, fitting, rest):
        records = [past(i + 1, rows=n, fitting=fitting, rest=rest) for i, n in enumerate(rows)]
        made = self.made(*records)
        assert all(1 / SIZE_FACTOR <= s.rows / 50_000 <= SIZE_FACTOR for s in made.similar)
        if made.similar:
            assert math.isfinite(made.duration_seconds)
            assert rest * 0.999 - 1e-6 <= made.duration_seconds <= (fitting * SIZE_FACTOR + rest) * 1.001 + 1e-6
        else:
            assert made.duration_seconds is None
