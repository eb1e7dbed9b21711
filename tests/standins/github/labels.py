"""Labels of a repository, which are made when they are first used. Labels of an issue: ``issue_labels``."""

from __future__ import annotations

import re
from typing import Any

from tests.standins.github import shapes
from tests.standins.github.exchange import Refused, Response, invalid, not_found
from tests.standins.github.routing import Call, operation, page
from tests.standins.github.state import Label, Repository

_LABELS = "/repos/{owner}/{repo}/labels"


def wanted_names(call: Call) -> list[str]:
    """Names of labels in a body: ``{"labels": [...]}``, or a bare list, of texts or of objects with a name.

    Raises:
        Refused: 422, anything else.
    """
    named: Any = call.body.get("", call.body.get("labels")) or []
    if not isinstance(named, list):
        raise Refused(422, f"Invalid request.\n\nFor 'properties/labels', {named!r} is not an array.")
    names = [each.get("name") if isinstance(each, dict) else each for each in named]
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise invalid("Label", "name", "missing_field" if name is None else "invalid")
        if len(name) > 50:
            raise invalid("Label", "name", "custom", "name is too long (maximum is 50 characters)")
    return list(dict.fromkeys(str(name) for name in names))


def label_named(call: Call, repository: Repository, name: str) -> Label:
    """The label of that name, whatever the case of its letters; made where there is none."""
    return repository.labels.setdefault(name.lower(), Label(call.world.next_id(), name))


def _existing(call: Call, repository: Repository) -> Label:
    label = repository.labels.get(call.parameters["name"].lower())
    if label is None:
        raise not_found()
    return label


@operation("GET", _LABELS)
def list_labels(call: Call) -> Response:
    """Labels of a repository."""
    repository = call.repository()
    return page(call, list(repository.labels.values()), lambda label: shapes.label(call.world, repository, label))


@operation("POST", _LABELS)
def create_label(call: Call) -> Response:
    """A new label."""
    repository = call.repository("write", "")
    name = str(call.text("Label", "name", required=True, longest=50))
    if name.lower() in repository.labels:
        raise invalid("Label", "name", "already_exists")
    label = Label(call.world.next_id(), name, _color(call) or "ededed", call.text("Label", "description", longest=100))
    repository.labels[name.lower()] = label
    return Response(201, shapes.label(call.world, repository, label))


def _color(call: Call) -> str | None:
    color = call.body.get("color")
    if color is not None and not re.fullmatch(r"[0-9A-Fa-f]{6}", str(color)):
        raise invalid("Label", "color", "invalid")
    return color


@operation("GET", _LABELS + "/{name}")
def get_label(call: Call) -> Response:
    """One label."""
    repository = call.repository()
    return Response(200, shapes.label(call.world, repository, _existing(call, repository)))


@operation("PATCH", _LABELS + "/{name}")
def update_label(call: Call) -> Response:
    """Rename, recolour or describe a label."""
    repository = call.repository("write", "")
    label = _existing(call, repository)
    name = call.text("Label", "new_name", longest=50) or label.name
    if name.lower() != label.name.lower() and name.lower() in repository.labels:
        raise invalid("Label", "name", "already_exists")
    label.color = _color(call) or label.color
    label.description = call.text("Label", "description", longest=100) or label.description
    del repository.labels[label.name.lower()]
    label.name = name
    repository.labels[name.lower()] = label
    return Response(200, shapes.label(call.world, repository, label))


@operation("DELETE", _LABELS + "/{name}")
def delete_label(call: Call) -> Response:
    """Remove a label from the repository and from every issue."""
    repository = call.repository("write", "")
    label = _existing(call, repository)
    del repository.labels[label.name.lower()]
    for issue in repository.issues.values():
        if label in issue.labels:
            issue.labels.remove(label)
    return Response(204)
