"""The comments that tell of a training in its issue's thread: refusal, proposal, progress, result. Pure functions.

They return Markdown; posting them, and the hidden marker that makes a comment replaceable, belong to the tracker; answers
to what people write in the thread are in ``replies``. Text that came from a person is always passed through ``markdown``
on its way in here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlops_assets.errors import Problem
from mlops_assets.reports import facts
from mlops_assets.reports.language import fields_of_sentence, sentence
from mlops_assets.reports.markdown import bullets, echo, fence, from_afar, link_or_code, paragraphs, plain, table
from mlops_assets.reports.optimizations import outcome
from mlops_assets.reports.phases import IN_TABLE, Links, phase_table, progress_sentence
from mlops_assets.reports.proposal import proposal_comment
from mlops_assets.reports.quantities import counted, term
from mlops_assets.reports.record import PhaseProgress, TrainingRecord
from mlops_assets.reports.suggestions import changes, retry_line
from mlops_assets.request.vocabulary import Language

__all__ = ["Links", "progress_comment", "proposal_comment", "refusal_comment", "result_comment"]

#: Problems of an issue that holds no request at all, so that there is nothing to correct.
NO_REQUEST = ("empty", "not_a_mapping")
#: More allowed values than this are counted, not listed.
_ALLOWED_SHOWN = 16
#: GitHub takes comments of 65,536 characters. Problems beyond this many characters of table are counted, not listed, and a block
#: to paste that is longer is left out: half of one would be worse than none.
_TABLE_LENGTH = 30_000
_CORRECTED_LENGTH = 25_000


def refusal_comment(problems: Sequence[Problem], corrected: str | None, language: Language) -> str:
    """Every problem of a request at once, and the corrected block to paste.

    Args:
        corrected: YAML that would be accepted; None where it cannot be guessed.
    """
    return paragraphs(
        f"## {sentence('heading.refusal', language)}",
        sentence("sentence.refused", language, count=counted(len(problems), "problems", language)),
        problem_table(problems, language, nowhere="whole_body"),
        corrected_request(corrected, language, "paste_corrected"),
        _example(language) if any(problem.code in NO_REQUEST for problem in problems) else "",
        sentence("sentence.after_mending", language),
    )


def _example(language: Language) -> str:
    """The shortest request that there is, for people who have not written one before."""
    lines = ("model_id: my-model", "dataset_id: my-dataset", "task_type: classification", "algorithm: random_forest")
    return paragraphs(
        f"### {sentence('heading.example', language)}",
        sentence("sentence.example", language),
        fence("\n".join(lines), "yaml"),
    )


def mended_comment(language: Language) -> str:
    """What takes the place of a refusal once the issue has become a request."""
    return paragraphs(f"## {sentence('heading.mended', language)}", sentence("sentence.mended", language))


def problem_table(problems: Sequence[Problem], language: Language, *, nowhere: str) -> str:
    """Every problem with what was given and what would be accepted; ``nowhere`` is the label for one of no single field."""
    header = tuple(sentence(f"label.{name}", language) for name in ("field", "problem", "given", "allowed", "did_you_mean"))
    rows = [
        (
            echo(problem.field) if problem.field else sentence(f"label.{nowhere}", language),
            sentence(f"problem.{problem.code}", language, allowed=_allowed(problem.allowed, language)),
            echo(problem.given) if problem.given else "—",
            "—" if fields_of_sentence(f"problem.{problem.code}") else _allowed(problem.allowed, language),
            echo(problem.suggestion) if problem.suggestion else "—",
        )
        for problem in problems
    ]
    return table(header, _fitting(rows, language))


def corrected_request(corrected: str | None, language: Language, how: str) -> str:
    """The block to paste under its heading, with the sentence on where to; empty where none can be guessed."""
    if corrected is None or len(corrected) > _CORRECTED_LENGTH:
        return ""
    return paragraphs(
        f"### {sentence('heading.corrected', language)}",
        sentence(f"sentence.{how}", language),
        fence(corrected, "yaml"),
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


def progress_comment(
    training_id: str,
    phases: Sequence[PhaseProgress],
    language: Language,
    links: Links | None = None,
    *,
    not_done: Sequence[str] = (),
) -> str:
    """The table of the seven phases, replaced in place while the training runs.

    Args:
        not_done: keys of the plan's ``not_done``, so that a phase that was asked for and is not built says so.
    """
    return paragraphs(
        f"## {sentence('heading.progress', language)}",
        progress_sentence(training_id, phases, language),
        phase_table(phases, language, not_done=not_done, links=links),
        links.markdown(language, without=[name for name in IN_TABLE if name in links.addresses()]) if links else "",
    )


def result_comment(
    record: TrainingRecord,
    language: Language,
    *,
    predict_example: str | None = None,
    links: Links | None = None,
    by_reply: bool = False,
) -> str:
    """The short form of the result report, ending in what to do next for this outcome.

    Args:
        predict_example: the exact ``curl`` command and, on the following lines, the endpoint's real answer.
        by_reply: the readers have no shell on the machine of the platform, so that ways on are replies, not ``mlops`` commands.
    """
    if record.outcome in {"cancelled", "rejected", "superseded"}:
        return _not_finished(record, language, by_reply=by_reply)
    blocks = [f"## {sentence('heading.result', language)}", f"**{facts.status_sentence(record, language)}**"]
    if record.outcome == "failed":
        blocks.append(_failure(record, language, links, by_reply=by_reply))
        links = replace(links, log=None) if links else None
    if record.outcome == "below_threshold":
        blocks += [f"### {sentence('heading.suggestions', language)}", what_can_be_changed(record, language, by_reply=by_reply)]
    blocks += [f"### {sentence('heading.basic', language)}", facts.basic_information(record, language)]
    if record.dataset is not None:
        blocks += [f"### {sentence('heading.dataset', language)}", facts.dataset_sizes(record.dataset, language)]
    if record.hyperparameters:
        blocks += [
            f"### {sentence('heading.hyperparameters', language)}",
            facts.hyperparameters(record.hyperparameters, language),
        ]
    if record.metrics:
        blocks += [f"### {sentence('heading.results', language)}", facts.metrics_table(record, language, short=True)]
        blocks.append(facts.gate_sentence(record.gate, language) if record.gate else "")
        blocks.append(facts.conventions(record, language, short=True))
    optimizations = outcome(record, language, short=True)
    if optimizations:
        blocks += [f"### {sentence('heading.optimizations', language)}", optimizations]
    if record.not_done:
        blocks += [f"### {sentence('heading.not_done', language)}", facts.not_done_list(record.not_done, language)]
    if record.model is not None:
        blocks += [f"### {sentence('heading.model', language)}", model_facts(record, language)]
    if record.endpoint is not None:
        blocks += [f"### {sentence('heading.endpoint', language)}", endpoint_facts(record, language, by_reply=by_reply)]
        if predict_example:
            blocks += [sentence("sentence.predict", language), fence(predict_example, "console")]
    if links is not None and links.markdown(language):
        blocks += [f"### {sentence('heading.links', language)}", links.markdown(language)]
    return paragraphs(*blocks)


def _not_finished(record: TrainingRecord, language: Language, *, by_reply: bool) -> str:
    """The short final comment of a training that people stopped: what it was, who stopped it, and what next."""
    who = facts.ended_by(record, language)
    what = facts.basic_information(record, language)
    began = record.has_run or record.ending == "cancelled"
    heading = {"withdrawn": "withdrawn", "superseded_run": "cancelled"}.get(record.ending, record.outcome)
    return paragraphs(
        f"## {sentence(f'outcome.{heading}', language)}",
        f"**{facts.status_sentence(record, language)}**",
        f"{bullets([who])}\n{what}" if who else what,
        f"### {sentence('heading.progress', language)}" if began else "",
        phase_table(record.phases, language, not_done=record.not_done, ended=True) if began else "",
        sentence(f"next.{_next_step(record)}", language),
        "" if by_reply or record.outcome == "superseded" else _try_again(record, language),
    )


def _next_step(record: TrainingRecord) -> str:
    """Which sentence tells what people can do now."""
    if record.ended_because in ("closed", "unlabelled"):
        return record.ended_because
    return "superseded" if record.ending == "superseded_run" else record.ending


def what_can_be_changed(record: TrainingRecord, language: Language, *, by_reply: bool = False) -> str:
    """The suggestions of the gate, each alternative as the YAML block and, where it is short, as the line to reply with."""
    if record.gate is None or record.gate.passed:
        return ""
    blocks = [bullets(sentence(f"suggestion.{key}", language) for key in record.gate.suggestions)]
    limit = record.request.max_retry
    left = max(0, limit - record.attempt + 1) if record.issue is not None else 0
    alternatives = changes(record)
    if alternatives and left:
        blocks.append(sentence("sentence.reply_change", language, left=left, limit=limit))
    elif alternatives:
        used_up = record.issue is not None
        blocks.append(sentence("sentence.retries_used_up", language, limit=limit) if used_up else "")
        blocks.append(sentence("sentence.paste_change", language))
    for number, change in enumerate(alternatives, 1):
        purpose = facts.joined([sentence(f"suggestion_short.{key}", language) for key in change.suggestions], language)
        blocks += [sentence("sentence.alternative", language, number=number, purpose=purpose), fence(_yaml(change.yaml), "yaml")]
        line = retry_line(change, record.request) if left else None
        if line is not None:
            blocks += [sentence("sentence.in_one_line", language), fence(line, "text")]
    if alternatives and left:
        blocks.append(sentence("sentence.or_edit", language))
    return paragraphs(*blocks, "" if by_reply else _try_again(record, language))


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


def endpoint_facts(record: TrainingRecord, language: Language, *, by_reply: bool = False) -> str:
    """Where the model answers, and the version it replaced with the way back to it."""
    endpoint = record.endpoint
    if endpoint is None:
        return ""
    items = [
        facts.labelled("environment", term("environment", endpoint.environment, language), language),
        facts.labelled("url", (from_afar if by_reply else link_or_code)(endpoint.url), language),
    ]
    if endpoint.previous_version:
        line = "/rollback" if by_reply else f"mlops rollback {record.model_id}"
        items.append(sentence("sentence.previous", language, version=echo(endpoint.previous_version), command=echo(line)))
    return bullets(items)


def _failure(record: TrainingRecord, language: Language, links: Links | None, *, by_reply: bool) -> str:
    failed = next((progress.phase for progress in record.phases if progress.state == "failed"), None)
    items = [facts.labelled("error", plain(record.error or "—", 600), language)]
    if failed is not None:
        items.insert(0, facts.labelled("failed_phase", sentence(f"phase.{failed}", language), language))
    if links is not None and links.log:
        items.append(links.item("log", language))
    again = sentence("sentence.reply_again", language, command=echo("/retry")) if by_reply else _try_again(record, language)
    return paragraphs(bullets(items), sentence("sentence.after_failure", language), again)


def _try_again(record: TrainingRecord, language: Language) -> str:
    if record.issue is None:
        return ""
    return sentence("sentence.try_again", language, command=echo(f"mlops run {record.issue}"))


def _yaml(content: object) -> str:
    import yaml

    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=False)
