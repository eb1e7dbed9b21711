"""Can PointPillars learn what it is shown? Three real KITTI clouds by heart, Car 3D AP on the same clouds.

    python benchmarks/pointpillars_overfit.py FOLDER             # FOLDER holds training/velodyne, label_2, calib, image_2
    python benchmarks/pointpillars_overfit.py FOLDER --preset standard --epochs 150 --out /tmp/overfit.json

Not a measure of quality: whoever cannot reach 0.9 on what was learned has a mistake in anchors, targets, loss, decoding, frames
of reference or evaluation. Without augmentation. R40 cannot exceed n / 40 with n counted labels, so the value is given beside
that of the labels themselves taken for detections. KITTI's licence (CC BY-NC-SA 3.0) forbids commercial use; only numbers are
written.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from machine import cpu_model

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from mlops_assets.data.kitti.frames import KittiCopy, image_size  # noqa: E402
from mlops_assets.data.kitti.labels import KittiObjects  # noqa: E402
from mlops_assets.errors import NotFound  # noqa: E402
from mlops_assets.tasks.detection.kitti_evaluation import evaluate_kitti  # noqa: E402
from mlops_assets.tasks.detection.overlap import iou_3d  # noqa: E402
from mlops_assets.tasks.detection3d.kitti_clouds import KittiLidarFrames, kitti_detections  # noqa: E402
from mlops_assets.tasks.detection3d.pillar_checkpoints import read_model  # noqa: E402
from mlops_assets.tasks.detection3d.pillar_decoding import LidarDetections  # noqa: E402
from mlops_assets.tasks.detection3d.pillar_export import export_pointpillars  # noqa: E402
from mlops_assets.tasks.detection3d.pillar_inference import OnnxPillars  # noqa: E402
from mlops_assets.tasks.detection3d.pillar_settings import pillar_settings  # noqa: E402
from mlops_assets.tasks.detection3d.pillar_training import train_pointpillars  # noqa: E402
from mlops_assets.tasks.detection3d.pointpillars import parameter_count  # noqa: E402

RESULTS = REPOSITORY / "benchmarks" / "results" / "pointpillars_overfit.json"
FRAMES = ("000000", "000001", "000002")
TARGET = 0.9


def average_precision(copy: KittiCopy, found: dict[str, KittiObjects]) -> dict[str, float]:
    """Car 3D AP (strict overlap) of each difficulty and convention that could be evaluated."""
    result = evaluate_kitti({name: copy.objects(name) for name in found}, found)
    numbers = {}
    for difficulty in ("easy", "moderate", "hard"):
        for recall in ("R40", "R11"):
            try:
                number = result.number("Car", "3d", difficulty, recall_positions=recall)  # type: ignore[arg-type]
            except NotFound:
                continue
            numbers[number.convention] = number.value
    return numbers


def perfect(objects: KittiObjects) -> KittiObjects:
    """The labels themselves as detections."""
    kept = objects.select(objects.names != "DontCare")
    return KittiObjects(
        kept.names, kept.truncation, kept.occlusion, kept.alpha, kept.boxes_2d, kept.dimensions, kept.locations, kept.rotation_y,
        scores=np.ones(len(kept)),
    )  # fmt: skip


def overlaps(copy: KittiCopy, name: str, detections: LidarDetections) -> list[dict[str, object]]:
    """For each label of a detected class, the best overlap in space of a detection of that class."""
    frame = KittiLidarFrames(copy, [name])[0]
    rows = []
    for box, label in zip(frame.boxes, frame.names, strict=True):
        same = [row for row, given in enumerate(detections.names) if given == label]
        if label not in ("Car", "Pedestrian", "Cyclist"):
            continue
        shared = iou_3d(box[None], detections.boxes[same])[0]
        best = int(shared.argmax()) if len(shared) else None
        rows.append(
            {
                "frame": name,
                "class": label,
                "iou_3d": 0.0 if best is None else round(float(shared[best]), 3),
                "score": 0.0 if best is None else round(float(detections.scores[same][best]), 3),
            }
        )
    return rows


def main() -> int:
    """Train, detect through the exported graphs, evaluate, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="slim")
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=1, help="where others compute too, 1 is several times faster than 2")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    copy = KittiCopy.open(options.folder)
    frames = KittiLidarFrames(copy, FRAMES)
    settings = pillar_settings({"epochs": options.epochs, "batch_size": len(FRAMES)}, preset=options.preset)
    with tempfile.TemporaryDirectory(prefix="pointpillars-overfit-") as folder:
        work = Path(folder)

        def report(fraction: float, text: str, metrics: object) -> None:
            print(f"{fraction:6.1%} {text} {metrics}", flush=True)

        started = time.perf_counter()
        trained = train_pointpillars(frames, settings, work, report)
        minutes = (time.perf_counter() - started) / 60
        model, settings = read_model(trained.model)
        exported = export_pointpillars(model, settings, work / "onnx", [frames[0].points])
        detector = OnnxPillars.load(work / "onnx", threads=options.threads)
        found = {name: detector.detect(copy.cloud(name)) for name in FRAMES}
    as_kitti = {
        name: kitti_detections(found[name], copy.calibration(name), image_size(copy.path(name, "image"))) for name in FRAMES
    }
    reached = average_precision(copy, as_kitti)
    possible = average_precision(copy, {name: perfect(copy.objects(name)) for name in FRAMES})
    shares = {name: round(reached.get(name, 0.0) / value, 4) for name, value in possible.items() if value > 0}
    result = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": cpu_model(), "threads": options.threads},
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "preset": options.preset,
        "pillar_size_m": settings.pillar_size,
        "parameters": parameter_count(model),
        "frames": list(FRAMES),
        "steps": trained.steps,
        "minutes": round(minutes, 1),
        "loss": {"first": round(trained.curves["loss"][0], 4), "last": round(trained.curves["loss"][-1], 4)},
        "onnx_largest_difference": exported.largest_difference,
        "reached": reached,
        "possible": possible,
        "share_of_possible": shares,
        "labels": [row for name in FRAMES for row in overlaps(copy, name, found[name])],
        "detections": {name: len(found[name]) for name in FRAMES},
        "target": TARGET,
        "met": bool(shares) and min(shares.values()) >= TARGET,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 0 if result["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
