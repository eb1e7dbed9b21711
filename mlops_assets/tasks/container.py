"""The folder and the variables of a SageMaker training container, on the laptop and on AWS alike.

::

    /opt/ml/input/config/hyperparameters.json     every value a string that holds JSON
    /opt/ml/input/config/inputdataconfig.json     channel -> how it was delivered
    /opt/ml/input/config/resourceconfig.json      this host and its peers
    /opt/ml/input/data/<channel>/                 `features`: the features folder; `request`: request.json, a TrainingRequest
    /opt/ml/model/                                what training makes
    /opt/ml/output/data/summary.json              TrainSummary, written last of all
    /opt/ml/output/failure                        text of the error of a failed training
    /opt/ml/checkpoints/                          kept across the restarts of a managed spot job

SageMaker itself only mounts the folders and sets ``TRAINING_JOB_NAME``; the ``SM_*`` variables are set by its training toolkit.
So every place is read from its variable where there is one, else it lies at its fixed name below ``SAGEMAKER_BASE_DIR``, else
below ``/opt/ml``.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html and
https://github.com/aws/sagemaker-training-toolkit/blob/master/ENVIRONMENT_VARIABLES.md

Names and their files only; running a task in them is ``entrypoint``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from mlops_assets.errors import ComputeError

BASE_VARIABLE = "SAGEMAKER_BASE_DIR"
DEFAULT_BASE = Path("/opt/ml")
FEATURES_CHANNEL = "features"
REQUEST_CHANNEL = "request"
REQUEST_FILE = "request.json"
SUMMARY_FILE = "summary.json"
#: Hyperparameters of ours beside the algorithm's own: which learning task runs, and for which training.
TASK_HYPERPARAMETER = "mlops_task"
TRAINING_ID_HYPERPARAMETER = "mlops_training_id"


@dataclass(frozen=True)
class TrainingContainer:
    """Where the parts of one training container lie. ``channels`` names folders that differ from ``data/<channel>``."""

    configuration: Path
    data: Path
    model: Path
    output: Path
    output_data: Path
    checkpoints: Path
    channels: Mapping[str, Path]

    @classmethod
    def at(cls, base: Path) -> TrainingContainer:
        """The container whose ``/opt/ml`` is ``base``."""
        return cls(
            configuration=base / "input" / "config",
            data=base / "input" / "data",
            model=base / "model",
            output=base / "output",
            output_data=base / "output" / "data",
            checkpoints=base / "checkpoints",
            channels={},
        )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> TrainingContainer:
        """The container that the variables describe; what they leave out lies at its fixed place."""
        fixed = cls.at(Path(environment.get(BASE_VARIABLE, DEFAULT_BASE)))
        names: list[str] = json.loads(environment.get("SM_CHANNELS", "[]"))
        given = {name: environment.get(f"SM_CHANNEL_{name.upper()}") for name in names}
        inputs = Path(environment["SM_INPUT_DIR"]) if "SM_INPUT_DIR" in environment else fixed.data.parent
        return cls(
            configuration=Path(environment.get("SM_INPUT_CONFIG_DIR", inputs / "config")),
            data=inputs / "data",
            model=Path(environment.get("SM_MODEL_DIR", fixed.model)),
            output=Path(environment.get("SM_OUTPUT_DIR", fixed.output)),
            output_data=Path(environment.get("SM_OUTPUT_DATA_DIR", fixed.output_data)),
            checkpoints=fixed.checkpoints,
            channels={name: Path(path) for name, path in given.items() if path},
        )

    @property
    def failure(self) -> Path:
        """The file whose first 1,024 characters SageMaker shows as the failure reason."""
        return self.output / "failure"

    @property
    def summary(self) -> Path:
        """The TrainSummary; its presence means that the training is complete."""
        return self.output_data / SUMMARY_FILE

    def channel(self, name: str) -> Path:
        """The folder of one input channel.

        Raises:
            ComputeError: the container has no such channel.
        """
        folder = self.channels.get(name, self.data / name)
        if not folder.is_dir():
            there = sorted(p.name for p in self.data.iterdir()) if self.data.is_dir() else []
            raise ComputeError(f"the container has no channel `{name}` at {folder}; channels there: {', '.join(there) or 'none'}")
        return folder

    def hyperparameters(self) -> dict[str, JsonValue]:
        """Decoded hyperparameters by name; a value that is no JSON is itself, as SageMaker's own toolkit does it.

        Raises:
            ComputeError: the file is missing or is no JSON object.
        """
        path = self.configuration / "hyperparameters.json"
        try:
            stored = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ComputeError(f"{path} cannot be read: {error}") from error
        if not isinstance(stored, dict):
            raise ComputeError(f"{path}: expected a JSON object of strings, found {type(stored).__name__}")
        return {str(name): _decoded(value) for name, value in stored.items()}


def _decoded(value: JsonValue) -> JsonValue:
    if not isinstance(value, str):
        return value
    try:
        decoded: JsonValue = json.loads(value)
    except ValueError:
        return value
    return decoded


def make_folders(container: TrainingContainer) -> None:
    """Create the folders that SageMaker creates before it starts a container."""
    for folder in (container.configuration, container.data, container.model, container.output_data, container.checkpoints):
        folder.mkdir(parents=True, exist_ok=True)


def write_configuration(
    container: TrainingContainer, hyperparameters: Mapping[str, JsonValue], channels: tuple[str, ...], host: str
) -> None:
    """Write the three files of ``input/config`` as SageMaker writes them for a job on one host in file mode."""
    files: dict[str, object] = {
        "hyperparameters.json": {name: json.dumps(value, allow_nan=False) for name, value in hyperparameters.items()},
        "inputdataconfig.json": {
            name: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
            for name in channels
        },
        "resourceconfig.json": {"current_host": host, "hosts": [host], "network_interface_name": "lo"},
    }
    for name, content in files.items():
        (container.configuration / name).write_text(json.dumps(content, indent=2))


def container_variables(  # one variable of the contract a parameter
    container: TrainingContainer,
    base: Path,
    *,
    hyperparameters: Mapping[str, JsonValue],
    channels: tuple[str, ...],
    job_name: str,
    host: str,
    processors: int,
) -> dict[str, str]:
    """The variables that a process in ``container`` finds: those of the training toolkit and ``TRAINING_JOB_NAME``."""
    return {
        BASE_VARIABLE: str(base),
        "TRAINING_JOB_NAME": job_name,
        "SM_MODEL_DIR": str(container.model),
        "SM_INPUT_DIR": str(container.data.parent),
        "SM_INPUT_CONFIG_DIR": str(container.configuration),
        "SM_OUTPUT_DIR": str(container.output),
        "SM_OUTPUT_DATA_DIR": str(container.output_data),
        "SM_CHANNELS": json.dumps(sorted(channels)),
        **{f"SM_CHANNEL_{name.upper()}": str(container.data / name) for name in channels},
        "SM_HPS": json.dumps(dict(hyperparameters), allow_nan=False),
        "SM_CURRENT_HOST": host,
        "SM_HOSTS": json.dumps([host]),
        "SM_NUM_CPUS": str(processors),
        "SM_NUM_GPUS": "0",
    }
