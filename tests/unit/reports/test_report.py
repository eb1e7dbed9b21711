"""The full report holds the whole record, in both languages and both formats, and its page needs nothing else."""

from __future__ import annotations

import base64
import json
import re
import struct
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import yaml

from mlops_assets.reports.quantities import counted, dollars, duration, metric_value, time_of, value_beside
from mlops_assets.reports.record import Outcome, TrainingRecord
from mlops_assets.reports.report import history_files, report_html, report_markdown
from mlops_assets.request.vocabulary import Language

LANGUAGES: tuple[Language, ...] = ("ja", "en")


def png() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


class Page(HTMLParser):
    """Elements, their balance, and everything that a browser would fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.attributes: dict[str, dict[str, str | None]] = {}
        self.images = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.attributes[tag] = values
        self.fetched += [str(values[name]) for name in ("src", "srcset", "action", "data") if name in values]
        self.images += tag == "img"
        if tag not in {"meta", "img", "br", "hr"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_fact_of_the_record_is_in_the_report(churn: SimpleNamespace, language: Language) -> None:
    record: TrainingRecord = churn.deployed()
    text = report_markdown(record, language)
    facts = [
        record.training_id,
        record.plan_digest,
        record.code_version,
        "hanako",
        "3.11.9",
        "1.9.1",
        "8d3c",
        "models/customer-churn/v1.2.0",
    ]
    facts += [
        "34,984",
        "7,497",
        "22",
        "7.1 %",
        "< 5 %",
        "6,307",
        "441",
        "342",
        "407",
        "0.9123",
        "0.8765",
        "0.5432",
        "6,748",
        "0.000432",
    ]
    facts += [
        "31.0%",
        "22.0%",
        "0.8800",
        "49,978件、21列",
        "sha256-0123456789abcdef",
        "| `true`",
        f"mlops reproduce {record.training_id}",
    ]
    facts += ["2025-01-10 12:34:56 UTC", "2025-01-10 12:36:21 UTC"]
    assert [fact for fact in facts if fact not in text] == []
    assert text.count("`feature_") == 13, "fifteen features, two of them named"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_request_in_the_report_can_be_read_back(churn: SimpleNamespace, language: Language) -> None:
    record = churn.deployed()
    block = re.search(r"```yaml\n(.*?)```", report_markdown(record, language), re.DOTALL)
    assert block is not None
    assert type(record.request).model_validate(yaml.safe_load(block.group(1))) == record.request


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_failed_training_has_no_empty_section(churn: SimpleNamespace, language: Language) -> None:
    text = report_markdown(churn.failed(), language)
    assert not re.search(r"^## .*\n\n(## |\Z)", text, re.MULTILINE)
    assert "has one class only" in text
    assert {"ja": "## 評価結果", "en": "## Results"}[language] not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_below_the_threshold_the_report_keeps_what_was_suggested(churn: SimpleNamespace, language: Language) -> None:
    assert "evaluation_threshold: 0.84" in report_markdown(churn.below_threshold(), language)
    assert "evaluation_threshold" not in report_markdown(churn.deployed(), language)


def test_history_files_are_the_report_in_the_records_language_and_the_record_itself(churn: SimpleNamespace) -> None:
    record = churn.deployed()
    written = history_files(record)
    assert list(written) == [f"{record.training_id}.md", f"{record.training_id}.json"]
    assert written[f"{record.training_id}.md"].decode() == report_markdown(record, "ja")
    assert TrainingRecord.model_validate_json(written[f"{record.training_id}.json"]) == record
    assert json.loads(written[f"{record.training_id}.json"])["metrics"]["accuracy"] == 0.87654321
    assert history_files(record) == written


def test_a_metric_that_is_not_a_number_survives_the_record(churn: SimpleNamespace) -> None:
    record = churn.deployed(metrics={"accuracy": float("nan"), "log_loss": float("inf")})
    assert "nan" in report_markdown(record, "en")
    assert TrainingRecord.model_validate_json(record.model_dump_json()).metrics["log_loss"] == float("inf")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_the_page_is_whole_and_fetches_nothing(churn: SimpleNamespace, language: Language, outcome: str) -> None:
    figures = {"confusion_matrix.png": png(), "some_new_figure.png": png()}
    record = getattr(churn, outcome)() if hasattr(churn, outcome) else churn.stopped(outcome)
    html = report_html(record, language, figures)
    page = Page(html)
    assert page.open == []
    assert page.attributes["html"]["lang"] == language
    assert page.images == 2
    assert all(address.startswith("data:image/png;base64,") for address in page.fetched)
    assert base64.b64encode(png()).decode() in html
    assert {"ja": "混同行列", "en": "Confusion matrix"}[language] in html
    assert "some new figure" in html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    assert "url(" not in html
    assert "@import" not in html


def test_tables_of_the_page_are_tables(churn: SimpleNamespace) -> None:
    html = report_html(churn.deployed(), "en", {})
    assert html.count("<table>") == html.count("</table>") == 10
    assert not re.search(r"<p>\|", html)


def test_a_figure_that_is_no_png_is_refused_by_name(churn: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match=r"roc_curve\.png is no PNG"):
        report_html(churn.deployed(), "ja", {"roc_curve.png": b"<svg onload=x>"})


def test_many_classes_leave_the_confusion_table_to_the_record(churn: SimpleNamespace) -> None:
    text = report_markdown(churn.deployed(confusion_matrix=[[1] * 50 for _ in range(50)]), "en")
    assert "50 classes" in text
    assert max(len(line) for line in text.splitlines()) < 400


def test_classes_that_are_not_named_are_counted(churn: SimpleNamespace) -> None:
    data = churn.deployed().dataset.model_copy(update={"classes": tuple(f"k{number}" for number in range(15))})
    text = report_markdown(churn.deployed(dataset=data), "ja")
    assert "`k11` ほか3件" in text and "`k12`" not in text


def test_numbers_are_written_as_people_read_them() -> None:
    assert [duration(seconds, "ja") for seconds in (0.05, 8.34, 59.97, 61, 3725, None)] == [
        "0.05秒", "8.3秒", "1分0秒", "1分1秒", "1時間2分", "—",
    ]  # fmt: skip
    assert duration(3725, "en") == "1 h 2 min"
    assert [metric_value(value) for value in (0.87654, 0.0, 0.00001234, 52_345.678, -0.5, 812.4)] == [
        "0.8765", "0.0000", "1.23e-05", "52,345.68", "-0.5000", "812.40",
    ]  # fmt: skip
    assert [dollars(amount) for amount in (0, 12.5, 1234.5, 0.0012)] == ["$0.00", "$12.50", "$1,234.50", "$0.0012"]
    assert [counted(number, "rows", "en") for number in (0, 1, 1234)] == ["0 rows", "1 row", "1,234 rows"]
    assert value_beside(0.84999, 0.85) == "0.84999"
    assert value_beside(0.9, 0.85) == "0.9000"
    for value, threshold, text in (
        (30.0004, 30.0, "30.0004"),
        (1000.001, 1000, "1,000.001"),
        (0.00094999, 0.00095, "0.00094999"),
    ):
        assert value_beside(value, threshold) == text
    assert time_of("2025-01-10T21:34:56+09:00") == "2025-01-10 12:34:56 UTC"
    assert time_of("soon") == "`soon`"


def test_importing_the_room_loads_no_heavy_library() -> None:
    code = (
        "import sys, mlops_assets.reports.comments, mlops_assets.reports.report, resources.history\n"
        "heavy = {'markdown_it', 'yaml', 'matplotlib', 'numpy', 'pandas', 'sklearn', 'dagster', 'duckdb', 'mlflow'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(root)}
    )
    assert done.stdout == "[]\n"
