"""The plan that runs is the optimised one; it is checked against what was asked for, also where another training adopts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_assets.data.dataset import CatalogueEntry
from mlops_assets.errors import NotApproved
from mlops_assets.request.plan import Plan
from resources.ledger import ArtifactReference, new_training_id
from resources.platform import Platform

TABLE = Path(__file__).resolve().parents[3] / "examples" / "data" / "customers.csv"
BODY = "dataset_id: customers\nalgorithm: xgboost\ntask_type: classification\nevaluation_metrics: [auc_roc]\n"


@pytest.fixture
def planned(platform: Platform, tmp_path: Path) -> tuple[str, Plan]:
    """A training with its plan, as the plan asset leaves them."""
    entry = CatalogueEntry(dataset_id="customers", source=str(TABLE), target="churned", positive_class="yes")
    platform.catalogue.add(entry)
    issue = platform.tracker.open_issue("churn", BODY, ["mlops:train"])
    training_id = platform.front_desk.read(issue).training_id
    plan = platform.planning.make_plan(platform.ledger.request(training_id))
    folder = tmp_path / "plan"
    folder.mkdir()
    (folder / "plan.json").write_text(plan.model_dump_json())
    prefix = f"trainings/{training_id}/plan"
    digest = platform.store.publish(prefix, folder).digest
    platform.ledger.refer(
        ArtifactReference(
            asset="plan",
            model_id=plan.request.model_id,
            training_id=training_id,
            prefix=prefix,
            digest=digest,
            created_at="2026-11-21T00:00:00+00:00",
        )
    )
    return training_id, plan


def test_the_approved_plan_is_the_optimised_one_and_the_request_stays_as_asked(
    platform: Platform, planned: tuple[str, Plan]
) -> None:
    training_id, plan = planned
    assert plan.request.preprocessing.resample == "smote"
    assert plan.request.evaluation.metrics == ("auc_roc", "precision", "recall", "f1_score")
    assert platform.ledger.request(training_id).preprocessing.resample == "none"
    platform.front_desk.approve(training_id, platform.tracker.current_actor(), "command")
    assert platform.front_desk.require_approved(training_id).plan_digest == plan.digest


def test_a_run_that_adopts_the_plan_needs_no_new_approval(platform: Platform, planned: tuple[str, Plan]) -> None:
    training_id, plan = planned
    platform.front_desk.approve(training_id, platform.tracker.current_actor(), "command")
    reference = platform.ledger.reference(training_id, "plan")
    assert reference is not None
    other = new_training_id()
    platform.ledger.adopt(other, reference)
    platform.front_desk.begin(plan.request.model_id, other)
    assert platform.front_desk.require_approved(other).plan_digest == plan.digest


def test_a_rule_that_is_no_longer_there_voids_the_approval(
    platform: Platform, planned: tuple[str, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    training_id, _ = planned
    platform.front_desk.approve(training_id, platform.tracker.current_actor(), "command")
    monkeypatch.setattr("mlops_assets.request.optimiser.rules.installed_rules", lambda: ())
    with pytest.raises(NotApproved, match=r"request, optimizations, metrics"):
        platform.front_desk.require_approved(training_id)


def test_a_plan_of_an_earlier_release_can_still_be_read(planned: tuple[str, Plan]) -> None:
    content = planned[1].model_dump(mode="json")
    del content["optimizations"]
    for name in ("learning_type", "algorithm", "features", "sensitive"):
        del content["characteristics"][name]
    old = Plan.model_validate({**content, "estimated_cost_usd": 0.0})
    assert old.optimizations == ()
