"""GitHub Apps: a signed token of the app for a token of its installation, which acts as ``slug[bot]``.

These operations are documented by GitHub but are not in the cut of the API description that the tests hold us to.

Source: https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.standins.github import shapes
from tests.standins.github.exchange import Refused, Response, not_found
from tests.standins.github.routing import Call, operation
from tests.standins.github.state import App, Repository, World

_PERMISSIONS = {"issues": "write", "contents": "write", "metadata": "read"}
#: GitHub refuses a token of an app that is valid for longer, and one from the future.
LONGEST_SECONDS = 600
SKEW_SECONDS = 60


def new_app(world: World, repository: Repository, slug: str) -> App:
    """A new app with its key, installed on a repository."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with world.lock:
        number, installation = world.next_id(), world.next_id()
        user = world.add_user(f"{slug}[bot]", "Bot", app=number)
        app = world.apps[number] = App(number, slug, private.decode(), public.decode(), user, installation)
        repository.installations[number] = installation
    return app


def _app(call: Call) -> App:
    """The app whose signed token the request carries.

    Raises:
        Refused: 401, there is none, or it is not valid now.
    """
    import jwt

    scheme, _, token = call.request.headers.get("authorization", "").partition(" ")
    try:
        issuer = jwt.decode(token.strip(), options={"verify_signature": False}).get("iss", "")
        app = call.world.apps.get(int(issuer))
        if scheme.lower() != "bearer" or app is None:
            raise Refused(401, "A JSON web token could not be decoded")
        options: Any = {"verify_exp": False, "verify_iat": False, "require": ["iat", "exp"]}
        claims = jwt.decode(token.strip(), app.public_key, algorithms=["RS256"], options=options)
    except (jwt.PyJWTError, ValueError, TypeError):
        raise Refused(401, "A JSON web token could not be decoded") from None
    now = call.world.clock().timestamp()
    if claims["exp"] <= now:
        text = "must be a numeric value representing the future time at which the assertion expires"
        raise Refused(401, f"'Expiration time' claim ('exp') {text}")
    if claims["exp"] > now + LONGEST_SECONDS + SKEW_SECONDS:
        raise Refused(401, "'Expiration time' claim ('exp') is too far in the future")
    if claims["iat"] > now + SKEW_SECONDS:
        raise Refused(401, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
    return app


def _installation(call: Call, app: App) -> dict[str, Any]:
    owner = next((each.owner for each in call.world.repositories.values() if app.id in each.installations), app.user)
    url = f"{call.world.api_url}/app/installations/{app.installation}"
    return {
        "id": app.installation,
        "account": shapes.user(call.world, owner),
        "access_tokens_url": f"{url}/access_tokens",
        "repositories_url": f"{call.world.api_url}/installation/repositories",
        "html_url": f"{call.world.html_url}/settings/installations/{app.installation}",
        "app_id": app.id,
        "app_slug": app.slug,
        "target_id": owner.id,
        "target_type": owner.kind,
        "permissions": _PERMISSIONS,
        "events": [],
        "single_file_name": None,
        "repository_selection": "selected",
        "created_at": shapes.when(app.user.created_at),
        "updated_at": shapes.when(app.user.created_at),
        "suspended_by": None,
        "suspended_at": None,
    }


@operation("GET", "/app")
def get_app(call: Call) -> Response:
    """The app itself."""
    app = _app(call)
    content = {
        "id": app.id,
        "slug": app.slug,
        "node_id": shapes.node_id("App", app.id),
        "name": app.slug,
        "description": None,
        "external_url": call.world.html_url,
        "html_url": f"{call.world.html_url}/apps/{app.slug}",
        "owner": shapes.user(call.world, app.user),
        "permissions": _PERMISSIONS,
        "events": [],
        "created_at": shapes.when(app.user.created_at),
        "updated_at": shapes.when(app.user.created_at),
    }
    return Response(200, content)


@operation("GET", "/repos/{owner}/{repo}/installation")
def repository_installation(call: Call) -> Response:
    """The app's installation on a repository."""
    app = _app(call)
    found = call.world.repositories.get(f"{call.parameters['owner']}/{call.parameters['repo']}".lower())
    if found is None or app.id not in found.installations:
        raise not_found()
    return Response(200, _installation(call, app))


@operation("GET", "/app/installations/{installation_id}")
def get_installation(call: Call) -> Response:
    """One installation of the app."""
    app = _app(call)
    if app.installation != int(call.parameters["installation_id"]):
        raise not_found()
    return Response(200, _installation(call, app))


@operation("POST", "/app/installations/{installation_id}/access_tokens")
def create_access_token(call: Call) -> Response:
    """A token of the installation, valid for an hour."""
    app = _app(call)
    if app.installation != int(call.parameters["installation_id"]):
        raise not_found()
    expires = call.now + timedelta(hours=1)
    token = call.world.add_token(app.user, "ghs", expires)
    content = {
        "token": token,
        "expires_at": shapes.when(expires),
        "permissions": _PERMISSIONS,
        "repository_selection": "selected",
    }
    return Response(201, content)
