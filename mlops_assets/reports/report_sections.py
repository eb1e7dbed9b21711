"""The sections of the full result report, each a heading and a Markdown body; ``report`` puts them together.

A section whose facts a record does not have (a failed training has no metrics) is left out, never shown empty.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlops_assets.data.dataset import TABLE, QualityCheck
from mlops_assets.data.frame_report import frame_evidence, frame_limit
from mlops_assets.data.quality_report import table_evidence, table_limit
from mlops_assets.reports import facts
from mlops_assets.reports.comments import endpoint_facts, model_facts, what_can_be_changed
from mlops_assets.reports.language import sentence
from mlops_assets.reports.markdown import bullets, echo, fence, paragraphs, plain, right_after_first, table
from mlops_assets.reports.optimizations import outcome
from mlops_assets.reports.phases import phase_table
from mlops_assets.reports.quantities import counted, metric_name, metric_unit, metric_value, percent, term, time_of
from mlops_assets.reports.record import TrainingRecord
from mlops_assets.request.vocabulary import METRICS, Language

IMPORTANCE_SHOWN = 15
_CONFUSION_CLASSES = 12
_EVIDENCE_SHOWN = 8
#: Columns of the table by class that count and measure nothing.
_COUNTED = frozenset({"support", "rows"})
#: The last row and column of a detector's confusion matrix.
_BACKGROUND = "background"


@dataclass(frozen=True)
class Section:
    """One section: ``name`` is stable across languages and is the anchor in the HTML report."""

    name: str
    heading: str
    body: str


def sections(record: TrainingRecord, language: Language) -> list[Section]:
    """Every section that the record has facts for, in reading order."""
    return [section for section in _all(record, language) if section.body.strip()]


def _all(record: TrainingRecord, language: Language) -> Iterator[Section]:
    def section(name: str, body: str, **values: object) -> Section:
        return Section(name, sentence(f"heading.{name}", language, **values), body)

    yield section("status", f"**{facts.status_sentence(record, language)}**")
    if record.error:
        yield section("error", plain(record.error, 2000))
    yield section("basic", basic(record, language))
    if record.metrics:
        yield section("results", results(record, language))
    yield section("optimizations", outcome(record, language, short=False))
    yield section("suggestions", what_can_be_changed(record, language))
    yield section("per_class", per_class(record, language))
    yield section("confusion", confusion_matrix(record, language))
    shown = min(IMPORTANCE_SHOWN, len(record.importance))
    yield section("importance", importance(record.importance, language), count=shown)
    yield section("curves", curves(record, language))
    if record.dataset is not None:
        yield section("dataset", dataset(record, language))
        yield section("quality", quality(record.dataset.checks, language, frames=record.dataset.form != TABLE))
    if record.hyperparameters:
        yield section("hyperparameters", facts.hyperparameters(record.hyperparameters, language))
    yield section("not_done", facts.not_done_list(record.not_done, language))
    yield section("model", model_facts(record, language))
    yield section("endpoint", endpoint_facts(record, language))
    if record.outcome not in facts.NEVER_RAN:
        yield section("phases", phase_table(record.phases, language, not_done=record.not_done, ended=True))
    yield section("request", request(record, language))
    if record.outcome not in {"cancelled", *facts.NEVER_RAN}:
        yield section("reproduce", reproduce(record, language))
    yield section("versions", versions(record.environment, language))


def basic(record: TrainingRecord, language: Language) -> str:
    """The basic information of the comment, with the end time and who approved."""
    approved = plain(record.approved_by, 80) if record.approved_by else sentence("sentence.not_approved", language)
    who = [facts.labelled("approved_by", approved, language)]
    if record.outcome in {"cancelled", *facts.NEVER_RAN}:
        stopped = facts.ended_by(record, language)
        who = [*(who if record.approved_by else []), *([stopped] if stopped else [])]
    more = [
        facts.labelled("finished_at", time_of(record.finished_at), language),
        *who,
    ]
    return f"{facts.basic_information(record, language)}\n{bullets(more)}"


def dataset(record: TrainingRecord, language: Language) -> str:
    """Identity, sizes, removed rows and digests of the data."""
    data = record.dataset
    if data is None:
        return ""
    digests = [facts.labelled("dataset_digest", echo(data.digest, 100), language)]
    if record.feature_digest:
        digests.append(facts.labelled("feature_digest", echo(record.feature_digest, 100), language))
    return f"{facts.dataset_sizes(data, language)}\n{bullets(digests)}"


def quality(checks: tuple[QualityCheck, ...], language: Language, *, frames: bool) -> str:
    """Every quality rule with its limit, what was measured and whether it holds, in the words of the data quality report."""
    if not checks:
        return ""
    header = tuple(sentence(f"label.{name}", language) for name in ("rule", "result", "limit", "evidence", "severity"))
    limit, evidence = (frame_limit, frame_evidence) if frames else (table_limit, table_evidence)
    rows = [
        (
            sentence(f"rule.{check.rule}", language),
            sentence(f"check.{'passed' if check.passed else 'failed'}", language),
            limit(check, language) or "—",
            _evidence(evidence(check, language), language),
            sentence(f"severity.{check.severity}", language),
        )
        for check in checks
    ]
    return table(header, rows)


def _evidence(evidence: Sequence[tuple[str, str]], language: Language) -> str:
    pairs = [facts.labelled_text(name, value, language) for name, value in evidence[:_EVIDENCE_SHOWN]]
    left = len(evidence) - len(pairs)
    text = " / ".join(pairs) or "—"
    return sentence("sentence.and_more", language, shown=text, left=left) if left > 0 else text


def results(record: TrainingRecord, language: Language) -> str:
    """The metrics with their units, and the decision of the gate."""
    return paragraphs(
        facts.metrics_table(record, language),
        facts.gate_sentence(record.gate, language) if record.gate else "",
        facts.conventions(record, language, short=False),
        sentence("sentence.rounded", language, file=f"{record.training_id}.json"),
    )


def per_class(record: TrainingRecord, language: Language) -> str:
    """Every metric of every class."""
    if not record.per_class:
        return ""
    names = list(dict.fromkeys(name for values in record.per_class.values() for name in values))
    frames = record.dataset is not None and record.dataset.form != TABLE
    shown = ("objects" if frames and name == "support" else name for name in names)
    header = (sentence("label.class", language), *(metric_name(name, language) for name in shown))
    rows = [(echo(label, 40), *(_class_cell(name, values) for name in names)) for label, values in record.per_class.items()]
    return table(header, rows, right_after_first(len(names)))


def _class_cell(name: str, values: Mapping[str, float]) -> str:
    if name not in values:
        return "—"
    return f"{values[name]:,.0f}" if name in _COUNTED else metric_value(values[name])


def confusion_matrix(record: TrainingRecord, language: Language) -> str:
    """Rows: actual class; columns: predicted class; unit: rows of the test split, of a detector objects and detections."""
    matrix = record.confusion_matrix
    if not matrix:
        return ""
    if len(matrix) > _CONFUSION_CLASSES:
        return sentence("sentence.confusion_too_large", language, classes=len(matrix), file=f"{record.training_id}.json")
    frames = record.dataset is not None and record.dataset.form != TABLE
    classes = [
        sentence("label.background", language) if frames and name == _BACKGROUND else echo(name, 40)
        for name in _matrix_classes(record, frames)
    ]
    header = (sentence("label.actual_by_predicted", language), *classes)
    rows = [(name, *(f"{count:,}" for count in counts)) for name, counts in zip(classes, matrix, strict=True)]
    axes = sentence(f"sentence.confusion_{'of_objects' if frames else 'axes'}", language)
    return paragraphs(table(header, rows, right_after_first(len(classes))), axes)


def _matrix_classes(record: TrainingRecord, frames: bool) -> tuple[str, ...]:
    """Names of the rows and columns: the evaluation's own, else those of the dataset, else numbers."""
    size = len(record.confusion_matrix)
    named = record.dataset.classes if record.dataset is not None else ()
    for names in (record.confusion_classes, named):
        if len(names) == size:
            return names
        if frames and len(names) == size - 1 and names:
            return (*names, _BACKGROUND)
    return tuple(str(number) for number in range(size))


def importance(values: Mapping[str, float], language: Language) -> str:
    """The most important features with their share of the whole."""
    if not values:
        return ""
    total = sum(abs(value) for value in values.values() if math.isfinite(value))
    header = ("#", sentence("label.feature", language), sentence("label.importance", language))
    largest = sorted(values.items(), key=lambda item: -item[1])[:IMPORTANCE_SHOWN]
    rows = [
        (str(rank), echo(name, 60), percent(value / total) if total else metric_value(value))
        for rank, (name, value) in enumerate(largest, 1)
    ]
    return paragraphs(table(header, rows, ("right", "left", "right")), sentence("sentence.importance_unit", language))


def curves(record: TrainingRecord, language: Language) -> str:
    """First, best and last value of every learning curve."""
    header = tuple(sentence(f"label.{name}", language) for name in ("metric", "iterations", "first", "best", "last", "unit"))
    rows = []
    for name, values in record.curves.items():
        if not values:
            continue
        split, _, metric = name.partition("_")
        known = split in {"train", "validation"} and bool(metric)
        title = metric_name(metric if known else name, language)
        if known:
            title = sentence("punctuation.aside", language, text=title, aside=term("split_name", split, language))
        base = metric if known else name
        best = max(values) if METRICS.get(base) == "higher" else min(values)
        numbers = [metric_value(value) for value in (values[0], best, values[-1])]
        shown = best if base in METRICS else None
        if shown is None:
            numbers[1] = "—"
        rows.append((title, counted(len(values), "iterations", language), *numbers, metric_unit(base, language)))
    return table(header, rows, right_after_first(4)) if rows else ""


def request(record: TrainingRecord, language: Language) -> str:
    """The request in canonical form, without what is at its default."""
    import yaml

    content = record.request.model_dump(mode="json", exclude_defaults=True)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    return paragraphs(fence(text, "yaml"), sentence("sentence.request_note", language, file=f"{record.training_id}.json"))


def reproduce(record: TrainingRecord, language: Language) -> str:
    """The command that runs the same plan again, and the identities it presumes."""
    items = [
        facts.labelled("plan_digest", echo(record.plan_digest, 100), language),
        facts.labelled("code_version", echo(record.code_version, 100), language),
        facts.labelled("seed", str(record.request.seed), language),
    ]
    if record.dataset is not None:
        items.insert(1, facts.labelled("data_version", echo(record.dataset.version, 100), language))
    return paragraphs(
        sentence("sentence.reproduce", language),
        fence(f"mlops reproduce {record.training_id}", "console"),
        sentence("sentence.reproduce_facts", language),
        bullets(items),
    )


def versions(environment: Mapping[str, str], language: Language) -> str:
    """Interpreter, platform and library versions that decide the numbers."""
    if not environment:
        return ""
    header = (sentence("label.component", language), sentence("label.version", language))
    return table(header, [(echo(name, 60), echo(version, 120)) for name, version in environment.items()])
