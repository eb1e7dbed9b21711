"""The door to experiment tracking and the model registry: the interface, and MLflow behind it.

Every effect is an upsert keyed by the training's id, so a killed process that starts again completes what is missing. MLflow is
imported only when something is logged. What of a record becomes which parameter is in ``experiment_content``, MLflow's model
folder in ``mlflow_model``, its database in ``mlflow_database``.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

from mlops_assets.errors import IntegrityError, NotFound
from mlops_assets.reports.record import TrainingRecord
from mlops_assets.serving.package import verify
from mlops_assets.serving.versions import SemanticVersion
from resources.experiment_content import TRAINING_ID_TAG, run_metrics, run_parameters, run_tags
from resources.mlflow_database import connect, database_lock
from resources.mlflow_model import save_model, served_by

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

CHAMPION: Final = "champion"
VERSION_TAG: Final = "semantic_version"
DIGEST_TAG: Final = "digest"
#: MLflow's own limits of one `log_batch` call.
PARAMETERS_A_BATCH: Final = 100
METRICS_A_BATCH: Final = 1000


class ExperimentTracker(Protocol):
    """Where trainings are recorded and model versions registered."""

    def log_training(self, record: TrainingRecord, *, experiment: str, artifacts: Mapping[str, Path]) -> str:
        """Record a finished training; the run's id. Calling again completes what is missing and makes no second run.

        Args:
            record: what is recorded.
            experiment: name of the experiment.
            artifacts: path inside the run (``figures/roc_curve.png``) -> file or folder to copy there.

        Raises:
            IntegrityError: the run holds another value for a parameter of the record.
        """
        ...

    def register_version(self, model_id: str, version: str, package: Path, *, run_id: str, digest: str, training_id: str) -> str:
        """Register ``package`` as ``version`` of the line; the registry's own version number.

        One training has one version: calling again returns the same number.

        Raises:
            IntegrityError: the package is damaged or is not of that digest, the training is registered with another digest or
                version, or the version belongs to another training.
        """
        ...

    def set_champion(self, model_id: str, version: str) -> None:
        """Point the line's ``champion`` alias at a semantic version.

        Raises:
            NotFound: the line has no such version.
        """
        ...

    def versions(self, model_id: str) -> tuple[str, ...]:
        """Semantic versions of a line, oldest first; empty for an unknown line."""
        ...

    def run_url(self, run_id: str) -> str:
        """Where a person sees the run."""
        ...


class MlflowTracker:
    """MLflow's tracking store and registry, in a SQLite file (made on first use) or behind a server.

    Nothing is ever deleted, so far more than the newest five generations of a line stay loadable; pruning old ones is left to
    MLflow's own commands and to a person.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path | None, ui_url: str = "http://127.0.0.1:5000") -> None:
        """``artifact_root`` holds runs' files (None: the tracking server decides); ``ui_url`` is where MLflow's UI answers."""
        self.tracking_uri = tracking_uri
        self._artifact_root = artifact_root
        self._ui_url = ui_url.rstrip("/")
        self._connected: MlflowClient | None = None

    def log_training(self, record: TrainingRecord, *, experiment: str, artifacts: Mapping[str, Path]) -> str:
        """Record a finished training; see ``ExperimentTracker.log_training``."""
        from mlflow.entities import Metric, RunTag

        with self._locked() as client:
            run = _run_of(client, record.training_id) or client.create_run(
                self._experiment(client, experiment),
                start_time=_milliseconds(record.started_at),
                run_name=record.training_id,
                tags=run_tags(record),
            )
            run_id: str = run.info.run_id
            _log_parameters(client, run, run_parameters(record))
            # A metric point is one row by key, value, step *and time*: the run's start makes a repeated point the same point.
            at = run.info.start_time
            points = [Metric(name, value, at, step) for name, value, step in run_metrics(record)]
            for batch in _batches(points, METRICS_A_BATCH):
                client.log_batch(run_id, metrics=batch)
            client.log_batch(run_id, tags=[RunTag(name, value) for name, value in run_tags(record).items()])
            _log_dataset(client, run, record)
            for name, path in sorted(artifacts.items()):
                _log_artifact(client, run_id, name, path)
            status = "FAILED" if record.outcome == "failed" else "FINISHED"
            client.set_terminated(run_id, status, end_time=_milliseconds(record.finished_at))
        return run_id

    def register_version(self, model_id: str, version: str, package: Path, *, run_id: str, digest: str, training_id: str) -> str:
        """Register a package; see ``ExperimentTracker.register_version``."""
        SemanticVersion.parse(version)
        found = verify(package).digest
        if found != digest:
            raise IntegrityError(f"{package} has the digest {found}, not {digest}: register the package that was checked")
        with self._locked() as client:
            registered = _registered(client, model_id)
            for known in registered:
                if known.tags.get(TRAINING_ID_TAG) == training_id:
                    _check_same(known.tags, model_id, training_id, version, digest)
                    return str(known.version)
                if known.tags.get(VERSION_TAG) == version:
                    raise IntegrityError(
                        f"{model_id} {version} is already registered for {known.tags.get(TRAINING_ID_TAG)}; "
                        "choose the next free version"
                    )
            if not registered:
                _ensure_registered_model(client, model_id)
            tags = {VERSION_TAG: version, DIGEST_TAG: digest, TRAINING_ID_TAG: training_id, **served_by(package)}
            location, logged_id = _log_model(client, package, run_id, model_id, tags)
            made = client.create_model_version(
                model_id,
                source=location,
                run_id=run_id,
                tags=tags,
                description=f"{version} of {training_id}",  # MLflow's table of versions cuts tags short
                model_id=logged_id,
                await_creation_for=0,
            )
            return str(made.version)

    def set_champion(self, model_id: str, version: str) -> None:
        """Move the alias; see ``ExperimentTracker.set_champion``."""
        with self._locked() as client:
            known = {str(v.tags.get(VERSION_TAG)): str(v.version) for v in _registered(client, model_id)}
            if version not in known:
                raise NotFound(
                    f"the registry has no {version} of {model_id}",
                    field="version",
                    given=version,
                    allowed=tuple(known),
                    next_step="name one of these versions" if known else "train the line first",
                )
            client.set_registered_model_alias(model_id, CHAMPION, known[version])

    def versions(self, model_id: str) -> tuple[str, ...]:
        """Versions of a line; see ``ExperimentTracker.versions``."""
        with self._locked() as client:
            tagged = (str(v.tags[VERSION_TAG]) for v in _registered(client, model_id) if VERSION_TAG in v.tags)
            return tuple(sorted(tagged, key=SemanticVersion.parse))

    def run_url(self, run_id: str) -> str:
        """Address of the run in MLflow's UI."""
        with self._locked() as client:
            experiment_id = client.get_run(run_id).info.experiment_id
        base = self.tracking_uri.rstrip("/") if self.tracking_uri.startswith("http") else self._ui_url
        return f"{base}/#/experiments/{experiment_id}/runs/{run_id}"

    @contextmanager
    def _locked(self) -> Iterator[MlflowClient]:
        # "Search, else create" is two calls: without the lock two processes could both create.
        lock: AbstractContextManager[Any] = database_lock(self.tracking_uri)
        with lock:
            if self._connected is None:
                self._connected = connect(self.tracking_uri, self._artifact_root)
            yield self._connected

    def _experiment(self, client: MlflowClient, name: str) -> str:
        known = client.get_experiment_by_name(name)
        if known is None:
            location = None
            if self._artifact_root is not None:
                # Quoted and prefixed: a name is a requester's text and must stay one folder below the root.
                location = (self._artifact_root.absolute() / f"experiment-{quote(name, safe='')}").as_uri()
            return str(client.create_experiment(name, artifact_location=location))
        if known.lifecycle_stage == "deleted":
            client.restore_experiment(known.experiment_id)
        return str(known.experiment_id)


def _milliseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000)


def _batches(items: list[Any], size: int) -> Iterable[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _filter(tag: str, value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,128}", value):
        raise NotFound("this is no training id", field="training_id", given=repr(value)[:80])
    return f"tags.`{tag}` = '{value}'"


def _run_of(client: MlflowClient, training_id: str) -> Run | None:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, _filter(TRAINING_ID_TAG, training_id), max_results=1, order_by=["start_time ASC"])
    return found[0] if found else None


def _log_parameters(client: MlflowClient, run: Run, parameters: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    known: Mapping[str, str] = run.data.params
    for name in sorted(known.keys() & parameters.keys()):
        if known[name] != parameters[name]:
            raise IntegrityError(
                f"MLflow run {run.info.run_id} has {name} = {known[name]!r}, the record says {parameters[name]!r}: "
                "a training with other settings needs its own training id"
            )
    missing = [Param(name, value) for name, value in parameters.items() if name not in known]
    for batch in _batches(missing, PARAMETERS_A_BATCH):
        client.log_batch(run.info.run_id, params=batch)


def _log_dataset(client: MlflowClient, run: Run, record: TrainingRecord) -> None:
    if record.dataset is None or (run.inputs and run.inputs.dataset_inputs):
        return
    from mlflow.entities import Dataset, DatasetInput, InputTag

    version = record.dataset.version
    source = json.dumps({"dataset_id": record.dataset.dataset_id, "version": version})
    dataset = Dataset(name=record.dataset.dataset_id, digest=version[:36], source_type="code", source=source)
    client.log_inputs(run.info.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _log_artifact(client: MlflowClient, run_id: str, name: str, path: Path) -> None:
    """Copy a file or folder to ``name`` inside the run; a repeated copy replaces a half-made one."""
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or not place.parts:
        raise IntegrityError(f"artifact name {name!r} leaves the run: give a relative path without `..`")
    if path.is_dir():
        client.log_artifacts(run_id, str(path), str(place))
        return
    folder = None if place.parent == PurePosixPath() else str(place.parent)
    if path.name == place.name:
        client.log_artifact(run_id, str(path), folder)
        return
    with tempfile.TemporaryDirectory() as renamed:
        shutil.copyfile(path, Path(renamed) / place.name)
        client.log_artifact(run_id, str(Path(renamed) / place.name), folder)


def _ensure_registered_model(client: MlflowClient, model_id: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _registered(client: MlflowClient, model_id: str) -> list[Any]:
    """Every version of a line with its tags, oldest first."""
    found: list[Any] = []
    token: str | None = None
    while True:
        page = client.search_model_versions(_name_filter(model_id), max_results=1000, page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return sorted(found, key=lambda version: int(version.version))


def _name_filter(model_id: str) -> str:
    if "'" in model_id:
        raise NotFound("this is no model line", field="model_id", given=repr(model_id)[:80])
    return f"name = '{model_id}'"


def _check_same(known: Mapping[str, str], model_id: str, training_id: str, version: str, digest: str) -> None:
    if (known.get(VERSION_TAG), known.get(DIGEST_TAG)) != (version, digest):
        raise IntegrityError(
            f"{training_id} is already registered as {model_id} {known.get(VERSION_TAG)}, digest {known.get(DIGEST_TAG)}, "
            f"not as {version}, digest {digest}; a changed package needs a new training"
        )


def _log_model(client: MlflowClient, package: Path, run_id: str, model_id: str, tags: Mapping[str, str]) -> tuple[str, str]:
    """The package as an MLflow model of the run: where it lies, and its id. Reuses one that an interrupted call left."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    run = client.get_run(run_id)
    found = client.search_logged_models([run.info.experiment_id], _filter(TRAINING_ID_TAG, tags[TRAINING_ID_TAG]), max_results=1)
    logged = (
        found[0]
        if found
        else client.create_logged_model(
            run.info.experiment_id, name=model_id, source_run_id=run_id, tags=dict(tags), model_type="onnx"
        )
    )
    if logged.status != LoggedModelStatus.READY:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "model"
            save_model(package, made, run_id=run_id, mlflow_model_id=logged.model_id, metadata=tags)
            client.log_model_artifacts(logged.model_id, str(made))
        client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    outputs = run.outputs.model_outputs if run.outputs else []
    if logged.model_id not in {output.model_id for output in outputs}:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return str(logged.artifact_location), str(logged.model_id)
