"""The full result report: Markdown for ``training_history/<training_id>.md`` and one self-contained HTML page.

Order and page only; what the sections say is in ``report_sections``, the look of the page in ``report.css``.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from html import escape
from importlib import resources

from mlops_assets.data.dataset import TABLE
from mlops_assets.reports import facts
from mlops_assets.reports.language import has_sentence, sentence
from mlops_assets.reports.markdown import echo, paragraphs
from mlops_assets.reports.quantities import (
    METRIC_UNITS,
    counted,
    duration,
    metric_name,
    metric_value,
    term,
    threshold_text,
    value_beside,
)
from mlops_assets.reports.record import TrainingRecord
from mlops_assets.reports.report_sections import sections
from mlops_assets.request.vocabulary import Language

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Figures are shown after this section, or at the end where a record has none.
_FIGURES_AFTER = ("importance", "confusion", "results")
_SIGNS = {"✅": "✓", "❌": "✕", "⚠️": "▲", "⬜": "○", "🔄": "●", "➖": "–", "🛑": "■", "👎": "✕", "♻️": "↻"}
#: Nothing but the page itself: no script, no request, whatever a value in it may look like.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def report_markdown(record: TrainingRecord, language: Language) -> str:
    """Everything in the record as Markdown, headings and words in ``language``; equal records give equal text."""
    blocks = [f"# {sentence('heading.report', language)}: {echo(record.training_id)}"]
    for section in sections(record, language):
        blocks += [f"## {section.heading}", section.body]
    return paragraphs(*blocks)


def history_files(record: TrainingRecord) -> dict[str, bytes]:
    """The two files of a training's history by name: the report in its own language, and the record itself."""
    return {
        f"{record.training_id}.md": report_markdown(record, record.language).encode(),
        f"{record.training_id}.json": f"{record.model_dump_json(indent=2)}\n".encode(),
    }


def report_html(record: TrainingRecord, language: Language, figures: Mapping[str, bytes]) -> str:
    """The report as one HTML file that needs nothing else: styles and figures are inside it.

    Args:
        figures: file name -> PNG bytes, in reading order, e.g. ``confusion_matrix.png``.

    Raises:
        ValueError: a figure is no PNG file.
    """
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    shown = sections(record, language)
    names = {section.name for section in shown}
    after = next((name for name in _FIGURES_AFTER if name in names), shown[-1].name)
    parts: list[str] = []
    for section in shown:
        body = _page_signs(renderer.render(section.body))
        body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
        parts.append(f'<section id="{section.name}">\n<h2>{escape(section.heading)}</h2>\n{body}</section>')
        if section.name == after and figures:
            parts.append(_figures(figures, language))
    style = resources.files("mlops_assets.reports").joinpath("report.css").read_text(encoding="utf-8")
    outcome = sentence(f"outcome.{record.outcome}", language)
    title = f"{sentence('heading.report', language)} {record.training_id}"
    return f"""<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main class="{record.outcome}">
<header>
<p class="kicker">{escape(sentence("heading.report", language))} · {escape(record.model_id)}</p>
<h1>{escape(record.training_id)} <span class="badge {record.outcome}">{escape(outcome)}</span></h1>
<dl class="tiles">
{"".join(_tiles(record, language))}</dl>
</header>
{chr(10).join(parts)}
</main>
</body>
</html>
"""


def _page_signs(html: str) -> str:
    """Emoji as signs that text fonts have, so that a page looks and prints alike everywhere."""
    for emoji, sign in _SIGNS.items():
        html = html.replace(emoji, sign)
    return html


def _tiles(record: TrainingRecord, language: Language) -> Iterator[str]:
    """The numbers that a reader looks for first."""
    gate = record.gate
    if gate is not None:
        value = metric_value(gate.value) if gate.threshold is None else value_beside(gate.value, gate.threshold)
        note = ""
        if gate.threshold is not None:
            sign = "≥" if gate.direction == "higher" else "≤"
            note = f"{sentence('label.threshold', language)} {sign} {threshold_text(gate.threshold)}"
        name = metric_name(gate.metric, language) if gate.metric in METRIC_UNITS else gate.metric
        yield _tile(name, value, note)
    yield _tile(sentence("label.algorithm", language), term("algorithm", record.request.algorithm, language), "")
    if record.dataset is not None:
        rows = sum(record.dataset.rows.values())
        frames = record.dataset.form != TABLE
        size = counted(rows, "frames" if frames else "rows", language)
        note = counted(record.dataset.features, "features", language)
        if frames:
            note = counted(sum(record.dataset.objects.values()), "objects", language) if record.dataset.objects else ""
        yield _tile(sentence("label.data_size", language), size, note)
    if record.model is not None:
        environment = term("environment", record.endpoint.environment, language) if record.endpoint else ""
        yield _tile(sentence("label.model_version", language), record.model.version, environment)
    fitting = ""
    if record.training_seconds is not None:
        fitting = f"{sentence('label.training', language)} {duration(record.training_seconds, language)}"
    if record.outcome not in facts.NEVER_RAN:
        yield _tile(sentence("label.took", language), facts.wall_time(record, language), fitting)


def _tile(label: str, value: str, note: str) -> str:
    small = f"<small>{escape(note)}</small>" if note else ""
    return f"<div><dt>{escape(label)}</dt><dd>{escape(value)}{small}</dd></div>\n"


def _figures(figures: Mapping[str, bytes], language: Language) -> str:
    shown = []
    for name, content in figures.items():
        if not content.startswith(_PNG_SIGNATURE):
            raise ValueError(f"figure {name} is no PNG file; figures of a report are PNG")
        stem = name.rsplit("/", 1)[-1].removesuffix(".png")
        caption = sentence(f"figure.{stem}", language) if has_sentence(f"figure.{stem}") else stem.replace("_", " ")
        data = base64.b64encode(content).decode()
        image = f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        shown.append(f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>")
    heading = escape(sentence("heading.figures", language))
    return f'<section id="figures">\n<h2>{heading}</h2>\n<div class="figures">\n{chr(10).join(shown)}\n</div></section>'
