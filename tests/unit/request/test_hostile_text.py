"""Whatever is pasted: a request or a refusal, never another exception, and never a long wait."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_assets.errors import RequestInvalid
from mlops_assets.request.draft import draft_issue
from mlops_assets.request.parser import parse_issue
from mlops_assets.request.problems import PROBLEM_CODES
from mlops_assets.request.schema import TrainingRequest
from tests.unit.request.conftest import OFFERED
from tests.unit.request.hostile import FULL, MINIMAL, SYNTAX

LONG = [
    *[
        "[",
        "{",
        "｛",
        "- ",
        "? ",
        ": ",
        "a: ",
        "a:\n",
        "a: |\n b\n",
        '"',
        "'",
        "＂",
        '"\\x41',
        "#",
        "# x\n",
        "!",
        "%a\n",
        "\n",
        " ",
        "　",
        "\t",
    ],
    *[
        "&a ",
        "*a ",
        "<<: *a\n",
        "：",
        "　：",
        "<!--",
        "-->",
        "```\n",
        "```yaml\na: b\n```\n",
        "~~~",
        "---\n",
        "body: |\n ",
        "あ",
        "\x00\n",
    ],
    *["a b ", "{a b", "[a, ", "{a: ", "-", "－ ", "9", "1_000", "a.b", ". ", "x\n\n"],
]


def refused_or_as_begun(result: TrainingRequest | RequestInvalid) -> bool:
    """Whether what follows a whole request spoiled it or left alone what it said; it must never train something else."""
    return isinstance(result, RequestInvalid) or (
        (result.dataset.dataset_id, result.algorithm, result.task_type) == ("breast-cancer", "random_forest", "classification")
    )


def outcome(body: str) -> TrainingRequest | RequestInvalid:
    """What comes of a body; anything but a request or a refusal, or more than a second, fails the test."""
    begin = time.process_time()  # of this process: the machine may be busy with others
    try:
        result: TrainingRequest | RequestInvalid = parse_issue(body[:50], body, offered=OFFERED)
    except RequestInvalid as refused:
        result = refused
        assert refused.problems
        assert all(p.code in PROBLEM_CODES and len(p.given) <= 80 for p in refused.problems)
    assert time.process_time() - begin < 1.0
    draft_issue(body, name="x")
    return result


mutations = st.lists(
    st.tuples(st.integers(0, len(FULL)), st.integers(0, 12), st.one_of(st.sampled_from(SYNTAX), st.text(max_size=4))),
    min_size=1,
    max_size=6,
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutations)
def test_mutated_body(changes):
    body = FULL
    for position, removed, inserted in changes:
        body = body[:position] + inserted + body[position + removed :]
    result = outcome(body)
    if isinstance(result, RequestInvalid) and result.corrected is not None:
        again = outcome(result.corrected)
        assert isinstance(again, TrainingRequest) or {p.code for p in again.problems} <= STAYS, result.corrected


#: What may be left to say of a corrected block: keys that only the person can supply, and what follows from their absence.
STAYS = {"missing", "conflict", "empty"}


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300) | st.lists(st.sampled_from([*SYNTAX, "a", " ", "algorithm: "]), max_size=60).map("".join))
def test_arbitrary_text_asks_for_nothing_and_changes_no_request_before_it(text):
    assert isinstance(outcome(text), RequestInvalid)
    assert refused_or_as_begun(outcome(MINIMAL + text))


@pytest.mark.parametrize("piece", LONG)
def test_longest_body_of_one_piece_is_answered_in_a_second(piece):
    characters = 65_536 // len(piece[0].encode())
    assert isinstance(outcome((piece * 70_000)[:characters]), RequestInvalid)
    assert refused_or_as_begun(outcome((MINIMAL + "tags: " + piece * 70_000)[:characters]))


LINES = [
    *FULL.split("\nlearning_type", maxsplit=1)[0].splitlines()[2:],
    "algorithm: random_forest",
    "task_type: classification",
    "seed: 3",
]


@settings(max_examples=60, deadline=None)
@given(st.permutations(LINES))
def test_order_of_keys_does_not_matter(lines):
    assert outcome("\n".join(lines)) == outcome("\n".join(sorted(lines)))
