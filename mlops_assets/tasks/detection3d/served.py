"""Fourth verb of detection in clouds: the served graphs, held against the network, and what the server needs beside them.

::

    pillars.onnx, model.onnx   see ``pillar_export``
    pointpillars.json          PillarSettings
    signature.json             Signature; settings: ``pillar`` and the names of the ``files``
    examples.json              clouds of the test split as a client sends them, and the boxes that the network finds there

Importing this module imports torch and onnx.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from mlops_assets.data.dataset import OBJECTS
from mlops_assets.errors import IntegrityError
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.detection.drift import CLOUD_QUANTITIES, CONFIDENCE, cloud_quantities, histogram_of
from mlops_assets.tasks.detection3d.cloud_features import CloudFeatures, spread
from mlops_assets.tasks.detection3d.fitting import read_trained, torch_threads
from mlops_assets.tasks.detection3d.pillar_decoding import LidarDetections
from mlops_assets.tasks.detection3d.pillar_detector import NativeDetector
from mlops_assets.tasks.detection3d.pillar_export import TOLERANCE, export_pointpillars
from mlops_assets.tasks.detection3d.pillar_inference import CANVAS_GRAPH, PILLAR_GRAPH, OnnxPillars, RawOutputs
from mlops_assets.tasks.detection3d.pillar_settings import PillarSettings
from mlops_assets.tasks.interface import ExportSummary, Histogram, InputField, Signature
from mlops_assets.whole_files import write_whole

#: Test clouds that are compared, training clouds whose density is measured: evenly over their splits.
CLOUDS_COMPARED, CLOUDS_MEASURED = 50, 200
EXAMPLES: Final = 2
INPUT: Final = "points"
#: Largest difference of a box of an example that the server's own start-up check finds again [m, rad, share].
BOX_TOLERANCE: Final = 1e-3


def export(features: Path, model: Path, request: TrainingRequest, out: Path) -> ExportSummary:
    """Write the graphs, ``signature.json`` and ``examples.json`` into ``out``.

    Compared are all outputs of the network, on up to 50 test clouds evenly over the split and on an empty one, and the class of
    every place that gives a box. ``largest_difference`` is absolute below 1 and relative above.

    Raises:
        IntegrityError: an output differs by more than 1e-4 or a class differs, or a folder is incomplete or of another training.
        DataRejected: a cloud is damaged.
    """
    folder = CloudFeatures.read(features)
    network, settings, card = read_trained(model, folder)
    ids = spread(folder.frame_ids("test"), CLOUDS_COMPARED)
    clouds = [in_range(folder.copy.cloud(name), settings) for name in ids]
    # From the operating threshold on, and on the CPU: what a GPU rounds otherwise is no fault of the graphs.
    settings = settings.model_copy(update={"device": "cpu", "score_threshold": card.threshold})
    found: list[LidarDetections] = []
    answered: list[bool] = []
    with torch_threads(settings, len(ids)):
        exported = export_pointpillars(network, settings, out, clouds)
        native, served = NativeDetector(network, settings), OnnxPillars.load(out)
        for name, cloud in zip(ids, clouds, strict=True):
            given, answer = native.outputs(cloud), served.outputs(served.pillars(cloud))
            require_equal_classes(name, given, answer, settings)
            found.append(native.decode(given))
            answered.append(_same_boxes(found[-1], served.decode(answer)))
    signature = Signature(
        task_type=request.task_type,
        inputs=(InputField(name=INPUT, kind="points", required=True),),
        classes=card.classes,
        target=OBJECTS,
        settings={
            "pillar": settings.model_dump(mode="json"),
            "files": {"pillars": PILLAR_GRAPH, "canvas": CANVAS_GRAPH},
        },
        reference=_reference(folder, settings, found),
    )
    write_whole(out / "examples.json", json.dumps(_examples(clouds, found, answered), ensure_ascii=False).encode())
    write_whole(out / "signature.json", signature.model_dump_json(indent=2).encode())
    return ExportSummary(
        signature=signature, rows_compared=len(ids), labels_equal=True, largest_difference=exported.largest_difference
    )


def in_range(cloud: NDArray[np.float32], settings: PillarSettings) -> NDArray[np.float32]:
    """The points ``(N, 4)`` that the detector looks at, in their order: the same pillars, and a smaller example."""
    low, high = (np.array(corner, dtype=np.float32) for corner in (settings.range_min, settings.range_max))
    return cloud[((cloud[:, :3] >= low) & (cloud[:, :3] < high)).all(axis=1)]


def box_objects(detections: LidarDetections) -> list[dict[str, JsonValue]]:
    """Detections as the endpoint answers them: class, score, centre and size [m], yaw [rad], LiDAR frame."""
    return [
        {"class": name, "score": score, "center": box[:3], "size": box[3:6], "yaw": box[6]}
        for name, score, box in zip(detections.names, detections.scores.tolist(), detections.boxes.tolist(), strict=True)
    ]


def require_equal_classes(name: str, native: RawOutputs, served: RawOutputs, settings: PillarSettings) -> None:
    """Where the network sees an object, both say the same class, unless two classes are as likely.

    Raises:
        IntegrityError: they do not; names the frame.
    """
    kinds, classes = settings.anchors_per_cell, len(settings.classes)
    mine, other = (outputs.class_logits.reshape(kinds, classes, -1).astype(np.float64) for outputs in (native, served))
    best = mine.max(axis=1)
    limit = np.log(settings.score_threshold / (1 - settings.score_threshold))
    # How much less likely the network finds the class that the graph has chosen.
    chosen = np.take_along_axis(mine, other.argmax(axis=1)[:, None], axis=1)[:, 0]
    apart = (best - chosen)[best >= limit]
    allowed = 2 * TOLERANCE * np.maximum(1.0, np.abs(best))[best >= limit]
    if (apart > allowed).any():
        raise IntegrityError(
            f"test frame {name}: the graphs and the network find another class in {int((apart > allowed).sum())} places"
        )


def _same_boxes(one: LidarDetections, other: LidarDetections) -> bool:
    """Whether the served boxes are those of the network; where two candidates are equally sure, suppression may keep either."""
    if one.names != other.names:
        return False
    gap = np.abs(one.boxes - other.boxes)
    gap[:, 6] = np.minimum(gap[:, 6], 2 * np.pi - gap[:, 6])
    return bool((gap <= BOX_TOLERANCE).all() and (np.abs(one.scores - other.scores) <= BOX_TOLERANCE).all())


def _reference(folder: CloudFeatures, settings: PillarSettings, found: Sequence[LidarDetections]) -> dict[str, Histogram]:
    """Points and density of training clouds; confidence of the test clouds, since a network is surer of what it learned from."""
    ids = spread(folder.frame_ids("train"), CLOUDS_MEASURED)
    measured = [cloud_quantities(folder.copy.cloud(name), settings.range_min, settings.range_max) for name in ids]
    reference = {name: histogram_of([values[name] for values in measured]) for name in CLOUD_QUANTITIES}
    scores = np.concatenate([np.empty(0), *(detections.scores for detections in found)])
    return reference | {CONFIDENCE: histogram_of(scores)}


def _examples(
    clouds: Sequence[NDArray[np.float32]], found: Sequence[LidarDetections], answered: Sequence[bool]
) -> dict[str, JsonValue]:
    """The smallest clouds in which something is found and the server finds the same; any, where there are none."""
    usable = [row for row in range(len(clouds)) if answered[row]]
    ranked = sorted(usable, key=lambda row: (len(found[row]) == 0, len(clouds[row]), row))[:EXAMPLES]
    rows: list[JsonValue] = [{INPUT: base64.b64encode(clouds[row].astype("<f4").tobytes()).decode("ascii")} for row in ranked]
    return {"rows": rows, "boxes": [list(box_objects(found[row])) for row in ranked]}
