"""The life of an issue, as pure decisions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.request.lifecycle import IssueState, body_digest, decide

states = st.builds(
    IssueState,
    refused=st.booleans(),
    training_id=st.none() | st.just("train-20260101-000000-abcdef"),
    plan_digest=st.none() | st.just("p"),
    approved_digest=st.none() | st.just("p"),
    wanted=st.booleans(),
    verdict=st.sampled_from(["none", "approved", "rejected"]),
    approves_itself=st.booleans(),
    stop=st.none() | st.sampled_from(["cancelled", "rejected", "superseded"]),
    run=st.sampled_from(["none", "running", "succeeded", "failed"]),
    concluded=st.booleans(),
)


def test_an_issue_goes_from_reading_to_its_conclusion() -> None:
    training = {"training_id": "t"}
    assert decide(IssueState()) == "read"
    assert decide(IssueState(**training)) == "propose"
    assert decide(IssueState(**training, run="running")) == "wait"
    assert decide(IssueState(**training, plan_digest="p", run="none")) == "wait"
    assert decide(IssueState(**training, plan_digest="p", approves_itself=True)) == "approve"
    assert decide(IssueState(**training, plan_digest="p", verdict="approved")) == "approve"
    assert decide(IssueState(**training, plan_digest="p", approved_digest="p")) == "train"
    assert decide(IssueState(**training, plan_digest="p", approved_digest="p", run="succeeded")) == "conclude"
    assert decide(IssueState(**training, plan_digest="p", approved_digest="p", run="failed")) == "conclude"
    assert decide(IssueState(**training, plan_digest="p", approved_digest="p", run="succeeded", concluded=True)) == "nothing"


def test_a_planning_run_that_failed_is_reported_and_not_repeated_for_ever() -> None:
    assert decide(IssueState(training_id="t", run="failed")) == "conclude"


@given(states)
def test_nothing_is_trained_without_a_plan_and_its_approval(state: IssueState) -> None:
    if decide(state) == "train":
        assert state.plan_digest is not None
        assert state.approved_digest is not None
        assert state.run == "none"


def test_a_no_comes_before_every_yes() -> None:
    planned = IssueState(training_id="t", plan_digest="p", approves_itself=True)
    assert decide(planned.model_copy(update={"verdict": "rejected"})) == "reject"


def test_what_nobody_wants_any_more_is_not_begun() -> None:
    assert decide(IssueState(wanted=False)) == "nothing"
    assert decide(IssueState(wanted=False, training_id="t", plan_digest="p", verdict="approved")) == "reject"
    assert decide(IssueState(wanted=False, training_id="t", plan_digest="p", approved_digest="p", run="running")) == "wait"


@given(states)
def test_what_was_stopped_is_never_trained(state: IssueState) -> None:
    if state.stop is not None and state.training_id is not None and not (state.refused or state.concluded):
        assert decide(state) == ("stop" if state.run == "running" else "conclude")


@given(states)
def test_what_is_refused_or_concluded_stays_so(state: IssueState) -> None:
    if state.refused or state.concluded:
        assert decide(state) == "nothing"


def test_an_edit_changes_the_identity_and_line_endings_do_not() -> None:
    assert body_digest("t", "a: 1\r\nb: 2\r\n") == body_digest("t", "a: 1\nb: 2")
    assert body_digest("t", "a: 1") != body_digest("t", "a: 2")
    assert body_digest("t", "a: 1") != body_digest("u", "a: 1")
