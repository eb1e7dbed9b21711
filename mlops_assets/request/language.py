"""In which language an issue is written, so that the thread answers in it. The sentences themselves belong to ``reports``."""

from __future__ import annotations

import re
from typing import Final

from mlops_assets.request.issue_text import MAX_BYTES, Fence, fences, has_japanese, request_blocks, with_plain_lines
from mlops_assets.request.vocabulary import Language

_WORD: Final = re.compile(r"[A-Za-z]{2}")
_SENTENCE_END: Final = re.compile(r"[。．！？!?]|\.(?=\s|$)")
_COMMENT: Final = re.compile(r"(?:^|[\s　])[#＃]")
_KEY_AND_VALUE: Final = re.compile(r"^[\s　-]{0,64}[^\s:：]{1,64}[ 　]?[:：](.*)$")


def detect_language(title: str, body: str) -> Language:
    """``ja`` or ``en``, by a majority vote of what a person wrote in the issue.

    The title and every sentence of prose have two votes, every YAML comment and every value with kana or kanji has one;
    prose weighs more because comments are often copied from a template. Text with kana or kanji votes ``ja``; other
    text with a word of Latin letters votes ``en``. YAML keys, values of the platform's own vocabulary, hidden HTML
    comments and blocks of other code do not vote. A tie with any Japanese in it is ``ja``: an English writer types no kana.
    """
    text = with_plain_lines(body[:MAX_BYTES])
    request = request_blocks(text)
    whole = not fences(text)
    ja = en = 0
    for piece, weight in [(title, 2), *_prose(text, request, whole), *_comments_and_values(request)]:
        if has_japanese(piece):
            ja += weight
        elif _WORD.search(piece):
            en += weight
    return "ja" if ja and ja >= en else "en"


def _prose(text: str, request: list[Fence], whole: bool) -> list[tuple[str, int]]:
    """Sentences outside every fence, two votes each; a bare body is all request and has none."""
    if whole and request:
        return []
    hidden = {number for fence in fences(text) for number in range(fence.line - 1, fence.last + 1)}
    lines = [line for number, line in enumerate(text.split("\n")) if number not in hidden]
    return [(sentence, 2) for line in lines for sentence in _SENTENCE_END.split(line) if sentence.strip()]


def _comments_and_values(request: list[Fence]) -> list[tuple[str, int]]:
    """Comments of the request, and its values where they hold Japanese, one vote each."""
    votes: list[tuple[str, int]] = []
    for line in (line for fence in request for line in fence.text.split("\n")):
        comment = _COMMENT.search(line)
        content = line[: comment.start()] if comment else line
        if comment:
            votes.append((line[comment.end() :], 1))
        pair = _KEY_AND_VALUE.match(content)
        value = pair[1] if pair else content
        if has_japanese(value):
            votes.append((value, 1))
    return votes
