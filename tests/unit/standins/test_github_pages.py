"""Pages of the stand-in for a person: what a thread looks like, and that no text of it is more than text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.standins.github import GitHubStandIn
from tests.standins.github.pages import render

ALLOWED = {
    *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li"),
    *("table", "thead", "tbody", "tr", "th", "td", "a", "img", "details", "summary", "sub", "sup", "kbd", "ins", "del"),
}
BARE = {"details", "summary", "br", "sub", "sup", "kbd", "ins", "del"}
ACTING = re.compile(r"\s*(?:javascript|vbscript|file|data):", re.IGNORECASE)


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_comment(self, data: str) -> None:
        self.found.append(("!--", {}))


def _more_than_text(html: str) -> list[tuple[str, dict[str, str | None]]]:
    """Tags that could act on the page: unknown ones, and known ones with attributes or addresses of the writer's choice."""
    return [
        (tag, attributes)
        for tag, attributes in Tags(html).found
        if tag not in ALLOWED
        or not set(attributes) <= (set() if tag in BARE else {"href", "src", "alt", "title", "class", "style", "start"})
        or any(ACTING.match(attributes.get(name) or "") for name in ("href", "src"))
    ]


TAGS = "<script> </script> <details> </details> <br> <style> <svg/onload=x> <summary> </p><script> <?php <![CDATA[ <!-- -->"
SPACED = (
    "<img src=x onerror=alert(1)>",
    "<details open ontoggle=x>",
    "<a href='javascript:x'>",
    "<sub\nonclick=x>",
    "</summary >",
)
MARKDOWN = (
    "[x](javascript:alert(1))",
    "![x](data:text/html,x)",
    "`",
    "```\n",
    "\n\n",
    "\n",
    "| a | b |\n|---|---|\n",
    "- ",
    "> ",
)
pieces = st.sampled_from([*TAGS.split(), *SPACED, *MARKDOWN, "<", ">", "&lt;", '"', "'", "word", "    "])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(pieces, st.text(max_size=6)), max_size=12).map("".join))
def test_no_text_is_more_than_text(markdown: str) -> None:
    assert _more_than_text(render(markdown)) == []


@pytest.mark.parametrize(
    "html", ["<script>x</script>", "<a href='JavaScript:x'>x</a>", "<img src=x onerror=x>", "<details open>", "<!-- x -->"]
)
def test_what_would_be_more_than_text_is_recognised(html: str) -> None:
    assert len(_more_than_text(html)) == 1


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("a <!-- mlops:plan:12 --> b", "<p>a  b</p>"),
        ("<!-- mlops:plan -->\n\ntext", "<p>text</p>"),
        ("<details><summary>more</summary>\n\n**x**\n\n</details>", "<details><summary>more</summary>"),
        ("<script>alert(1)</script>", "&lt;script&gt;"),
        ("| a | b |\n|---|--:|\n| 1 | 2 |", '<td style="text-align:right">2</td>'),
        ("~~old~~", "<s>old</s>"),
    ],
)
def test_markdown_looks_as_on_github(markdown: str, shown: str) -> None:
    assert shown in render(markdown)


def test_a_thread_can_be_read(github: GitHubStandIn) -> None:
    number = github.open_issue("requester", "Train <b>churn</b>", "```yaml\nmodel: x\n```", ["mlops:train"])
    comment = github.comment(number, "maintainer", "A **plan**")
    github.react(comment, "stranger", "+1")
    page = httpx.get(f"{github.html_url}/acme/models/issues/{number}")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for part in (
        "Train &lt;b&gt;churn&lt;/b&gt;",
        "mlops:train",
        "<strong>plan</strong>",
        "👍 1 stranger",
        f"issuecomment-{comment}",
    ):
        assert part in page.text
    assert "prefers-color-scheme: dark" in page.text
    assert github.comments(number)[0]["html_url"] == f"{page.url}#issuecomment-{comment}"
    listed = httpx.get(f"{github.html_url}/acme/models/issues").text
    assert f'href="/acme/models/issues/{number}"' in listed
    assert httpx.get(f"{github.html_url}/acme/models/issues/99").status_code == 404
    assert httpx.post(f"{github.html_url}/acme/models/issues/1", json={}).status_code == 404, "read only"
    assert github.requests == [], "pages are not requests to the API"


def test_a_committed_file_can_be_read(github: GitHubStandIn) -> None:
    github.push("maintainer", {"training_history/a b.md": "# 報告", "x.html": "<script>alert(1)</script>"})
    made = httpx.get(f"{github.url}/repos/acme/models/contents/training_history").json()[0]
    assert "<h1>報告</h1>" in httpx.get(made["html_url"]).text
    raw = httpx.get(f"{github.html_url}/acme/models/raw/main/x.html")
    assert (raw.text, raw.headers["Content-Type"]) == ("<script>alert(1)</script>", "text/plain; charset=utf-8")


def test_faults_and_accounts_by_hand(github: GitHubStandIn) -> None:
    control = f"{github.html_url}/_standin"
    fault = {"what": 502, "method": "GET", "path": "/issues", "times": 2}
    assert httpx.post(f"{control}/faults", json=fault).status_code == 201
    assert httpx.get(f"{github.url}/repos/acme/models/issues").status_code == 502
    assert httpx.get(f"{control}/faults").json()[0]["times"] == 1
    assert httpx.delete(f"{control}/faults").status_code == 204
    assert httpx.get(f"{github.url}/repos/acme/models/issues").status_code == 200
    more = ({"where": "x"}, {"path": "("}, {"times": "x"}, {"times": 0}, {"path": 5}, {"seconds": "soon"})
    for wrong in ({"what": "explode"}, {}, [1], *({"what": 500} | each for each in more)):
        assert httpx.post(f"{control}/faults", json=wrong).status_code == 422, wrong
    made = httpx.post(f"{control}/users", json={"login": "colleague", "permission": "triage"}).json()
    assert made["token"] == github.token("colleague")
    assert httpx.post(f"{control}/users", json={"login": "x", "permission": "king"}).status_code == 422
    assert [each["status"] for each in httpx.get(f"{control}/requests").json()] == [502, 200]
