"""From images to a network's input, and from its boxes and scores to detections; the same in training and serving.

Plain numpy and Pillow, so that a packaged server can import it; only ``predict`` needs torch. Scoring detections against labels
is in ``tasks.detection``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mlops_assets.errors import IntegrityError
from mlops_assets.tasks.detection.image_boxes import ImageBoxes
from mlops_assets.tasks.detection.suppression import suppress
from mlops_assets.tasks.detection2d.letterbox import Pixels, Size, letterbox_ratio, letterboxed

if TYPE_CHECKING:
    from mlops_assets.tasks.detection2d.model import Yolox

#: The surest boxes of an image that suppression looks at; further ones could only be the last of its detections.
CANDIDATES = 3000


class Decoding(Protocol):
    """What finding detections depends on; ``YoloxSettings`` has it, and so has the server, which has no training settings."""

    @property
    def input_size(self) -> tuple[int, int]:
        """Height, width [px] of the network's input."""
        ...

    @property
    def score_threshold(self) -> float:
        """Surer boxes stay, 0 … 1."""
        ...

    @property
    def nms_threshold(self) -> float:
        """Of boxes of a class that overlap by more, the surest stays."""
        ...

    @property
    def detections(self) -> int:
        """Most detections of one image."""
        ...


def network_input(image: Pixels, size: Size) -> NDArray[np.float32]:
    """What the network reads, ``(3, H, W)`` float32 0 … 255 at ``size`` (height, width), of an image ``(h, w, 3)`` uint8, RGB."""
    return letterboxed(image, size)[0].transpose(2, 0, 1).astype(np.float32, order="C")


def detections_of(boxes: NDArray[np.float32], scores: NDArray[np.float32], image_size: Size, settings: Decoding) -> ImageBoxes:
    """The detections of one image, the surest first, after suppression within each class.

    Each box counts for its best class only, as published.

    Args:
        boxes: ``(A, 4)`` left, top, right, bottom [px] in the letterboxed image of ``settings.input_size``.
        scores: ``(A, C)``, 0 … 1.
        image_size: height, width [px] of the image before; detections are in its pixels and end at its borders.
        settings: thresholds, largest number of detections, input size.

    Raises:
        IntegrityError: a box or score is not a finite number: the network is damaged.
    """
    classes = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), classes]
    if not (np.isfinite(best).all() and np.isfinite(boxes[best >= settings.score_threshold]).all()):
        raise IntegrityError("the network gave boxes or scores that are not finite numbers; its weights are damaged or diverged")
    rows = np.flatnonzero(best >= settings.score_threshold)
    if len(rows) > CANDIDATES:
        rows = rows[np.argsort(-best[rows], kind="stable")[:CANDIDATES]]
    height, width = image_size
    placed = boxes[rows].astype(np.float64) / letterbox_ratio(image_size, settings.input_size)
    placed = np.clip(placed, 0, (width, height, width, height))
    seen = (placed[:, 2:] > placed[:, :2]).all(axis=1)
    rows, placed = rows[seen], placed[seen]
    stays = suppress(placed, best[rows], iou_threshold=settings.nms_threshold, classes=classes[rows], limit=settings.detections)
    return ImageBoxes(placed[stays], classes[rows][stays].astype(np.int64), best[rows][stays].astype(np.float64))


def predict(network: Yolox, images: Iterable[Pixels], settings: Decoding, *, batch_size: int = 8) -> Iterator[ImageBoxes]:
    """The detections of each image ``(h, w, 3)`` uint8, RGB, in order; images of any sizes, read as they are needed.

    The network is used where it is, in evaluation mode and float32, and left in the mode it was in.
    """
    import torch

    from mlops_assets.tasks.detection2d.model import Detector

    detector = Detector(network, settings.input_size)
    device = next(network.parameters()).device
    for batch in _batches(images, batch_size):
        stacked = np.stack([network_input(image, settings.input_size) for image in batch])
        training = network.training
        detector.eval()
        with torch.inference_mode():
            boxes, scores = (found.cpu().numpy() for found in detector(torch.from_numpy(stacked).to(device)))
        network.train(training)
        for row, image in enumerate(batch):
            yield detections_of(boxes[row], scores[row], (image.shape[0], image.shape[1]), settings)


def _batches(images: Iterable[Pixels], size: int) -> Iterator[list[Pixels]]:
    batch: list[Pixels] = []
    for image in images:
        batch.append(image)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
