"""The quality report: complete in both languages, and inert whatever the data is called."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mlops_assets.data.quality import check_quality
from mlops_assets.data.quality_report import escape, quality_report_markdown

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("language", "words"), [("en", ("Missing", "most frequent", "number")), ("ja", ("欠損率", "頻出値", "数値"))]
)
def test_report_has_every_rule_and_every_column(
    register: Any, request_for: Any, customers_csv: Any, language: Any, words: tuple[str, ...]
) -> None:
    folder, version = register(customers_csv, target="churned", timestamp="signed_up_at")
    checks = check_quality(folder, request_for(drop_columns=("nothing",)), "churned", None, NOW)
    report = quality_report_markdown(version, checks, language)
    assert all(word in report for word in words)
    assert report.count("| ⛔ |") == 1
    assert report.count("| ⚠️ |") == 2  # income is missing in 8 %, 2 % of the rows repeat
    html = MarkdownIt("commonmark").enable("table").render(report)
    assert html.count("<tr>") == (8 + 1) + (len(checks) + 1) + (len(version.columns) + 1)
    for column in version.columns:
        assert escape(column.name) in report
    income = next(column for column in version.columns if column.name == "income")
    assert f"income: {100 * income.missing / version.rows:.1f} %" in report


HOSTILE = [
    "a|b",
    "<script>alert(1)</script>",
    "<!-- mlops:marker -->",
    "@octocat",
    "#12",
    "[click](https://evil.example)",
    "![x](https://evil.example/p.png)",
    "`code` **bold**",
    "line\nbreak\r\n| x |",
    "\u202egnp.exe",
    "https://evil.example",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_and_values_stay_text(register: Any, request_for: Any, name: str) -> None:
    quoted = '"{}"'.format(name.replace('"', '""'))
    folder, version = register(f"{quoted},y\n" + "".join(f"{quoted},{'ab'[i % 2]}\n" for i in range(10)))
    checks = check_quality(folder, request_for(drop_columns=(name,)), "y", version, NOW)
    report = quality_report_markdown(version, checks, "en")
    html = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(report)
    assert not re.search(r"<(script|img|a|strong|code)\b(?!>sha256)", html.replace(f"<code>{version.version}</code>", ""))
    assert "<!--" not in report
    assert not re.search(r"@\w", report)
    rows = [re.sub(r"\\\|", "", line).count("|") for line in report.splitlines() if line.startswith("| ")]
    assert set(rows) <= {3, 5, 6}


@given(st.text(max_size=100))
@settings(max_examples=100)
def test_escaped_text_is_one_table_cell(text: str) -> None:
    rows = MarkdownIt("commonmark").enable("table").parse(f"| a | b |\n|---|---|\n| {escape(text)} | end |\n")
    cells = [token for token in rows if token.type == "td_open"]
    assert len(cells) == 2
