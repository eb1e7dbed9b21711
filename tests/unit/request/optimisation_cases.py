"""Facts for the optimiser's rules, and cases in which each of them speaks: shared by the tests of rules and of sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlops_assets.data.dataset import CatalogueEntry, Column, DatasetVersion
from mlops_assets.request.optimiser.models import Optimization
from mlops_assets.request.optimiser.rules import Facts, optimise
from mlops_assets.request.parser import parse_issue
from mlops_assets.request.plan import Characteristics
from mlops_assets.request.planner import make_plan
from mlops_assets.tasks.interface import Algorithm, Hyperparameter
from mlops_assets.tasks.tabular.algorithms import ALGORITHMS

LOCAL = {"compute": "local", "processors": 2}
SAGEMAKER = {"compute": "sagemaker", "instance_type": "ml.m5.xlarge"}
NETWORK = Algorithm(
    "neural_network", "Network", "supervised", ("classification", "regression"), (Hyperparameter("layers", "int", 2, 1, 9),)
)
OFFERED = (*ALGORITHMS, NETWORK)
IMBALANCED = {"No": 5174, "Yes": 1869}
BALANCED = {"No": 3600, "Yes": 3443}


class Tabular:
    """Only what the planner asks of a task: its name."""

    name = "tabular"
    algorithms = OFFERED


def version(counts: Mapping[str, int] = IMBALANCED, rows: int | None = None, **entry: Any) -> DatasetVersion:
    """A dataset with these classes; ``rows`` defaults to their sum."""
    names = {"tenure": "number", "Charges": "number", "Contract": "category", "signup": "timestamp", "gender": "category"}
    columns = [Column(name=name, kind=kind, missing=0, distinct=9) for name, kind in names.items()]
    target = Column(name="Churn", kind="category", missing=0, distinct=len(counts), top=dict(counts))
    return DatasetVersion(
        dataset_id="telco-churn",
        version="sha256-0123456789abcdef",
        raw_sha256="0" * 64,
        raw_bytes=1,
        rows=rows or sum(counts.values()),
        columns=(*columns, target),
        duplicate_rows=0,
        target_counts=dict(counts),
        entry=CatalogueEntry.model_validate({"dataset_id": "telco-churn", "source": "x", "target": "Churn", **entry}),
        added_at="2026-11-01T00:00:00Z",
    )


def body(algorithm: str = "random_forest", extra: str = "", task: str = "classification") -> str:
    """An issue body; regressions predict the charges."""
    target = "target: Charges\n" if task == "regression" else ""
    return f"dataset_id: telco-churn\nalgorithm: {algorithm}\ntask_type: {task}\n{target}{extra}"


def custom(**sections: str) -> str:
    """``custom_optimizations`` with these sections, each the inside of a flow mapping."""
    inner = ", ".join(f"{name}: {{{content}}}" for name, content in sections.items())
    return f"workflow_optimization: {{custom_optimizations: {{{inner}}}}}\n"


def request_of(text: str) -> Any:
    """The request that the body asks for."""
    return parse_issue("", text, offered=OFFERED)


def plan_of(text: str, data: DatasetVersion | None = None, resources: Mapping[str, Any] = LOCAL, request: Any = None) -> Any:
    """The plan of a body (or of a request) on a dataset."""
    asked = request or request_of(text)
    algorithm = next(a for a in OFFERED if a.name == asked.algorithm)
    return make_plan(
        asked, data or version(), "code-1", task=Tabular(), algorithm=algorithm, resources=resources, cost_cap_usd=None
    )


def by_rule(text: str, data: DatasetVersion | None = None, resources: Mapping[str, Any] = LOCAL) -> dict[str, Optimization]:
    """What was recommended, by the last part of the rule's name."""
    return {o.rule.rpartition(".")[2]: o for o in plan_of(text, data, resources).optimizations}


def facts_of(text: str, rules: Any, data: DatasetVersion | None = None) -> Any:
    """``optimise`` with rules of the test's own."""
    asked, found = request_of(text), data or version()
    characteristics = Characteristics(
        rows=found.rows, columns=6, size_class="small", target="Churn", task_type=asked.task_type,
        class_counts=dict(found.target_counts), minority_share=0.2654,
    )  # fmt: skip
    algorithm = next(a for a in OFFERED if a.name == asked.algorithm)
    return optimise(Facts(asked, characteristics, algorithm, found, LOCAL), rules)


def every_optimization() -> tuple[Optimization, ...]:
    """One optimisation at least with every action and every reason that the built-in rules and settings know."""
    medium, large = version({"No": 40_000, "Yes": 10_000}), version({"No": 900_000, "Yes": 100_000})
    plans = [
        plan_of(body()),
        plan_of(body("xgboost", "workflow_optimization: {performance_profile: speed}\ndeploy_to: staging\n"), medium),
        plan_of(body("xgboost", "workflow_optimization: {performance_profile: accuracy}\n"), large),
        plan_of(body("xgboost", "workflow_optimization: {performance_profile: cost}\n"), resources=SAGEMAKER),
        plan_of(body("xgboost", "model_version: v1.0.1\ndeploy_to: production\n"), version({"No": 500, "Yes": 4})),
        plan_of(body("xgboost", "model_version: v1.1.0\ndeploy_to: production\n"), version(sensitive=("gender",))),
        plan_of(
            body("random_forest", "deployment: {auto_scaling: {max_instances: 8}}\n", task="regression"),
            version(timestamp="signup", fresh_within_hours=24.0),
        ),
        plan_of(body("neural_network")),
        *(
            plan_of(body(extra=custom(phase1_preprocessing=f"class_imbalance_handling: {method}")))
            for method in ("smote", "undersample", "oversample", "none")
        ),
        plan_of(
            body(
                extra=custom(
                    phase2_training="resource_type: cpu",
                    phase3_evaluation="priority_metrics: [recall, log_loss]",
                    phase5_deployment="strategy_override: simple",
                )
            )
        ),
    ]
    monitored = plans[0].optimizations[-2]
    other = monitored.model_copy(update={"action": monitored.action.model_copy(update={"key": "monitor_other"})})
    return (*(o for plan in plans for o in plan.optimizations), other)
