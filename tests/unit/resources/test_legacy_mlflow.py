"""The adapter for dagster-mlflow: works where it is installed, says what to install where it is not."""

import importlib.util
from pathlib import Path

import pytest
from dagster import DagsterInstance, OpExecutionContext, job, op

from mlops_assets.errors import UserError
from resources.legacy_mlflow import legacy_mlflow_resource

INSTALLED = importlib.util.find_spec("dagster_mlflow") is not None


@pytest.mark.skipif(not INSTALLED, reason="dagster-mlflow is not installed (extra `legacy-mlflow`)")
def test_a_run_logged_through_dagster_mlflow_lands_in_our_store(tmp_path: Path) -> None:
    from resources.mlflow_database import connect, database_lock

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with database_lock(uri):
        client = connect(uri, tmp_path / "artifacts")

    @op(required_resource_keys={"mlflow"})
    def train(context: OpExecutionContext) -> None:
        context.resources.mlflow.log_metric("accuracy", 0.9)

    @job(resource_defs={"mlflow": legacy_mlflow_resource(uri, "legacy")})
    def legacy_job() -> None:
        train()

    with DagsterInstance.ephemeral() as instance:
        assert legacy_job.execute_in_process(instance=instance).success
    runs = client.search_runs([client.get_experiment_by_name("legacy").experiment_id])
    assert [run.data.metrics for run in runs] == [{"accuracy": 0.9}]


@pytest.mark.skipif(INSTALLED, reason="dagster-mlflow is installed")
def test_without_it_the_extra_is_named() -> None:
    with pytest.raises(UserError, match="legacy-mlflow"):
        legacy_mlflow_resource("sqlite:///mlflow.db", "legacy")
