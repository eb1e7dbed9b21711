"""A trained YOLOX network as an ONNX file, decoding included, proven against PyTorch on real images. Imports torch.

Suppression stays outside of the graph (``decoding.detections_of``), and so does scaling of images (``decoding.network_input``).
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from mlops_assets.errors import ComputeError, IntegrityError, UserError
from mlops_assets.tasks.detection2d.decoding import network_input
from mlops_assets.tasks.detection2d.letterbox import Pixels, Size
from mlops_assets.tasks.detection2d.model import Detector, Yolox
from mlops_assets.whole_files import write_whole

if TYPE_CHECKING:
    import onnx
    import onnxruntime

OPSET: Final = 20
INPUT: Final = "images"
OUTPUTS: Final = ("boxes", "scores")
#: Largest accepted difference: absolute for a score, of a box relative to its own numbers or to one pixel.
TOLERANCE: Final = 1e-4
#: A graph may be so many times further from PyTorch than PyTorch in float32 is from float64.
ROUNDINGS: Final = 8.0
_NEEDED: Final = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True, eq=False)
class Found:
    """Boxes ``(N, A, 4)`` left, top, right, bottom [px] of the input, and scores ``(N, A, C)``, before suppression."""

    boxes: NDArray[Any]
    scores: NDArray[Any]


@dataclass(frozen=True)
class Exported:
    """What was written, and how far it is from PyTorch.

    Attributes:
        path: the file.
        bytes: its size.
        images_compared: images on which both were run.
        largest_difference: largest difference found, as ``TOLERANCE`` counts it.
    """

    path: Path
    bytes: int
    images_compared: int
    largest_difference: float


def export_onnx(network: Yolox, class_names: Sequence[str], input_size: Size, images: Sequence[Pixels], path: Path) -> Exported:
    """Write ``network`` to ``path`` once its graph agrees with it on every one of ``images``; an old file stays until then.

    The graph's input ``images`` is ``(N, 3, H, W)`` float32, RGB 0 … 255, of ``input_size`` (height, width), N free. Its outputs
    are ``boxes`` ``(N, A, 4)`` left, top, right, bottom [px] and ``scores`` ``(N, A, C)``. Class names and input size are in the
    graph's metadata.

    Args:
        network: on any device; left as it is.
        class_names: in the order of the scores.
        input_size: height, width [px], multiples of 32.
        images: ``(h, w, 3)`` uint8, RGB, of any size, from the data that the network is for; at least one.
        path: the file to write; its folder is made.

    Raises:
        UserError: a library that exporting needs is not installed, there is no image, or names and network do not fit.
        IntegrityError: the graph and PyTorch differ by more than ``allowed_distance``; nothing is written.
        ComputeError: PyTorch cannot express the network as ONNX.
    """
    _check(network, class_names, images)
    detector = Detector(_on_cpu(network), input_size).eval()
    graph = _graph(detector, input_size)
    _annotate(graph, class_names, input_size)
    content = graph.SerializeToString(deterministic=True)
    difference = compare(content, detector, images, input_size)
    write_whole(path, content, durable=True)
    return Exported(path, len(content), len(images), difference)


def compare(content: bytes, detector: Detector, images: Sequence[Pixels], size: Size) -> float:
    """Largest difference between the graph ``content`` and ``detector`` over ``images``, one by one and, of several, two at once.

    As ``distance`` counts it.

    Raises:
        IntegrityError: it exceeds what is allowed (``allowed_distance``), or a number is not finite; names the image.
    """
    session = session_of(content)
    rows = [[number] for number in range(len(images))]
    largest = 0.0
    for row in [*rows, [0, len(images) - 1]]:
        batch = np.stack([network_input(images[number], size) for number in row])
        largest = max(largest, checked_distance(session, detector, batch, f"image {row[0]}")[0])
    return largest


def session_of(content: bytes) -> onnxruntime.InferenceSession:
    """The graph, ready to run on the processor."""
    import onnxruntime

    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def checked_distance(
    session: onnxruntime.InferenceSession, detector: Detector, batch: NDArray[np.float32], place: str
) -> tuple[float, Found, Found]:
    """How far the graph is from the network on ``batch`` ``(N, 3, H, W)``, and what network and graph found.

    Raises:
        IntegrityError: further than allowed; says where.
    """
    expected, graph = run_native(detector, batch), session.run(list(OUTPUTS), {INPUT: batch})
    found = Found(graph[0], graph[1])
    apart = distance(found, expected, max(batch.shape[2:]))
    # written so that a NaN counts as a difference
    if not apart <= TOLERANCE and not apart <= (allowed := allowed_distance(detector, batch, expected)):
        raise IntegrityError(
            f"the exported graph and PyTorch differ by {apart:.3g} on {place}, allowed is {allowed:.3g}; nothing was written"
        )
    return apart, expected, found


def run_native(detector: Detector, batch: NDArray[Any]) -> Found:
    """What the network finds on ``batch``, in the batch's precision."""
    with torch.inference_mode():
        boxes, scores = (value.numpy() for value in detector(torch.from_numpy(batch)))
    return Found(boxes, scores)


def distance(found: Found, expected: Found, longest: int) -> float:
    """Largest difference of a score as it is, or of a box's corner in parts of the box's own largest coordinate.

    At least of the input's longer side ``longest``: a corner near 0 of a wide box is not known any better than its others,
    since all four come from a centre and an exponential. Beyond the input nothing counts, because detections end at its borders.
    """
    extent = np.maximum(np.abs(expected.boxes).max(axis=-1, keepdims=True), float(longest))
    # a few pixels around the input, so that a box that ends just outside is still looked at
    inside = [np.clip(boxes, -float(longest), 2.0 * longest) for boxes in (found.boxes, expected.boxes)]
    return max(float((np.abs(inside[0] - inside[1]) / extent).max()), float(np.abs(found.scores - expected.scores).max()))


def allowed_distance(detector: Detector, batch: NDArray[np.float32], expected: Found) -> float:
    """``TOLERANCE``, or some times what PyTorch's own float32 costs, where that is more: its distance from float64.

    A network after a handful of steps enlarges every rounding thousands of times. Two correct programs then differ by more than
    any fixed number, but neither may be much further from the exact answer than the other.
    """
    exact = copy.deepcopy(detector).double()
    with torch.inference_mode():
        # the network's boxes are made in float32 on purpose; everything before them is exact
        raw = exact.network(torch.from_numpy(batch).double())
        boxes, scores = detector.decoded(raw)
    rounding = distance(expected, Found(boxes.numpy(), scores.numpy()), max(batch.shape[2:]))
    return max(TOLERANCE, ROUNDINGS * rounding)


def _check(network: Yolox, class_names: Sequence[str], images: Sequence[Pixels]) -> None:
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise UserError(
            f"exporting to ONNX needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed here",
            next_step="pip install 'issue-mlops[deep]'",
        )
    if len(class_names) != network.classes:
        raise UserError(
            "the class names are not those of the network",
            field="class_names",
            given=", ".join(class_names),
            allowed=(f"{network.classes} names",),
        )
    if not images:
        raise UserError(
            "without an image the exported graph cannot be checked", field="images", given=0, allowed=("1 or more",),
            next_step="give images of the validation split",
        )  # fmt: skip


def _on_cpu(network: Yolox) -> Yolox:
    made = Yolox(network.variant, network.classes)
    made.load_state_dict(network.state_dict())
    return made


def _graph(detector: Detector, size: Size) -> onnx.ModelProto:
    example = torch.zeros(2, 3, *size)
    try:
        with _quiet():
            program = torch.onnx.export(
                detector,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_shapes={"images": {0: torch.export.Dim("N", min=1)}},
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise ComputeError(f"PyTorch {torch.__version__} could not express the network as ONNX: {error}") from error
    if program is None:
        raise ComputeError(f"PyTorch {torch.__version__} gave no ONNX program")
    return program.model_proto


def _annotate(graph: onnx.ModelProto, class_names: Sequence[str], size: Size) -> None:
    """Take out what the exporter noted about this machine's files, and note what a reader needs."""
    from onnx import helper

    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        del value.metadata_props[:]
    del graph.graph.metadata_props[:]
    del graph.metadata_props[:]
    graph.producer_name, graph.producer_version = "issue-mlops", ""
    names = json.dumps(list(class_names), ensure_ascii=False)
    helper.set_model_props(graph, {"class_names": names, "input_size": json.dumps(list(size)), "colours": "RGB"})


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the exporter's remarks on libraries that are not here and on its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
