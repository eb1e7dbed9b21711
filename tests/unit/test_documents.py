"""Documents that are made from the code say what the code says."""

from __future__ import annotations

from pathlib import Path

from jobs.diagram import with_graph

ROOT = Path(__file__).resolve().parents[2]


def test_the_asset_graph_in_the_architecture_page_is_the_one_in_the_definitions() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert page == with_graph(page), "run: python -m jobs.diagram"
