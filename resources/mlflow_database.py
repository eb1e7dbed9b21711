"""Opening MLflow: its import without telemetry and noise, and its SQLite file, made whole or not at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SQLITE: Final = "sqlite:///"


def database_lock(tracking_uri: str) -> AbstractContextManager[Any]:
    """The lock of a SQLite store, between processes; a server needs none of ours."""
    path = _database(tracking_uri)
    if path is None:
        return nullcontext()
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f"{path.name}.lock"))


def connect(tracking_uri: str, artifact_root: Path | None) -> MlflowClient:
    """A client of the store; a missing SQLite database is created. The caller holds ``database_lock``."""
    # Read by MLflow when it is imported: the platform sends nothing about its users to anyone.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    with _quiet():
        path = _database(tracking_uri)
        if path is not None and not path.exists():
            _create(path, artifact_root or path.parent / "artifacts")
        client = MlflowClient(tracking_uri, registry_uri=tracking_uri)
        # The stores open lazily; both are opened here so that what they log of it is not heard either.
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
        return client


def _database(tracking_uri: str) -> Path | None:
    return Path(tracking_uri.removeprefix(SQLITE)) if tracking_uri.startswith(SQLITE) else None


def _create(path: Path, artifact_root: Path) -> None:
    """Make the tables under another name: SQLite migrations are no transaction, and a half-migrated file never opens again."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for abandoned in path.parent.glob(f".{path.name}.*"):
        abandoned.unlink()
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    store = SqlAlchemyStore(f"{SQLITE}{draft.absolute()}", artifact_root.absolute().as_uri())
    store.engine.dispose()
    draft.replace(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's and Alembic's migration chatter off a person's terminal; warnings stay."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
