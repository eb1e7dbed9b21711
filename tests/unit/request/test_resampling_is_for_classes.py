"""Resampling balances classes: a request for it where there are none is answered before anything is planned."""

from __future__ import annotations

import pytest

from mlops_assets.data.dataset import DatasetVersion
from mlops_assets.errors import RequestInvalid
from mlops_assets.request.parser import parse_issue
from mlops_assets.request.plan import Plan
from mlops_assets.request.planner import make_plan
from mlops_assets.request.vocabulary import Resampling, values
from tests.unit.request.conftest import OFFERED, XGBOOST

BODY = "dataset_id: telco-churn\nalgorithm: xgboost\nworkflow_optimization: {enabled: false}\n"


class Tabular:
    """Only what the planner asks of a task: its name."""

    name = "tabular"
    algorithms = OFFERED


def plan_of(body: str, version: DatasetVersion, how: str) -> Plan:
    """No key of an issue is this field: the optimiser sets it, or a person through `class_imbalance_handling`."""
    request = parse_issue("", body, offered=OFFERED)
    request = request.model_copy(update={"preprocessing": request.preprocessing.model_copy(update={"resample": how})})
    resources = {"compute": "local"}
    return make_plan(request, version, "code-1", task=Tabular(), algorithm=XGBOOST, resources=resources, cost_cap_usd=None)


@pytest.mark.parametrize("how", values(Resampling))
def test_any_way_of_resampling_can_be_planned_for_classes(churn: DatasetVersion, how: str) -> None:
    plan = plan_of(BODY + "task_type: classification\n", churn, how)
    assert plan.request.preprocessing.resample == how


@pytest.mark.parametrize("how", ["smote", "undersample", "oversample"])
def test_resampling_of_a_regression_is_refused_with_what_to_write(churn: DatasetVersion, how: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        plan_of(BODY + "task_type: regression\ntarget: tenure\n", churn, how)
    (problem,) = refused.value.problems
    assert (problem.field, problem.code, problem.suggestion) == ("preprocessing.resample", "conflict", "none")
    assert problem.given == f"{how} (task_type: regression)"
    assert plan_of(BODY + "task_type: regression\ntarget: tenure\n", churn, "none")


def test_a_resampled_plan_is_another_plan(churn: DatasetVersion) -> None:
    digests = {plan_of(BODY + "task_type: classification\n", churn, how).digest for how in values(Resampling)}
    assert len(digests) == 4
