"""The trained network itself as a detector, and its loss on frames that it does not learn from. Importing this imports torch.

What is served is ``pillar_inference``: the same steps with ONNX Runtime in place of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from numpy.typing import ArrayLike
from torch import nn

from mlops_assets.tasks.detection3d.pillar_decoding import LidarDetections, decode_detections
from mlops_assets.tasks.detection3d.pillar_devices import device_of
from mlops_assets.tasks.detection3d.pillar_inference import RawOutputs
from mlops_assets.tasks.detection3d.pillar_losses import pillar_losses, to_tensors
from mlops_assets.tasks.detection3d.pillar_samples import FrameSource, PillarMaker, collate
from mlops_assets.tasks.detection3d.pillar_settings import PillarSettings
from mlops_assets.tasks.detection3d.pointpillars import HeadOutputs, PointPillars


class NativeDetector:
    """A network in evaluation mode on the device of its settings, in float32; not for several threads at once."""

    def __init__(self, model: PointPillars, settings: PillarSettings) -> None:
        self.settings = settings
        self.device = device_of(settings)
        self._model = model.to(self.device).eval()
        self._maker = PillarMaker(settings)

    def detect(self, points: ArrayLike) -> LidarDetections:
        """The objects in a cloud ``(N, 4)``: x, y, z [m] in the LiDAR frame, reflectance 0 … 1. An empty cloud is allowed.

        Raises:
            UserError: not an array of real numbers of that shape.
            IntegrityError: the network's outputs are not finite.
        """
        return self.decode(self.outputs(points))

    def decode(self, outputs: RawOutputs) -> LidarDetections:
        """Second step of ``detect``: boxes after suppression. Raises as ``detect``."""
        return decode_detections(*outputs, self._maker.anchors, self.settings)

    def outputs(self, points: ArrayLike) -> RawOutputs:
        """First step of ``detect``: what the head gives for one cloud."""
        pillars = self._maker.pillars(points)
        with torch.inference_mode():
            given: HeadOutputs = self._model(
                torch.from_numpy(pillars.features).to(self.device), torch.from_numpy(pillars.places).to(self.device), 1
            )
        return RawOutputs(*(output[0].float().cpu().numpy() for output in given))


def validation_loss(frames: FrameSource, settings: PillarSettings) -> Callable[[PointPillars], Mapping[str, float]]:
    """A measure for ``train_pointpillars``: the mean loss of these frames without augmentation, as ``validation_loss``.

    Batch normalisation takes the statistics of the batch, as in training: the running ones follow too slowly to mean anything
    before the end, see ``pillar_training``.
    """
    samples = PillarMaker(settings)
    batches = [
        range(start, min(start + settings.batch_size, len(frames))) for start in range(0, len(frames), settings.batch_size)
    ]

    def measure(model: PointPillars) -> dict[str, float]:
        """The model is left as it was: its running statistics are neither used nor moved."""
        device = next(model.parameters()).device
        norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        kept = [norm.track_running_stats for norm in norms]
        total = 0.0
        try:
            for norm in norms:
                norm.track_running_stats = False  # the batch's own, and nothing is remembered
            with torch.no_grad():
                for batch in batches:
                    tensors = to_tensors(collate([samples.sample(frames[number]) for number in batch], settings), device)
                    outputs: HeadOutputs = model(tensors.features, tensors.places, tensors.frames)
                    total += float(pillar_losses(outputs, tensors, settings).total) * len(batch)
        finally:
            for norm, value in zip(norms, kept, strict=True):
                norm.track_running_stats = value
        return {"validation_loss": total / len(frames)}

    return measure
