"""The second opinion itself: it sees everything that acts on GitHub, and nothing in what is only shown."""

from __future__ import annotations

import pytest

from tests.unit.request.github_markup import live

ACTING = {
    "@maintainer": "mention", "see @org/team.": "mention", "a@b.example": "email", "#12": "reference", "fixes #3": "reference",
    "GH-7": "reference", "owner/repo#1": "reference", "https://evil.example": "address", "www.evil.example": "address",
    "mailto:a@b.example": "address", "<b>x</b>": "html_inline", "<script>x</script>": "html_block", "<details>": "html_block",
    "a <!-- mlops:comment plan -->": "hidden", "`<!-- x`": "hidden", "[x](//evil.example)": "link_open", "![x](y)": "image",
    "<https://evil.example>": "link_open", "[a]\n\n[a]: //x": "link_open", "x[^1]": "footnote", "- [ ] x": "task",
    "- [x] y": "task", "> [!NOTE]\n> x": "blockquote_open", "a\n\n    b": "indented code", "```mermaid\nx\n```": "drawing",
    "$x$": "mathematics", "$$x$$": "mathematics", "~~x~~": "s_open", "\u202e": "invisible", "a\x00": "invisible", "***": "hr",
    "| a |\n| --- |\n| `x` @maintainer |": "mention", "&#64;maintainer": "mention", "\\@maintainer": "mention",
    "&#35;12": "reference", "a `b` @maintainer": "mention",
}  # fmt: skip
SHOWN = (
    "`@maintainer #12 https://evil.example <b>`", "```yaml\n@maintainer #12 <b> https://evil.example\n```", "@\u200dmaintainer",
    "#\u200d12", "a < b > c", "$12.50", "\\[^1\\]", "\\[x\\](y)", "\\$x\\$", "## heading\n\n| a | b |\n| - | - |\n| `x` | c |",
    "&lt;b&gt;",
    "1. a\n2. b", "**a** _b_", "- \\[ \\] x", "e-mail at home", "issue number 12", "s3://bucket/key",
)  # fmt: skip


@pytest.mark.parametrize(("markdown", "kind"), ACTING.items())
def test_what_acts_is_seen(markdown: str, kind: str) -> None:
    assert kind in {found.partition(":")[0] for found in live(markdown)}


@pytest.mark.parametrize("markdown", SHOWN)
def test_what_is_only_shown_is_not(markdown: str) -> None:
    assert live(markdown) == []
