"""What people are answered in the thread, in both languages, and that nothing they wrote can act in the answer."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.errors import Problem
from mlops_assets.reports import replies
from mlops_assets.reports.comments import Links
from mlops_assets.reports.replies import Serving
from mlops_assets.request.adjustment import Difference
from mlops_assets.request.authority import Denial, DenialReason
from mlops_assets.request.schema import EvaluationRequest
from mlops_assets.request.vocabulary import Language
from tests.unit.reports.test_comments import ENGLISH, LANGUAGES, assert_harmless, hostile, loose_items, phase_rows, prose

SERVING = Serving("staging", "v1.1.0", "http://127.0.0.1:8101")
UNKNOWN = Problem("/cancle", "unknown_command", "/cancle", ("/retry", "/cancel"), "/cancel")


def every_reply(churn: SimpleNamespace, language: Language, text: str = "maintainer") -> dict[str, str]:
    """One of each answer, with ``text`` wherever somebody else's words can stand."""
    problem = Problem(text, "not_allowed", text, (text,), text)
    serving = Serving("staging", text, "http://127.0.0.1:8101")
    who: dict[str, Any] = {"person": text, "training_id": text}
    plan = churn.plan(target=text, characteristics=churn.plan().characteristics.model_copy(update={"class_counts": {text: 1}}))
    impossible: dict[str, Any] = {"model_id": text, "serving": serving, "available": [text, "v1.0.0"]}
    phases = churn.phases(data=churn.phases()[2].model_copy(update={"detail": text}))
    status: dict[str, Any] = {"model_id": text, "serving": [serving], "training_id": text, "phases": phases}
    return {
        "adjusted": replies.adjusted_comment(
            [Difference(text, text, None), Difference("x", ["a"], {text: 1})], language, **who, attempt=2, max_retry=3,
            awaits_approval=False,
        ),
        "again": replies.adjusted_comment([], language, **who, attempt=2, max_retry=3, awaits_approval=True),
        "refused": replies.refused_reply_comment([problem, Problem("", "two_commands", text)], f"a: {text}", language),
        "unknown": replies.refused_reply_comment([UNKNOWN, Problem(text, "unknown_command", text, (), text)], None, language),
        "exhausted": replies.retries_exhausted_comment(language, model_id=text, max_retry=3, serving=serving),
        **{
            reason: replies.denied_comment(Denial(reason=reason, login=text, permission="read"), "approve", language)
            for reason in get_args(DenialReason)
        },
        "rejected": replies.rejected_comment(text, language),
        "superseded": replies.superseded_comment(language),
        "cancelled": replies.cancelled_comment(text, language),
        "withdrawn": replies.withdrawn_comment(text, language),
        "rolled_back": replies.rolled_back_comment(
            language, person=text, model_id=text, environment="staging", before=text, after=text, url=f"/{text}"
        ),
        "no_earlier": replies.rollback_impossible_comment(language, asked=None, **impossible),
        "no_such_version": replies.rollback_impossible_comment(language, asked=f"{text}x", **impossible),
        "not_applicable": replies.not_applicable_comment("cancel", "nothing_to_cancel", language),
        "status": replies.status_comment(
            language, **status, attempt=2, max_retry=3, links=Links(history=f"/{text}", mlflow=f"/{text}")
        ),
        "ended": replies.status_comment(language, **status, outcome="below_threshold"),
        "explain": replies.explain_comment(plan, language, optimizations=["SMOTE (FR-035)"], record=churn.below_threshold()),
    }  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reply_is_whole_and_in_one_language(churn: SimpleNamespace, language: Language) -> None:
    for name, text in every_reply(churn, language).items():
        assert text.startswith("## "), name
        assert text.endswith("\n"), name
        assert not re.search(r"\{[a-z_]*\}|None|True|False", prose(text)), name
        assert loose_items(text) == 0, name
        if language == "en":
            assert not re.search("[\u3040-\u30ff\u4e00-\u9fff（）、。]", text), name
        else:
            assert ENGLISH.findall(prose(text).replace("Training ID", "").replace("SMOTE", "")) == [], name


@settings(max_examples=60, deadline=None)
@given(text=hostile)
def test_hostile_text_in_any_reply_stays_text(churn: SimpleNamespace, text: str) -> None:
    for reply in every_reply(churn, "en", text).values():
        assert_harmless(reply)


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_adjustment_shows_what_changed_which_attempt_it_is_and_what_follows(language: Language) -> None:
    changed = [Difference("hyperparameters.max_depth", 10, 8), Difference("evaluation_threshold", None, 0.8)]
    facts: dict[str, Any] = {"person": "maintainer", "training_id": "train-2", "attempt": 2, "max_retry": 3}
    text = replies.adjusted_comment(changed, language, **facts, awaits_approval=False)
    assert re.search(r"\| `hyperparameters\.max_depth` \| `10` +\| `8` +\|", text)
    assert re.search(r"\| `evaluation_threshold` +\| — +\| `0\.8` +\|", text)
    assert {"ja": "2回目（最大4回）", "en": "2 of at most 4"}[language] in text
    waits = replies.adjusted_comment(changed, language, **facts, awaits_approval=True)
    assert {"ja": "承認されると", "en": "once it is approved"}[language] in waits
    assert {"ja": "承認されると", "en": "once it is approved"}[language] not in text
    same = replies.adjusted_comment([], language, **facts, awaits_approval=False)
    assert "|" not in same and same.splitlines()[0] != text.splitlines()[0], "nothing was changed, so nothing says so"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_refused_reply_lists_every_problem_and_the_block_to_reply_with(language: Language) -> None:
    problems = [
        Problem("hyperparameters.max_deph", "unknown_hyperparameter", "max_deph", ("max_depth",), "max_depth"),
        Problem("model_id", "not_by_reply", "x", ("customer-churn",)),
        UNKNOWN,
    ]
    text = replies.refused_reply_comment(problems, "hyperparameters:\n  max_depth: 8\n", language)
    assert text.count("\n| ") == 2 + 3
    assert "```yaml\nhyperparameters:\n  max_depth: 8\n```" in text
    assert "```" not in replies.refused_reply_comment(problems, None, language)
    only = replies.refused_reply_comment([UNKNOWN], None, language)
    assert "`/cancle`" in only and "|" not in only
    assert all(f"`/{name}`" in only for name in ("retry", "rollback", "cancel", "status", "explain"))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("reason", get_args(DenialReason))
def test_a_denial_names_who_why_and_who_may(language: Language, reason: DenialReason) -> None:
    text = replies.denied_comment(Denial(reason=reason, login="stranger", permission="read"), "approve", language)
    assert "stranger" in text
    assert "`write`" in text and "`admin`" in text
    assert ("`read`" in text) == (reason == "permission")
    others = {
        replies.denied_comment(Denial(reason=r, login="stranger", permission="read"), "approve", language)
        for r in get_args(DenialReason)
    }
    assert len(others) == 4, "each reason is told from the others"


def test_a_bot_of_an_app_is_shown_as_text() -> None:
    text = replies.denied_comment(Denial(reason="bot", login="helper[bot]", permission="write"), "retry", "en")
    assert "helper\\[bot\\] is a machine account" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_rollback_that_cannot_be_names_the_versions_there_are(language: Language) -> None:
    facts: dict[str, Any] = {"model_id": "customer-churn", "serving": SERVING}
    text = replies.rollback_impossible_comment(language, asked="v9.9.9", available=["v1.1.0", "v1.0.0"], **facts)
    assert "`v9.9.9`" in text and "`/rollback v1.0.0`" in text
    assert text.count("`v1.1.0`") == 1, "what is served already is no version to go back to"
    many = replies.rollback_impossible_comment(language, asked="v9.9.9", available=[f"v0.{n}.0" for n in range(50)], **facts)
    assert "40" in many and "v0.10.0" not in many
    served = replies.rollback_impossible_comment(language, asked="v1.1.0", available=["v1.1.0"], **facts)
    none = replies.rollback_impossible_comment(language, asked=None, available=[], model_id="customer-churn", serving=None)
    assert "/rollback v" not in served + none
    assert len({text, served, none}) == 3


@pytest.mark.parametrize("language", LANGUAGES)
def test_status_shows_phases_attempts_and_what_is_served(churn: SimpleNamespace, language: Language) -> None:
    facts: dict[str, Any] = {"model_id": "customer-churn", "training_id": "train-2", "phases": churn.phases()[:4]}
    going = replies.status_comment(language, **facts, serving=[SERVING], attempt=2, max_retry=3)
    assert len(phase_rows(going)) == 7
    assert "`v1.1.0`" in going and "<http://127.0.0.1:8101>" in going
    assert {"ja": "2回目（最大4回）", "en": "2 of at most 4"}[language] in going
    ended = replies.status_comment(language, **facts, serving=[], outcome="cancelled")
    assert not re.search(r"実行中|待機中|running|waiting", ended)
    nothing = replies.status_comment(language, model_id="customer-churn", serving=[])
    assert phase_rows(nothing) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_explain_gives_the_reason_of_the_gate_and_what_mattered(churn: SimpleNamespace, language: Language) -> None:
    before = replies.explain_comment(churn.plan(), language, optimizations=["**SMOTE** (FR-035)"])
    assert "- **SMOTE** (FR-035)" in before
    assert "threshold_metric" in before and "0.85" in before
    assert "tenure" not in before
    after = replies.explain_comment(churn.plan(), language, record=churn.below_threshold())
    assert "`tenure`" in after and "0.0088" in after
    passed = replies.explain_comment(churn.plan(), language, record=churn.deployed())
    assert {"ja": "変更案", "en": "What can be changed"}[language] in after
    assert {"ja": "変更案", "en": "What can be changed"}[language] not in passed


@pytest.mark.parametrize(
    ("metric", "evaluation", "word"),
    [
        ("auc_roc", EvaluationRequest(threshold_metric="auc_roc"), "threshold_metric"),
        ("auc_roc", EvaluationRequest(metrics=("accuracy", "auc_roc")), "among the metrics"),
        ("auc_roc", EvaluationRequest(), "imbalanced"),
        ("recall", EvaluationRequest(metrics=("recall", "precision")), "first metric"),
        ("accuracy", EvaluationRequest(metrics=("accuracy",)), "as usual"),
        ("accuracy", EvaluationRequest(), "as usual"),
    ],
)
def test_the_reason_of_the_gate_is_the_one_by_which_it_was_chosen(
    churn: SimpleNamespace, metric: str, evaluation: EvaluationRequest, word: str
) -> None:
    plan = churn.plan(gate_metric=metric, request=churn.request(evaluation=evaluation))
    assert word in replies.explain_comment(plan, "en")


def test_where_a_command_approves_the_proposal_says_which() -> None:
    assert "reaction" not in replies.how_to_approve("en", command="mlops approve 3").lower()
    assert "`mlops approve 3`" in replies.how_to_approve("ja", command="mlops approve 3")


@pytest.mark.parametrize("language", LANGUAGES)
def test_on_github_thumbs_decide_and_an_edit_voids(language: Language) -> None:
    text = replies.how_to_approve(language)
    assert "👍" in text and "👎" in text and "YAML" in text
    assert replies.how_to_approve(language, second_person=True) != text


hostile_values = st.recursive(
    st.none() | st.booleans() | st.floats() | hostile, lambda inner: st.lists(inner, max_size=3), max_leaves=4
)


@settings(max_examples=60, deadline=None)
@given(before=hostile_values, after=hostile_values)
def test_values_of_any_kind_are_shown_as_text(before: Any, after: Any) -> None:
    facts: dict[str, Any] = {"person": "a", "training_id": "t", "attempt": 1, "max_retry": 0, "awaits_approval": False}
    assert_harmless(replies.adjusted_comment([Difference("x", before, after)], "en", **facts))
