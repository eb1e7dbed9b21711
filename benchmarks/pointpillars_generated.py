"""Does PointPillars find objects in streets that it has never seen? Trained and measured on the generated world, as a task.

    python benchmarks/pointpillars_generated.py                                  # six minutes on one core
    python benchmarks/pointpillars_generated.py --frames 40 --epochs 2 --out /tmp/generated.json
    python benchmarks/pointpillars_generated.py --choose --out /tmp/chosen.json  # settings are chosen so: no test frame is read

Batches of two: at equal time they give twice the steps, and after a few hundred steps every box still has its class's mean size.

The four verbs are those of a request; every frame is a street of its own, drawn from the seed, so the test streets are new.
The same numbers on training streets stand beside them. The world knows flat streets and bodies made of blocks: this shows that
labels, anchors, ranges, augmentation and evaluation fit together on unseen data. **It says nothing about KITTI.**
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from mlops_assets.data.dataset import PreparedDataset  # noqa: E402
from mlops_assets.request.schema import DatasetRequest, TrainingRequest  # noqa: E402
from mlops_assets.tasks.detection.kitti_evaluation import STRICT, evaluate_kitti  # noqa: E402
from mlops_assets.tasks.detection3d.box_evaluation import evaluate_boxes  # noqa: E402
from mlops_assets.tasks.detection3d.cloud_features import CloudFeatures, spread  # noqa: E402
from mlops_assets.tasks.detection3d.fitting import read_trained, torch_threads  # noqa: E402
from mlops_assets.tasks.detection3d.frame_detection import detect_frames  # noqa: E402
from mlops_assets.tasks.detection3d.pillar_detector import NativeDetector  # noqa: E402
from mlops_assets.tasks.detection3d.task import CloudDetectionTask  # noqa: E402
from sim.driving.config import WorldConfig  # noqa: E402
from sim.driving.world import World, write_world  # noqa: E402

CPU_INFO = Path("/proc/cpuinfo")
RESULTS = REPOSITORY / "benchmarks" / "results" / "pointpillars_generated.json"
#: Car 3D AP at the official overlap of 0.7 on unseen streets, as a share of the same on training streets.
TARGET_SHARE = 0.8


def cpu_model() -> str:
    """The processor's name as the operating system tells it."""
    for line in CPU_INFO.read_text().splitlines() if CPU_INFO.is_file() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write_dataset(folder: Path, frames: int, seed: int, config: WorldConfig, choose: bool) -> dict[str, int]:
    """A prepared dataset of generated streets; frames of each split. To choose settings, validation frames stand for the test."""
    write_world(folder, World(seed=seed, frames=frames, config=config))
    train, validation = round(frames * 0.7), round(frames * 0.8)
    members = {"train": range(train), "validation": range(train, validation), "test": range(validation, frames)}
    if choose:
        members["test"] = members["validation"]
    for split, numbers in members.items():
        (folder / "ImageSets" / f"{split}.txt").write_text("".join(f"{number:06d}\n" for number in numbers))
    rows = {split: len(numbers) for split, numbers in members.items()}
    prepared = PreparedDataset(
        dataset_id="generated", version=f"sha256-{seed:016d}", form="kitti", target="objects", positive_class=None, columns=(),
        ignored={}, sensitive=(), timestamp=None, entity=None, rows=rows, removed={}, split="listed", seed=seed, target_counts={},
        checks=(), digest=f"{seed:064d}",
    )  # fmt: skip
    (folder / "dataset.json").write_text(prepared.model_dump_json(indent=1))
    return rows


def measured(features: Path, model: Path, split: str, most: int) -> dict[str, object]:
    """The numbers of the evaluation on frames of one split."""
    folder = CloudFeatures.read(features)
    network, settings, card = read_trained(model, folder)
    ids = spread(folder.frame_ids(split), most)  # type: ignore[arg-type]
    found = detect_frames(folder, NativeDetector(network, settings).detect, ids)
    boxes = evaluate_boxes(found.labels, found.detections, card.classes)
    kitti = evaluate_kitti(
        {name: frame.objects for name, frame in found.labels.items()}, found.detections, classes=card.classes, overlaps=[STRICT]
    )
    return {
        "frames": len(ids),
        "mAP@0.5": boxes.map_50,
        "mAP@0.5:0.95": boxes.map_50_95,
        "per_class": {
            name: {"objects": curve.objects, "ap@0.5": None if averages is None else round(averages[0], 4)}
            for name, curve, averages in zip(boxes.classes, boxes.curves, boxes.average_precisions, strict=True)
        },
        "kitti": {
            number.convention: round(number.value / 100, 4)
            for number in kitti.numbers
            if number.recall_positions == "R40" and number.metric in ("3d", "bev")
        },
    }


def main() -> int:
    """Generate, prepare, train, evaluate, export; write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=280)
    parser.add_argument("--epochs", type=int, default=26)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--variant", default="slim")
    parser.add_argument("--forward", type=float, default=35.84)
    parser.add_argument("--side", type=float, default=20.48)
    parser.add_argument("--choose", action="store_true", help="judge on the validation frames and leave the test frames out")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, help="folder to keep and to continue from; a temporary one without it")
    options = parser.parse_args()
    config = WorldConfig(label_distance=options.forward)
    request = TrainingRequest(
        model_id="generated-streets",
        dataset=DatasetRequest(dataset_id="generated"),
        learning_type="supervised",
        task_type="detection_3d",
        algorithm="pointpillars",
        variant=options.variant,
        hyperparameters={
            "epochs": options.epochs,
            "batch_size": options.batch,
            "forward_range": options.forward,
            "side_range": options.side,
        },
        seed=options.seed,
    )
    task = CloudDetectionTask()
    with tempfile.TemporaryDirectory(prefix="pointpillars-generated-") as temporary:
        work = options.work or Path(temporary)
        data, features, model = work / "data", work / "features", work / "model"
        rows = write_dataset(data, options.frames, options.seed, config, options.choose)
        prepared = task.prepare(data, request, features)

        def report(fraction: float, text: str, metrics: object) -> None:
            print(f"{fraction:6.1%} {text} {metrics}", flush=True)

        started, spent = time.perf_counter(), time.process_time()
        trained = task.train(features, request, model, report, checkpoints=work / "checkpoints")
        minutes, cpu_minutes = (time.perf_counter() - started) / 60, (time.process_time() - spent) / 60
        evaluation = task.evaluate(features, model, request, work / "evaluation")
        exported = task.export(data, features, model, request, work / "export")
        folder = CloudFeatures.read(features)
        _, settings, _ = read_trained(model, folder)
        with torch_threads(settings, rows["train"]) as threads:
            sides = {split: measured(features, model, split, rows["test"]) for split in ("train", "test")}
    car = "Car 3D AP_R40@0.70 moderate"
    seen, unseen = (float(sides[split]["kitti"].get(car, 0.0)) for split in ("train", "test"))  # type: ignore[attr-defined]
    result = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": cpu_model(), "processors": os.cpu_count(), "threads": threads, "niceness": os.nice(0)},
        "versions": {name: version(name) for name in ("torch", "numpy", "onnxruntime")} | {"python": platform.python_version()},
        "world": {"seed": options.seed, "frames": rows, "objects": prepared.objects, **config.model_dump()},
        "judged_on": "validation" if options.choose else "test",
        "request": {"variant": options.variant, **trained.hyperparameters},
        "steps": trained.iterations,
        "minutes": round(minutes, 1),
        "cpu_minutes": round(cpu_minutes, 1),
        "losses": {name: [round(value, 4) for value in values] for name, values in trained.curves.items()},
        "training_streets": sides["train"],
        "unseen_streets": sides["test"],
        "recall": evaluation.metrics.get("recall"),
        "precision": evaluation.metrics.get("precision"),
        "conventions": {name: evaluation.conventions[name] for name in ("mAP@0.5", "recall", "precision")},
        "warnings": list(evaluation.warnings),
        "inference_latency_ms": evaluation.metrics["inference_latency_ms"],
        "onnx_largest_difference": exported.largest_difference,
        "car_3d_ap_moderate_r40": {"training_streets": seen, "unseen_streets": unseen},
        "share_of_training": round(unseen / seen, 4) if seen else None,
        "target_share": TARGET_SHARE,
        "met": bool(seen) and unseen / seen >= TARGET_SHARE,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 0 if result["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
