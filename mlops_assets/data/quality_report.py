"""The data quality report of FR-002 as Markdown, in Japanese or English: what the columns hold and what the rules found.

Only telling: counting is in ``statistics``, judging in ``quality``. Names and values come from a user's file, so every one of
them is escaped: it cannot break the table, start a link, mention a person or end the comment it is quoted in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mlops_assets.data.dataset import Column, ColumnKind, DatasetVersion, QualityCheck
from mlops_assets.reports.markdown import plain
from mlops_assets.request.vocabulary import Language

_MOST_COLUMNS = 200
_TOP = 3
_LONGEST, _LONGEST_LIMIT = 60, 120

_TEXTS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "title": "Data quality report",
        "dataset": "Dataset",
        "version": "Version",
        "rows": "Rows",
        "columns": "Columns",
        "bytes": "Size",
        "duplicates": "Repeated rows",
        "newest": "Newest row",
        "target": "Target",
        "rules": "Rules",
        "rule_head": "| | Rule | Limit | Found |",
        "column_head": "| Column | Kind | Missing | Distinct | Range or most frequent values |",
        "mean": "mean",
        "more": "{n} more columns are not shown.",
        "all_missing": "no value",
        "legend": "✅ holds · ⚠️ does not hold, work goes on · ⛔ does not hold, work stops",
    },
    "ja": {
        "title": "データ品質レポート",
        "dataset": "データセット",
        "version": "バージョン",
        "rows": "行数",
        "columns": "列",
        "bytes": "サイズ",
        "duplicates": "重複行",
        "newest": "最新の行",
        "target": "目的変数",
        "rules": "ルール",
        "rule_head": "| | ルール | 基準 | 結果 |",
        "column_head": "| 列 | 種類 | 欠損率 | 異なる値 | 範囲または頻出値 |",
        "mean": "平均",
        "more": "ほかに {n} 列あります（省略）。",
        "all_missing": "値なし",
        "legend": "✅ 合格 · ⚠️ 不合格（処理は続行） · ⛔ 不合格（処理を停止）",
    },
}
_RULES: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "schema": "Columns and kinds match",
        "target": "Target can be learned",
        "class_support": "Enough rows of each class",
        "null_rate": "Missing share of important columns",
        "range": "Values within declared ranges",
        "duplicates": "Share of repeated rows",
        "freshness": "Data is fresh",
        "leakage": "No feature gives the target away",
    },
    "ja": {
        "schema": "列と型が定義どおり",
        "target": "目的変数が学習可能",
        "class_support": "各クラスの行数が十分",
        "null_rate": "重要な列の欠損率",
        "range": "値が宣言した範囲内",
        "duplicates": "重複行の割合",
        "freshness": "データの鮮度",
        "leakage": "目的変数の漏れ（リーク）がない",
    },
}
#: Limits that are words in English; the others are figures and read the same in both languages.
_LIMITS_JA: Final = {
    "schema": "列と種類が宣言および前のバージョンと同じ",
    "target": "分類は2クラス以上、回帰は値が変化する数値",
    "class_support": "各クラス3行以上、各分割に2クラス以上",
    "leakage": "単独で目的変数を決める列がない（0.999 以下）",
}
#: Figures that rules tell under a fixed name; everything else is the name of a column or class.
_EVIDENCE_JA: Final = {
    "column": "列",
    "rows": "行数",
    "missing": "欠損",
    "kind": "種類",
    "classes": "クラス数",
    "minimum": "最小",
    "maximum": "最大",
    "rate": "割合",
    "newest": "最新",
    "age_hours": "経過時間",
    "sampled_rows": "調べた行数",
    "positive_class": "陽性クラス",
    "rows_after_cleaning": "前処理後の行数",
}
_KINDS: Final[dict[Language, dict[ColumnKind, str]]] = {
    "en": {"number": "number", "category": "category", "timestamp": "timestamp", "identifier": "identifier"},
    "ja": {"number": "数値", "category": "カテゴリ", "timestamp": "日時", "identifier": "識別子"},
}


def quality_report_markdown(version: DatasetVersion, checks: Sequence[QualityCheck], language: Language) -> str:
    """The report of one dataset version: its figures, a row for every rule, a row for every column (at most 200)."""
    text = _TEXTS[language]
    duplicates = f"{version.duplicate_rows:,} ({_percent(version.duplicate_rows, version.rows)})"
    facts = [
        (text["dataset"], escape(version.dataset_id)),
        (text["version"], f"`{version.version}`"),
        (text["rows"], f"{version.rows:,}"),
        (text["columns"], f"{len(version.columns):,}"),
        (text["bytes"], f"{version.raw_bytes:,} B"),
        (text["duplicates"], duplicates),
    ]
    if version.newest:
        facts.append((text["newest"], escape(version.newest)))
    if version.entry.target:
        classes = ", ".join(f"{escape(name)}: {rows:,}" for name, rows in list(version.target_counts.items())[:10])
        facts.append((text["target"], escape(version.entry.target) + (f" ({classes})" if classes else "")))
    lines = [f"## {text['title']}", "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts), ""]
    if checks:
        lines += [
            f"### {text['rules']}",
            "",
            text["rule_head"],
            "|---|---|---|---|",
            *(_rule_row(check, language) for check in checks),
        ]
        lines += ["", text["legend"], ""]
    lines += [f"### {text['columns']}", "", text["column_head"], "|---|---|--:|--:|---|"]
    lines += [_column_row(column, version.rows, language) for column in version.columns[:_MOST_COLUMNS]]
    if len(version.columns) > _MOST_COLUMNS:
        lines += ["", text["more"].format(n=len(version.columns) - _MOST_COLUMNS)]
    return "\n".join(lines) + "\n"


def escape(value: object, longest: int = _LONGEST) -> str:
    """A name or value of a user's file as inert Markdown on one line, cut at ``longest`` characters."""
    return plain(value, longest)


def _rule_row(check: QualityCheck, language: Language) -> str:
    sign = "✅" if check.passed else "⛔" if check.severity == "stop" else "⚠️"
    found = "<br>".join(f"{name}: {value}" for name, value in table_evidence(check, language)) or "–"
    return f"| {sign} | {_RULES[language][check.rule]} | {table_limit(check, language)} | {found} |"


def table_limit(check: QualityCheck, language: Language) -> str:
    """The limit of a rule for tables in words, as Markdown."""
    limit = check.limit
    if language == "ja":
        limit = "宣言なし" if limit.startswith("no ") and check.rule != "leakage" else _LIMITS_JA.get(check.rule, limit)
    return escape(limit, _LONGEST_LIMIT)


def table_evidence(check: QualityCheck, language: Language) -> list[tuple[str, str]]:
    """What a rule for tables found: names with their values in words, both inert Markdown."""
    words = _EVIDENCE_JA if language == "ja" else {}
    shares = check.rule == "null_rate"
    return [
        (words.get(name, escape(name)), _value(value, share=shares or name == "rate")) for name, value in check.evidence.items()
    ]


def _column_row(column: Column, rows: int, language: Language) -> str:
    if column.kind == "number" and column.minimum is not None and column.maximum is not None and column.mean is not None:
        low, high, mean = (_number(value) for value in (column.minimum, column.maximum, column.mean))
        content = f"{low} … {high} ({_TEXTS[language]['mean']} {mean})"
    elif column.missing == rows:
        content = _TEXTS[language]["all_missing"]
    else:
        content = ", ".join(f"{escape(name)} ({_percent(count, rows)})" for name, count in list(column.top.items())[:_TOP]) or "–"
    kind = _KINDS[language][column.kind]
    return f"| {escape(column.name)} | {kind} | {_percent(column.missing, rows)} | {column.distinct:,} | {content} |"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:,.6g}"


def _value(value: float | int | str | None, *, share: bool) -> str:
    if isinstance(value, str) or value is None:
        return "–" if value is None else escape(value)
    return f"{100 * value:.1f} %" if share else _number(value)
