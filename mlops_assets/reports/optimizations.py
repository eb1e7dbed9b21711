"""The optimiser's recommendations, estimates and what became of them as Markdown blocks in one language.

What is recommended and how estimates are made is in ``mlops_assets.request.optimiser``; where the blocks stand is the callers'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pydantic import JsonValue

from mlops_assets.reports import facts
from mlops_assets.reports.language import fields_of_sentence, has_sentence, sentence
from mlops_assets.reports.markdown import bullets, echo, paragraphs, right_after_first, table
from mlops_assets.reports.quantities import counted, dollars, duration, metric_name, metric_value, percent, setting_value, term
from mlops_assets.reports.record import TrainingRecord
from mlops_assets.request.optimiser.estimate import Errors, Estimate, SimilarTraining, errors_of
from mlops_assets.request.optimiser.models import Optimization, Statement
from mlops_assets.request.vocabulary import Language, PerformanceProfile

#: Vocabulary words among the values of a statement, by the name of the field: the family of their display names.
_TERMS: Final = {
    "strategy": "strategy",
    "environment": "environment",
    "task_type": "task_type",
    "algorithm": "algorithm",
    "search": "search",
}
_CLASSES_SHOWN: Final = 6


def statement(family: str, said: Statement, language: Language) -> str:
    """A statement in words; one of a plug-in whose sentence the catalogue lacks is shown as its key and values."""
    key = f"{family}.{said.key}"
    values = {name: _shown(name, value, language) for name, value in said.values.items()}
    if has_sentence(key) and fields_of_sentence(key) <= values.keys():
        return sentence(key, language, **{name: values[name] for name in fields_of_sentence(key)})
    pairs = [sentence("punctuation.pair", language, name=echo(name, 40), value=value) for name, value in values.items()]
    return facts.joined([echo(said.key), *pairs], language)


def _shown(name: str, value: JsonValue, language: Language) -> str:
    if isinstance(value, str):
        return term(_TERMS[name], value, language) if name in _TERMS else echo(value)
    if isinstance(value, list):
        return facts.joined([_listed(name, str(item), language) for item in value], language)
    if isinstance(value, bool) or value is None or isinstance(value, dict):
        return setting_value(value)
    if name in ("share", "limit"):
        return percent(value)
    if name in ("rows", "rare_rows", "frames"):
        return counted(int(value), "frames" if name == "frames" else "rows", language)
    return dollars(value) if name == "usd" else f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _listed(name: str, item: str, language: Language) -> str:
    if name == "metrics":
        return metric_name(item, language)
    return term("augmentation", item, language) if name == "names" else echo(item)


def one_line(optimization: Optimization, language: Language, effect: str = "") -> str:
    """Phase, what is done, why, and the requirement behind it."""
    return sentence(
        "sentence.recommendation",
        language,
        phase=sentence(f"optimization_phase.{optimization.phase}", language),
        action=statement("recommend", optimization.action, language),
        effect=effect,
        reason=statement("because", optimization.reason, language),
        requirement=echo(optimization.requirement, 20),
    )


def recommendations(optimizations: Sequence[Optimization], profile: PerformanceProfile, enabled: bool, language: Language) -> str:
    """The profile, then one numbered list: what this run applies, and what is only recommended because it is not built."""
    shown = facts.labelled("profile", term("profile", profile, language), language)
    if not enabled:
        shown = sentence("sentence.optimizer_off", language)
    groups = {
        "applied": [o for o in optimizations if o.carried_out],
        "advice": [o for o in optimizations if o.source == "advice"],
        "only_recommended": [o for o in optimizations if not o.carried_out and o.source != "advice"],
    }
    blocks, number = [bullets([shown])], 0
    for name, group in groups.items():
        lines = []
        for optimization in group:
            number += 1
            lines.append(f"{number}. {one_line(optimization, language)}")
        if lines:
            blocks += [f"**{sentence(f'sentence.{name}', language)}**", "\n".join(lines)]
    if any(o.changes.get("preprocessing.resample", "none") != "none" for o in groups["applied"]):
        blocks.insert(3, sentence("sentence.resampling_trade", language))
    return paragraphs(*blocks)


def estimated(expected: Estimate | None, gate_metric: str, language: Language) -> list[str]:
    """Bullet items: expected time, cost and score, each with what it is based on."""
    if expected is None:
        return [facts.labelled("estimate", sentence("sentence.no_estimate", language), language)]
    count = len(expected.similar)
    time = sentence("sentence.no_estimate", language)
    if expected.duration_seconds is not None:
        amount = duration(expected.duration_seconds, language)
        time = sentence("sentence.estimated_time", language, duration=amount, trainings=counted(count, "trainings", language))
    items = [facts.labelled("estimated_time", time, language), facts.labelled("estimate", _cost(expected, language), language)]
    if expected.expected_score is not None:
        same = sum(s.metric == gate_metric for s in expected.similar)
        score = sentence(
            "sentence.expected_score",
            language,
            metric=metric_name(gate_metric, language),
            value=metric_value(expected.expected_score),
            trainings=counted(same, "trainings", language),
        )
        items.append(facts.labelled("expected_score", score, language))
    return items


def _cost(expected: Estimate, language: Language) -> str:
    if expected.cost_basis == "local":
        return sentence("sentence.no_charge", language)
    if expected.cost_usd is None:
        return sentence(f"sentence.{'no_price' if expected.cost_basis == 'no_price' else 'no_estimate'}", language)
    instance, date = echo(expected.instance_type, 40), echo(expected.price_date, 20)
    return sentence("sentence.estimate", language, amount=dollars(expected.cost_usd), instance=instance, date=date)


def similar_trainings(found: Sequence[SimilarTraining], language: Language) -> str:
    """The similar past trainings as a table; says so where there are none."""
    if not found:
        return sentence("sentence.no_similar", language)
    header = tuple(sentence(f"label.{name}", language) for name in ("training_id", "rows", "result", "time", "optimizations"))
    rows = [
        (
            echo(past.training_id),
            f"{past.rows:,}",
            f"{metric_name(past.metric, language)} {metric_value(past.score)}",
            duration(past.duration_seconds, language),
            facts.joined([_rule_name(rule, language) for rule in past.optimizations], language) or "—",
        )
        for past in found
    ]
    return table(header, rows, ("left", "right", "left", "right", "left"))


def _rule_name(rule: str, language: Language) -> str:
    name = rule.rpartition(".")[2]
    return term("rule_name", name, language) if has_sentence(f"rule_name.{name}") else echo(name, 40)


def outcome(record: TrainingRecord, language: Language, *, short: bool) -> str:
    """What was applied and its effect on the training rows, and the estimate beside what the run took.

    Args:
        short: for the thread: without what was only recommended.
    """
    if not record.optimizations and record.estimate is None:
        return ""
    applied = [o for o in record.optimizations if o.carried_out]
    only = [o for o in record.optimizations if not o.carried_out and o.source != "advice" and not short]
    profile = facts.labelled("profile", term("profile", record.request.optimization.performance_profile, language), language)
    blocks = [bullets([profile, *(f"✅ {one_line(o, language, _effect(o, record, language))}" for o in applied)])]
    if only:
        blocks += [f"**{sentence('sentence.only_recommended', language)}**", bullets(one_line(o, language) for o in only)]
    return paragraphs(*blocks, estimate_and_actual(record, language))


def _effect(optimization: Optimization, record: TrainingRecord, language: Language) -> str:
    """What the resampling did to the classes, the rarest first."""
    if "preprocessing.resample" not in optimization.changes or not record.class_balance:
        return ""
    rarest = sorted(record.class_balance.items(), key=lambda item: item[1][0])[:_CLASSES_SHOWN]
    shown = [f"{echo(name, 40)} {percent(before)} → {percent(after)}" for name, (before, after) in rarest]
    return sentence("sentence.effect", language, effect=facts.joined(shown, language))


def estimate_and_actual(record: TrainingRecord, language: Language) -> str:
    """Time, cost and score: estimate, actual and by how much the estimate was missed."""
    expected, actual = record.estimate, record.actual
    if expected is None or actual is None:
        return ""
    missed: Errors = errors_of(expected, actual)

    def seconds(value: float) -> str:
        return duration(value, language)

    rows = [
        _compared(
            "estimated_time", expected.duration_seconds, actual.duration_seconds, missed.duration_seconds, seconds, language
        ),
        _compared("estimate", expected.cost_usd, actual.cost_usd, missed.cost_usd, dollars, language),
    ]
    if actual.metric is not None:
        score = _compared("score", expected.expected_score, actual.score, missed.score, metric_value, language)
        rows.append((metric_name(actual.metric, language), *score[1:]))
    header = tuple(sentence(f"label.{name}", language) for name in ("item", "expected", "actual", "error_of_estimate"))
    note = sentence("sentence.no_estimate_then", language) if not expected.similar else ""
    return paragraphs(table(header, rows, right_after_first(3)), note)


def _compared(
    label: str,
    guess: float | None,
    measured: float | None,
    missed: float | None,
    show: Callable[[float], str],
    language: Language,
) -> tuple[str, ...]:
    error = "—"
    if missed is not None and guess is not None:
        error = f"{'-' if missed < 0 else '+' if missed else '±'}{show(abs(missed))}"
        if guess:
            error = sentence("punctuation.aside", language, text=error, aside=f"{missed / guess * 100:+.1f}%")
    name = sentence(f"label.{label}", language)
    return name, "—" if guess is None else show(guess), "—" if measured is None else show(measured), error
