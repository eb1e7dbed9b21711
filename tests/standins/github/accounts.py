"""Accounts, who may do what in a repository, and how many requests are left."""

from __future__ import annotations

from datetime import timedelta

from tests.standins.github import shapes
from tests.standins.github.exchange import Refused, Response, not_found
from tests.standins.github.routing import Call, allows, operation, page
from tests.standins.github.state import Budget, Repository, Role, User, World

LIMIT, LIMIT_WITHOUT_TOKEN = 5000, 60
_REPOSITORY = "/repos/{owner}/{repo}"
#: What the field ``permission`` says; ``role_name`` says the role itself.
_LEGACY: dict[Role, str] = {"maintain": "write", "triage": "read"}


def budget(world: World, actor: User | None) -> Budget:
    """What an account may still ask in this hour."""
    key = "" if actor is None else actor.login
    found = world.budgets.get(key)
    if found is None or found.reset <= world.now():
        limit = found.limit if found is not None else LIMIT_WITHOUT_TOKEN if actor is None else LIMIT
        found = world.budgets[key] = Budget(limit, limit, world.now() + timedelta(hours=1))
    return found


@operation("GET", "/user")
def get_authenticated(call: Call) -> Response:
    """Whose token this is; an app's installation has none."""
    actor = call.user()
    if actor.app is not None:
        raise Refused(403, "Resource not accessible by integration")
    return Response(200, shapes.full_user(call.world, actor, private=True))


@operation("GET", "/users/{username}")
def get_by_username(call: Call) -> Response:
    """An account."""
    found = call.world.users.get(call.parameters["username"].lower())
    if found is None:
        raise not_found()
    return Response(200, shapes.full_user(call.world, found, private=False))


@operation("GET", "/rate_limit")
def rate_limit(call: Call) -> Response:
    """What is left; asking costs nothing."""
    left = budget(call.world, call.actor)
    core = {
        "limit": left.limit,
        "used": left.limit - left.remaining,
        "remaining": left.remaining,
        "reset": int(left.reset.timestamp()),
    }
    search = core | {"limit": 30, "used": 0, "remaining": 30}
    return Response(200, {"resources": {"core": core, "search": search}, "rate": core})


@operation("GET", "/meta")
def meta(call: Call) -> Response:
    """What this installation is."""
    return Response(200, {"verifiable_password_authentication": False})


@operation("GET", _REPOSITORY)
def get_repository(call: Call) -> Response:
    """The repository."""
    repository = call.repository()
    return Response(200, shapes.repository(call.world, repository, call.actor))


def _collaborator(call: Call, repository: Repository, user: User) -> dict[str, object]:
    role = repository.role(user)
    return shapes.user(call.world, user) | {"permissions": shapes.permissions(role), "role_name": role}


@operation("GET", _REPOSITORY + "/collaborators")
def list_collaborators(call: Call) -> Response:
    """Who has been given a role."""
    repository = call.repository("write", "Must have push access to view repository collaborators.")
    least = {"pull": "read", "push": "write"}.get(call.request.parameter("permission"), call.request.parameter("permission"))
    users = [call.world.users[login] for login in repository.collaborators]
    found = [user for user in users if not least or allows(repository.role(user), least)]  # type: ignore[arg-type]
    return page(call, found, lambda user: _collaborator(call, repository, user))


@operation("GET", _REPOSITORY + "/collaborators/{username}/permission")
def permission(call: Call) -> Response:
    """What an account may do. An app's account is not a user; a stranger may read what is public.

    Source: https://docs.github.com/rest/collaborators/collaborators#get-repository-permissions-for-a-user
    """
    repository = call.repository("write", "Must have push access to view collaborator permission.")
    login = call.parameters["username"]
    user = call.world.users.get(login.lower())
    if user is None or user.app is not None:
        raise Refused(404, f"{login} is not a user")
    role = repository.role(user)
    shown = None if role == "none" else _collaborator(call, repository, user)
    return Response(200, {"permission": _LEGACY.get(role, role), "user": shown, "role_name": role})


@operation("GET", _REPOSITORY + "/collaborators/{username}")
def check_collaborator(call: Call) -> Response:
    """204 for a collaborator, else 404."""
    repository = call.repository("write", "Must have push access to view repository collaborators.")
    if repository.collaborators.get(call.parameters["username"].lower(), "none") == "none":
        raise not_found()
    return Response(204)
