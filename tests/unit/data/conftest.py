"""Small real files and requests for the tests of the data room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.data.dataset import CatalogueEntry, DatasetVersion
from mlops_assets.data.ingest import ingest
from mlops_assets.request.schema import DatasetRequest, Preprocessing, TrainingRequest
from sim.tabular import simulate_customers
from tests.shared_data import at_hand

RequestFor = Callable[..., TrainingRequest]
Register = Callable[..., tuple[Path, DatasetVersion]]


@pytest.fixture(scope="session")
def shared_tables() -> Path:
    """The folder of real tables."""
    return at_hand("data", "tabular")


@pytest.fixture
def request_for() -> RequestFor:
    def build(task: str = "classification", seed: int = 42, **preprocessing: Any) -> TrainingRequest:
        return TrainingRequest(
            model_id="line",
            dataset=DatasetRequest(dataset_id="data"),
            learning_type="supervised",
            task_type=task,  # type: ignore[arg-type]
            algorithm="random_forest",
            preprocessing=Preprocessing(**preprocessing),
            seed=seed,
        )

    return build


@pytest.fixture
def register(tmp_path: Path) -> Register:
    """Write text as CSV (or take a path) and ingest it."""

    def build(content: str | Path, name: str = "version", **entry: Any) -> tuple[Path, DatasetVersion]:
        path = content if isinstance(content, Path) else tmp_path / f"{name}.csv"
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        folder = tmp_path / name
        return folder, ingest(path, CatalogueEntry(dataset_id="data", source=str(path), **entry), folder)

    return build


@pytest.fixture(scope="session")
def customers_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("customers") / "customers.csv"
    simulate_customers(3000, seed=7).to_csv(path, index=False)
    return path
