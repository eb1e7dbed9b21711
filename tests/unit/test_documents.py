"""Documents that are made from the code say what the code says."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from jobs.diagram import with_graph
from jobs.document_tables import DOCUMENTS, TABLES, with_tables
from mlops_assets.request.commands import COMMANDS
from mlops_assets.request.optimiser import models, rules
from tests.unit.request.optimisation_cases import BALANCED, body, facts_of, version

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


@pytest.mark.parametrize("name", DOCUMENTS)
def test_rules_settings_labels_and_prices_in_the_documents_are_those_of_the_code(name: str) -> None:
    page = (ROOT / name).read_text(encoding="utf-8")
    assert page == with_tables(page), "run: python -m jobs.document_tables"


def test_every_table_is_in_a_document() -> None:
    pages = "".join((ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS)
    assert set(re.findall(r"<!-- table (\w+): ", pages)) == set(TABLES)


def test_a_table_that_says_something_else_is_seen() -> None:
    page = (ROOT / "docs" / "optimiser.md").read_text(encoding="utf-8")
    assert with_tables(page.replace("`class_imbalance`", "`class_balance`")) == page


@pytest.mark.parametrize("name", ["README.md", "docs/github.md"])
def test_every_command_of_a_thread_is_in_the_documents(name: str) -> None:
    page = (ROOT / name).read_text(encoding="utf-8")
    assert set(re.findall(r"`/([a-z]+)[ `]", page)) - {"approve"} == set(COMMANDS)


def test_the_rule_that_the_optimisers_page_shows_as_an_example_works() -> None:
    page = (ROOT / "docs" / "optimiser.md").read_text(encoding="utf-8")
    written: dict[str, Any] = {"dataclass": dataclasses.dataclass, **vars(models), **vars(rules), "__name__": __name__}
    exec(re.findall(r"```python\n(.*?)```", page, flags=re.S)[0], written)
    request, made = facts_of(body(), [written["ShallowTrees"]()], version({"No": 60, "Yes": 40}))
    assert request.hyperparameters == {"max_depth": 8}
    assert [one.rule for one in made] == ["shallow_trees"]
    assert facts_of(body(), [written["ShallowTrees"]()], version(BALANCED, rows=500))[1] == ()


def test_links_between_the_documents_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
