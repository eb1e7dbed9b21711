"""Pages for a person in front of a stand-in started by hand: issues, a thread, a file; read only, and safe for any text.

Everything is shown to whoever reaches the port, private or not, because the port is on loopback. ``control`` has the rest of what
lies outside the API.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from tests.standins.github.exchange import Request, Response
from tests.standins.github.state import Comment, Issue, Reaction, Repository, User, World

if TYPE_CHECKING:
    from markdown_it.token import Token

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'none'; base-uri 'none'"
_SIGNS = {"+1": "👍", "-1": "👎", "laugh": "😄", "confused": "😕", "heart": "❤️", "hooray": "🎉", "rocket": "🚀", "eyes": "👀"}
#: GitHub shows these and hides comments; any other tag is shown as the text that it is.
_TAG = re.compile(r"<!--.*?(?:-->|\Z)|</?(?:details|summary|sub|sup|kbd|ins|del)\s*>|<br\s*/?>", re.DOTALL)


def render(markdown: str) -> str:
    """Markdown as GitHub shows it, as harmless HTML: comments are hidden, a few bare tags work, everything else is text."""
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": True, "breaks": True}).enable(["table", "strikethrough"])

    def html(tokens: Sequence[Token], index: int, _options: Any, _env: Any) -> str:
        return _harmless(tokens[index].content)

    renderer.renderer.rules["html_block"] = html  # type: ignore[attr-defined]
    renderer.renderer.rules["html_inline"] = html  # type: ignore[attr-defined]
    return str(renderer.render(markdown.replace("\r\n", "\n")))


def _harmless(html: str) -> str:
    parts, at = [], 0
    for match in _TAG.finditer(html):
        parts += [escape(html[at : match.start()]), "" if match.group().startswith("<!--") else match.group()]
        at = match.end()
    return "".join([*parts, escape(html[at:])])


def answer(world: World, request: Request) -> Response | None:
    """The page of a path, None where there is none."""
    if request.method not in ("GET", "HEAD"):
        return None
    parts = [unquote(part) for part in request.path.strip("/").split("/") if part]
    with world.lock:
        if not parts:
            return _page("Repositories", _repositories(world))
        repository = world.repositories.get("/".join(parts[:2]).lower())
        if repository is None:
            return None
        kind, rest = (parts[2] if len(parts) > 2 else "issues"), parts[3:]
        if kind == "issues" and not rest:
            return _page(repository.full_name, _issues(repository))
        if kind == "issues" and len(rest) == 1 and rest[0].isascii() and rest[0].isdecimal():
            issue = repository.issues.get(int(rest[0]))
            return None if issue is None else _page(f"{issue.title} #{issue.number}", _thread(repository, issue))
        if kind in ("blob", "raw") and len(rest) > 1:
            return _file(repository, kind, rest[0], "/".join(rest[1:]))
    return None


def _page(title: str, body: str) -> Response:
    style = files("tests.standins.github").joinpath("page.css").read_text(encoding="utf-8")
    html = f"""<!doctype html>
<html>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return Response(200, raw=html.encode(), headers=headers)


def _repositories(world: World) -> str:
    rows = [f'<li><a href="/{r.full_name}/issues">{escape(r.full_name)}</a></li>' for r in world.repositories.values()]
    return f'<h1>Repositories</h1>\n<ul class="issues">{"".join(rows)}</ul>'


def _labels(issue: Issue) -> str:
    return " ".join(f'<span class="label">{escape(label.name)}</span>' for label in issue.labels)


def _time(moment: Any) -> str:
    return f'<time datetime="{moment.isoformat()}">{moment:%Y-%m-%d %H:%M:%S} UTC</time>'


def _issues(repository: Repository) -> str:
    rows = [
        f'<li><a href="/{repository.full_name}/issues/{issue.number}">{escape(issue.title)}</a> {_labels(issue)}<br>'
        f'<span class="facts">#{issue.number} · {issue.state} · {escape(issue.user.login)} · {len(issue.comments)} comments · '
        f"{_time(issue.updated_at)}</span></li>"
        for issue in sorted(repository.issues.values(), key=lambda each: each.number, reverse=True)
    ]
    shown = f'<ul class="issues">{"".join(rows)}</ul>' if rows else '<p class="empty">No issues yet.</p>'
    return f"<h1>{escape(repository.full_name)}</h1>\n{shown}"


def _thread(repository: Repository, issue: Issue) -> str:
    link = f"/{repository.full_name}/issues"
    head = (
        f'<nav><a href="{link}">{escape(repository.full_name)}</a></nav>\n'
        f'<h1>{escape(issue.title)} <span class="number">#{issue.number}</span></h1>\n'
        f'<p class="facts"><span class="state {issue.state}">{issue.state}</span> {_labels(issue)}</p>'
    )
    first = _post(repository, "issue", issue.user, issue.body or "", issue.created_at, issue.reactions)
    return "\n".join([head, first, *(_comment(repository, comment) for comment in issue.comments)])


def _comment(repository: Repository, one: Comment) -> str:
    edited = one.updated_at if one.updated_at != one.created_at else None
    return _post(repository, f"issuecomment-{one.id}", one.user, one.body, one.created_at, one.reactions, edited)


def _post(
    repository: Repository, anchor: str, user: User, body: str, at: Any, reactions: Iterable[Reaction], edited: Any = None
) -> str:
    role = "bot" if user.kind == "Bot" else repository.role(user)
    who: dict[str, list[str]] = {}
    for reaction in reactions:
        who.setdefault(reaction.content, []).append(reaction.user.login)
    chips = "".join(
        f'<span class="reaction">{_SIGNS[content]} {len(logins)} {escape(", ".join(logins))}</span>'
        for content, logins in who.items()
    )
    changed = f" · edited {_time(edited)}" if edited is not None else ""
    text = render(body) if body.strip() else '<p class="empty">No description.</p>'
    return (
        f'<article id="{anchor}">\n<header><strong>{escape(user.login)}</strong><span class="kind">{role}</span> '
        f'<a href="#{anchor}">{_time(at)}</a>{changed}</header>\n'
        f'<div class="text">{text}</div>\n{f"<footer>{chips}</footer>" if chips else ""}</article>'
    )


def _file(repository: Repository, kind: str, ref: str, path: str) -> Response | None:
    sha = repository.head(ref) or (ref if ref in repository.objects.commits else None)
    entry = repository.objects.look_up(repository.objects.commits[sha].tree, path) if sha else None
    raw = repository.objects.blob(entry.sha) if entry is not None else None
    if raw is None:
        return None
    if kind == "raw":
        headers = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
        return Response(200, raw=raw, headers=headers)
    text = raw.decode("utf-8", "replace")
    shown = render(text) if path.endswith(".md") else f"<pre><code>{escape(text)}</code></pre>"
    link = f"/{repository.full_name}/raw/{quote(ref)}/{quote(path)}"
    head = f'<nav>{escape(repository.full_name)} · <a href="{link}">raw</a></nav>\n<h1>{escape(path)}</h1>'
    return _page(path, f'{head}\n<div class="text">{shown}</div>')
