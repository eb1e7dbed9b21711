"""What GitHub would make of a comment: everything in it that acts, links, notifies or hides. For tests of what is written back.

A second opinion beside the Markdown parser: mentions, references and bare addresses are found by GitHub after rendering, in
whatever text is not code, so they are looked for there by GitHub's own rules.

Source: GitHub Flavored Markdown 0.29-gfm; https://docs.github.com/en/get-started/writing-on-github (autolinked references and
URLs, mentioning people and teams, footnotes, task lists, alerts, mathematical expressions).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

#: html and tables on, as on GitHub: a tag that gets through becomes an html token here.
#: An escaped character stays a token of its own (``text_join`` would merge it), so that it can be told from a bare one.
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).disable("text_join")
MARKUP = frozenset({"html_inline", "html_block", "image", "link_open", "s_open", "blockquote_open", "hr"})
LIVE_TEXT = {
    "mention": re.compile(r"@[A-Za-z0-9]"),
    "reference": re.compile(r"#[0-9]|\bgh-[0-9]", re.IGNORECASE),
    "address": re.compile(r"(?:https?|ftp)://|\bwww\.[A-Za-z0-9]|\b(?:mailto|xmpp):[A-Za-z0-9]", re.IGNORECASE),
    "email": re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9._-]+\.[A-Za-z0-9]"),
}
#: Found by GitHub while it parses: an escaped bracket or dollar sign does not count.
LIVE_SYNTAX = {
    "footnote": re.compile(r"\[\^[^\]\s]+\]"),
    "mathematics": re.compile(r"\$\$|(?<!\S)\$(?=[^\s\d])[^$\n]*\$"),
}
#: Looked for in the raw text, code or not: readers of a thread file and of a comment search for markers there.
HIDDEN = re.compile(r"<!--")
TASK = re.compile(r"^\[[ xX]\](?:\s|$)")
DRAWN = re.compile(r"mermaid|geojson|topojson|stl|math", re.IGNORECASE)


@lru_cache(maxsize=4)
def tokens(markdown: str) -> list[Token]:
    """Block and inline tokens in reading order."""
    found: list[Token] = []
    for token in PARSER.parse(markdown):
        found.append(token)
        found.extend(token.children or ())
    return found


def live(markdown: str) -> list[str]:
    """Everything in ``markdown`` that is more than shown text, as ``kind: text``; empty is what it should be.

    An address that the platform itself makes a link of, ``<http://127.0.0.1…>``, counts as live too: no comment made from a
    request alone has one.
    """
    found = [f"hidden: {match.group()}" for match in HIDDEN.finditer(markdown)]
    found += [f"invisible: U+{ord(c):04X}" for c in set(markdown) if _acts_unseen(c)]
    previous = ""
    for token in tokens(markdown):
        if token.type in MARKUP:
            found.append(f"{token.type}: {token.content or token.attrs}")
        elif token.type == "fence" and DRAWN.search(token.info):
            found.append(f"drawing: {token.info}")
        elif token.type == "code_block":
            found.append(f"indented code: {token.content}")
        elif token.type == "inline" and previous == "list_item" and TASK.match(token.content):
            found.append(f"task: {token.content}")
        if token.type == "inline":
            rendered, bare = _texts(token)
            found += [f"{kind}: {m.group()}" for kind, rule in LIVE_TEXT.items() for m in rule.finditer(rendered)]
            found += [f"{kind}: {m.group()}" for kind, rule in LIVE_SYNTAX.items() for m in rule.finditer(bare)]
        previous = "list_item" if token.type == "list_item_open" or (previous and token.type == "paragraph_open") else ""
    return found


def _texts(inline: Token) -> tuple[str, str]:
    """The text of a block outside code as it is rendered, and the same with every escaped character blanked out."""
    rendered = bare = ""
    for child in inline.children or ():
        if child.type in ("text", "text_special"):
            rendered += child.content
            bare += child.content if child.type == "text" else "\0" * len(child.content)
        else:
            rendered += "\n"
            bare += "\n"
    return rendered, bare


def _acts_unseen(character: str) -> bool:
    """Controls, lone surrogates, and signs that turn the reading direction; the joiner that breaks mentions is ours."""
    if character in "\n\u200d":
        return False
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _BIDIRECTIONAL


_BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def skeleton(markdown: str) -> dict[str, int]:
    """How many headings, tables, rows, cells, list items and fences there are: foreign text must not add any."""
    counted = ("heading_open", "table_open", "tr_open", "th_open", "td_open", "list_item_open", "fence")
    types = [token.type for token in tokens(markdown)]
    return {name: types.count(name) for name in counted}


def text_outside_code(markdown: str) -> list[str]:
    """The text that a reader sees outside code, in order."""
    return [token.content for token in tokens(markdown) if token.type in ("text", "text_special") and token.content.strip()]
