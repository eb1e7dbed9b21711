"""Documents that are made from the code say what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from jobs.diagram import with_graph

ROOT = Path(__file__).resolve().parents[2]


def test_the_asset_graph_in_the_architecture_page_is_the_one_in_the_definitions() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert page == with_graph(page), "run: python -m jobs.diagram"


def test_the_benchmark_table_of_the_readme_is_the_one_in_the_result_files() -> None:
    spec = importlib.util.spec_from_file_location("benchmark_table", ROOT / "benchmarks" / "table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == module.with_table(text), "run: python benchmarks/table.py"
