"""Searching issues: words, and the qualifiers repo, is, state, label, author, in. Anything else is refused, not ignored."""

from __future__ import annotations

import re

from tests.standins.github import shapes
from tests.standins.github.exchange import Response, invalid
from tests.standins.github.routing import Call, allows, choice, operation, page
from tests.standins.github.state import Issue, Repository

_TERM = re.compile(r'(-?)(?:(\w+):)?(?:"([^"]*)"|(\S+))')


def _matches(repository: Repository, issue: Issue, minus: str, name: str, value: str, everywhere: str) -> bool:
    value = value.lower()
    if name == "repo":
        found = repository.full_name.lower() == value
    elif name in ("is", "state"):
        found = value in (issue.state, "issue")
    elif name == "label":
        found = value in {label.name.lower() for label in issue.labels}
    elif name == "author":
        found = issue.user.login.lower() == value
    elif name == "":
        found = value in everywhere
    else:
        raise invalid("Search", "q", "invalid")
    return found != bool(minus)


def _text(issue: Issue, places: set[str]) -> str:
    texts = {
        "title": issue.title,
        "body": issue.body or "",
        "comments": "\n".join(comment.body for comment in issue.comments),
    }
    return "\n".join(text for name, text in texts.items() if not places or name in places).lower()


@operation("GET", "/search/issues")
def search_issues(call: Call) -> Response:
    """Issues that match every term."""
    query = call.request.parameter("q")
    if not query.strip():
        raise invalid("Search", "q", "missing")
    terms = [(minus, name or "", quoted or bare) for minus, name, quoted, bare in _TERM.findall(query)]
    places = {value for _, name, value in terms if name == "in"}
    terms = [term for term in terms if term[1] != "in"]
    order = choice(call, "sort", ("created", "updated", "comments", ""), "")
    found = [
        (repository, issue)
        for repository in call.world.repositories.values()
        if allows(repository.role(call.actor), "read")
        for issue in repository.issues.values()
        if all(_matches(repository, issue, *term, _text(issue, places)) for term in terms)
    ]
    keys = {"updated": lambda pair: pair[1].updated_at, "comments": lambda pair: len(pair[1].comments)}
    falling = choice(call, "order", ("asc", "desc"), "desc") == "desc"
    found.sort(key=keys.get(order, lambda pair: pair[1].created_at), reverse=falling)
    return page(
        call,
        found,
        lambda pair: shapes.issue(call.world, *pair) | {"score": 1.0, "body": pair[1].body or ""},
        lambda items: {"total_count": len(found), "incomplete_results": False, "items": items, "search_type": "lexical"},
    )
