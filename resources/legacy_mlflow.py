"""For teams whose assets already use dagster-mlflow: its resource, pointed at our tracking store.

The platform itself does not use it: it is a frozen package that costs seconds to import and keeps a global active run. It comes
with the extra ``legacy-mlflow`` and is imported only when this function is called.
"""

from __future__ import annotations

from dagster import ResourceDefinition

from mlops_assets.errors import UserError


def legacy_mlflow_resource(tracking_uri: str, experiment_name: str) -> ResourceDefinition:
    """dagster-mlflow's ``mlflow_tracking``, configured.

    Raises:
        UserError: dagster-mlflow is not installed.
    """
    try:
        from dagster_mlflow import mlflow_tracking
    except ModuleNotFoundError as error:
        raise UserError(
            "dagster-mlflow is not installed",
            given=str(error),
            next_step="install the extra: pip install -c constraints.txt 'issue-mlops[legacy-mlflow]'",
        ) from error
    resource: ResourceDefinition = mlflow_tracking.configured(
        {"experiment_name": experiment_name, "mlflow_tracking_uri": tracking_uri}
    )
    return resource
