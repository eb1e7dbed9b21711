"""Training a YOLOX network: steps, epochs, precision, checkpoints, and going on from them.

Rates, weight groups and the moving average are in ``schedule``; files in ``checkpoint``. Imports torch.

The same data, settings, machine and number of threads give the same weights to the last bit on a CPU, interrupted or not. On a
GPU, sums may come in another order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mlops_assets.errors import ComputeError, ComputeInterrupted, DataRejected, UserError
from mlops_assets.tasks.detection2d.checkpoint import read_checkpoint, write_checkpoint
from mlops_assets.tasks.detection2d.dataset import DetectionDataset
from mlops_assets.tasks.detection2d.decoding import network_input
from mlops_assets.tasks.detection2d.loading import Batch, batches, steps_per_epoch
from mlops_assets.tasks.detection2d.losses import PARTS, ground_truth, yolox_losses
from mlops_assets.tasks.detection2d.model import Cells, Yolox, cells_of
from mlops_assets.tasks.detection2d.schedule import MovingAverage, learning_rate, optimizer_of, with_measured_statistics
from mlops_assets.tasks.detection2d.settings import YoloxSettings
from mlops_assets.tasks.interface import ProgressReporter

#: Called with the averaged network after an epoch; what it returns is reported and kept in the curves.
Validate = Callable[[Yolox], Mapping[str, float]]
_GRADIENT_SCALE = 2.0**16
#: Trainings of fewer steps get their normalisation statistics measured at the end, over at most so many batches.
SHORT_TRAINING, STATISTICS_BATCHES = 2000, 50


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training made.

    Attributes:
        network: the moving average of the weights, in evaluation mode, on the device it was trained on.
        curves: name -> one value an epoch; validation metrics have one for each epoch in which they were measured.
        seconds: time spent, in processes before this one too.
        steps: optimiser steps since the beginning, other processes' included.
        device: ``cpu`` or ``cuda``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        resumed_at: step that the checkpoint stood at; 0 where there was none.
    """

    network: Yolox
    curves: dict[str, list[float]]
    seconds: float
    steps: int
    device: str
    precision: str
    resumed_at: int


def train_yolox(
    dataset: DetectionDataset,
    settings: YoloxSettings,
    folder: Path,
    report: ProgressReporter,
    *,
    text: str = "epoch {done}/{total}",
    should_stop: Callable[[], bool] = lambda: False,
    validate: Validate | None = None,
    validation_epochs: int = 10,
) -> Trained:
    """Train from the checkpoint in ``folder``, or from the beginning where there is none, and keep a checkpoint there.

    Args:
        dataset: images to learn from.
        settings: everything that decides the result.
        folder: for ``checkpoint.pt``, made if absent; must belong to this training alone.
        report: told of every epoch, and at most once a second in between.
        text: the line reported; ``done`` and ``total`` are epochs.
        should_stop: asked after every step; once true, a checkpoint is written and the training ends.
        validate: measures the averaged network every ``validation_epochs`` epochs and after the last.
        validation_epochs: see ``validate``.

    Raises:
        ComputeInterrupted: ``should_stop`` said so; calling again goes on at the same step.
        ComputeError: the loss is not a finite number any more.
        DataRejected: there is no object to learn from, or an image cannot be read.
        UserError: the device or precision asked for is not there, or the checkpoint belongs to another training.
        IntegrityError: the checkpoint is damaged.
    """
    if not dataset.with_objects():
        raise DataRejected(
            "there is nothing to learn: no image holds an object of the classes",
            field="dataset.classes",
            given=", ".join(dataset.class_names) or "no class",
            next_step="compare the class names with those in the labels",
        )
    with reproducible(settings):
        return _train(_Run(dataset, settings, folder), report, text, should_stop, validate, validation_epochs)


def _train(
    run: _Run,
    report: ProgressReporter,
    text: str,
    should_stop: Callable[[], bool],
    validate: Validate | None,
    validation_epochs: int,
) -> Trained:
    settings, resumed = run.settings, run.steps
    saved, told = time.monotonic(), -1.0
    while run.epoch < settings.epochs:
        for done, of in run.steps_of_epoch():
            if should_stop():
                run.save()
                raise ComputeInterrupted(f"the training was stopped after step {run.steps}; it goes on from {run.folder}")
            if done < of and time.monotonic() - saved >= settings.checkpoint_seconds:
                run.save()
                saved = time.monotonic()
            if done < of and time.monotonic() - told >= 1:
                told = time.monotonic()
                share = (run.epoch + done / of) / settings.epochs
                report(share, text.format(done=run.epoch, total=settings.epochs), {})
        metrics = run.end_epoch()
        if validate is not None and (run.epoch % validation_epochs == 0 or run.epoch == settings.epochs):
            measured = {name: float(value) for name, value in validate(run.averaged()).items()}
            run.record(measured)
            metrics.update(measured)
        if run.epoch % settings.checkpoint_epochs == 0 or run.epoch == settings.epochs:
            run.save()
            saved = time.monotonic()
        report(run.epoch / settings.epochs, text.format(done=run.epoch, total=settings.epochs), metrics)
    return Trained(
        network=run.averaged(),
        curves=run.curves,
        seconds=run.seconds,
        steps=run.steps,
        device=run.device.type,
        precision=run.precision,
        resumed_at=resumed,
    )


def device_of(settings: YoloxSettings) -> torch.device:
    """The device that the settings mean here.

    Raises:
        UserError: a GPU is asked for and none is usable.
    """
    there = torch.cuda.is_available()
    if settings.device == "cuda" and not there:
        raise UserError(
            "there is no usable GPU here", field="device", given="cuda", allowed=("auto", "cpu"),
            next_step="use device: auto, or a PyTorch built for this GPU (this one is " + torch.__version__ + ")",
        )  # fmt: skip
    return torch.device("cuda" if there and settings.device != "cpu" else "cpu")


def precision_of(settings: YoloxSettings, device: torch.device) -> str:
    """``fp32``, ``bf16`` or ``fp16`` on this device.

    Raises:
        UserError: fp16 is asked for on a CPU, where it is slower and not exact.
    """
    if settings.precision != "auto":
        if settings.precision == "fp16" and device.type == "cpu":
            raise UserError("fp16 needs a GPU", field="precision", given="fp16", allowed=("auto", "fp32", "bf16"))
        return settings.precision
    if device.type == "cpu":
        return "fp32"
    # an emulated bf16, as on a T4, is slower than fp32
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def seeded_network(settings: YoloxSettings, classes: int) -> Yolox:
    """A new network whose weights follow from the seed; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return Yolox(settings.variant, classes)


@dataclass(eq=False)
class _Run:
    """A training under way: what a checkpoint holds, and the loop body."""

    dataset: DetectionDataset
    settings: YoloxSettings
    folder: Path
    epoch: int = 0
    step: int = 0
    spent: float = 0.0
    curves: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._started = time.perf_counter()
        self.device = device_of(self.settings)
        self.precision = precision_of(self.settings, self.device)
        self.steps_per_epoch = steps_per_epoch(self.dataset, self.settings)
        self.digest = self.dataset.digest()
        self.folder.mkdir(parents=True, exist_ok=True)
        found = read_checkpoint(self.folder, self.settings, self.digest)
        layout = torch.channels_last
        network = seeded_network(self.settings, len(self.dataset.class_names))
        self.network = network.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        self.network.train()
        self.optimizer = optimizer_of(self.network, self.settings)
        self.average = MovingAverage(self.network, self.settings.ema_decay)
        self.scaler = torch.amp.GradScaler(self.device.type, init_scale=_GRADIENT_SCALE, enabled=self.precision == "fp16")
        self._sums = torch.zeros(len(PARTS), device=self.device)
        self._cells: dict[tuple[int, int], Cells] = {}
        if found is not None:
            self._load(found)

    @property
    def seconds(self) -> float:
        """Time spent since the beginning, up to the last checkpoint of a process that was killed."""
        return self.spent + time.perf_counter() - self._started

    @property
    def steps(self) -> int:
        """Optimiser steps since the beginning."""
        return self.epoch * self.steps_per_epoch + self.step

    def steps_of_epoch(self) -> Iterator[tuple[int, int]]:
        """Make the steps that are left of this epoch; after each, how many are done and of how many."""
        with closing(batches(self.dataset, self.settings, self.epoch, self.step)) as made:
            for batch in made:
                self._learn(batch)
                self.step += 1
                yield self.step, self.steps_per_epoch

    def _learn(self, batch: Batch) -> None:
        settings = self.settings
        rate = learning_rate(settings, self.steps, self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        pixels = torch.from_numpy(batch.images).to(self.device, non_blocking=True)
        # (N, H, W, 3) seen as (N, 3, H, W) is channels-last already
        images = pixels.permute(0, 3, 1, 2).float()
        truth = ground_truth(batch.boxes, batch.classes, device=self.device)
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision, torch.float32)
        with torch.autocast(self.device.type, dtype=kind, enabled=kind is not torch.float32):
            raw = self.network(images)
        plain = self.epoch >= settings.epochs - settings.plain_epochs
        losses = yolox_losses(
            raw, self._cells_of(images), truth, iou_loss=settings.iou_loss, iou_weight=settings.iou_weight, l1=plain
        )
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update(self.network)
        self._sums += losses.parts

    def _cells_of(self, images: torch.Tensor) -> Cells:
        size = (images.shape[2], images.shape[3])
        if size not in self._cells:
            self._cells[size] = cells_of(size, device=self.device)
        return self._cells[size]

    def end_epoch(self) -> dict[str, float]:
        """Close the books of the epoch: its mean losses and last learning rate."""
        means = (self._sums / self.steps_per_epoch).tolist()
        if not all(map(math.isfinite, means)):
            raise ComputeError(
                f"the loss of epoch {self.epoch + 1} is not a finite number: the training diverged. Lower learning_rate (now "
                f"{self.settings.learning_rate:g} for 64 images) or lengthen warmup_epochs (now {self.settings.warmup_epochs})"
            )
        told = dict(zip(PARTS, means, strict=True)) | {"learning_rate": float(self.optimizer.param_groups[0]["lr"])}
        self.record(told)
        self._sums.zero_()
        self.epoch, self.step = self.epoch + 1, 0
        return told

    def averaged(self) -> Yolox:
        """The network to use: averaged weights, in evaluation mode, with statistics that fit them."""
        if self.settings.epochs * self.steps_per_epoch >= SHORT_TRAINING:
            return self.average.network.eval()
        return with_measured_statistics(self.average.network, self._unchanged_images())

    def _unchanged_images(self) -> Iterator[torch.Tensor]:
        size = self.settings.batch_size
        # a last batch of one image would be a poor mean of its own
        for first in range(max(1, len(self.dataset) // size))[:STATISTICS_BATCHES]:
            rows = range(first * size, min((first + 1) * size, len(self.dataset)))
            stacked = np.stack([network_input(self.dataset.sample(row).image, self.settings.input_size) for row in rows])
            yield torch.from_numpy(stacked).to(self.device)

    def record(self, values: Mapping[str, float]) -> None:
        """Append to the curves."""
        for name, value in values.items():
            self.curves.setdefault(name, []).append(value)

    def save(self) -> None:
        """Replace the checkpoint."""
        state: dict[str, Any] = {
            "epoch": self.epoch,
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "sums": self._sums,
            "curves": self.curves,
            "seconds": self.seconds,
        }
        write_checkpoint(self.folder, self.settings, self.digest, state)

    def _load(self, state: Mapping[str, Any]) -> None:
        self.epoch, self.step = int(state["epoch"]), int(state["step"])
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.average.updates = int(state["updates"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self._sums.copy_(state["sums"])
        self.curves = {name: list(values) for name, values in state["curves"].items()}
        self.spent = float(state["seconds"])


@contextmanager
def reproducible(settings: YoloxSettings) -> Iterator[None]:
    """Let cuDNN choose only among algorithms that give the same result every time, and set the number of threads for a while."""
    threads = torch.get_num_threads()
    try:
        if settings.cpu_threads:
            torch.set_num_threads(settings.cpu_threads)
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            yield
    finally:
        torch.set_num_threads(threads)
