"""PointPillars as two ONNX graphs: pillars to features, and the image of pillars to the head's outputs.

Between them numpy puts the features in their places, see ``pillar_inference``. The graphs are written layer by layer with batch
normalisation folded into the weights: no tracing, no exporter to install, the same graph from the same weights. What they
compute is held against PyTorch before anything is kept. Importing this module imports torch and onnx.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from mlops_assets.errors import IntegrityError
from mlops_assets.tasks.detection3d.pillar_inference import CANVAS_GRAPH, OUTPUTS, PILLAR_GRAPH, SETTINGS, OnnxPillars
from mlops_assets.tasks.detection3d.pillar_samples import PillarMaker
from mlops_assets.tasks.detection3d.pillar_settings import BOX_NUMBERS, POINT_FEATURES, PillarSettings
from mlops_assets.tasks.detection3d.pointpillars import (
    DIRECTIONS,
    Backbone,
    Head,
    HeadOutputs,
    NormalisedConvolution,
    PillarFeatureNet,
    PointPillars,
)
from mlops_assets.whole_files import write_whole

OPSET, IR_VERSION = 18, 10
#: Largest difference of an output, absolute and relative together, between ONNX Runtime and PyTorch.
TOLERANCE = 1e-4

Weights = NDArray[np.float32]
_Shapes = Mapping[str, Sequence[str | int]]


@dataclass(frozen=True)
class ExportedPillars:
    """The two graphs and how they compared.

    Attributes:
        pillar_graph, canvas_graph, settings: the files.
        clouds_compared: clouds, an empty one included.
        largest_difference: of any output on any of them, as in ``TOLERANCE``.
    """

    pillar_graph: Path
    canvas_graph: Path
    settings: Path
    clouds_compared: int
    largest_difference: float


def export_pointpillars(
    model: PointPillars, settings: PillarSettings, folder: Path, clouds: Sequence[NDArray[np.float32]]
) -> ExportedPillars:
    """Write both graphs and the settings into ``folder``, and compare them with the model on ``clouds`` and on an empty one.

    Each cloud is ``(N, 4)`` float32: x, y, z [m] in the LiDAR frame, reflectance. The model's mode is left as it was.

    Raises:
        IntegrityError: an output differs by more than 1e-4; nothing is written then.
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pillar_graph, canvas_graph = build_graphs(model, settings)
    detector = OnnxPillars(pillar_graph.SerializeToString(), canvas_graph.SerializeToString(), settings)
    examples = [*clouds, np.empty((0, 4), dtype=np.float32)]
    largest = max(_difference(model, settings, detector, cloud) for cloud in examples)
    if not largest <= TOLERANCE:
        raise IntegrityError(
            f"ONNX Runtime and PyTorch differ by {largest:.2g}, more than {TOLERANCE:g}: the graphs are not the trained model"
        )
    write_whole(folder / PILLAR_GRAPH, pillar_graph.SerializeToString())
    write_whole(folder / CANVAS_GRAPH, canvas_graph.SerializeToString())
    write_whole(folder / SETTINGS, settings.model_dump_json(indent=2).encode())
    return ExportedPillars(folder / PILLAR_GRAPH, folder / CANVAS_GRAPH, folder / SETTINGS, len(examples), largest)


def build_graphs(model: PointPillars, settings: PillarSettings) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The graphs of a model in evaluation: ``features`` (P, N, 10) to ``pillars`` (P, C), and ``canvas`` to ``OUTPUTS``.

    Raises:
        onnx.checker.ValidationError: a graph is not valid ONNX.
    """
    return _pillar_graph(model.pillar_net), _canvas_graph(model.backbone, model.head, settings)


def _pillar_graph(network: PillarFeatureNet) -> onnx.ModelProto:
    scale, shift = _folded(network.norm)
    graph = _Graph()
    weights = network.linear.weight.detach().cpu().numpy().T * scale[None, :]
    seen = graph.add("MatMul", ["features", graph.constant(weights)])
    # The maximum first: adding a constant and cutting at 0 do not change which point is largest, and are 32 times less work.
    largest = graph.add("ReduceMax", [seen, graph.constant(np.array([1], dtype=np.int64))], keepdims=0)
    moved = graph.add("Add", [largest, graph.constant(shift)])
    graph.add("Relu", [moved], output="pillars")
    return graph.model(
        "pillar features", {"features": ("pillars", "points", POINT_FEATURES)}, {"pillars": ("pillars", len(shift))}
    )


def _canvas_graph(backbone: Backbone, head: Head, settings: PillarSettings) -> onnx.ModelProto:
    graph = _Graph()
    image, raised = "canvas", []
    for stage in backbone.stages.children():
        *layers, enlargement = (module for module in stage.modules() if isinstance(module, NormalisedConvolution))
        for layer in layers:
            image = graph.convolution(image, layer)
        raised.append(graph.convolution(image, enlargement))
    joined = graph.add("Concat", raised, axis=1)
    parts = (head.classes, head.boxes, head.directions)
    # One convolution reads the 384 channels once instead of three times.
    weights = np.concatenate([_array(part.weight) for part in parts])
    biases = np.concatenate([_array(part.get_parameter("bias")) for part in parts])
    every = graph.add("Conv", [joined, graph.constant(weights), graph.constant(biases)], kernel_shape=[1, 1])
    sizes = graph.constant(np.array([part.out_channels for part in parts], dtype=np.int64))
    graph.nodes.append(helper.make_node("Split", [every, sizes], list(OUTPUTS), axis=1))
    rows, columns = settings.canvas
    anchors, (height, width) = settings.anchors_per_cell, settings.head_cells
    channels = (anchors * len(settings.classes), anchors * BOX_NUMBERS, anchors * DIRECTIONS)
    return graph.model(
        "backbone and head",
        {"canvas": ("frames", settings.pillar_channels, rows, columns)},
        {name: ("frames", count, height, width) for name, count in zip(OUTPUTS, channels, strict=True)},
    )


@dataclass
class _Graph:
    """Collects nodes and constants under numbered names."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, values: NDArray[np.generic]) -> str:
        name = f"constant_{len(self.constants)}"
        kind = np.int64 if values.dtype == np.int64 else np.float32
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype=kind), name))
        return name

    def add(self, operator: str, inputs: Sequence[str], *, output: str | None = None, **attributes: object) -> str:
        made = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [made], **attributes))
        return made

    def convolution(self, image: str, layer: NormalisedConvolution) -> str:
        """Normalisation is folded in: its scale into the weights, its shift into the bias; the name of what comes out of ReLU."""
        scale, shift = _folded(layer.norm)
        convolution = layer.convolution
        size, stride, padding = (_along_both(pair) for pair in (convolution.kernel_size, convolution.stride, convolution.padding))
        weights = _array(convolution.weight).astype(np.float64)
        operator = "Conv"
        if isinstance(convolution, nn.ConvTranspose2d) and size == [1, 1]:
            # Nothing is enlarged: a plain convolution, which runtimes do better.
            weights = weights.transpose(1, 0, 2, 3)
        elif isinstance(convolution, nn.ConvTranspose2d):
            operator, scale = "ConvTranspose", scale[None, :]
        weights = weights * (scale[:, None, None, None] if scale.ndim == 1 else scale[:, :, None, None])
        constants = [self.constant(weights), self.constant(shift)]
        made = self.add(operator, [image, *constants], kernel_shape=size, strides=stride, pads=padding * 2)
        return self.add("Relu", [made])

    def model(self, name: str, inputs: _Shapes, outputs: _Shapes) -> onnx.ModelProto:
        """The finished graph; the checker has gone through it, shapes included."""

        def tensors(shapes: _Shapes) -> list[onnx.ValueInfoProto]:
            return [helper.make_tensor_value_info(key, TensorProto.FLOAT, list(shape)) for key, shape in shapes.items()]

        graph = helper.make_graph(self.nodes, name, tensors(inputs), tensors(outputs), self.constants)
        made = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="issue-mlops"
        )
        onnx.checker.check_model(made, full_check=True)
        return made


def _array(tensor: torch.Tensor) -> Weights:
    values: Weights = tensor.detach().cpu().numpy().astype(np.float32)
    return values


def _along_both(pair: tuple[int, ...] | str) -> list[int]:
    """A size of a convolution along rows and columns; torch also knows names of paddings, which are not used here."""
    return [int(value) for value in pair]


def _folded(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and shift ``(C,)`` that batch normalisation is in evaluation."""
    weight, bias, mean, variance = (
        tensor.detach().cpu().double().numpy()
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        if tensor is not None
    )
    scale = weight / np.sqrt(variance + norm.eps)
    return scale, bias - mean * scale


def _difference(model: PointPillars, settings: PillarSettings, detector: OnnxPillars, cloud: NDArray[np.float32]) -> float:
    pillars = PillarMaker(settings).pillars(cloud)
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            expected: HeadOutputs = model(
                torch.from_numpy(pillars.features).to(device), torch.from_numpy(pillars.places).to(device), 1
            )
    finally:
        model.train(training)
    largest = 0.0
    for wanted, given in zip(expected, detector.outputs(pillars), strict=True):
        reference = wanted[0].cpu().numpy().astype(np.float64)
        apart = np.abs(reference - given) / np.maximum(1.0, np.abs(reference))
        largest = max(largest, float(apart.max())) if not np.isnan(apart).any() else float("inf")
    return largest
