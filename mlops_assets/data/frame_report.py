"""The data quality report of frames as Markdown, in Japanese or English: what the copy holds and what the rules found.

Only telling, as ``quality_report`` does for tables: judging is in ``frame_quality``. Names of files and classes come from the
copy, so every one of them is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlops_assets.data.dataset import DatasetVersion, QualityCheck
from mlops_assets.data.quality_report import escape
from mlops_assets.data.reasons import Reason
from mlops_assets.reports.language import has_sentence, sentence
from mlops_assets.request.vocabulary import Language

_SIGNS = {"stop": "⛔", "alert": "⚠️", "log": "⚠️"}
_SHARES = ("rate",)
_LONGEST_LINE = 200


def frame_report_markdown(version: DatasetVersion, checks: Sequence[QualityCheck], language: Language) -> str:
    """The report of one version of frames: its figures, a row for every rule with its evidence, objects by class."""

    def say(key: str) -> str:
        return sentence(f"frame_report.{key}", language)

    parts = ", ".join(f"{say(part)} {count:,}" for part, count in version.parts.items())
    facts = [
        (say("dataset"), escape(version.dataset_id)),
        (say("version"), f"`{version.version}`"),
        (say("frames"), f"{version.rows:,}"),
        (say("parts"), parts),
        (say("bytes"), f"{version.raw_bytes:,} B"),
        (say("shards"), f"{version.shards:,}"),
        (say("repeated"), f"{version.duplicate_rows:,}"),
    ]
    lines = [f"## {say('title')}", "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts), ""]
    if checks:
        lines += [f"### {say('rules')}", "", f"| | {say('rule')} | {say('limit')} | {say('found')} |", "|---|---|---|---|"]
        lines += [_rule_row(check, language) for check in checks]
        lines += ["", say("legend"), ""]
    lines += [f"### {say('classes')}", "", f"| {say('class')} | {say('objects')} |", "|---|--:|"]
    lines += [f"| {escape(name)} | {count:,} |" for name, count in version.target_counts.items()]
    return "\n".join(lines) + "\n"


def _rule_row(check: QualityCheck, language: Language) -> str:
    sign = "✅" if check.passed else _SIGNS[check.severity]
    told = "<br>".join(f"{name}: {value}" for name, value in frame_evidence(check, language)) or "–"
    return f"| {sign} | {sentence(f'rule.{check.rule}', language)} | {frame_limit(check, language)} | {told} |"


def frame_limit(check: QualityCheck, language: Language) -> str:
    """The limit of a rule for frames in words, as Markdown."""
    limit = f"frame_report.limit_{check.rule}"
    return sentence(limit, language) if has_sentence(limit) else escape(check.limit)


def frame_evidence(check: QualityCheck, language: Language) -> list[tuple[str, str]]:
    """What a rule for frames found: names with their values in words, both inert Markdown."""
    return [
        (
            _name(name, language),
            _words(check.reasons[name], language) if name in check.reasons else _value(name, value),
        )
        for name, value in check.evidence.items()
    ]


def _words(reason: Reason, language: Language) -> str:
    """A reason as its sentence; splits among its values are told by their names too."""
    values = {name: f"{value:,}" if isinstance(value, int) else escape(value) for name, value in reason.values.items()}
    if "splits" in values:
        names = [sentence(f"split_name.{split}", language) for split in str(reason.values["splits"]).split(", ")]
        values["splits"] = sentence("punctuation.list", language).join(names)
    return sentence(f"reason.{reason.code}", language, **values)


def _name(name: str, language: Language) -> str:
    """A figure by its sentence; everything else is the name of a file or class."""
    key = f"frame_report.{name}"
    return sentence(key, language) if has_sentence(key) else escape(name)


def _value(name: str, value: float | str | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return escape(value, _LONGEST_LINE)
    return f"{value:.1%}" if name in _SHARES else f"{value:,}"
