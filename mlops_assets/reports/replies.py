"""Answers to what people write in a thread: a change applied or refused, a decision carried out, a question answered.

Markdown only, in the thread's language; reading the reply is in ``request.commands``, who may ask in ``request.authority``. The
comments on a training itself (proposal, progress, result) are in ``comments``. Names of people go through ``plain``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mlops_assets.errors import Problem
from mlops_assets.reports import facts
from mlops_assets.reports.comments import corrected_request, problem_table
from mlops_assets.reports.language import sentence
from mlops_assets.reports.markdown import bullets, echo, link_or_code, paragraphs, plain, table
from mlops_assets.reports.phases import IN_TABLE, Links, phase_table, progress_sentence
from mlops_assets.reports.proposal import detected
from mlops_assets.reports.quantities import counted, metric_name, setting_value, term, threshold_text
from mlops_assets.reports.record import Ending, Outcome, PhaseProgress, TrainingRecord
from mlops_assets.reports.report_sections import IMPORTANCE_SHOWN, importance
from mlops_assets.request.adjustment import Difference
from mlops_assets.request.authority import Denial
from mlops_assets.request.commands import COMMANDS
from mlops_assets.request.plan import Plan
from mlops_assets.request.task_types import USUAL_GATES
from mlops_assets.request.vocabulary import METRICS, Environment, Language

Action = Literal["approve", "reject", "retry", "rollback", "cancel"]
#: Why a command has nothing to act on.
NotApplicable = Literal[
    "no_training",
    "nothing_to_cancel",
    "still_running",
    "awaits_approval",
    "threshold_reached",
    "nothing_served",
    "closed",
    "unlabelled",
]
_VERSIONS_SHOWN = 10


@dataclass(frozen=True)
class Serving:
    """One version that answers now."""

    environment: Environment
    version: str
    url: str | None = None


def how_to_approve(
    language: Language, *, command: str | None = None, second_person: bool = False, ended: bool = False, by_itself: str = ""
) -> str:
    """How a proposal is approved, refused and changed: by ``command`` where one is given, else by reactions in the thread.

    Once its training has ended it is not, and says so.

    Args:
        by_itself: whose request approves it without a reaction; empty where it has to be approved.
    """
    if ended:
        return sentence("approve.void", language)
    if by_itself:
        return sentence("approve.by_itself", language, person=plain(by_itself, 80))
    if command is not None:
        return sentence("detail.approve_folder", language, command=command)
    who = "who_second_person" if second_person else "who_may"
    ways = [sentence(f"approve.{key}", language) for key in ("thumbs_up", "thumbs_down", "edit")]
    return paragraphs(bullets(ways), sentence(f"approve.{who}", language)).strip("\n")


# --- a change ---------------------------------------------------------------------------------------------------------------


def adjusted_comment(
    differences: Sequence[Difference],
    language: Language,
    *,
    person: str,
    training_id: str,
    attempt: int,
    max_retry: int,
    awaits_approval: bool,
) -> str:
    """What a reply changed, which attempt this makes, and what happens next.

    Args:
        attempt: of the new training; the first training of an issue is attempt 1, so that ``max_retry`` + 1 is the last.
    """
    header = tuple(sentence(f"label.{name}", language) for name in ("field", "before", "after"))
    rows = [(echo(item.field), _setting(item.before), _setting(item.after)) for item in differences]
    return paragraphs(
        f"## {sentence('heading.adjusted' if rows else 'heading.same_again', language)}",
        sentence("reply.adjusted" if rows else "reply.same_again", language, person=plain(person, 80)),
        table(header, rows) if rows else "",
        bullets(
            [
                facts.labelled("training_id", echo(training_id), language),
                facts.labelled("attempt", _attempt(attempt, max_retry, language), language),
            ]
        ),
        sentence("reply.then_proposed" if awaits_approval else "reply.then_trained", language),
    )


def _setting(value: object) -> str:
    if value is None:
        return "—"
    return echo(", ".join(map(str, value))) if isinstance(value, list) and value else setting_value(value)


def _attempt(attempt: int, max_retry: int, language: Language) -> str:
    return sentence("reply.attempt", language, attempt=attempt, attempts=max_retry + 1)


def refused_reply_comment(problems: Sequence[Problem], corrected: str | None, language: Language) -> str:
    """Every problem of a reply at once, with the corrected changes; only the commands there are where it named none of them."""
    unknown = [problem for problem in problems if problem.code == "unknown_command"]
    if unknown and len(unknown) == len(problems):
        return unknown_command_comment(unknown, language)
    return paragraphs(
        f"## {sentence('heading.reply_refused', language)}",
        sentence("reply.refused", language, count=counted(len(problems), "problems", language)),
        problem_table(problems, language, nowhere="whole_reply"),
        corrected_request(corrected, language, "paste_reply"),
        "" if corrected is not None else sentence("reply.write_again", language),
    )


def unknown_command_comment(problems: Sequence[Problem], language: Language) -> str:
    """Did you mean: each word that is no command with the one it is near, and every command there is."""
    meant = [
        sentence("reply.did_you_mean", language, given=echo(problem.given), meant=echo(problem.suggestion or "—"))
        for problem in problems
    ]
    return paragraphs(
        f"## {sentence('heading.unknown_command', language)}",
        bullets(meant),
        sentence("reply.commands", language),
        bullets(sentence(f"command.{name}", language) for name in COMMANDS),
    )


def retries_exhausted_comment(language: Language, *, model_id: str, max_retry: int, serving: Serving | None) -> str:
    """The last allowed attempt missed the threshold too: it counts as failed, and what was served stays."""
    return paragraphs(
        f"## {sentence('heading.exhausted', language)}",
        sentence("reply.exhausted", language, model=echo(model_id), limit=max_retry),
        _stays(serving, language),
        sentence("reply.after_exhausted", language),
    )


def _stays(serving: Serving | None, language: Language) -> str:
    if serving is None:
        return sentence("reply.nothing_served", language)
    environment = term("environment", serving.environment, language)
    return sentence("reply.stays", language, version=echo(serving.version), environment=environment)


# --- a decision -------------------------------------------------------------------------------------------------------------


def denied_comment(denial: Denial, action: Action, language: Language) -> str:
    """Who was refused what and why, and who may; one explanation a person and decision is enough."""
    return denied_together_comment([denial], action, language)


def denied_together_comment(denials: Sequence[Denial], action: Action, language: Language) -> str:
    """The same for several people: a line each, and who may, once."""
    lines = [
        sentence(
            f"denied.{denial.reason}",
            language,
            person=plain(denial.login, 80) or "—",
            permission=echo(denial.permission),
            action=sentence(f"action.{action}", language),
        )
        for denial in denials
    ]
    alone = [denial.reason.startswith("second_person") for denial in denials]
    who = [*(["denied_permission"] if not all(alone) else []), *(["denied_second_person"] if any(alone) else [])]
    return paragraphs(
        f"## {sentence('heading.denied', language)}",
        bullets(lines) if len(lines) > 1 else "".join(lines),
        *(sentence(f"reply.{name}", language) for name in who),
    )


def rejected_comment(person: str, language: Language) -> str:
    """A thumbs-down: nothing runs."""
    return _short("rejected", language, person)


def superseded_comment(language: Language) -> str:
    """The issue was edited: the plan of its earlier wording is void, whoever had approved it."""
    return _short("superseded", language, "")


def cancelled_comment(person: str, language: Language) -> str:
    """A training or a proposal was stopped by a person."""
    return _short("cancelled", language, person)


def withdrawn_comment(person: str, language: Language) -> str:
    """A proposal was dropped before anybody approved it."""
    return _short("withdrawn", language, person)


def _short(outcome: Ending, language: Language, person: str) -> str:
    return paragraphs(
        f"## {sentence(f'outcome.{outcome}', language)}",
        sentence(f"reply.{outcome}", language, person=plain(person, 80)),
        sentence(f"next.{outcome}", language),
    )


def rolled_back_comment(
    language: Language, *, person: str, model_id: str, environment: Environment, before: str, after: str, url: str | None
) -> str:
    """Which version answers again, where, and which one it replaced."""
    items = [
        facts.labelled("environment", term("environment", environment, language), language),
        facts.labelled("before", echo(before), language),
        facts.labelled("after", echo(after), language),
        *([facts.labelled("url", link_or_code(url), language)] if url else []),
    ]
    return paragraphs(
        f"## {sentence('heading.rolled_back', language)}",
        sentence("reply.rolled_back", language, person=plain(person, 80), model=echo(model_id)),
        bullets(items),
    )


def rollback_impossible_comment(
    language: Language, *, model_id: str, asked: str | None, serving: Serving | None, available: Sequence[str]
) -> str:
    """Why there is nothing to go back to, and the versions that there are.

    Args:
        asked: the version that was named; None where the one before was meant.
        available: versions that can be served instead, newest first.
    """
    others = [version for version in available if serving is None or version != serving.version]
    if asked is None:
        why = sentence("reply.no_earlier", language, model=echo(model_id))
    elif serving is not None and asked == serving.version:
        why = sentence("reply.served_already", language, model=echo(model_id), version=echo(asked))
    else:
        why = sentence("reply.no_such_version", language, model=echo(model_id), version=echo(asked))
    versions = facts.joined([echo(version) for version in others[:_VERSIONS_SHOWN]], language)
    left = len(others) - _VERSIONS_SHOWN
    versions = sentence("sentence.and_more", language, shown=versions, left=left) if left > 0 else versions
    return paragraphs(
        f"## {sentence('heading.no_rollback', language)}",
        why,
        _stays(serving, language),
        sentence("reply.available", language, versions=versions, line=echo(f"/rollback {others[0]}")) if others else "",
    )


def not_applicable_comment(command: str, reason: NotApplicable, language: Language) -> str:
    """A command that has nothing to act on, why, and what can be done instead."""
    word = echo(f"/{command}")
    return paragraphs(
        f"## {sentence('heading.not_applicable', language, command=word)}", sentence(f"not_applicable.{reason}", language)
    )


# --- a question -------------------------------------------------------------------------------------------------------------


def status_comment(
    language: Language,
    *,
    model_id: str,
    serving: Sequence[Serving],
    training_id: str | None = None,
    phases: Sequence[PhaseProgress] = (),
    outcome: Outcome | None = None,
    attempt: int = 1,
    max_retry: int = 0,
    not_done: Sequence[str] = (),
    links: Links | None = None,
    awaits_approval: bool = False,
) -> str:
    """How far the issue's training is, what is served, and how many attempts are used.

    Args:
        awaits_approval: nobody has approved its plan yet, so that no phase is near.
        outcome: how the training ended; None while it has not.
    """
    items = [facts.labelled("model_id", echo(model_id), language)]
    if training_id is not None:
        items.append(facts.labelled("attempt", _attempt(attempt, max_retry, language), language))
    items += [_serving(one, language) for one in serving] or [sentence("reply.nothing_served", language)]
    blocks = [f"## {sentence('heading.status', language)}", bullets(items)]
    if training_id is None:
        return paragraphs(*blocks, sentence("reply.no_training", language))
    if awaits_approval:
        return paragraphs(*blocks, sentence("progress.awaits_approval", language, training=echo(training_id)))
    ended = facts.labelled_text(echo(training_id), sentence(f"outcome.{outcome}", language), language) if outcome else ""
    return paragraphs(
        *blocks,
        ended or progress_sentence(training_id, phases, language),
        phase_table(phases, language, not_done=not_done, links=links, ended=outcome is not None),
        links.markdown(language, without=[name for name in IN_TABLE if name in links.addresses()]) if links else "",
    )


def _serving(one: Serving, language: Language) -> str:
    version = echo(one.version)
    if one.url:
        version = sentence("punctuation.aside", language, text=version, aside=link_or_code(one.url))
    return sentence("reply.serving", language, environment=term("environment", one.environment, language), version=version)


def explain_comment(
    plan: Plan, language: Language, *, optimizations: Sequence[str] = (), record: TrainingRecord | None = None
) -> str:
    """Why the plan is as it is: what was detected, each optimisation, the gate; and after a training what counted in it.

    Args:
        optimizations: one line of Markdown each, already in ``language``, with its reason and requirement.
        record: of the training that this plan led to, once it has ended.
    """
    blocks = [
        f"## {sentence('heading.explain', language)}",
        f"### {sentence('heading.detected', language)}",
        detected(plan, language),
        f"### {sentence('heading.optimizations', language)}",
        bullets(optimizations) if optimizations else sentence("reply.no_optimizations", language),
        f"### {sentence('heading.gate', language)}",
        bullets([*_gate(plan, language), *([facts.gate_sentence(record.gate, language)] if record and record.gate else [])]),
    ]
    if record is not None and record.importance:
        shown = min(IMPORTANCE_SHOWN, len(record.importance))
        blocks += [f"### {sentence('heading.importance', language, count=shown)}", importance(record.importance, language)]
    if record is not None and record.gate is not None and record.gate.suggestions and not record.gate.passed:
        blocks += [
            f"### {sentence('heading.suggestions', language)}",
            bullets(sentence(f"suggestion.{key}", language) for key in record.gate.suggestions),
        ]
    return paragraphs(*blocks)


def _gate(plan: Plan, language: Language) -> list[str]:
    """The metric that decides, why it is this one, and the threshold."""
    asked, name = plan.request.evaluation, metric_name(plan.gate_metric, language)
    if asked.threshold_metric is not None:
        reason = "asked"
    elif plan.gate_metric == "auc_roc":
        reason = "named" if "auc_roc" in asked.metrics else "unbalanced"
    else:
        reason = "first_named" if asked.metrics[:1] == (plan.gate_metric,) and plan.gate_metric not in USUAL_GATES else "usual"
    lines = [sentence(f"gate_reason.{reason}", language, metric=name)]
    if asked.threshold is None:
        return [*lines, sentence("sentence.no_threshold", language, metric=name)]
    key = f"sentence.threshold_{METRICS.get(plan.gate_metric, 'higher')}"
    limit = sentence(key, language, metric=name, threshold=threshold_text(asked.threshold))
    return [*lines, facts.labelled("threshold", limit, language)]
