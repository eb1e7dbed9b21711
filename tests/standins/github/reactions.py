"""Reactions on issues and comments. They change no time of an issue and send no webhook; anybody who may read may react."""

from __future__ import annotations

from tests.standins.github import shapes
from tests.standins.github.comments import comment_of
from tests.standins.github.exchange import Refused, Response, invalid, not_found
from tests.standins.github.issues import issue_of
from tests.standins.github.routing import Call, allows, operation, page, refusal
from tests.standins.github.state import REACTIONS, Reaction

_OF_ISSUE = "/repos/{owner}/{repo}/issues/{issue_number}/reactions"
_OF_COMMENT = "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions"


def _reactions(call: Call) -> list[Reaction]:
    repository = call.repository()
    if "comment_id" in call.parameters:
        return comment_of(call, repository)[1].reactions
    return issue_of(call, repository).reactions


@operation("GET", _OF_COMMENT)
@operation("GET", _OF_ISSUE)
def list_reactions(call: Call) -> Response:
    """Who reacted, oldest first."""
    content = call.request.parameter("content")
    if content and content not in REACTIONS:
        raise invalid("Reaction", "content", "invalid")
    found = [reaction for reaction in _reactions(call) if not content or reaction.content == content]
    return page(call, found, lambda reaction: shapes.reaction(call.world, reaction))


@operation("POST", _OF_COMMENT)
@operation("POST", _OF_ISSUE)
def create_reaction(call: Call) -> Response:
    """React; a repeated reaction is answered with 200 and the one that is there."""
    reactions, actor, content = _reactions(call), call.user(), call.body.get("content")
    if content not in REACTIONS:
        raise invalid("Reaction", "content", "missing_field" if content is None else "invalid")
    there = next((each for each in reactions if each.user is actor and each.content == content), None)
    if there is not None:
        return Response(200, shapes.reaction(call.world, there))
    reaction = Reaction(call.world.next_id(), actor, str(content), call.now)
    reactions.append(reaction)
    return Response(201, shapes.reaction(call.world, reaction))


@operation("DELETE", _OF_COMMENT + "/{reaction_id}")
@operation("DELETE", _OF_ISSUE + "/{reaction_id}")
def delete_reaction(call: Call) -> Response:
    """Take a reaction back: one's own, or any for an administrator."""
    reactions, actor = _reactions(call), call.user()
    reaction = next((each for each in reactions if each.id == int(call.parameters["reaction_id"])), None)
    if reaction is None:
        raise not_found()
    if reaction.user is not actor and not allows(call.repository().role(actor), "admin"):
        raise Refused(403, refusal(actor))
    reactions.remove(reaction)
    return Response(204)
