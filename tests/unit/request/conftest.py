"""Algorithms and data set versions as the tasks and the catalogue would describe them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_assets.data.dataset import CatalogueEntry, Column, DatasetVersion
from mlops_assets.tasks.interface import Algorithm, Hyperparameter
from tests.shared_data import at_hand

ROOT = Path(__file__).resolve().parents[3]

RANDOM_FOREST = Algorithm(
    "random_forest",
    "Random Forest",
    "supervised",
    ("classification", "regression"),
    (
        Hyperparameter("n_estimators", "int", 100, 1, 5000, aliases=("num_trees",)),
        Hyperparameter("max_depth", "int", None, 1, 100, nullable=True),
        Hyperparameter("min_samples_split", "int", 2, 2, 10_000),
        Hyperparameter("criterion", "str", "gini", choices=("gini", "entropy", "log_loss")),
        Hyperparameter("bootstrap", "bool", True),
    ),
)
XGBOOST = Algorithm(
    "xgboost",
    "XGBoost",
    "supervised",
    ("classification", "regression"),
    (
        Hyperparameter("n_estimators", "int", 100, 1, 5000, aliases=("num_round", "num_boost_round")),
        Hyperparameter("max_depth", "int", 6, 1, 50),
        Hyperparameter("learning_rate", "float", 0.3, 0.0, 1.0, aliases=("eta", "lr")),
    ),
)
LINEAR = Algorithm("linear_regression", "Linear Regression", "supervised", ("regression",), ())
OFFERED = (RANDOM_FOREST, XGBOOST, LINEAR)

#: The user's own example bodies, by name; they are not part of the project.
EXAMPLES = ("random_forest_full.yaml", "xgboost_short.yaml", "yolox_kitti.yaml", "yolox_kitti_short.yaml", "vad_ppo_carla.yaml")
MINIMAL = "dataset_id: breast-cancer\nalgorithm: random_forest\ntask_type: classification\n"


@pytest.fixture
def example():
    """Reads one of the user's example bodies."""

    def read(name: str) -> str:
        return at_hand("spec", "examples", name).read_text(encoding="utf-8")

    return read


@pytest.fixture
def churn() -> DatasetVersion:
    """A small version of a churn table: identifier, number, category, timestamp, target."""
    return DatasetVersion(
        dataset_id="telco-churn",
        version="sha256-0123456789abcdef",
        raw_sha256="0" * 64,
        raw_bytes=1000,
        rows=7043,
        columns=(
            Column(name="customerID", kind="identifier", missing=0, distinct=7043),
            Column(name="tenure", kind="number", missing=0, distinct=73, minimum=0, maximum=72, mean=32.4),
            Column(name="MonthlyCharges", kind="number", missing=11, distinct=1585, minimum=18.25, maximum=118.75, mean=64.8),
            Column(
                name="Contract",
                kind="category",
                missing=0,
                distinct=3,
                top={"Month-to-month": 3875, "Two year": 1695, "One year": 1473},
            ),
            Column(name="signup", kind="timestamp", missing=0, distinct=900),
            Column(name="Churn", kind="category", missing=0, distinct=2, top={"No": 5174, "Yes": 1869}),
        ),
        duplicate_rows=22,
        target_counts={"No": 5174, "Yes": 1869},
        entry=CatalogueEntry(dataset_id="telco-churn", source="data.csv", target="Churn", positive_class="Yes"),
        added_at="2026-11-01T00:00:00Z",
    )
