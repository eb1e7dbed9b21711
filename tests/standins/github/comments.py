"""Comments of issues: in a thread, and of a whole repository by the time of their last change."""

from __future__ import annotations

from tests.standins.github import shapes
from tests.standins.github.deliveries import emit
from tests.standins.github.exchange import Refused, Response, not_found
from tests.standins.github.issues import issue_of
from tests.standins.github.routing import Call, allows, choice, operation, page, refusal, since
from tests.standins.github.state import Comment, Issue, Repository

_COMMENTS = "/repos/{owner}/{repo}/issues/comments"
_OF_ISSUE = "/repos/{owner}/{repo}/issues/{issue_number}/comments"


def comment_of(call: Call, repository: Repository) -> tuple[Issue, Comment]:
    """The comment of the path with its issue.

    Raises:
        Refused: 404.
    """
    found = repository.comment(int(call.parameters["comment_id"]))
    if found is None:
        raise not_found()
    return found


@operation("GET", _COMMENTS)
def list_repository_comments(call: Call) -> Response:
    """Comments of every issue; by id unless ``sort`` says otherwise."""
    repository = call.repository()
    order = choice(call, "sort", ("created", "updated", ""), "")
    falling = choice(call, "direction", ("asc", "desc"), "desc") == "desc" and bool(order)
    after = since(call)
    found = [
        (issue, comment)
        for issue in repository.issues.values()
        for comment in issue.comments
        if after is None or comment.updated_at >= after
    ]
    found.sort(key=lambda pair: (pair[1].updated_at, pair[1].id) if order == "updated" else (pair[1].id,), reverse=falling)
    return page(call, found, lambda pair: shapes.comment(call.world, repository, *pair))


@operation("GET", _OF_ISSUE)
def list_comments(call: Call) -> Response:
    """Comments of one issue, oldest first."""
    repository = call.repository()
    issue, after = issue_of(call, repository), since(call)
    found = [comment for comment in issue.comments if after is None or comment.updated_at >= after]
    return page(call, found, lambda comment: shapes.comment(call.world, repository, issue, comment))


@operation("POST", _OF_ISSUE)
def create_comment(call: Call) -> Response:
    """A new comment; it changes the time of the issue."""
    repository, actor = call.repository(), call.user()
    issue = issue_of(call, repository)
    body = str(call.text("IssueComment", "body", required=True))
    if issue.locked and not allows(repository.role(actor), "write"):
        raise Refused(403, "Unable to create comment because issue is locked.")
    comment = Comment(call.world.next_id(), actor, body, call.now, call.now)
    issue.comments.append(comment)
    issue.updated_at = call.now
    content = shapes.comment(call.world, repository, issue, comment)
    emit(call, repository, "issue_comment", "created", issue=shapes.issue(call.world, repository, issue), comment=content)
    return Response(201, content, {"Location": content["url"]})


@operation("GET", _COMMENTS + "/{comment_id}")
def get_comment(call: Call) -> Response:
    """One comment."""
    repository = call.repository()
    return Response(200, shapes.comment(call.world, repository, *comment_of(call, repository)))


@operation("PATCH", _COMMENTS + "/{comment_id}")
def update_comment(call: Call) -> Response:
    """Replace the text of a comment: its author, and those who may write."""
    repository = call.repository()
    issue, comment = _changeable(call, repository)
    body = str(call.text("IssueComment", "body", required=True))
    before = comment.body
    if body != before:
        comment.body, comment.updated_at, issue.updated_at = body, call.now, call.now
        shown = shapes.comment(call.world, repository, issue, comment)
        content = shapes.issue(call.world, repository, issue)
        emit(call, repository, "issue_comment", "edited", issue=content, comment=shown, changes={"body": {"from": before}})
    return Response(200, shapes.comment(call.world, repository, issue, comment))


@operation("DELETE", _COMMENTS + "/{comment_id}")
def delete_comment(call: Call) -> Response:
    """Remove a comment: its author, and those who may write."""
    repository = call.repository()
    issue, comment = _changeable(call, repository)
    shown = shapes.comment(call.world, repository, issue, comment)
    issue.comments.remove(comment)
    issue.updated_at = call.now
    emit(call, repository, "issue_comment", "deleted", issue=shapes.issue(call.world, repository, issue), comment=shown)
    return Response(204)


def _changeable(call: Call, repository: Repository) -> tuple[Issue, Comment]:
    actor = call.user()
    issue, comment = comment_of(call, repository)
    if actor is not comment.user and not allows(repository.role(actor), "write"):
        raise Refused(403, refusal(actor))
    return issue, comment
