"""Foreign text stays text: what `echo`, `plain`, `fence` and `table` promise, held against a real Markdown parser."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from mlops_assets.reports.markdown import ZERO_WIDTH_JOINER, bullets, echo, fence, link_or_code, paragraphs, plain, table

#: html and tables on, as on GitHub: a tag that gets through becomes an html token here.
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
MARKUP = {"html_inline", "html_block", "link_open", "image", "heading_open", "em_open", "strong_open", "s_open"}
LIVE = re.compile(r"@[A-Za-z0-9]|#\d|\bgh-\d|https?://|\bwww\.|mailto:|xmpp:|[A-Za-z0-9]@[A-Za-z0-9]", re.IGNORECASE)
NASTY = [
    "@octocat", "a@b.example", "<script>alert(1)</script>", "<img src=x onerror=y>", "<!-- mlops:result -->", "<http://a.b>",
    "[x](http://evil.example)", "![x](y)", "[a]: http://x", "http://evil.example", "www.evil.example", "mailto:a@b.c",
    "#12", "GH-1", "owner/repo#1", "`", "``", "```\n", "~~~", "a`|`b", "|", "\\|", "\\\\|", "a\\",
    "\n\n# heading", "\r\n| x | y |", "**b**", "__b__", "~~s~~", "&lt;b&gt;", "$x$", "- a", "1. a", "===", ">",
    "\u202eabc", "\u2028", "\x00", "\ud800", "    code", "\tcode", "{{ x }}", "{field}", "",
]  # fmt: skip
hostile = st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=6)), max_size=6).map("".join)


def tokens(markdown: str) -> list[Token]:
    found: list[Token] = []
    for token in PARSER.parse(markdown):
        found.append(token)
        found.extend(token.children or [])
    return found


def assert_inert(markdown: str) -> None:
    for token in tokens(markdown):
        assert token.type not in {
            "html_inline",
            "html_block",
            "link_open",
            "image",
            "heading_open",
            "em_open",
            "strong_open",
            "s_open",
        }
        if token.type == "text":
            assert not LIVE.search(token.content), token.content


@settings(max_examples=150, deadline=None)
@given(hostile)
@example("\\|`|")
@example("`@octocat` @octocat")
def test_echoed_text_is_one_code_span_in_a_sentence_and_in_a_table_cell(text: str) -> None:
    shown = echo(text)
    assert [token.type for token in tokens(f"The value {shown} is not allowed.")] == [
        "paragraph_open", "inline", "text", "code_inline", "text", "paragraph_close",
    ]  # fmt: skip
    shown.encode()
    rendered = tokens(table(("a", "b"), [(shown, shown), ("x", "y")]))
    assert [token.type for token in rendered].count("td_open") == 4
    assert [token.type for token in rendered].count("code_inline") == 2
    assert_inert(table(("a", "b"), [(shown, shown)]))


@settings(max_examples=200, deadline=None)
@given(hostile)
@example("1. @octocat")
@example("a\\|b")
@example("x#12 #12 ## gh-1 GH-12")
def test_plain_text_has_no_markup_mention_or_reference(text: str) -> None:
    shown = plain(text)
    shown.encode()
    assert_inert(shown)
    assert_inert(bullets([f"label: {shown}"]))
    rendered = tokens(table(("a", "b"), [(shown, "x"), ("y", shown)]))
    assert [token.type for token in rendered].count("td_open") == 4
    assert_inert(table(("a", "b"), [(shown, "x")]))


@settings(max_examples=100, deadline=None)
@given(hostile)
def test_a_fence_holds_any_content(text: str) -> None:
    block = fence(text, "yaml")
    block.encode()
    assert [token.type for token in tokens(f"before\n\n{block}\n\nafter")].count("fence") == 1
    assert tokens(f"{block}\n\nafter")[-2].content == "after"


@pytest.mark.parametrize("text", ["max_depth", "0.85", "random_forest", "collision_rate < 0.05", "顧客ID", "s3://bucket/key"])
def test_an_ordinary_value_is_echoed_as_written(text: str) -> None:
    assert echo(text) == f"`{text}`"


@pytest.mark.parametrize("text", ["455行、30特徴量", "8.3 s (test split)", "n_estimators = 100", "R&D", "AUC 0.993"])
def test_ordinary_prose_is_shown_as_written(text: str) -> None:
    assert plain(text) == text


def test_plain_text_is_rendered_as_typed() -> None:
    typed = "a*b* [c](d) <e> \\ `f` | g & &lt; ~~h~~ _i_ > j"
    assert "".join(token.content for token in tokens(plain(typed)) if token.type in {"text", "text_special"}) == typed


def test_long_text_is_cut_and_says_so() -> None:
    assert echo("x" * 500) == "`" + "x" * 79 + "…`"
    assert len(echo("x" * 10_000_000)) == 82


def test_empty_and_blank_values_stay_visible() -> None:
    assert echo("") == '`""`'
    assert echo("  ") == '`"  "`'


def test_a_line_end_is_visible_in_an_echo() -> None:
    assert echo("a\nb") == "`a⏎b`"


def test_mentions_are_broken_by_a_joiner_that_nobody_sees() -> None:
    assert plain("@octocat") == f"@{ZERO_WIDTH_JOINER}octocat"


def test_only_http_addresses_without_odd_characters_become_links() -> None:
    assert link_or_code("http://127.0.0.1:5000/#/experiments/1") == "<http://127.0.0.1:5000/#/experiments/1>"
    assert link_or_code("/var/log/training.log") == "`/var/log/training.log`"
    assert link_or_code("javascript:alert(1)").startswith("`")
    assert link_or_code("http://a.example/ <b>").startswith("`")


def test_a_table_is_aligned_for_wide_characters() -> None:
    lines = table(("指標", "値"), [("正解率", "0.9"), ("AUC", "0.95")], ("left", "right")).splitlines()
    assert lines == ["| 指標   |   値 |", "| ------ | ---: |", "| 正解率 |  0.9 |", "| AUC    | 0.95 |"]


def test_a_table_refuses_a_short_row() -> None:
    with pytest.raises(ValueError, match="1 cells in a table of 2"):
        table(("a", "b"), [("x",)])


def test_empty_blocks_leave_no_gap() -> None:
    assert paragraphs("a", "", "b\n") == "a\n\nb\n"
