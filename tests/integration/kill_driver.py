"""A process of the platform that is killed again and again; a program of its own.

Reads a bomb as JSON from each line of its input (see ``bombs``; ``["none", 0]`` for none), forks, and has the fork tick and run
until nothing is left to do. Answers with two lines: the fork's process id, and how it ended (-9, or its exit code). The fork has
imported what it needs and done nothing else, so that each attempt costs what it does and no start of an interpreter.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
import traceback

import mlops_assets.reports
import mlops_assets.request
import resources

#: What an attempt would spend its time with importing.
PRELOADED = (
    "alembic.command", "alembic.config", "dagster._daemon", "dagster._grpc", "dagster._scheduler", "fsspec.core", "github",
    "mako.template", "mlflow.tracking", "mlops_assets.definitions", "onnxruntime", "pygments.lexers", "requests", "rich.console",
    "sklearn.linear_model",
)  # fmt: skip


def attempt(bomb: tuple[str, int]) -> None:
    """Everything that is due, in this process."""
    from bombs import arm
    from front_door import FrontDoor

    from jobs.instance import open_instance
    from resources.platform import Platform

    arm(*bomb)
    platform = Platform()
    with open_instance(platform.home) as instance:
        FrontDoor(platform, instance).rest()


def main() -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    for package in (mlops_assets.reports, mlops_assets.request, resources):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                os.dup2(2, 1)
                attempt(tuple(json.loads(line)))
                os._exit(0)
            finally:  # reached through an error only; whatever it was, the test is told of it
                traceback.print_exc()
                os._exit(1)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
