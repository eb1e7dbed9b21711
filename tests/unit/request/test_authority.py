"""Nobody decides without write permission, no machine ever does, and risky plans need a second pair of eyes."""

from __future__ import annotations

import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.request.authority import Permission, Person, may_approve, may_decide

REQUESTER, MAINTAINER = "requester", "maintainer"

persons = st.builds(
    Person,
    login=st.sampled_from([REQUESTER, "Requester ", MAINTAINER, "helper[bot]", "", "stranger"]) | st.text(max_size=8),
    permission=st.sampled_from(get_args(Permission)),
    is_bot=st.booleans(),
)
amounts = st.none() | st.floats(allow_nan=True, allow_infinity=True)
circumstances = st.fixed_dictionaries(
    {
        "requester": st.sampled_from([REQUESTER, MAINTAINER, "", "REQUESTER"]),
        "production": st.booleans(),
        "estimated_cost_usd": amounts,
        "cost_cap_usd": amounts,
        "second_person": st.booleans(),
    }
)


@given(persons, circumstances)
def test_nobody_without_write_permission_and_no_machine_is_ever_allowed(person, facts):
    allowed = person.permission in ("write", "admin") and not person.is_bot
    for denial in (may_decide(person), may_approve(person, **facts)):
        assert denial is not None or allowed
        assert denial is None or (denial.login, denial.permission) == (person.login, person.permission)
    if may_decide(person) is not None:
        assert may_approve(person, **facts) == may_decide(person), "approving never needs less than deciding"


@given(persons, circumstances)
def test_without_the_rule_of_two_whoever_decides_may_approve(person, facts):
    assert may_approve(person, **{**facts, "second_person": False}) == may_decide(person)


@given(circumstances)
def test_another_person_with_write_permission_may_always_approve(facts):
    person = Person(login="reviewer", permission="write", is_bot=False)
    assert (may_approve(person, **facts) is None) == (facts["requester"] != "" or not facts["second_person"] or not risky(facts))


def risky(facts):
    estimate, cap = facts["estimated_cost_usd"], facts["cost_cap_usd"]
    return facts["production"] or (estimate is not None and cap is not None and not estimate <= cap)


@given(circumstances)
def test_the_requester_may_not_approve_what_is_risky_alone(facts):
    person = Person(login=REQUESTER, permission="admin", is_bot=False)
    same = facts["requester"].lower() in (REQUESTER, "")
    denial = may_approve(person, **facts)
    assert (denial is not None) == (facts["second_person"] and same and risky(facts))
    if denial is not None:
        assert denial.reason == ("second_person_production" if facts["production"] else "second_person_cost")


@pytest.mark.parametrize(
    ("estimate", "cap", "needed"),
    [(5.0, 5.0, False), (5.01, 5.0, True), (None, 5.0, False), (9.0, None, False), (math.nan, 5.0, True), (1.0, math.nan, True)],
)
def test_a_cost_that_is_not_within_the_cap_needs_a_second_person(estimate, cap, needed):
    denial = may_approve(
        Person(login=REQUESTER, permission="write", is_bot=False),
        requester=REQUESTER, production=False, estimated_cost_usd=estimate, cost_cap_usd=cap, second_person=True,
    )  # fmt: skip
    assert (denial is not None) == needed


def test_a_bot_is_refused_as_a_bot_whatever_it_may_do():
    for person in (
        Person(login="ci", permission="admin", is_bot=True),
        Person(login="helper[bot]", permission="admin", is_bot=False),
    ):
        denial = may_decide(person)
        assert denial is not None and denial.reason == "bot"
