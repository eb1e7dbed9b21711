"""The defaults on real tables with their traps (blanks, `?`, duplicates). A plain one-hot preparation stands in for `prepare`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from prepared_features import Prepared, silent

from mlops_assets.tasks.tabular import TabularTask
from tests.shared_data import at_hand

TASK = TabularTask()


def one_hot(name: str, target: str, positive: str | None) -> tuple[np.ndarray, np.ndarray]:
    import pandas as pd

    source = at_hand("data", "tabular", name, "data.csv")
    frame = pd.read_csv(source, skipinitialspace=True, na_values=["?", " ", ""]).drop(columns="customerID", errors="ignore")
    frame = frame.drop_duplicates()
    if "TotalCharges" in frame:
        frame["TotalCharges"] = pd.to_numeric(frame["TotalCharges"], errors="coerce")
    y = frame.pop(target)
    x = pd.get_dummies(frame, dtype=np.float32)
    return x.fillna(x.median()).to_numpy(np.float32), (y == positive).to_numpy(np.int64) if positive else y.to_numpy(np.float64)


@pytest.mark.parametrize(
    ("name", "target", "positive", "algorithm", "floor"),
    [
        ("telco_churn", "Churn", "Yes", "xgboost", 0.83),
        ("telco_churn", "Churn", "Yes", "random_forest", 0.83),
        ("telco_churn", "Churn", "Yes", "logistic_regression", 0.83),
        ("adult_income", "income", ">50K", "xgboost", 0.92),
    ],
)
def test_the_defaults_rank_real_people_well(
    name: str, target: str, positive: str, algorithm: str, floor: float, prepared: Callable[..., Prepared], tmp_path: Path
) -> None:
    x, y = one_hot(name, target, positive)
    data = prepared(x, y, classes=("no", "yes"))
    request = data.request(algorithm)
    TASK.train(data.features, request, tmp_path / "model", silent)
    summary = TASK.evaluate(data.features, tmp_path / "model", request, tmp_path / "evaluation")
    assert summary.metrics["auc_roc"] >= floor
    exported = TASK.export(data.dataset, data.features, tmp_path / "model", request, tmp_path / "package")
    assert exported.rows_compared == summary.rows
    assert exported.largest_difference <= 1e-6


def test_boosting_beats_the_straight_line_on_real_house_values(prepared: Callable[..., Prepared], tmp_path: Path) -> None:
    x, y = one_hot("california_housing", "median_house_value", None)
    data = prepared(x, y)
    r2 = {}
    for algorithm in ("xgboost", "linear_regression"):
        request = data.request(algorithm)
        TASK.train(data.features, request, tmp_path / algorithm, silent)
        r2[algorithm] = TASK.evaluate(data.features, tmp_path / algorithm, request, tmp_path / "evaluation").metrics["r2"]
        exported = TASK.export(data.dataset, data.features, tmp_path / algorithm, request, tmp_path / "package")
        assert exported.largest_difference <= 1e-6
    assert r2["xgboost"] > 0.8 > r2["linear_regression"] > 0.55
