"""Batches of one epoch, made ahead by threads; what they hold depends on settings and place only, never on timing.

Threads and no processes: decoding and resizing release the interpreter, and nothing has to be forked beside a GPU.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_assets.tasks.detection2d.augmentation import Augmenter, Boxes, Pixels, Sample, Size, epoch_order, multiscale_size
from mlops_assets.tasks.detection2d.dataset import DetectionDataset
from mlops_assets.tasks.detection2d.settings import YoloxSettings


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples of one step.

    Attributes:
        images: ``(N, H, W, 3)`` uint8, RGB.
        boxes: per image ``(G, 4)`` float32, left, top, right, bottom [px].
        classes: per image ``(G,)`` int64; -1: ignored region.
    """

    images: Pixels
    boxes: tuple[Boxes, ...]
    classes: tuple[NDArray[np.int64], ...]


def steps_per_epoch(dataset: DetectionDataset, settings: YoloxSettings) -> int:
    """Batches of an epoch; the last may be smaller."""
    return -(-len(dataset) // settings.batch_size)


def batches(dataset: DetectionDataset, settings: YoloxSettings, epoch: int, first: int = 0) -> Generator[Batch, None, None]:
    """The batches of ``epoch`` from number ``first`` on.

    Closing the iterator early waits for the samples that are being made and leaves no thread behind.

    Raises:
        DataRejected: an image cannot be read.
    """
    augmenter = Augmenter(dataset.sample, len(dataset), dataset.with_objects(), settings)
    order = epoch_order(settings, epoch, len(dataset)).tolist()
    steps = steps_per_epoch(dataset, settings)

    def places(step: int) -> Iterator[tuple[int, Size]]:
        size = multiscale_size(settings, epoch * steps + step)
        for index in order[step * settings.batch_size : (step + 1) * settings.batch_size]:
            yield index, size

    if settings.loader_threads == 0:
        for step in range(first, steps):
            yield _stacked([augmenter.sample(index, epoch, size) for index, size in places(step)])
        return
    with ThreadPoolExecutor(settings.loader_threads, thread_name_prefix="loader") as pool:
        ahead: deque[list[Future[Sample]]] = deque()
        try:
            for step in range(first, steps):
                ahead.append([pool.submit(augmenter.sample, index, epoch, size) for index, size in places(step)])
                if len(ahead) > _BATCHES_AHEAD:
                    yield _stacked([sample.result() for sample in ahead.popleft()])
            while ahead:
                yield _stacked([sample.result() for sample in ahead.popleft()])
        finally:
            for waiting in ahead:
                for sample in waiting:
                    sample.cancel()


_BATCHES_AHEAD = 2


def _stacked(samples: list[Sample]) -> Batch:
    return Batch(
        np.stack([sample.image for sample in samples]),
        tuple(sample.boxes for sample in samples),
        tuple(sample.classes for sample in samples),
    )
