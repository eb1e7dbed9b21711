"""The Markdown blocks that the comments in the thread and the full report share: what was trained, on what, how well.

Each function turns one part of a record into Markdown in one language; their order and headings are the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from mlops_assets.data.dataset import TABLE
from mlops_assets.reports.language import sentence
from mlops_assets.reports.markdown import bullets, echo, paragraphs, plain, right_after_first, table
from mlops_assets.reports.quantities import (
    CountKind,
    counted,
    duration,
    metric_name,
    metric_unit,
    metric_value,
    moment,
    setting_value,
    term,
    threshold_text,
    time_of,
    value_beside,
)
from mlops_assets.reports.record import DatasetFacts, GateDecision, Outcome, TrainingRecord
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.request.vocabulary import KITTI_METRICS, Language

OUTCOME_ICONS: Mapping[Outcome, str] = {
    "deployed": "✅", "below_threshold": "⚠️", "failed": "❌", "cancelled": "🛑", "rejected": "👎", "superseded": "♻️",
}  # fmt: skip
#: Of KITTI's evaluation, in its own words.
DIFFICULTIES = ("easy", "moderate", "hard")
_CLASSES_SHOWN = 12
#: Outcomes of a plan that never ran: there is no time that it took.
NEVER_RAN: frozenset[Outcome] = frozenset({"rejected", "superseded"})


def labelled(label: str, value: str, language: Language) -> str:
    """``label: value`` with the label from the catalogue; ``value`` is Markdown."""
    return labelled_text(sentence(f"label.{label}", language), value, language)


def labelled_text(label: str, value: str, language: Language) -> str:
    """``label: value``, both Markdown."""
    return sentence("punctuation.labelled", language, label=label, value=value)


def joined(items: Sequence[str], language: Language) -> str:
    """Items of a list within a sentence."""
    return sentence("punctuation.list", language).join(items)


def learning_type(request: TrainingRequest, language: Language) -> str:
    """``教師あり学習（分類）``, ``supervised learning (classification)``."""
    kind = term("learning_type", request.learning_type, language)
    return sentence("punctuation.aside", language, text=kind, aside=term("task_type", request.task_type, language))


def algorithm(request: TrainingRequest, language: Language) -> str:
    """The display name of the algorithm, with its variant."""
    name = term("algorithm", request.algorithm, language)
    return sentence("punctuation.aside", language, text=name, aside=echo(request.variant)) if request.variant else name


def wall_time(record: TrainingRecord, language: Language) -> str:
    """From the start to the end of the training."""
    start, end = moment(record.started_at), moment(record.finished_at)
    return duration((end - start).total_seconds() if start and end else None, language)


def took(record: TrainingRecord, language: Language) -> str:
    """How long the whole training took, and the fitting in it."""
    whole = wall_time(record, language)
    if record.training_seconds is None:
        return whole
    return sentence("duration.with_training", language, whole=whole, training=duration(record.training_seconds, language))


def basic_information(record: TrainingRecord, language: Language) -> str:
    """What was trained, when and for how long."""
    items = [
        labelled("training_id", echo(record.training_id), language),
        labelled("model_id", echo(record.model_id), language),
        labelled("learning_type", learning_type(record.request, language), language),
        labelled("algorithm", algorithm(record.effective_request, language), language),
    ]
    if record.has_run or record.ending == "cancelled":
        items.append(labelled("started_at", time_of(record.started_at), language))
        items.append(labelled("took", took(record, language), language))
    if record.issue is not None:
        number = sentence("sentence.issue_and_attempt", language, issue=record.issue, attempt=record.attempt)
        items.insert(2, labelled("issue", number, language))
    return bullets(items)


def dataset_sizes(dataset: DatasetFacts, language: Language) -> str:
    """Identity, size of every split, features and removed rows."""
    version = sentence("sentence.dataset_version", language, dataset=echo(dataset.dataset_id), version=echo(dataset.version))
    frames = dataset.form != TABLE
    target = labelled("target", echo(dataset.target), language)
    if frames:
        target = labelled("predicted", term("target", dataset.target, language), language)
    items = [labelled("dataset_id", version, language), target]
    for name, rows in dataset.rows.items():
        size = counted(rows, "frames" if frames else "rows", language)
        if name in dataset.objects:
            size = sentence("punctuation.aside", language, text=size, aside=counted(dataset.objects[name], "objects", language))
        items.append(labelled_text(term("split_name", name, language), size, language))
    items.append(labelled("split", term("split", dataset.split, language), language))
    if frames:
        items.append(
            labelled("parts", joined([term("part", name, language) for name in dataset.parts], language) or "—", language)
        )
    else:
        items.append(labelled("features", counted(dataset.features, "columns", language), language))
    if dataset.classes:
        names = joined([echo(name, 40) for name in dataset.classes[:_CLASSES_SHOWN]], language)
        left = len(dataset.classes) - _CLASSES_SHOWN
        names = sentence("sentence.and_more", language, shown=names, left=left) if left > 0 else names
        items.append(labelled("classes", names, language))
    removed = removed_rows(dataset.removed, language, "frames" if frames else "rows")
    items.append(labelled("removed_frames" if frames else "removed", removed, language))
    return bullets(items)


def removed_rows(removed: Mapping[str, int], language: Language, kind: CountKind = "rows") -> str:
    """Rows or frames removed by reason; says so where none were."""
    reasons = [
        sentence("punctuation.pair", language, name=term("removed", name, language), value=counted(rows, kind, language))
        for name, rows in removed.items()
        if rows
    ]
    return joined(reasons, language) if reasons else sentence("sentence.none_removed", language)


def hyperparameters(values: Mapping[str, JsonValue], language: Language) -> str:
    """Every knob with its value as a table."""
    if not values:
        return sentence("sentence.no_hyperparameters", language)
    header = (sentence("label.hyperparameter", language), sentence("label.value", language))
    return table(header, [(echo(name), setting_value(value)) for name, value in values.items()])


def metrics_table(record: TrainingRecord, language: Language, *, short: bool = False) -> str:
    """Every metric; with the values on the training and validation split beside it where they were measured.

    KITTI's own numbers, of which there are dozens, follow as a table by class and difficulty.

    Args:
        short: for the thread: of those only the official ones, over 40 recall positions.
    """
    whole = [name for name in record.metrics if name not in KITTI_METRICS]
    return paragraphs(_metrics_by_split(record, whole, language), _kitti_table(record.metrics, language, short=short))


def _kitti_table(metrics: Mapping[str, float], language: Language, *, short: bool) -> str:
    """KITTI's numbers: a row for every class and metric, a column for every difficulty; empty without any."""
    rows: dict[str, dict[str, float]] = {}
    for name, shown in KITTI_METRICS.items():
        if name in metrics and not (short and name.endswith("_r11")):
            title, _, difficulty = shown.rpartition(" ")
            rows.setdefault(title, {})[difficulty] = metrics[name]
    if not rows:
        return ""
    header = (sentence("label.kitti_metric", language), *DIFFICULTIES)
    cells = [(title, *(metric_value(found[d]) if d in found else "—" for d in DIFFICULTIES)) for title, found in rows.items()]
    return paragraphs(sentence("sentence.kitti_numbers", language), table(header, cells, right_after_first(len(DIFFICULTIES))))


def conventions(record: TrainingRecord, language: Language, *, short: bool) -> str:
    """What each number measures, where its name alone does not say it.

    Args:
        short: for the thread: only of the metrics that the plan reports or decides by, not KITTI's dozens.
    """
    shown = {name: text for name, text in record.conventions.items() if name in record.metrics}
    if short:
        deciding = record.gate.metric if record.gate is not None else None
        shown = {name: text for name, text in shown.items() if name not in KITTI_METRICS or name == deciding}
    lines = [labelled_text(metric_name(name, language), plain(text, 400), language) for name, text in shown.items()]
    return paragraphs(f"**{sentence('sentence.conventions', language)}**", bullets(lines)) if lines else ""


def _metrics_by_split(record: TrainingRecord, whole: Sequence[str], language: Language) -> str:
    if not whole:
        return ""
    splits = [split for split in ("validation", "train") if any(name.startswith(f"{split}_") for name in record.metrics)]
    prefixes = tuple(f"{split}_" for split in splits)
    names = list(dict.fromkeys(_without(prefixes, name) for name in whole))
    header = [sentence("label.metric", language), *(term("split_name", split, language) for split in ("test", *splits))]
    rows = []
    for name in names:
        values = [record.metrics.get(name), *(record.metrics.get(f"{split}_{name}") for split in splits)]
        cells = ["—" if value is None else metric_value(value) for value in values]
        rows.append((metric_name(name, language), *cells, metric_unit(name, language)))
    return table((*header, sentence("label.unit", language)), rows, right_after_first(len(splits) + 1))


def _without(prefixes: tuple[str, ...], name: str) -> str:
    return next((name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix)), name)


def gate_sentence(gate: GateDecision, language: Language) -> str:
    """The threshold decision in one sentence, with the shortfall where there is one."""
    name = metric_name(gate.metric, language)
    if gate.threshold is None:
        return sentence("gate.no_threshold", language, metric=name, value=metric_value(gate.value))
    return sentence(
        f"gate.{'passed' if gate.passed else 'missed'}_{gate.direction}",
        language,
        metric=name,
        value=value_beside(gate.value, gate.threshold),
        threshold=threshold_text(gate.threshold),
        shortfall=metric_value(gate.shortfall),
    )


def status_sentence(record: TrainingRecord, language: Language) -> str:
    """The outcome with its icon: one line that says how the training ended, why, and with which model."""
    gate = gate_sentence(record.gate, language) if record.gate is not None else ""
    text = sentence(
        f"status.{record.ending}",
        language,
        model=echo(record.model_id),
        version=echo(record.model.version) if record.model else "—",
        environment=term("environment", record.endpoint.environment, language) if record.endpoint else "—",
        gate=gate,
    )
    return f"{OUTCOME_ICONS[record.outcome]} {text}".strip()


def ended_by(record: TrainingRecord, language: Language) -> str:
    """Who rejected or cancelled a training, as a labelled line; empty where nobody did or nobody knows."""
    if record.outcome not in {"cancelled", "rejected"} or not record.ended_by:
        return ""
    return labelled(f"{record.ending}_by", plain(record.ended_by, 80), language)


def not_done_list(keys: Sequence[str], language: Language) -> str:
    """What was asked for and is not done, one line each; two fields of one kind share a line."""
    return bullets(sentence(f"not_done.{key}", language) for key in dict.fromkeys(keys))
