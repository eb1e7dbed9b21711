"""Plans and records of one churn training, as the platform would write them: the fixture ``churn``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mlops_assets.data.dataset import QualityCheck
from mlops_assets.reports.record import (
    PHASES,
    DatasetFacts,
    EndpointFacts,
    GateDecision,
    ModelFacts,
    PhaseProgress,
    TrainingRecord,
)
from mlops_assets.request.optimiser.estimate import Actual, Estimate, SimilarTraining
from mlops_assets.request.optimiser.models import Optimization
from mlops_assets.request.plan import Characteristics, NotDone, Plan
from mlops_assets.request.schema import (
    DatasetRequest,
    DeploymentRequest,
    EvaluationRequest,
    Preprocessing,
    TrainingRequest,
)

SHA = "3f" * 32


def training_request(**changed: Any) -> TrainingRequest:
    content: dict[str, Any] = {
        "model_id": "customer-churn",
        "dataset": DatasetRequest(dataset_id="telco-churn"),
        "learning_type": "supervised",
        "task_type": "classification",
        "algorithm": "random_forest",
        "hyperparameters": {"n_estimators": 100, "max_depth": 10},
        "preprocessing": Preprocessing(handle_missing="mean", normalize=True, feature_engineering=("aggregate_by_user",)),
        "evaluation": EvaluationRequest(metrics=("accuracy", "auc_roc"), threshold=0.85, threshold_metric="auc_roc"),
        "deployment": DeploymentRequest(environment="staging", strategy="canary"),
    }
    return TrainingRequest.model_validate({**content, **changed})


def optimizations() -> tuple[Optimization, ...]:
    smote = {
        "rule": "class_imbalance",
        "requirement": "FR-035",
        "phase": "data",
        "action": {"key": "resample_smote"},
        "reason": {"key": "imbalanced", "values": {"share": 0.1, "limit": 0.3}},
        "changes": {"preprocessing.resample": "smote"},
    }
    search = {
        "rule": "hyperparameter_search",
        "requirement": "FR-035",
        "phase": "training",
        "action": {"key": "search", "values": {"search": "bayesian", "trials": 20}},
        "reason": {"key": "search_medium", "values": {"rows": 50_000, "profile": "balanced"}},
        "changes": {"search.enabled": True},
        "carried_out": False,
    }
    return tuple(Optimization.model_validate(content) for content in (smote, search))


def estimate(**changed: Any) -> Estimate:
    past = SimilarTraining(
        training_id="train-20250109-101010-cd34",
        model_id="customer-churn",
        dataset_id="telco-churn",
        rows=48_000,
        iterations=100,
        metric="auc_roc",
        score=0.9012,
        duration_seconds=30.0,
        fitting_seconds=4.0,
        optimizations=("class_imbalance",),
    )
    content: dict[str, Any] = {
        "duration_seconds": 31.2,
        "cost_usd": 0.0,
        "cost_basis": "local",
        "instance_type": "local",
        "price_date": "2026-11-21",
        "similar": (past,),
        "expected_score": 0.9012,
    }
    return Estimate.model_validate({**content, **changed})


def plan(**changed: Any) -> Plan:
    content: dict[str, Any] = {
        "request": training_request(),
        "dataset_id": "telco-churn",
        "dataset_version": "sha256-0123456789abcdef",
        "code_version": "0.1.0+abc1234",
        "task": "tabular",
        "target": "churn",
        "hyperparameters": {"n_estimators": 100, "max_depth": 10, "class_weight": None},
        "metrics": ("accuracy", "auc_roc"),
        "gate_metric": "auc_roc",
        "characteristics": Characteristics(
            rows=50_000,
            columns=21,
            size_class="medium",
            target="churn",
            task_type="classification",
            class_counts={"No": 45_000, "Yes": 5_000},
            minority_share=0.1,
            missing_cells=11,
            duplicate_rows=22,
        ),
        "resources": {"kind": "local", "processors": 2},
        "cost_cap_usd": 5.0,
        "optimizations": optimizations(),
        "not_done": (
            NotDone(field="deployment_strategy", key="canary", asked="canary"),
            NotDone(field="bias_check_enabled", key="bias_check", asked="true"),
        ),
    }
    return Plan.model_validate({**content, **changed})


def phases(**changed: PhaseProgress) -> tuple[PhaseProgress, ...]:
    return tuple(changed.get(phase, PhaseProgress(phase=phase, state="done", seconds=1.25)) for phase in PHASES)


def deployed(**changed: Any) -> TrainingRecord:
    content: dict[str, Any] = {
        "training_id": "train-20250110-123456-ab12",
        "model_id": "customer-churn",
        "issue": 12,
        "attempt": 1,
        "outcome": "deployed",
        "language": "ja",
        "started_at": "2025-01-10T12:34:56+00:00",
        "finished_at": "2025-01-10T12:36:21+00:00",
        "request": training_request(),
        "plan_digest": SHA,
        "approved_by": "hanako",
        "code_version": "0.1.0+abc1234",
        "environment": {"python": "3.11.9", "scikit-learn": "1.9.1"},
        "not_done": ("canary", "bias_check"),
        "optimizations": optimizations(),
        "estimate": estimate(),
        "actual": Actual(duration_seconds=33.0, cost_usd=0.0, metric="auc_roc", score=0.9123456),
        "class_balance": {"No": (0.9, 0.5), "Yes": (0.1, 0.5)},
        "dataset": DatasetFacts(
            dataset_id="telco-churn",
            version="sha256-0123456789abcdef",
            target="churn",
            rows={"train": 34_984, "validation": 7_497, "test": 7_497},
            removed={"duplicates": 22, "missing": 0},
            split="stratified",
            features=46,
            classes=("No", "Yes"),
            checks=(
                QualityCheck(rule="schema", severity="stop", passed=True, evidence={}),
                QualityCheck(rule="null_rate", severity="alert", passed=False, evidence={"TotalCharges": 0.0712}, limit="< 5 %"),
            ),
            digest=SHA,
        ),
        "feature_digest": SHA,
        "hyperparameters": {"n_estimators": 100, "max_depth": 10, "class_weight": None, "bootstrap": True},
        "training_seconds": 4.217,
        "curves": {"validation_auc_roc": [0.81, 0.88, 0.87], "train_auc_roc": [0.83, 0.93, 0.95]},
        "metrics": {
            "accuracy": 0.87654321, "auc_roc": 0.9123456, "log_loss": 0.0004321,
            "validation_auc_roc": 0.8765, "train_auc_roc": 0.9512,
        },
        "per_class": {
            "No": {"precision": 0.91234, "recall": 0.93456, "support": 6748},
            "Yes": {"precision": 0.61789, "recall": 0.54321, "support": 749},
        },
        "confusion_matrix": [[6307, 441], [342, 407]],
        "importance": {"tenure": 0.31, "MonthlyCharges": 0.22, **{f"feature_{number}": 0.47 / 44 for number in range(44)}},
        "gate": GateDecision(metric="auc_roc", direction="higher", value=0.9123456, threshold=0.85, passed=True),
        "model": ModelFacts(
            version="v1.2.0",
            package_digest=SHA,
            uri="models/customer-churn/v1.2.0",
            mlflow_run_id="8d3c",
            mlflow_model_version="3",
        ),
        "endpoint": EndpointFacts(environment="staging", url="http://127.0.0.1:8101", previous_version="v1.1.0"),
        "phases": phases(data=PhaseProgress(phase="data", state="done", seconds=0.41, detail="49,978件、21列")),
    }  # fmt: skip
    return TrainingRecord.model_validate({**content, **changed})


def below_threshold(**changed: Any) -> TrainingRecord:
    content: dict[str, Any] = {
        "outcome": "below_threshold",
        "model": None,
        "endpoint": None,
        "metrics": {"accuracy": 0.87654321, "auc_roc": 0.8412, "train_auc_roc": 0.9712},
        "gate": GateDecision(
            metric="auc_roc",
            direction="higher",
            value=0.8412,
            threshold=0.85,
            passed=False,
            suggestions=("handle_imbalance", "more_trees", "other_algorithm", "lower_threshold"),
        ),
        "phases": phases(
            package=PhaseProgress(phase="package", state="skipped"),
            deployment=PhaseProgress(phase="deployment", state="skipped"),
        ),
    }
    return deployed(**{**content, **changed})


def failed(**changed: Any) -> TrainingRecord:
    empty: dict[str, Any] = dict.fromkeys(("dataset", "feature_digest", "training_seconds", "gate", "model", "endpoint"))
    content: dict[str, Any] = {
        **empty,
        "outcome": "failed",
        "hyperparameters": {},
        "curves": {},
        "metrics": {},
        "per_class": {},
        "confusion_matrix": [],
        "importance": {},
        "phases": (
            PhaseProgress(phase="request", state="done", seconds=0.1),
            PhaseProgress(phase="data", state="failed", detail="target column is empty"),
        ),
        "error": "the target column `churn` has one class only",
    }
    return deployed(**{**content, **changed})


def stopped(outcome: str, **changed: Any) -> TrainingRecord:
    """A training that people ended: cancelled while it trained, or rejected or superseded before anything ran."""
    begun = PhaseProgress(phase="training", state="running", detail="37/100")
    waiting = {phase: PhaseProgress(phase=phase, state="waiting") for phase in PHASES[2:]}
    ran = {"training": begun, **{phase: waiting[phase] for phase in PHASES[5:]}} if outcome == "cancelled" else waiting
    content: dict[str, Any] = {
        "outcome": outcome,
        "approved_by": "hanako" if outcome == "cancelled" else None,
        "ended_by": None if outcome == "superseded" else "taro",
        "phases": phases(**ran),
        "error": None,
    }
    return failed(**{**content, **changed})


@pytest.fixture(scope="session")
def churn() -> SimpleNamespace:
    """Builders of a request, a plan, a phase table and three records; each takes the fields to change."""
    return SimpleNamespace(
        request=training_request,
        plan=plan,
        phases=phases,
        deployed=deployed,
        below_threshold=below_threshold,
        failed=failed,
        stopped=stopped,
        estimate=estimate,
    )
