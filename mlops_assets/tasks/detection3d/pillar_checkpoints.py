"""PointPillars on disk: checkpoints of a training that goes on, and the model of one that has ended.

Files are written beside and renamed, so a reader sees the old one or the whole new one; they are read without executing anything
that they hold. Importing this module imports torch.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from mlops_assets.errors import IntegrityError, UserError
from mlops_assets.tasks.detection3d.pillar_settings import PillarSettings
from mlops_assets.tasks.detection3d.pointpillars import PointPillars, build_pointpillars
from mlops_assets.whole_files import whole_file

CHECKPOINT = "checkpoint.pt"
MODEL = "pointpillars.pt"
FORMAT = 1
#: What torch's reader raises on bytes that are no file of its own, or no longer a whole one.
_DAMAGE = (
    RuntimeError, pickle.UnpicklingError, EOFError, ValueError, LookupError, AttributeError, TypeError, OverflowError,
    struct.error,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training between two steps.

    Attributes:
        training_digest: of the settings that determine the weights.
        data_version: of the frames.
        step: steps done.
        sums: of the losses in the epoch begun, each times its frames.
        curves: loss name -> mean of each whole epoch.
        model, optimiser, scaler: their state dictionaries.
    """

    training_digest: str
    data_version: str
    step: int
    sums: list[float]
    curves: dict[str, list[float]]
    model: dict[str, Any]
    optimiser: dict[str, Any]
    scaler: dict[str, Any]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write or replace a checkpoint.

    Raises:
        OSError: it cannot be written; the old one stands.
    """
    fields = {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__}
    _write(path, {"format": FORMAT, **fields})


def read_checkpoint(path: Path, settings: PillarSettings, data_version: str, device: torch.device) -> Checkpoint:
    """The checkpoint, its tensors on ``device``.

    Raises:
        UserError: it is of other settings or other data.
        IntegrityError: it cannot be read.
    """
    values = _read(path, device)
    try:
        checkpoint = Checkpoint(**{name: values[name] for name in Checkpoint.__dataclass_fields__})
    except KeyError as error:
        raise _unreadable(path, f"it has no {error}") from None
    given = {"settings": checkpoint.training_digest, "data": checkpoint.data_version}
    wanted = {"settings": settings.training_digest(), "data": data_version}
    for what, value in wanted.items():
        if given[what] != value:
            raise UserError(
                f"the checkpoint {path} was made with other {what}",
                field=what,
                given=given[what],
                allowed=(value,),
                next_step=f"continue with the {what} that it was made with, or remove the checkpoint to begin anew",
            )
    return checkpoint


def write_model(folder: Path, model: PointPillars, settings: PillarSettings) -> Path:
    """Write the weights with the settings they belong to, and return the file.

    Raises:
        OSError: it cannot be written; an old one stands.
    """
    path = folder / MODEL
    weights = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in model.state_dict().items()}
    _write(path, {"format": FORMAT, "settings": settings.model_dump_json(), "weights": weights})
    return path


def read_model(path: Path) -> tuple[PointPillars, PillarSettings]:
    """The detector of a model file on the CPU, in evaluation mode, and its settings.

    Raises:
        IntegrityError: the file cannot be read, or its weights are not of its settings.
        OSError: it is not there.
    """
    values = _read(path, torch.device("cpu"))
    try:
        settings = PillarSettings.model_validate_json(values["settings"])
        model = build_pointpillars(settings)
        model.load_state_dict(values["weights"])
    except (KeyError, TypeError, ValidationError, UserError, RuntimeError) as error:
        raise _unreadable(path, str(error).splitlines()[0]) from error
    model.eval()
    return model, settings


def _write(path: Path, values: Mapping[str, Any]) -> None:
    try:
        with whole_file(path, durable=True) as beside, beside.open("wb") as stream:
            torch.save(dict(values), stream)
    except RuntimeError as error:
        raise OSError(f"{path} could not be written: {str(error).splitlines()[0]}") from error


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    try:
        values = torch.load(path, map_location=device, weights_only=True)
    except _DAMAGE as error:
        raise _unreadable(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise _unreadable(path, f"it is not of format {FORMAT}")
    return values


def _unreadable(path: Path, why: str) -> IntegrityError:
    return IntegrityError(f"{path} cannot be read: {why[:200]}; remove it, or put the file back as it was written")
