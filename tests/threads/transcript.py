"""A thread as text: what a person reads on the page, without what differs from one replay to the next."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tests.standins.github import GitHubStandIn

_NAMED = re.compile(r"train-\d{8}-\d{6}-[0-9a-f]{6}")
_REPLY = re.compile(r"(?<=<!-- mlops:comment reply:)\d+")
_VARIES = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "<sha256>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{40}\b"), "<sha1>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{12,36}\b"), "<hex>"),
    (re.compile(r"\d+\.\d+\.\d+\+src\.[0-9a-z<>.-]+"), "<code version>"),
    (re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2})?(\+00:00|Z| UTC)?"), "<time>"),
    (re.compile(r"http://127\.0\.0\.1:\d+"), "http://127.0.0.1:<port>"),
    (re.compile(r"(?:file://)?/[\w./-]*/home/"), "<home>/"),
    (re.compile(r"(プロセッサ数|processors) \d+"), r"\1 <number>"),
    (re.compile(r"(?<![\w.])(\d+ (h|min) )?\d+ min \d+ s\b|(?<![0-9.])\d+(時間|分) ?\d+(秒|分)"), "<duration>"),
    (re.compile(r"(?<![0-9.])(?<![A-Za-z])[±+−-]?\d+(\.\d+)? ?(秒|ミリ秒)"), "<duration>"),
    (re.compile(r"(?<![\w.])[±+−-]?\d+(\.\d+)? (s|ms)\b"), "<duration>"),
    (re.compile(r"(?<![\w.])[±+−-]?\d+\.\d{3,}(e-?\d+)?\b"), "<number>"),
    (re.compile(r"(?<=>)（[±+−-][\d.]+%）|(?<=>) \([±+−-][\d.]+%\)"), ""),
    (re.compile(r"[±+−](?=<)"), ""),
    (re.compile(r" {2,}\|"), " |"),
    (re.compile(r"\| {2,}"), "| "),
    (re.compile(r"\| ?-{2,}:? ?(?=\|)"), "| --- "),
)
_ENDS = re.compile(r"[ \t]+$", re.MULTILINE)


def transcript(github: GitHubStandIn, numbers: Iterable[int], shown: Sequence[tuple[str, str]] = ()) -> str:
    """Every issue with its thread; ``shown`` are texts of comments at earlier moments, each with its heading."""
    parts = []
    for number in numbers:
        issue = github.issue(number)
        labels = " ".join(sorted(github.labels(number)))
        parts += [f"# {number}: {issue['title']}", f"{issue['user']['login']} · {issue['state']} · {labels}", issue["body"]]
        for comment in github.comments(number):
            thumbs = " ".join(f"{content} {login}" for login, content in github.reactions(comment["id"]))
            parts += [f"---\n### {comment['user']['login']}  {thumbs}".rstrip(), comment["body"]]
    for heading, body in shown:
        parts += [f"---\n### {heading}", body]
    return settled("\n\n".join(parts))


def settled(text: str) -> str:
    """``text`` with ids numbered as they appear, and digests, times, durations, ports and measured numbers masked."""
    names: dict[str, str] = {}
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _NAMED.sub(lambda match: names.setdefault(match.group(), f"train-#{len(names) + 1}"), text)
    replies: dict[str, str] = {}
    text = _REPLY.sub(lambda match: replies.setdefault(match.group(), f"#{len(replies) + 1}"), text)
    for pattern, mask in _VARIES:
        text = pattern.sub(mask, text)
    return _ENDS.sub("", text).rstrip() + "\n"
