"""The front desk: reading, planning and approving, without a run."""

from __future__ import annotations

import pytest

from mlops_assets.data.dataset import DatasetVersion
from mlops_assets.errors import NotApproved, RequestInvalid
from mlops_assets.request.lifecycle import IssueState, TrainingIdentity
from resources.ledger import ArtifactReference, now
from resources.platform import Platform
from resources.tracker import Issue
from tests.unit.frame_cases import LONG, kitti

BODY = "```yaml\ndataset_id: breast-cancer\nmodel_id: a-line\ntask_type: classification\nalgorithm: logistic_regression\n```\n"


def opened(platform: Platform, body: str = BODY) -> Issue:
    return platform.tracker.open_issue("a title", body, ["mlops:train"])


def planned(platform: Platform, identity: TrainingIdentity) -> str:
    """What the propose job leaves: the published plan; its digest."""
    plan = platform.planning.make_plan(platform.ledger.request(identity.training_id))
    folder = platform.scratch / "plan"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(plan.model_dump_json())
    prefix = f"trainings/{identity.training_id}/plan"
    manifest = platform.store.publish(prefix, folder)
    platform.ledger.refer(
        ArtifactReference(
            asset="plan",
            model_id=identity.model_id,
            training_id=identity.training_id,
            prefix=prefix,
            digest=manifest.digest,
            created_at=now(),
        )
    )
    return plan.digest


def test_who_reads_an_issue_again_gets_the_same_training_and_another_one_only_after_it(platform: Platform) -> None:
    issue = opened(platform)
    first = platform.front_desk.read(issue)
    assert platform.front_desk.read(issue) == first
    second = platform.front_desk.read(issue, after=first.training_id)
    assert platform.front_desk.read(issue, after=first.training_id) == second
    assert platform.ledger.identity(first.training_id) == first


def test_only_trainings_that_have_run_count_as_attempts(platform: Platform) -> None:
    issue = opened(platform)
    first = platform.front_desk.read(issue)
    planned(platform, first)
    second = platform.front_desk.read(issue, after=first.training_id)
    assert (first.attempt, second.attempt) == (1, 1), "the first is only a plan"
    platform.ledger.refer(
        ArtifactReference(
            asset="dataset", model_id="a-line", training_id=second.training_id, prefix="x", digest="d", created_at=now()
        )
    )
    third = platform.front_desk.read(issue, after=second.training_id)
    assert third.attempt == 2 and platform.front_desk.read(issue, after=second.training_id) == third
    assert platform.ledger.attempts(issue.number, first.body_digest) == [first, second, third]


def test_a_refused_issue_has_one_comment_with_every_problem_a_label_and_no_training(platform: Platform) -> None:
    issue = opened(platform, BODY.replace("logistic_regression", "logistic").replace("classification", "clasification"))
    for _ in range(2):
        with pytest.raises(RequestInvalid) as refused:
            platform.front_desk.read(issue)
    assert {p.field for p in refused.value.problems} >= {"algorithm", "task_type"}
    after = platform.tracker.issue(issue.number)
    assert [c.marker for c in after.comments] == ["refusal"]
    assert "mlops:invalid" in after.labels
    assert platform.front_desk.is_settled(after)
    assert platform.front_desk.state(after, lambda training, job: "none") == IssueState(refused=True)
    assert platform.ledger.lines() == []


def test_only_who_may_write_can_approve(platform: Platform) -> None:
    identity = platform.front_desk.read(opened(platform))
    digest = planned(platform, identity)
    with pytest.raises(NotApproved, match=r"stranger may not approve.*`write` or `admin`"):
        platform.front_desk.approve(identity.training_id, "stranger", "command")
    assert platform.ledger.approval(identity.training_id, digest) is None
    with pytest.raises(NotApproved, match="has not been approved"):
        platform.front_desk.require_approved(identity.training_id)
    approval = platform.front_desk.approve(identity.training_id, platform.tracker.current_actor(), "command")
    assert approval.plan_digest == digest
    assert platform.front_desk.require_approved(identity.training_id) == approval


def test_nothing_can_be_approved_before_there_is_a_plan(platform: Platform) -> None:
    identity = platform.front_desk.read(opened(platform))
    with pytest.raises(NotApproved, match="no plan"):
        platform.front_desk.approve(identity.training_id, platform.tracker.current_actor(), "command")
    with pytest.raises(NotApproved, match="no plan"):
        platform.front_desk.require_approved(identity.training_id)


@pytest.mark.parametrize(
    ("what", "value", "named"),
    [("code_version", "9.9.9+src.0123456789ab", "code_version"), ("_processors", 1_000, "resources")],
)
def test_an_approval_is_void_once_what_would_run_has_changed(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, what: str, value: object, named: str
) -> None:
    identity = platform.front_desk.read(opened(platform))
    planned(platform, identity)
    platform.front_desk.approve(identity.training_id, platform.tracker.current_actor(), "command")
    monkeypatch.setattr(f"resources.planning.{what}", lambda: value)
    with pytest.raises(NotApproved, match=f"{named}.*proposed again"):
        platform.front_desk.require_approved(identity.training_id)


def test_data_registered_after_the_approval_does_not_change_what_was_approved(platform: Platform) -> None:
    identity = platform.front_desk.read(opened(platform))
    planned(platform, identity)
    approval = platform.front_desk.approve(identity.training_id, platform.tracker.current_actor(), "command")
    source = platform.home / "other.csv"
    source.write_text("x,diagnosis\n" + "".join(f"{n},{'malignant' if n % 2 else 'benign'}\n" for n in range(20)))
    entry = platform.catalogue.current("breast-cancer").entry.model_copy(update={"source": str(source)})
    assert platform.catalogue.add(entry).rows == 20
    assert platform.front_desk.require_approved(identity.training_id) == approval
    plan = platform.front_desk.plan(identity.training_id)
    assert plan is not None and plan.dataset_version != platform.catalogue.current("breast-cancer").version


def test_a_request_that_no_installed_task_can_run_any_more_is_not_approved_any_more(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = platform.front_desk.read(opened(platform))
    planned(platform, identity)
    platform.front_desk.approve(identity.training_id, platform.tracker.current_actor(), "command")
    monkeypatch.setattr("resources.planning.task_for", lambda algorithm: None)
    with pytest.raises(NotApproved, match="cannot be carried out any more"):
        platform.front_desk.require_approved(identity.training_id)


def test_an_issue_is_settled_when_its_last_attempt_is_reported(platform: Platform) -> None:
    issue = opened(platform)
    assert not platform.front_desk.is_settled(issue)
    first = platform.front_desk.read(issue)
    assert not platform.front_desk.is_settled(issue)
    platform.ledger.mark_reported(first.training_id)
    assert platform.front_desk.is_settled(issue)
    platform.front_desk.read(issue, after=first.training_id)
    assert not platform.front_desk.is_settled(issue)


def with_frames(platform: Platform, version: DatasetVersion) -> None:
    """A KITTI copy in the catalogue, as its registration would leave it."""
    platform.store.put(f"datasets/{version.dataset_id}/current.json", version.model_dump_json().encode())


def test_a_detector_is_planned_on_the_registered_copy(platform: Platform) -> None:
    with_frames(platform, kitti())
    identity = platform.front_desk.read(opened(platform, LONG))
    plan = platform.front_desk.shown_plan(identity.training_id)
    assert plan is not None and (plan.task, plan.request.variant) == ("detection_2d", "yolox-m")
    assert platform.front_desk.estimated_cost(identity.training_id, plan) == 0.0


def test_an_algorithm_on_data_of_another_form_hears_what_would_go_together(platform: Platform) -> None:
    with_frames(platform, kitti())
    platform.catalogue.current("breast-cancer")
    on_table = "dataset_id: breast-cancer\nalgorithm: yolox\n"
    on_frames = "dataset_id: kitti_object_detection\nalgorithm: xgboost\ntask_type: classification\n"
    for body, fitting in ((on_table, "dataset_id: kitti_object_detection"), (on_frames, "dataset_id: breast-cancer")):
        with pytest.raises(RequestInvalid) as caught:
            platform.front_desk.read(opened(platform, body))
        (problem,) = caught.value.problems
        assert (problem.field, problem.code) == ("algorithm", "wrong_form")
        assert fitting in problem.allowed
        assert {"algorithm: xgboost", "algorithm: yolox"} & set(problem.allowed)


def test_an_algorithm_whose_libraries_are_missing_is_refused_before_anybody_approves(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    def without_torch(name: str) -> metadata.Distribution:
        if name == "torch":
            raise metadata.PackageNotFoundError(name)
        return metadata.Distribution.from_name(name)

    with_frames(platform, kitti())
    monkeypatch.setattr("resources.installed.metadata.distribution", without_torch)
    issue = opened(platform, LONG)
    with pytest.raises(RequestInvalid) as caught:
        platform.front_desk.read(issue)
    (problem,) = caught.value.problems
    assert (problem.code, problem.allowed) == ("algorithm_needs_extra", ('pip install "issue-mlops[deep]"',))
