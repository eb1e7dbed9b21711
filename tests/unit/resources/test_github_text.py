"""Comment text on GitHub: the hidden first line, and bodies that are too long."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.reports.markdown import fence
from resources.github_text import LIMIT, fitted, normalised, of_a_person, sendable, with_marker, without_marker

MARKERS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9:._/#-]{0,40}", fullmatch=True)
LOOKALIKES = st.sampled_from(
    [
        "<!-- mlops:comment plan -->",
        " <!-- mlops:comment plan -->",
        "<!-- \\mlops:comment plan -->\nx",
        "<!--mlops:comment plan-->",
        "\n<!-- mlops:comment plan -->\n",
        "<!-- \\\\mlops:",
        "<!-- mlops:comment plan -->\r\nx",
    ]
)
TEXTS = st.one_of(st.text(max_size=200), LOOKALIKES, st.builds("{}{}".format, LOOKALIKES, st.text(max_size=50)))


@given(MARKERS, TEXTS)
@settings(max_examples=100, deadline=None)
def test_our_comment_is_read_back_with_its_marker(marker, body):
    assert without_marker(with_marker(marker, body)) == (marker, sendable(body))


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_a_persons_text_through_our_account_is_read_back_without_a_marker(body):
    assert without_marker(of_a_person(body)) == (None, sendable(body))


@given(MARKERS, TEXTS)
@settings(max_examples=50, deadline=None)
def test_a_browser_that_saves_our_comment_with_other_line_ends_keeps_it_ours(marker, body):
    text = with_marker(marker, body).replace("\n", "\r\n")
    assert without_marker(normalised(text)) == (marker, sendable(body))


@pytest.mark.parametrize("marker", ["", " plan", "a b", "a -->", "a\nb", "日本", "x" * 201])
def test_a_marker_that_could_end_its_line_is_refused(marker):
    with pytest.raises(ValueError, match="marker"):
        with_marker(marker, "x")


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def open_parts(text: str) -> tuple[bool, int]:
    """Whether a fence, and how many <details>, are open at the end of our own Markdown."""
    fenced, folds = "", 0
    for line in text.split("\n"):
        mark = re.match(r"(`{3,})", line)
        if fenced:
            fenced = "" if mark and len(mark[1]) >= len(fenced) and line.strip("`") == "" else fenced
        elif mark:
            fenced = mark[1]
        else:
            folds += line.startswith("<details") - line.startswith("</details")
    return bool(fenced), folds


BLOCKS = st.lists(
    st.one_of(
        st.text(alphabet="ab 日本語😀`<>", max_size=40).map(lambda text: "p " + text),
        st.text(alphabet="ab\n`~", max_size=80).map(lambda text: fence(text, "yaml")),
        st.sampled_from(["<details>\n<summary>s</summary>\n", "</details>\n", "| a | b |\n|---|---|\n| 1 | 2 |"]),
    ),
    min_size=1,
    max_size=30,
)


@given(BLOCKS, st.integers(min_value=200, max_value=1500))
@settings(max_examples=150, deadline=None)
def test_a_cut_comment_fits_ends_at_a_line_and_leaves_nothing_open(blocks, limit):
    body = "\n\n".join(blocks)
    cut = fitted(body, limit)
    if units(body) <= limit:
        assert cut == body
        return
    assert units(cut) <= limit
    assert open_parts(cut)[0] is False
    assert open_parts(cut)[1] <= max(0, open_parts(body)[1] + body.count("</details>"))
    assert "cut" in cut or "省略" in cut
    kept = cut.split("\n")
    assert body.split("\n")[:1] == kept[:1]


def test_an_open_fence_and_fold_are_closed_before_the_note():
    body = "<details>\n<summary>s</summary>\n\n```yaml\n" + "key: value\n" * 200 + "```\n\n</details>"
    lines = fitted(body, 600).split("\n")
    assert lines[-5:-1] == ["```", "", "</details>", ""]
    assert "65,536" in lines[-1]
    assert lines[-6] == "key: value"


def test_a_single_endless_line_is_cut_inside():
    cut = fitted("x" * 5000, 400)
    assert units(cut) <= 400
    assert cut.startswith("xxx")


def test_the_note_is_in_the_language_of_the_comment():
    assert "省略しました" in fitted("学習が終わりました。\n" * 8000, LIMIT)
    assert "has been cut" in fitted("The training has ended.\n" * 4000, LIMIT)


@given(st.text())
@settings(max_examples=50, deadline=None)
def test_whatever_is_sent_is_utf_8(text):
    sendable(text).encode("utf-8")
    assert "\x00" not in sendable(text)
