"""Issues: list, open, read, change, lock, assign, and their history. Comments, labels and reactions have modules of their own."""

from __future__ import annotations

from typing import Any

from tests.standins.github import shapes
from tests.standins.github.deliveries import emit
from tests.standins.github.exchange import Refused, Response, invalid, not_found
from tests.standins.github.labels import label_named, wanted_names
from tests.standins.github.routing import Call, allows, choice, operation, page, refusal, since
from tests.standins.github.state import Event, Issue, Label, Repository, User

_ISSUES = "/repos/{owner}/{repo}/issues"
_ISSUE = _ISSUES + "/{issue_number}"
REASONS = ("completed", "not_planned", "duplicate", "reopened")


def issue_of(call: Call, repository: Repository) -> Issue:
    """The issue of the path.

    Raises:
        Refused: 404.
    """
    found = repository.issues.get(int(call.parameters["issue_number"]))
    if found is None:
        raise not_found()
    return found


def note(call: Call, issue: Issue, kind: str, actor: User, **detail: Any) -> None:
    """Write a line of history and say that the issue has changed now."""
    issue.events.append(Event(call.world.next_id(), kind, actor, call.now, detail))
    issue.updated_at = call.now


def _is_assigned(issue: Issue, assignee: str) -> bool:
    if assignee in ("", "*", "none"):
        return not assignee or bool(issue.assignees) == (assignee == "*")
    return assignee.lower() in {user.login.lower() for user in issue.assignees}


@operation("GET", _ISSUES)
def list_issues(call: Call) -> Response:
    """Issues of a repository, filtered, sorted and paged."""
    repository = call.repository()
    state = choice(call, "state", ("open", "closed", "all"), "open")
    order = choice(call, "sort", ("created", "updated", "comments"), "created")
    direction = choice(call, "direction", ("asc", "desc"), "desc")
    names = {name.strip().lower() for name in call.request.parameter("labels").split(",") if name.strip()}
    creator, assignee, after = call.request.parameter("creator").lower(), call.request.parameter("assignee"), since(call)
    found = [
        issue
        for issue in repository.issues.values()
        if (state in ("all", issue.state))
        and names <= {label.name.lower() for label in issue.labels}
        and (not creator or issue.user.login.lower() == creator)
        and _is_assigned(issue, assignee)
        and (after is None or issue.updated_at >= after)
    ]
    keys = {
        "created": lambda issue: (issue.created_at, issue.number),
        "updated": lambda issue: (issue.updated_at, issue.number),
        "comments": lambda issue: (len(issue.comments), issue.number),
    }
    found.sort(key=keys[order], reverse=direction == "desc")
    return page(call, found, lambda issue: shapes.issue(call.world, repository, issue))


@operation("POST", _ISSUES)
def open_issue(call: Call) -> Response:
    """A new issue; labels and assignees of somebody without the right are silently dropped."""
    repository, actor = call.repository(), call.user()
    title = call.body.get("title")
    if isinstance(title, int):
        call.body["title"] = str(title)
    title = call.text("Issue", "title", required=True, longest=256)
    body = call.text("Issue", "body")
    may_label = call.through_form or allows(repository.role(actor), "triage")
    labels = [label_named(call, repository, name) for name in wanted_names(call)] if may_label else []
    number = max(repository.issues, default=0) + 1
    issue = Issue(call.world.next_id(), number, actor, str(title), body, call.now, call.now)
    repository.issues[number] = issue
    for label in labels:
        attach(call, repository, issue, label, actor, silent=True)
    if may_label:
        issue.assignees = _accounts(call)
    emit(call, repository, "issues", "opened", issue=shapes.issue(call.world, repository, issue))
    for label in issue.labels:
        emit_labeled(call, repository, issue, label, "labeled")
    content = shapes.issue(call.world, repository, issue, single=True)
    return Response(201, content, {"Location": content["url"]})


def attach(call: Call, repository: Repository, issue: Issue, label: Label, actor: User, silent: bool = False) -> None:
    """Put a label on an issue, once."""
    if label not in issue.labels:
        issue.labels.append(label)
        note(call, issue, "labeled", actor, label={"name": label.name, "color": label.color})
        if not silent:
            emit_labeled(call, repository, issue, label, "labeled")


def detach(call: Call, repository: Repository, issue: Issue, label: Label, actor: User) -> None:
    """Take a label off an issue."""
    issue.labels.remove(label)
    note(call, issue, "unlabeled", actor, label={"name": label.name, "color": label.color})
    emit_labeled(call, repository, issue, label, "unlabeled")


def emit_labeled(call: Call, repository: Repository, issue: Issue, label: Label, action: str) -> None:
    """The event that goes with a label."""
    content = shapes.issue(call.world, repository, issue)
    emit(call, repository, "issues", action, issue=content, label=shapes.label(call.world, repository, label))


@operation("GET", _ISSUE)
def get_issue(call: Call) -> Response:
    """One issue."""
    repository = call.repository()
    return Response(200, shapes.issue(call.world, repository, issue_of(call, repository), single=True))


@operation("PATCH", _ISSUE)
def update_issue(call: Call) -> Response:
    """Change an issue: its author and those who may write, the text; those who triage, state and labels."""
    repository, actor = call.repository(), call.user()
    issue, role = issue_of(call, repository), repository.role(actor)
    texts = {"title", "body"} & call.body.keys()
    if actor is not issue.user and not allows(role, "write" if texts else "triage"):
        raise Refused(403, refusal(actor))
    state = call.body.get("state") or issue.state
    if state not in ("open", "closed"):
        raise invalid("Issue", "state", "invalid")
    reason = call.body.get("state_reason")
    if reason is not None and reason not in REASONS:
        raise invalid("Issue", "state_reason", "invalid")
    _change_texts(call, repository, issue, actor)
    if allows(role, "triage"):
        if "labels" in call.body:
            replace_labels(call, repository, issue, actor)
        if "assignees" in call.body:
            issue.assignees = _accounts(call)
            issue.updated_at = call.now
    if state != issue.state:
        _change_state(call, repository, issue, actor, state, reason)
    return Response(200, shapes.issue(call.world, repository, issue, single=True))


def _change_texts(call: Call, repository: Repository, issue: Issue, actor: User) -> None:
    changes: dict[str, dict[str, str | None]] = {}
    if "title" in call.body and call.body["title"] is not None:
        title = str(call.text("Issue", "title", required=True, longest=256))
        if title != issue.title:
            changes["title"] = {"from": issue.title}
            note(call, issue, "renamed", actor, rename={"from": issue.title, "to": title})
            issue.title = title
    if "body" in call.body:
        body = call.text("Issue", "body")
        if body != issue.body:
            changes["body"] = {"from": issue.body or ""}
            issue.body, issue.updated_at = body, call.now
    if changes:
        emit(call, repository, "issues", "edited", issue=shapes.issue(call.world, repository, issue), changes=changes)


def _change_state(call: Call, repository: Repository, issue: Issue, actor: User, state: Any, reason: str | None) -> None:
    issue.state = state
    closed = state == "closed"
    issue.state_reason = (reason or "completed") if closed else "reopened"
    issue.closed_at, issue.closed_by = (call.now, actor) if closed else (None, None)
    note(call, issue, "closed" if closed else "reopened", actor)
    content = shapes.issue(call.world, repository, issue)
    emit(call, repository, "issues", "closed" if closed else "reopened", issue=content)


def replace_labels(call: Call, repository: Repository, issue: Issue, actor: User) -> None:
    """Leave exactly the labels of the body on the issue."""
    wanted = [label_named(call, repository, name) for name in wanted_names(call)]
    for label in [label for label in issue.labels if label not in wanted]:
        detach(call, repository, issue, label, actor)
    for label in wanted:
        attach(call, repository, issue, label, actor)


def _accounts(call: Call) -> list[User]:
    """Assignees of the body that exist; GitHub drops the others."""
    named = call.body.get("assignees") or []
    if not isinstance(named, list):
        raise invalid("Issue", "assignees", "invalid")
    found = [call.world.users.get(str(login).lower()) for login in named]
    return [user for user in found if user is not None]


@operation("POST", _ISSUE + "/assignees")
def add_assignees(call: Call) -> Response:
    """Assign accounts to an issue."""
    return _assign(call, 201)


@operation("DELETE", _ISSUE + "/assignees")
def remove_assignees(call: Call) -> Response:
    """Take accounts off an issue."""
    return _assign(call, 200)


def _assign(call: Call, status: int) -> Response:
    repository = call.repository("triage")
    issue, named = issue_of(call, repository), _accounts(call)
    kept = [user for user in issue.assignees if user not in named]
    issue.assignees = [*kept, *named] if status == 201 else kept
    issue.updated_at = call.now
    return Response(status, shapes.issue(call.world, repository, issue))


@operation("PUT", _ISSUE + "/lock")
def lock(call: Call) -> Response:
    """Only those who may write can comment on a locked issue."""
    repository = call.repository("triage")
    issue, reason = issue_of(call, repository), call.body.get("lock_reason")
    if reason not in (None, "off-topic", "too heated", "resolved", "spam"):
        raise invalid("Issue", "lock_reason", "invalid")
    issue.locked, issue.lock_reason = True, reason
    note(call, issue, "locked", call.user(), lock_reason=reason)
    return Response(204)


@operation("DELETE", _ISSUE + "/lock")
def unlock(call: Call) -> Response:
    """Everybody can comment again."""
    repository = call.repository("triage")
    issue = issue_of(call, repository)
    issue.locked, issue.lock_reason = False, None
    note(call, issue, "unlocked", call.user())
    return Response(204)


@operation("GET", _ISSUE + "/events")
def list_events(call: Call) -> Response:
    """The history of one issue."""
    repository = call.repository()
    issue = issue_of(call, repository)
    return page(call, issue.events, lambda event: shapes.event(call.world, repository, event))


@operation("GET", _ISSUES + "/events")
def list_repository_events(call: Call) -> Response:
    """The history of every issue, newest first."""
    repository = call.repository()
    found = [(issue, event) for issue in repository.issues.values() for event in issue.events]
    found.sort(key=lambda pair: pair[1].id, reverse=True)
    return page(call, found, lambda pair: shapes.event(call.world, repository, pair[1], pair[0]))


@operation("GET", _ISSUE + "/timeline")
def timeline(call: Call) -> Response:
    """History and comments of one issue in one list."""
    repository = call.repository()
    issue = issue_of(call, repository)
    entries = [(event.created_at, event.id, shapes.event(call.world, repository, event)) for event in issue.events]
    for comment in issue.comments:
        shown = shapes.comment(call.world, repository, issue, comment)
        entries.append((comment.created_at, comment.id, {"event": "commented", "actor": shown["user"], **shown}))
    entries.sort(key=lambda entry: entry[:2])
    return page(call, entries, lambda entry: entry[2])
