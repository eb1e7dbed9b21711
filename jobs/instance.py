"""The Dagster instance of this installation, in ``MLOPS_HOME/dagster``, shared by the command line, the UI and the daemon."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from dagster import DagsterInstance
from filelock import FileLock

READY = ".ready"


def instance_folder(home: Path) -> Path:
    """``DAGSTER_HOME`` of an installation, made with its configuration and its databases on first use.

    One process at a time: two that create Dagster's databases at once leave them unusable for both.
    """
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / READY).exists():
        with FileLock(folder / ".lock"):
            if not (folder / READY).exists():
                _configure(folder)
                with DagsterInstance.from_config(str(folder)):
                    (folder / READY).touch()
    return folder


def _configure(folder: Path) -> None:
    configuration = folder / "dagster.yaml"
    if not configuration.exists():
        partial = folder / f".dagster.yaml.{os.getpid()}"
        partial.write_bytes(files("resources").joinpath("dagster.yaml").read_bytes())
        partial.replace(configuration)


def open_instance(home: Path) -> DagsterInstance:
    """The instance over ``home``; use it as a context manager."""
    return DagsterInstance.from_config(str(instance_folder(home)))
