"""Who may decide what in a thread, as a pure rule: default deny, one reason.

What a person's permission is at the moment of decision is asked by the tracker; telling them of a refusal is in ``reports``.
"""

from __future__ import annotations

from typing import Final, Literal

from mlops_assets.request.schema import Frozen

Permission = Literal["none", "read", "write", "admin"]
DenialReason = Literal["bot", "permission", "second_person_production", "second_person_cost"]

#: Permissions with which a person may start, adjust, stop or roll back paid work.
DECIDING: Final[tuple[Permission, ...]] = ("write", "admin")


class Person(Frozen):
    """Who asks, with the permission looked up at this moment."""

    login: str
    permission: Permission
    is_bot: bool


class Denial(Frozen):
    """Why somebody may not, so that one comment can say it."""

    reason: DenialReason
    login: str
    permission: Permission


def may_decide(person: Person) -> Denial | None:
    """Whether ``person`` may retry, roll back, cancel or reject; None is yes.

    Machine accounts may not, whatever their permission; the login of a GitHub App, which no person can have, ends in `[bot]`.
    """
    if person.is_bot or not person.login.strip() or person.login.strip().lower().endswith("[bot]"):
        return _denied(person, "bot")
    return None if person.permission in DECIDING else _denied(person, "permission")


def may_approve(
    person: Person,
    *,
    requester: str,
    production: bool,
    estimated_cost_usd: float | None,
    cost_cap_usd: float | None,
    second_person: bool,
) -> Denial | None:
    """Whether ``person`` may approve a plan that ``requester`` asked for; None is yes.

    With ``second_person`` on, production, or a known cost that is not within the cap, needs somebody other than the requester. A
    requester who is not known cannot be told from the approver and counts as the same.
    """
    denial = may_decide(person)
    if denial is not None or not second_person or not _same(person.login, requester):
        return denial
    if production:
        return _denied(person, "second_person_production")
    within = estimated_cost_usd is None or cost_cap_usd is None or estimated_cost_usd <= cost_cap_usd
    return None if within else _denied(person, "second_person_cost")


def _same(login: str, requester: str) -> bool:
    """GitHub's logins differ in more than case."""
    other = requester.strip().casefold()
    return not other or login.strip().casefold() == other


def _denied(person: Person, reason: DenialReason) -> Denial:
    return Denial(reason=reason, login=person.login, permission=person.permission)
