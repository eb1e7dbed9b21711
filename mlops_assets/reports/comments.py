"""The comments that the platform writes into an issue's thread: refusal, proposal, progress, result. Pure functions.

They return Markdown; posting them, and the hidden marker that makes a comment replaceable, belong to the tracker. Text
that came from a person is always passed through ``markdown`` on its way in here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from mlops_assets.errors import Problem
from mlops_assets.reports import facts
from mlops_assets.reports.language import sentence
from mlops_assets.reports.markdown import bullets, echo, fence, link_or_code, paragraphs, plain, table
from mlops_assets.reports.proposal import proposal_comment
from mlops_assets.reports.quantities import counted, term
from mlops_assets.reports.record import PHASES, PhaseProgress, TrainingRecord
from mlops_assets.reports.suggestions import changes
from mlops_assets.request.vocabulary import Language

__all__ = ["Links", "progress_comment", "proposal_comment", "refusal_comment", "result_comment"]

#: More allowed values than this are counted, not listed.
_ALLOWED_SHOWN = 16
#: GitHub takes comments of 65,536 characters. Problems beyond this many characters of table are counted, not listed, and a block
#: to paste that is longer is left out: half of one would be worse than none.
_TABLE_LENGTH = 30_000
_CORRECTED_LENGTH = 25_000


@dataclass(frozen=True)
class Links:
    """Where more can be seen: http(s) addresses, or paths on the machine that ran the training; None is left out."""

    report: str | None = None
    history: str | None = None
    mlflow: str | None = None
    ui: str | None = None
    log: str | None = None

    def markdown(self, language: Language) -> str:
        """A bullet list of the links that are set."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return bullets(facts.labelled(f"link_{name}", link_or_code(target), language) for name, target in given.items() if target)


def refusal_comment(problems: Sequence[Problem], corrected: str | None, language: Language) -> str:
    """Every problem of a request at once, and the corrected block to paste.

    Args:
        corrected: YAML that would be accepted; None where it cannot be guessed.
    """
    header = tuple(sentence(f"label.{name}", language) for name in ("field", "problem", "given", "allowed", "did_you_mean"))
    rows = [
        (
            echo(problem.field) if problem.field else sentence("label.whole_body", language),
            sentence(f"problem.{problem.code}", language),
            echo(problem.given) if problem.given else "—",
            _allowed(problem.allowed, language),
            echo(problem.suggestion) if problem.suggestion else "—",
        )
        for problem in problems
    ]
    mend = ""
    if corrected is not None and len(corrected) <= _CORRECTED_LENGTH:
        mend = paragraphs(
            f"### {sentence('heading.corrected', language)}",
            sentence("sentence.paste_corrected", language),
            fence(corrected, "yaml"),
        )
    return paragraphs(
        f"## {sentence('heading.refusal', language)}",
        sentence("sentence.refused", language, count=counted(len(rows), "problems", language)),
        table(header, _fitting(rows, language)),
        mend,
        sentence("sentence.after_mending", language),
    )


def _fitting(rows: Sequence[tuple[str, ...]], language: Language) -> list[tuple[str, ...]]:
    """As many of the first rows as fit a comment, and in one more row how many are left."""
    shown: list[tuple[str, ...]] = []
    length = 0
    for row in rows:
        length += sum(max(len(cell), 48) + 3 for cell in row)
        if length > _TABLE_LENGTH:
            left = len(rows) - len(shown)
            shown.append(("…", sentence("sentence.and_more", language, shown="…", left=left), *("—" for _ in row[2:])))
            break
        shown.append(row)
    return shown


def _allowed(allowed: Sequence[str], language: Language) -> str:
    if not allowed:
        return "—"
    shown = facts.joined([echo(value) for value in allowed[:_ALLOWED_SHOWN]], language)
    left = len(allowed) - _ALLOWED_SHOWN
    return sentence("sentence.and_more", language, shown=shown, left=left) if left > 0 else shown


def progress_comment(training_id: str, phases: Sequence[PhaseProgress], language: Language, links: Links | None = None) -> str:
    """The table of phases, replaced in place while the training runs."""
    finished = sum(progress.state in {"done", "skipped"} for progress in phases)
    return paragraphs(
        f"## {sentence('heading.progress', language)}",
        sentence("sentence.progress", language, training=echo(training_id), finished=finished, all=len(PHASES)),
        facts.phase_table(phases, language),
        links.markdown(language) if links else "",
    )


def result_comment(
    record: TrainingRecord,
    language: Language,
    *,
    predict_example: str | None = None,
    links: Links | None = None,
) -> str:
    """The short form of the result report, ending in what to do next for this outcome.

    Args:
        predict_example: the exact ``curl`` command and, on the following lines, the endpoint's real answer.
    """
    blocks = [f"## {sentence('heading.result', language)}", f"**{facts.status_sentence(record, language)}**"]
    if record.outcome == "failed":
        blocks.append(_failure(record, language, links))
        links = replace(links, log=None) if links else None
    if record.outcome == "below_threshold":
        blocks += [f"### {sentence('heading.suggestions', language)}", what_can_be_changed(record, language)]
    blocks += [f"### {sentence('heading.basic', language)}", facts.basic_information(record, language)]
    if record.dataset is not None:
        blocks += [f"### {sentence('heading.dataset', language)}", facts.dataset_sizes(record.dataset, language)]
    if record.hyperparameters:
        blocks += [
            f"### {sentence('heading.hyperparameters', language)}",
            facts.hyperparameters(record.hyperparameters, language),
        ]
    if record.metrics:
        blocks += [f"### {sentence('heading.results', language)}", facts.metrics_table(record, language)]
        blocks.append(facts.gate_sentence(record.gate, language) if record.gate else "")
    if record.not_done:
        blocks += [f"### {sentence('heading.not_done', language)}", facts.not_done_list(record.not_done, language)]
    if record.model is not None:
        blocks += [f"### {sentence('heading.model', language)}", model_facts(record, language)]
    if record.endpoint is not None:
        blocks += [f"### {sentence('heading.endpoint', language)}", endpoint_facts(record, language)]
        if predict_example:
            blocks += [sentence("sentence.predict", language), fence(predict_example, "console")]
    if links is not None and links.markdown(language):
        blocks += [f"### {sentence('heading.links', language)}", links.markdown(language)]
    return paragraphs(*blocks)


def what_can_be_changed(record: TrainingRecord, language: Language) -> str:
    """The suggestions of the gate, each alternative with the YAML block to paste."""
    if record.gate is None or record.gate.passed:
        return ""
    blocks = [bullets(sentence(f"suggestion.{key}", language) for key in record.gate.suggestions)]
    alternatives = changes(record)
    if alternatives:
        blocks.append(sentence("sentence.paste_change", language))
    for number, change in enumerate(alternatives, 1):
        purpose = facts.joined([sentence(f"suggestion_short.{key}", language) for key in change.suggestions], language)
        blocks += [sentence("sentence.alternative", language, number=number, purpose=purpose), fence(_yaml(change.yaml), "yaml")]
    return paragraphs(*blocks, _try_again(record, language))


def model_facts(record: TrainingRecord, language: Language) -> str:
    """Version, package digest, place in the store and MLflow identity of the model."""
    model = record.model
    if model is None:
        return ""
    items = [
        facts.labelled("model_version", echo(model.version), language),
        facts.labelled("model_uri", echo(model.uri, 300), language),
        facts.labelled("package_digest", echo(model.package_digest, 100), language),
    ]
    if model.mlflow_run_id:
        items.append(facts.labelled("mlflow_run", echo(model.mlflow_run_id), language))
    if model.mlflow_model_version:
        items.append(facts.labelled("mlflow_version", echo(model.mlflow_model_version), language))
    return bullets(items)


def endpoint_facts(record: TrainingRecord, language: Language) -> str:
    """Where the model answers, and the version it replaced."""
    endpoint = record.endpoint
    if endpoint is None:
        return ""
    items = [
        facts.labelled("environment", term("environment", endpoint.environment, language), language),
        facts.labelled("url", link_or_code(endpoint.url), language),
    ]
    if endpoint.previous_version:
        line = f"mlops rollback {record.model_id}"
        items.append(sentence("sentence.previous", language, version=echo(endpoint.previous_version), command=echo(line)))
    return bullets(items)


def _failure(record: TrainingRecord, language: Language, links: Links | None) -> str:
    failed = next((progress.phase for progress in record.phases if progress.state == "failed"), None)
    items = [facts.labelled("error", plain(record.error or "—", 600), language)]
    if failed is not None:
        items.insert(0, facts.labelled("failed_phase", sentence(f"phase.{failed}", language), language))
    if links is not None and links.log:
        items.append(facts.labelled("link_log", link_or_code(links.log), language))
    return paragraphs(bullets(items), sentence("sentence.after_failure", language), _try_again(record, language))


def _try_again(record: TrainingRecord, language: Language) -> str:
    if record.issue is None:
        return ""
    return sentence("sentence.try_again", language, command=echo(f"mlops run {record.issue}"))


def _yaml(content: object) -> str:
    import yaml

    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=False)
