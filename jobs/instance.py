"""The Dagster instance of this installation, in ``MLOPS_HOME/dagster``, shared by the command line, the UI and the daemon."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from dagster import DagsterInstance


def instance_folder(home: Path) -> Path:
    """``DAGSTER_HOME`` of an installation, made with its configuration on first use."""
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "dagster.yaml"
    if not configuration.exists():
        partial = folder / f".dagster.yaml.{os.getpid()}"
        partial.write_bytes(files("resources").joinpath("dagster.yaml").read_bytes())
        partial.replace(configuration)
    return folder


def open_instance(home: Path) -> DagsterInstance:
    """The instance over ``home``; use it as a context manager."""
    return DagsterInstance.from_config(str(instance_folder(home)))
