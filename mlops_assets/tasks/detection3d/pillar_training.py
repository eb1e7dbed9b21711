"""Training PointPillars: AdamW with one cycle of the learning rate, checkpoints that continue exactly, mixed precision on a GPU.

Importing this module imports torch. A training continued from a checkpoint ends with the same bits as one that never stopped (on
a CPU with the same number of threads): which frames a step sees and how they are augmented follow from the seed, the epoch and
the frame's number alone, and a checkpoint is only ever written between two steps.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mlops_assets.errors import ComputeError, DataRejected, TrainingStopped
from mlops_assets.request.vocabulary import Language
from mlops_assets.tasks.detection3d.pillar_checkpoints import (
    CHECKPOINT,
    Checkpoint,
    read_checkpoint,
    write_checkpoint,
    write_model,
)
from mlops_assets.tasks.detection3d.pillar_devices import Precision, device_of, precision_of
from mlops_assets.tasks.detection3d.pillar_losses import TensorBatch, pillar_losses, to_tensors
from mlops_assets.tasks.detection3d.pillar_samples import FrameSource, PillarBatch, PillarMaker, PillarSample, collate
from mlops_assets.tasks.detection3d.pillar_settings import PillarSettings
from mlops_assets.tasks.detection3d.pointpillars import HeadOutputs, PointPillars, build_pointpillars
from mlops_assets.tasks.detection3d.training_frame import TrainingFrame
from mlops_assets.tasks.detection3d.words import PROGRESS as WORDS
from mlops_assets.tasks.interface import ProgressReporter

Augment = Callable[[TrainingFrame, np.random.Generator], TrainingFrame]
"""Makes another frame of one, see ``augmentation``; everything random comes from the generator given."""

Validate = Callable[[PointPillars], Mapping[str, float]]
"""Measures the network as it stands after an epoch; it must leave the network's mode and statistics as they were."""

#: The learning rate starts at the highest / 10 and ends at the highest / 10,000; momentum runs the other way.
#: Source: OpenPCDet's adam_onecycle with its PointPillars configuration.
START_DIVISOR, END_DIVISOR = 10.0, 1e4
MOMENTUM_LOW, MOMENTUM_HIGH = 0.85, 0.95
SECOND_MOMENT = 0.99
#: Batches over which the statistics of batch normalisation are measured in the end.
NORM_BATCHES = 100
#: Reports come at most so often [s].
REPORT_SECONDS = 1.0
LOSSES = ("loss", "class_loss", "box_loss", "direction_loss")


@dataclass(frozen=True)
class TrainedPillars:
    """What a training made.

    Attributes:
        model: the file with the weights, see ``pillar_checkpoints.read_model``.
        steps: optimiser steps, those before a resume included.
        seconds: of this run.
        curves: loss name -> mean of each epoch.
    """

    model: Path
    steps: int
    seconds: float
    curves: Mapping[str, list[float]]


def train_pointpillars(
    frames: FrameSource,
    settings: PillarSettings,
    folder: Path,
    report: ProgressReporter,
    *,
    augment: Augment | None = None,
    validate: Validate | None = None,
    data_version: str = "",
    checkpoints: Path | None = None,
    stop: Callable[[], bool] | None = None,
    language: Language = "en",
) -> TrainedPillars:
    """Train a detector on ``frames`` and write its model file into ``folder``.

    A checkpoint in ``checkpoints`` (``folder`` where not given) is continued. When ``stop`` answers True, or ``report``
    raises ``TrainingStopped``, a checkpoint is written before the error goes on; on any other interruption the last one
    stands. The checkpoint is removed once the model is written; one in ``checkpoints`` stays for whoever keeps that folder to
    remove: a caller that is killed after this function has returned then need not train again.

    Args:
        frames: read from ``settings.workers`` threads.
        settings: of the detector and its training.
        folder: for the model; made if missing.
        report: called between steps, about once a second, with the fraction done, a line, and the latest losses.
        augment: what is done to a frame before each use.
        validate: called after every epoch; its numbers become further curves.
        data_version: of the frames; a checkpoint of other data is refused.
        checkpoints: folder for the checkpoint, kept across restarts.
        stop: asked between steps.
        language: of the lines that are reported.

    Raises:
        DataRejected: there is no frame, or a frame cannot be used.
        UserError: the device is not there, or a checkpoint is of other settings or other data.
        IntegrityError: a checkpoint cannot be read.
        TrainingStopped: see above.
        ComputeError: the loss is not finite any more.
    """
    if not len(frames):
        raise DataRejected("there is no frame to train on", field="frames", next_step="name a split that has labelled frames")
    run = _Run.begin(frames, settings, checkpoints or folder, data_version)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    words = WORDS[language]
    report(run.fraction, words["begin"].format(step=run.step, total=run.total, device=run.device), {})

    def told() -> None:
        epoch = min(settings.epochs, run.step // run.steps_per_epoch + 1)
        line = words["step"].format(epoch=epoch, epochs=settings.epochs, step=run.step, total=run.total)
        report(run.fraction, line, run.latest())

    try:
        _train(run, frames, settings, told, augment, validate, stop)
        report(1.0, words["norms"], run.latest())
        _measure_norms(run, frames, settings, augment)
    except TrainingStopped:
        run.save()
        raise
    model = write_model(folder, run.model, settings)
    if checkpoints is None:
        run.checkpoint.unlink(missing_ok=True)
    report(1.0, words["done"].format(total=run.total), run.latest())
    return TrainedPillars(model, run.total, time.monotonic() - started, run.curves)


def checkpoint_version(data_version: str, frames: FrameSource) -> str:
    """What a checkpoint calls its data."""
    return f"{data_version} {len(frames)} frames".strip()


def one_cycle(step: int, total: int, settings: PillarSettings) -> tuple[float, float]:
    """Learning rate and momentum of a step 0 … total - 1: half a cosine up, then half a cosine down, and the reverse.

    Source: Smith and Topin, "Super-Convergence", 2018.
    """
    highest, rising = settings.learning_rate, max(1.0, settings.rising_share * total)
    if step < rising:
        share = _half_cosine(step / rising)
        return highest / START_DIVISOR + share * (highest - highest / START_DIVISOR), _between(MOMENTUM_HIGH, MOMENTUM_LOW, share)
    share = _half_cosine((step - rising) / max(1.0, total - 1 - rising))
    return highest + share * (highest / END_DIVISOR - highest), _between(MOMENTUM_LOW, MOMENTUM_HIGH, share)


def _half_cosine(share: float) -> float:
    return (1 - math.cos(math.pi * min(1.0, share))) / 2


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


@dataclass(eq=False)
class _Run:
    """The state of a training between two steps."""

    settings: PillarSettings
    data_version: str
    checkpoint: Path
    device: torch.device
    precision: Precision
    model: PointPillars
    optimiser: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    steps_per_epoch: int
    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * len(LOSSES))
    curves: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in LOSSES})

    @classmethod
    def begin(cls, frames: FrameSource, settings: PillarSettings, folder: Path, data_version: str) -> _Run:
        """At the first step, or where the checkpoint in ``folder`` stands; one of other settings or data is refused."""
        folder.mkdir(parents=True, exist_ok=True)
        device = device_of(settings)
        precision = precision_of(settings, device)
        model = build_pointpillars(settings).to(device)
        version = checkpoint_version(data_version, frames)
        optimiser = torch.optim.AdamW(
            model.parameters(),
            lr=settings.learning_rate,
            betas=(MOMENTUM_HIGH, SECOND_MOMENT),
            weight_decay=settings.weight_decay,
        )
        scaler = torch.amp.GradScaler(device.type, enabled=precision.scaled)
        run = cls(
            settings, version, folder / CHECKPOINT, device, precision, model, optimiser, scaler,
            steps_per_epoch=math.ceil(len(frames) / settings.batch_size),
        )  # fmt: skip
        if run.checkpoint.is_file():
            run.restore(read_checkpoint(run.checkpoint, settings, version, device))
        return run

    @property
    def total(self) -> int:
        return self.steps_per_epoch * self.settings.epochs

    @property
    def fraction(self) -> float:
        return self.step / self.total

    def restore(self, saved: Checkpoint) -> None:
        self.model.load_state_dict(saved.model)
        self.optimiser.load_state_dict(saved.optimiser)
        self.scaler.load_state_dict(saved.scaler)
        self.step, self.sums, self.curves = saved.step, list(saved.sums), {k: list(v) for k, v in saved.curves.items()}

    def save(self) -> None:
        """All that the next step depends on: who continues from it ends with the weights of an uninterrupted training."""
        write_checkpoint(
            self.checkpoint,
            Checkpoint(
                training_digest=self.settings.training_digest(),
                data_version=self.data_version,
                step=self.step,
                sums=self.sums,
                curves=self.curves,
                model=self.model.state_dict(),
                optimiser=self.optimiser.state_dict(),
                scaler=self.scaler.state_dict(),
            ),
        )

    def advance(self, batch: PillarBatch) -> None:
        """One optimiser step; the state is whole again when it returns."""
        rate, momentum = one_cycle(self.step, self.total, self.settings)
        for group in self.optimiser.param_groups:
            group["lr"], group["betas"] = rate, (momentum, SECOND_MOMENT)
        tensors = to_tensors(batch, self.device)
        self.optimiser.zero_grad(set_to_none=True)
        losses = pillar_losses(self.forward(tensors), tensors, self.settings)
        values = torch.stack([losses.total, losses.classes, losses.boxes, losses.directions]).detach().cpu().tolist()
        if not math.isfinite(values[0]):
            raise ComputeError(
                f"the loss is {values[0]} at step {self.step + 1} of {self.total}: lower learning_rate "
                f"(it is {self.settings.learning_rate}), or look for absurd boxes in the labels"
            )
        self.scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.gradient_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1
        self.sums = [total + value * batch.frames for total, value in zip(self.sums, values, strict=True)]

    def forward(self, batch: TensorBatch) -> HeadOutputs:
        with torch.autocast(self.device.type, dtype=self.precision.dtype, enabled=self.precision.mixed):
            outputs: HeadOutputs = self.model(batch.features, batch.places, batch.frames)
        return outputs

    def latest(self) -> dict[str, float]:
        """Mean losses of the epoch so far, of the whole one at its end."""
        done = self.step % self.steps_per_epoch * self.settings.batch_size
        ended = {name: values[-1] for name, values in self.curves.items() if values}
        if done:
            return ended | {name: total / done for name, total in zip(LOSSES, self.sums, strict=True)}
        return ended

    def end_epoch(self, frames: int, validate: Validate | None) -> None:
        for name, total in zip(LOSSES, self.sums, strict=True):
            self.curves[name].append(total / frames)
        self.sums = [0.0] * len(LOSSES)
        for name, value in (validate(self.model) if validate is not None else {}).items():
            self.curves.setdefault(name, []).append(value)


def _train(
    run: _Run,
    frames: FrameSource,
    settings: PillarSettings,
    tell: Callable[[], None],
    augment: Augment | None,
    validate: Validate | None,
    stop: Callable[[], bool] | None,
) -> None:
    run.model.train()
    saved = told = time.monotonic()
    with _Samples(frames, settings, augment) as samples:
        for epoch in range(run.step // run.steps_per_epoch, settings.epochs):
            order = np.random.default_rng([settings.seed, epoch]).permutation(len(frames)).tolist()
            batches = [order[start : start + settings.batch_size] for start in range(0, len(order), settings.batch_size)]
            for batch in samples.batches(epoch, batches[run.step - epoch * run.steps_per_epoch :]):
                run.advance(batch)
                if run.step == (epoch + 1) * run.steps_per_epoch:
                    run.end_epoch(len(frames), validate)
                now = time.monotonic()
                if run.step == run.total or now - saved >= settings.checkpoint_seconds:
                    run.save()
                    saved = time.monotonic()
                if run.step == run.total or now - told >= REPORT_SECONDS:
                    told = now
                    tell()
                if stop is not None and run.step < run.total and stop():
                    raise TrainingStopped(f"stopped at step {run.step} of {run.total}; it can be continued from there")


def _measure_norms(run: _Run, frames: FrameSource, settings: PillarSettings, augment: Augment | None) -> None:
    """Replace the running statistics of batch normalisation by those of the final weights.

    The running ones follow at 1 % a step: after a training of 60 steps they are half what they began with, and a detector that
    has learned everything finds nothing.

    Source: Wu and Johnson, "Rethinking Batch in BatchNorm", 2021, section 3.
    """
    norms = [module for module in run.model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    numbers = np.random.default_rng([settings.seed, settings.epochs]).permutation(len(frames)).tolist()
    numbers = numbers[: NORM_BATCHES * settings.batch_size]
    batches = [numbers[start : start + settings.batch_size] for start in range(0, len(numbers), settings.batch_size)]
    with _Samples(frames, settings, augment) as samples, torch.no_grad():
        for batch in samples.batches(settings.epochs, batches):
            run.forward(to_tensors(batch, run.device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


class _Samples:
    """Makes samples in threads, a few batches ahead of the network, always in the same order."""

    def __init__(self, frames: FrameSource, settings: PillarSettings, augment: Augment | None) -> None:
        self._frames, self._settings, self._augment = frames, settings, augment
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="pillar-samples")
        self._local = threading.local()

    def __enter__(self) -> _Samples:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def batches(self, epoch: int, batches: Sequence[Sequence[int]]) -> Iterator[PillarBatch]:
        """The batches of an epoch; memory is that of two batches or of two samples a thread, whichever is more."""
        ahead = max(2, math.ceil(2 * self._settings.workers / self._settings.batch_size))
        waiting: deque[list[Future[PillarSample]]] = deque()
        for numbers in batches:
            waiting.append([self._pool.submit(self._sample, epoch, number) for number in numbers])
            if len(waiting) > ahead:
                yield self._collated(waiting.popleft())
        while waiting:
            yield self._collated(waiting.popleft())

    def _collated(self, futures: Sequence[Future[PillarSample]]) -> PillarBatch:
        return collate([future.result() for future in futures], self._settings)

    def _sample(self, epoch: int, number: int) -> PillarSample:
        if not hasattr(self._local, "maker"):
            self._local.maker = PillarMaker(self._settings)
        frame = self._frames[number]
        if self._augment is not None:
            frame = self._augment(frame, np.random.default_rng([self._settings.seed, epoch, number]))
        sample: PillarSample = self._local.maker.sample(frame)
        return sample
