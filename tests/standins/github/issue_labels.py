"""Labels of an issue: read, add, replace, take off."""

from __future__ import annotations

from tests.standins.github import shapes
from tests.standins.github.exchange import Refused, Response
from tests.standins.github.issues import attach, detach, issue_of, replace_labels
from tests.standins.github.labels import label_named, wanted_names
from tests.standins.github.routing import Call, operation, page

_OF_ISSUE = "/repos/{owner}/{repo}/issues/{issue_number}/labels"


@operation("GET", _OF_ISSUE)
def list_issue_labels(call: Call) -> Response:
    """Labels of an issue."""
    repository = call.repository()
    return page(call, issue_of(call, repository).labels, lambda label: shapes.label(call.world, repository, label))


@operation("POST", _OF_ISSUE)
def add_labels(call: Call) -> Response:
    """Put labels on an issue beside those that it has."""
    repository = call.repository("triage")
    issue = issue_of(call, repository)
    for name in wanted_names(call):
        attach(call, repository, issue, label_named(call, repository, name), call.user())
    return Response(200, [shapes.label(call.world, repository, label) for label in issue.labels])


@operation("PUT", _OF_ISSUE)
def set_labels(call: Call) -> Response:
    """Put these labels on an issue and no others."""
    repository = call.repository("triage")
    issue = issue_of(call, repository)
    replace_labels(call, repository, issue, call.user())
    return Response(200, [shapes.label(call.world, repository, label) for label in issue.labels])


@operation("DELETE", _OF_ISSUE)
def remove_all_labels(call: Call) -> Response:
    """Take every label off an issue."""
    repository = call.repository("triage")
    issue = issue_of(call, repository)
    for label in list(issue.labels):
        detach(call, repository, issue, label, call.user())
    return Response(204)


@operation("DELETE", _OF_ISSUE + "/{name}")
def remove_label(call: Call) -> Response:
    """Take one label off an issue."""
    repository = call.repository("triage")
    issue = issue_of(call, repository)
    label = next((each for each in issue.labels if each.name.lower() == call.parameters["name"].lower()), None)
    if label is None:
        raise Refused(404, "Label does not exist")
    detach(call, repository, issue, label, call.user())
    return Response(200, [shapes.label(call.world, repository, each) for each in issue.labels])
