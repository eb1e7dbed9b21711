"""A training's state on disk, whole or not there at all: weights, their average, optimiser, and how far it got. Imports torch.

Weights alone, as a finished model, are also written and read here. No pickled code is ever read.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any, Final

import torch

from mlops_assets.errors import IntegrityError, UserError
from mlops_assets.tasks.detection2d.model import Yolox
from mlops_assets.tasks.detection2d.settings import YoloxSettings
from mlops_assets.whole_files import whole_file

CHECKPOINT: Final = "checkpoint.pt"
WEIGHTS: Final = "weights.pt"
_FORMAT: Final = 1
#: What may differ between the training that wrote a checkpoint and the one that goes on: it does not change the result.
#: Processor threads change its last digits only, and a machine with fewer of them must be able to go on.
_FREE: Final = frozenset({
    "cpu_threads", "loader_threads", "checkpoint_epochs", "checkpoint_seconds", "score_threshold", "nms_threshold", "detections",
})  # fmt: skip


def write_tensors(path: Path, content: object) -> None:
    """Write ``content`` (tensors, numbers, text, collections of them); ``path`` is the old file or the new one, never half."""
    with whole_file(path, durable=True) as beside, beside.open("wb") as stream:
        torch.save(content, stream)


def read_tensors(path: Path) -> dict[str, Any]:
    """What ``write_tensors`` wrote, onto the CPU.

    Raises:
        IntegrityError: the file is damaged, of another format, or holds anything but plain values and tensors.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"{path} is damaged: {error}; delete it to start again") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise IntegrityError(f"{path} is not of this version's format; delete it to start again")
    return content


def write_checkpoint(folder: Path, settings: YoloxSettings, dataset_digest: str, state: dict[str, Any]) -> None:
    """Replace the checkpoint of ``folder``."""
    head = {"format": _FORMAT, "settings": settings.model_dump(mode="json"), "dataset": dataset_digest}
    write_tensors(folder / CHECKPOINT, {**head, **state})


def read_checkpoint(folder: Path, settings: YoloxSettings, dataset_digest: str) -> dict[str, Any] | None:
    """The state to go on from; None where there is none.

    Raises:
        IntegrityError: the checkpoint is damaged. UserError: it belongs to a training of other data or other settings.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    content = read_tensors(path)
    asked, begun = settings.model_dump(mode="json"), dict(content["settings"])
    if other := sorted(name for name in asked if name not in _FREE and asked[name] != begun.get(name)):
        raise UserError(
            f"the checkpoint {path} belongs to a training with other settings",
            field=other[0],
            given=asked[other[0]],
            allowed=(str(begun.get(other[0])),),
            next_step="go on with its settings, or give another folder to start anew",
        )
    if content["dataset"] != dataset_digest:
        raise UserError(
            f"the checkpoint {path} belongs to a training on other data",
            field="dataset",
            given=dataset_digest,
            allowed=(str(content["dataset"]),),
            next_step="go on with the same labels, or give another folder to start anew",
        )
    return content


def write_weights(path: Path, network: Yolox, class_names: tuple[str, ...]) -> None:
    """The finished model: variant, class names, weights."""
    state = {"variant": network.variant, "class_names": list(class_names), "weights": network.state_dict()}
    write_tensors(path, {"format": _FORMAT, **state})


def read_weights(path: Path) -> tuple[Yolox, tuple[str, ...]]:
    """The model of a file of ``write_weights``, in evaluation mode on the CPU, and its class names.

    Raises:
        IntegrityError: the file is damaged or not a YOLOX model.
    """
    content = read_tensors(path)
    try:
        names = tuple(content["class_names"])
        network = Yolox(content["variant"], len(names))
        network.load_state_dict(content["weights"])
    except (KeyError, TypeError, RuntimeError, UserError) as error:
        raise IntegrityError(f"{path} is not a YOLOX model: {error}") from error
    return network.eval(), names
