"""The ``export`` verb of image detection: the graph, what a server needs beside it, and proof that both find the same boxes.

The graph is made in ``export``; a server's own check of the examples, which is used here too, is in ``serving``. Imports torch.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlops_assets.data.dataset import OBJECTS
from mlops_assets.errors import IntegrityError
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.serving.example_boxes import hold_to_examples
from mlops_assets.serving.images import ImageReader, decode_image
from mlops_assets.serving.package import GRAPH, Examples
from mlops_assets.tasks.detection.drift import CONFIDENCE, IMAGE_QUANTITIES, histogram_of, image_quantities
from mlops_assets.tasks.detection.image_boxes import ImageBoxes
from mlops_assets.tasks.detection2d.decoding import detections_of, network_input
from mlops_assets.tasks.detection2d.export import Found, checked_distance, export_onnx, run_native, session_of
from mlops_assets.tasks.detection2d.fitting import detect, evenly
from mlops_assets.tasks.detection2d.image_folder import ImageFolder
from mlops_assets.tasks.detection2d.letterbox import Pixels, letterbox_ratio, resized, scaled_size
from mlops_assets.tasks.detection2d.model import Detector, Yolox
from mlops_assets.tasks.detection2d.model_folder import read_model
from mlops_assets.tasks.detection2d.settings import YoloxSettings
from mlops_assets.tasks.detection2d.training import reproducible
from mlops_assets.tasks.interface import ExportSummary, Histogram, InputField, Signature
from mlops_assets.whole_files import write_whole

INPUT: Final = "image"
#: Test images on which graph and network are compared, at most, spread evenly over the split.
IMAGES_COMPARED: Final = 100
#: Images that the reference of drift is measured on, at most.
IMAGES_REFERRED_TO: Final = 500
SCORED_IMAGES: Final = 200
EXAMPLES: Final = 3
#: Examples are this much larger than the network's input, so that a server has to scale them as it scales others.
EXAMPLE_SCALE: Final = 1.25
_COLOURS: Final = 128


@dataclass(frozen=True, eq=False)
class _Compared:
    """How the graph did on the test images: largest difference, images whose boxes differ, rows with most boxes first."""

    largest: float
    differing: tuple[str, ...]
    fullest: tuple[int, ...]


def export(features: Path, model: Path, request: TrainingRequest, out: Path) -> ExportSummary:
    """Write ``model.onnx``, then ``signature.json`` and ``examples.json``, into ``out``.

    Served are detections from the model's operating threshold on. The graph is compared with the network on at most
    ``IMAGES_COMPARED`` test images: before suppression (``export.checked_distance``), and box by box after it, by the rules of
    the server's own check at its start.

    Raises:
        IntegrityError: the graph differs by more than rounding, no example passes the server's check, or a folder is not whole.
        DataRejected: an image cannot be read.
        ComputeError: PyTorch cannot express the network as ONNX.
    """
    folder = ImageFolder.read(features)
    network, card = read_model(model, folder)
    settings = card.settings.model_copy(update={"score_threshold": card.threshold})
    images = folder.images("test")
    with reproducible(settings):
        rows = evenly(len(images), IMAGES_COMPARED)
        first = [images.sample(row).image for row in rows[:2]]
        export_onnx(network, card.classes, settings.input_size, first, out / GRAPH)
        content = (out / GRAPH).read_bytes()
        signature = Signature(
            task_type=request.task_type,
            inputs=(InputField(name=INPUT, kind="image", required=True),),
            classes=card.classes,
            target=OBJECTS,
            settings={
                "input_size": list(settings.input_size), "score_threshold": settings.score_threshold,
                "nms_threshold": settings.nms_threshold, "max_detections": settings.detections,
            },
            reference=reference_of(network, folder, settings),
        )  # fmt: skip
        reader = ImageReader(signature, {GRAPH: content}, "")
        compared = _compare(network, content, folder, rows, settings, reader)
        examples = _examples(network, folder, [*compared.fullest, *rows], settings, reader)
    write_whole(out / "examples.json", examples.model_dump_json(indent=2))
    write_whole(out / "signature.json", signature.model_dump_json(indent=2))
    return ExportSummary(
        signature=signature, rows_compared=len(rows), labels_equal=not compared.differing, largest_difference=compared.largest
    )


def reference_of(network: Yolox, folder: ImageFolder, settings: YoloxSettings) -> dict[str, Histogram]:
    """What drift is measured against: brightness and contrast of training images, scores of detections on images held back.

    Not on training images, which the network knows by heart: on those of the validation split, or the test split if it is empty.
    """
    training = folder.images("train")
    measured = [image_quantities(training.sample(row).image) for row in evenly(len(training), IMAGES_REFERRED_TO)]
    reference = {name: histogram_of([one[name] for one in measured]) for name in IMAGE_QUANTITIES}
    held_back = folder.images("validation")
    if not len(held_back):
        held_back = folder.images("test")
    found = detect(network, held_back, evenly(len(held_back), SCORED_IMAGES), settings)
    scores = [score for boxes in found.values() if boxes.scores is not None for score in boxes.scores.tolist()]
    return {**reference, CONFIDENCE: histogram_of(scores)} if scores else reference


def _compare(
    network: Yolox, content: bytes, folder: ImageFolder, rows: Sequence[int], settings: YoloxSettings, reader: ImageReader
) -> _Compared:
    images, session, detector = folder.images("test"), session_of(content), Detector(network, settings.input_size).eval()
    largest, differing, counts = 0.0, [], []
    for row in rows:
        pixels, name = images.sample(row).image, images.image(row).name
        batch = network_input(pixels, settings.input_size)[None]
        apart, native, graph = checked_distance(session, detector, batch, name)
        largest = max(largest, apart)
        size = (pixels.shape[0], pixels.shape[1])
        boxes = [detections_of(found.boxes[0], found.scores[0], size, settings) for found in (native, graph)]
        if not _agree(reader.objects(boxes[0]), reader.objects(boxes[1]), reader):
            differing.append(name)
        counts.append(len(boxes[0].boxes))
    fullest = sorted(range(len(rows)), key=lambda place: -counts[place])
    return _Compared(largest, tuple(differing), tuple(rows[place] for place in fullest[: 4 * EXAMPLES]))


def _agree(native: list[dict[str, Any]], graph: list[dict[str, Any]], reader: ImageReader) -> bool:
    """Whether two answers to one image are the same by the rules of the server's check."""
    examples = Examples(rows=({},), boxes=(tuple(native),))
    try:
        hold_to_examples(examples, lambda _row, _number: graph, reader.comparison)
    except IntegrityError:
        return False
    return True


def _examples(network: Yolox, folder: ImageFolder, rows: Sequence[int], settings: YoloxSettings, reader: ImageReader) -> Examples:
    """Small files of test images with the network's boxes, of the first rows that pass the server's own check.

    Raises:
        IntegrityError: not one passes.
    """
    images, detector = folder.images("test"), Detector(network, settings.input_size).eval()
    chosen: list[tuple[dict[str, Any], tuple[dict[str, Any], ...]]] = []
    failure: IntegrityError | None = None
    for row in dict.fromkeys(rows):
        content = small_png(images.sample(row).image, settings)
        example = {INPUT: base64.b64encode(content).decode("ascii")}
        boxes = tuple(reader.objects(_native(detector, decode_image(content, 0, INPUT), settings)))
        try:
            reader.check(Examples(rows=(example,), boxes=(boxes,)))
        except IntegrityError as error:
            failure = error
            continue
        chosen.append((example, boxes))
        if len(chosen) == EXAMPLES:
            break
    if not chosen:
        raise IntegrityError(
            f"not one of {len(set(rows))} test images gives the same boxes in the graph and in PyTorch. A network after a few "
            f"steps enlarges every rounding: train it longer. {failure}"
        )
    return Examples(rows=tuple(row for row, _ in chosen), boxes=tuple(boxes for _, boxes in chosen))


def _native(detector: Detector, pixels: Pixels, settings: YoloxSettings) -> ImageBoxes:
    found: Found = run_native(detector, network_input(pixels, settings.input_size)[None])
    return detections_of(found.boxes[0], found.scores[0], (pixels.shape[0], pixels.shape[1]), settings)


def small_png(pixels: Pixels, settings: YoloxSettings) -> bytes:
    """The image as a small PNG file: not much larger than the network's input, few colours."""
    from PIL import Image

    ratio = min(1.0, letterbox_ratio(pixels.shape, settings.input_size) * EXAMPLE_SCALE)
    small = Image.fromarray(resized(pixels, scaled_size(pixels.shape, ratio)))
    stream = io.BytesIO()
    small.quantize(_COLOURS, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return stream.getvalue()
