"""Ten thousand hostile bodies: each is answered within a second, by a request or a refusal, and no answer lets anything act."""

from __future__ import annotations

import importlib
import importlib.util
import resource
import time
import tracemalloc
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_assets.data.dataset import CatalogueEntry, Column, DatasetVersion
from mlops_assets.errors import Problem, RequestInvalid
from mlops_assets.reports.comments import NO_REQUEST, proposal_comment, refusal_comment, result_comment
from mlops_assets.reports.language import catalogue
from mlops_assets.reports.record import PhaseProgress, TrainingRecord
from mlops_assets.reports.report import report_markdown
from mlops_assets.request.draft import draft_issue
from mlops_assets.request.language import detect_language
from mlops_assets.request.parser import parse_issue
from mlops_assets.request.plan import Plan
from mlops_assets.request.planner import algorithm_not_offered, make_plan
from mlops_assets.request.problems import PROBLEM_CODES
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.request.vocabulary import Language
from tests.unit.request.conftest import OFFERED
from tests.unit.request.github_markup import live, skeleton, text_outside_code, tokens
from tests.unit.request.hostile import KINDS, MARKER, MINIMAL, PIECES, titles

BODIES = 10_000
#: Of so many valid bodies one is reported as well: a whole report takes as long to check as five answers.
REPORTED = 5
#: What GitHub takes.
LONGEST_COMMENT = 65_536
#: Bytes held at once while one body of 64 KiB is answered.
MOST_MEMORY = 48 * 1024 * 1024

#: A table whose own names are hostile: they are shown as allowed values.
TABLE = DatasetVersion(
    dataset_id="breast-cancer",
    version="sha256-0123456789abcdef",
    raw_sha256="0" * 64,
    raw_bytes=1,
    rows=500,
    columns=tuple(
        Column(name=name, kind="category", missing=0, distinct=2)
        for name in ("y", "a", f"{MARKER}@maintainer", "a|`b`", "[x](https://evil.example) #12")
    ),
    duplicate_rows=0,
    target_counts={"<b>@maintainer</b>": 400, MARKER: 100},
    entry=CatalogueEntry(dataset_id="breast-cancer", source="x", target="y"),
    added_at="2026-01-01T00:00:00Z",
)


class Tabular:
    """Only what the planner asks of a task: its name."""

    name = "tabular"
    algorithms = OFFERED


def answered(title: str, body: str) -> TrainingRequest | RequestInvalid:
    """A request or a refusal; every other exception fails the test, and so does more than a second.

    The second time counts where the first took long: garbage of other tests may have been collected meanwhile.
    """
    result, spent = _timed(title, body)
    if spent >= 1.0:
        result, spent = _timed(title, body)
    assert spent < 1.0, f"{spent:.2f} s"
    return result


def _timed(title: str, body: str) -> tuple[TrainingRequest | RequestInvalid, float]:
    begin = time.process_time()  # of this process: the machine may be busy with others
    try:
        return parse_issue(title, body, offered=OFFERED), time.process_time() - begin
    except RequestInvalid as refused:
        return refused, time.process_time() - begin


def planned(request: TrainingRequest) -> Plan | RequestInvalid:
    """What the platform does with a valid request."""
    algorithm = next((offered for offered in OFFERED if offered.name == request.algorithm), None)
    if algorithm is None:
        return algorithm_not_offered(request, OFFERED)
    resources: dict[str, Any] = {"compute": "local", "processors": 2}
    try:
        return make_plan(request, TABLE, "code-1", task=Tabular(), algorithm=algorithm, resources=resources, cost_cap_usd=5.0)
    except RequestInvalid as refused:
        return refused


def assert_refusal_is_inert(refused: RequestInvalid, language: Language) -> None:
    """The comment is a table of code spans and one fence, and what stands outside them does not depend on the body."""
    assert refused.problems
    assert all(problem.code in PROBLEM_CODES for problem in refused.problems)
    comment = refusal_comment(refused.problems, refused.corrected, language)
    comment.encode()
    assert len(comment) <= LONGEST_COMMENT
    assert live(comment) == []
    shape = skeleton(comment)
    fences = int(shape["fence"])
    example = any(problem.code in NO_REQUEST for problem in refused.problems)  # ours, where there is nothing to correct
    assert fences <= (refused.corrected is not None) + example
    assert (shape["heading_open"], shape["table_open"], shape["list_item_open"]) == (1 + fences, 1, 0)
    assert shape["td_open"] == 5 * (shape["tr_open"] - 1)
    shown = text_outside_code(comment)
    if shape["tr_open"] - 1 == len(refused.problems) and "…" not in shown:  # none left out for length
        harmless = [
            Problem("x" * bool(p.field), p.code, "x" * bool(p.given), ("x",) * len(p.allowed), p.suggestion and "x")
            for p in refused.problems
        ]
        expected = refusal_comment(harmless, "x: y\n" if fences > example else None, language)
        assert shown == text_outside_code(expected)


def assert_proposal_is_inert(plan: Plan, language: Language, person: str = "maintainer") -> None:
    """Nothing acts, and no heading is there that is not one of ours."""
    comment = proposal_comment(plan, language, approved_by=person, how_to_approve="👍")
    comment.encode()
    assert len(comment) <= LONGEST_COMMENT
    assert live(comment) == []
    found = tokens(comment)
    headings = {found[at + 1].content for at, token in enumerate(found) if token.type == "heading_open"}
    assert headings <= {text for key, text in catalogue(language).items() if key.startswith("heading.")}
    assert all(token.content.startswith(("mlops ", "#")) for token in found if token.type == "fence")


def failed(plan: Plan, error: str) -> TrainingRecord:
    """The record of a training of ``plan`` that ended with ``error``."""
    return TrainingRecord(
        training_id="train-20260101-000000-abcd",
        model_id=plan.request.model_id,
        issue=1,
        attempt=1,
        outcome="failed",
        language=plan.request.language,
        started_at="2026-01-01T00:00:00+00:00",
        finished_at="2026-01-01T00:00:01+00:00",
        request=plan.request,
        plan_digest=plan.digest,
        approved_by=error,
        code_version="code-1",
        environment={"python": error},
        not_done=tuple(item.key for item in plan.not_done),
        hyperparameters=plan.hyperparameters,
        phases=(PhaseProgress(phase="data", state="failed", seconds=1.0, detail=error),),
        error=error,
    )


def assert_result_is_inert(record: TrainingRecord, language: Language) -> None:
    """The result comment, and the report that is committed to the repository with the whole request in it."""
    for text in (result_comment(record, language), report_markdown(record, language)):
        assert live(text) == []


def assert_answered_safely(title: str, body: str) -> None:
    """One body, from its text to the comment that it gets."""
    result = answered(title, body)
    language = detect_language(title, body)
    if isinstance(result, TrainingRequest):
        outcome = planned(result)
        if isinstance(outcome, Plan):
            assert_proposal_is_inert(outcome, language)
            if zlib.crc32(body.encode("utf-8", "surrogatepass")) % REPORTED == 0:
                assert_result_is_inert(failed(outcome, body[:300]), language)
            return
        result = outcome
    assert_refusal_is_inert(result, language)
    if result.corrected is not None:
        answered(title, result.corrected)


@pytest.mark.parametrize("kind", KINDS)
def test_every_body_of_a_kind_is_answered_safely(kind: str) -> None:
    """In all kinds together ``BODIES`` bodies."""
    strategy, share = KINDS[kind]
    wanted, seen = round(share * BODIES), 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(max_examples=wanted, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy, titles)
    def fuzz(body: str, title: str) -> None:
        nonlocal seen
        seen += 1
        assert_answered_safely(title, body)

    fuzz()
    assert seen >= wanted
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300 * 1024, f"{grown} KiB"


def test_the_kinds_are_ten_thousand_bodies() -> None:
    assert sum(round(share * BODIES) for _, share in KINDS.values()) >= BODIES


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("text", PIECES)
def test_each_hostile_piece_as_key_and_value_in_both_languages(text: str, language: Language) -> None:
    """Everywhere a refusal shows something: field, given, allowed, suggestion and the corrected block."""
    from mlops_assets.request.correction import corrected_block
    from mlops_assets.request.problems import ProblemLog, shortened
    from mlops_assets.request.yaml_nodes import Leaf, Pairs

    log = ProblemLog()
    log.add(("tags", text), "not_allowed", text, (text, f"{text} {text}"), text)
    log.add_key((text,), "unknown_key", (text,), None)
    root = Pairs(1, {"tags": Pairs(2, {text: Leaf("x", True, 2)}), text: Leaf(text, False, 3), "title": Leaf(text, False, 4)})
    assert_refusal_is_inert(RequestInvalid(log.problems, corrected=corrected_block(root, log)), language)
    plan = planned(parse_issue("", MINIMAL, offered=OFFERED))
    assert isinstance(plan, Plan)
    shown = shortened(text)
    hostile = plan.model_copy(update={"dataset_version": shown, "code_version": shown, "resources": {shown: shown, "x": None}})
    assert_proposal_is_inert(hostile, language, text)
    assert_result_is_inert(failed(plan, text), language)
    assert_result_is_inert(failed(plan, f"cannot read {text} at {text}\n{text}"), language)


# --- bounds -------------------------------------------------------------------------------------------------------------

HEAVY = {
    "keys": "".join(f"k{number}: {number}\n" for number in range(249)),
    "keys of one section": "hyperparameters:\n" + "".join(f"  k{number}: {number}\n" for number in range(240)),
    "long keys": "".join(f"{'k' * 250}{number}: {'v' * 10}\n" for number in range(200)),
    "metrics": "evaluation_metrics: [" + ", ".join(f"m{number}" for number in range(400)) + "]\n",
    "long value": MINIMAL + "tags: {a: " + "x" * 60_000 + "}\nalgoritm: x\n",
    "backticks": 'x: "' + "`" * 60_000 + '"\n',
    "unseen": 'tags: {a: "' + "\u200b" * 20_000 + '"}\n',
    "custom": MINIMAL + "workflow_optimization: {custom_optimizations: {x: " + "y" * 60_000 + "}}\n",
    "anchors": "".join(f"a{n}: &a{n} [*a{n}, *a{n}]\n" for n in range(120)),
    "merge keys": "".join("<<: {a: 1}\n" for _ in range(160)),
    "digits": f"seed: {'9' * 60_000}\n",
    "prose": "word. " * 10_900,
    "fences": "```yaml\na: b\n```\n" * 3_600,
    "open brackets": "[" * 65_000,
    "full-width brackets": "｛" * 21_000,
    "escapes": 'a: "' + "\\x41" * 16_000 + '"',
    "comments": "# x\n" * 16_000,
    "hidden": "<!--" * 16_000,
    "dashes": "- " * 32_000,
    "ten megabytes": "a: b\n" * 2_000_000,
}


@pytest.mark.parametrize("name", HEAVY)
def test_a_heavy_body_takes_bounded_time_memory_and_comment(name: str) -> None:
    answered("", MINIMAL)  # what is loaded once is not this body's
    tracemalloc.start()
    try:
        assert_answered_safely("", HEAVY[name])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST_MEMORY, f"{peak / 2**20:.0f} MiB"


# --- the defects that the bodies above have found -------------------------------------------------------------------------


def corrected(body: str) -> str:
    with pytest.raises(RequestInvalid) as refused:
        parse_issue("", body, offered=OFFERED)
    assert refused.value.corrected is not None
    return refused.value.corrected


def test_an_escaped_marker_stays_escaped_in_the_block_to_paste() -> None:
    """Written out it would be a marker of ours in our own comment, and vanish when the block is pasted back."""
    block = corrected(MINIMAL + 'tags: {team: "\\x3c!-- mlops:comment plan --\\x3e"}\nsede: 3\n')
    assert "<!--" not in block
    assert parse_issue("", block, offered=OFFERED).tags == {"team": MARKER}


def test_what_nobody_can_see_is_written_out_in_the_block_to_paste() -> None:
    block = corrected(MINIMAL + 'tags: {team: "a\\u200bb\\u00adc 顧客　離反 👩‍💻"}\nsede: 3\n')
    assert '"a\\U0000200bb\\U000000adc 顧客　離反 👩‍💻"' in block
    assert parse_issue("", block, offered=OFFERED).tags == {"team": "a\u200bb\u00adc 顧客　離反 👩‍💻"}


def test_a_refusal_of_hundreds_of_problems_fits_a_comment_and_says_how_many_are_left() -> None:
    with pytest.raises(RequestInvalid) as refused:
        parse_issue("", HEAVY["keys"], offered=OFFERED)
    assert len(refused.value.problems) > 240
    comment = refusal_comment(refused.value.problems, refused.value.corrected, "en")
    shown = skeleton(comment)["tr_open"] - 2
    assert f"… and {len(refused.value.problems) - shown} more" in comment
    assert f"{len(refused.value.problems)} problems" in comment
    assert skeleton(comment)["fence"] == 1


# --- replies of operators ---------------------------------------------------------------------------------------------


@cache
def command_parsers() -> tuple[Callable[[str], object], ...]:
    """Everything else that reads what people write in a thread; a module that is not part of this tree is left out."""
    found = []
    for module, function in (("mlops_assets.request.commands", "parse_command"),):
        if importlib.util.find_spec(module) is not None:
            found.append(getattr(importlib.import_module(module), function))
    return tuple(found)


COMMANDS = ("/retry", "/rollback", "/cancel", "/status", "/explain", "／ｒｅｔｒｙ", "/unknown", "/", "/retry seed=")
WORDS = (*COMMANDS, *(f"\n{command}" for command in COMMANDS), *PIECES, " ", "\n")
replies = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map("".join)


@settings(max_examples=1_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(replies | KINDS["characters"][0] | KINDS["long"][0] | KINDS["fences"][0])
def test_a_reply_is_a_command_a_refusal_or_nothing(text: str) -> None:
    draft_issue(text, name="x")
    for parse in command_parsers():
        begin = time.process_time()
        try:
            parse(text)
        except RequestInvalid as refused:
            assert_refusal_is_inert(refused, "ja")
        assert time.process_time() - begin < 1.0
