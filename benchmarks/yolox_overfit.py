"""Can YOLOX-nano learn what it is shown? The labelled real KITTI images by heart, mAP@0.5 on the same images.

Not a measure of quality: whoever cannot reach 0.9 on what was learned has a mistake in assignment, loss, decoding or evaluation.
Without augmentation. DontCare, Van and Person_sitting are ignored regions; classes without a name here are background.

    python benchmarks/yolox_overfit.py FOLDER           # FOLDER holds training/image_2 and training/label_2
    python benchmarks/yolox_overfit.py FOLDER --epochs 100 --size 256 832 --out /tmp/overfit.json

KITTI's licence (CC BY-NC-SA 3.0) forbids commercial use; only the numbers are written.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from mlops_assets.data.kitti.labels import read_labels
from mlops_assets.tasks.detection.coco_evaluation import CocoEvaluation, ImageBoxes, evaluate_coco
from mlops_assets.tasks.detection2d.augmentation import IGNORED
from mlops_assets.tasks.detection2d.dataset import DetectionDataset, LabelledImage, labelled_image
from mlops_assets.tasks.detection2d.decoding import predict
from mlops_assets.tasks.detection2d.model import Yolox
from mlops_assets.tasks.detection2d.settings import YoloxSettings
from mlops_assets.tasks.detection2d.training import train_yolox

RESULTS = Path(__file__).resolve().parent / "results" / "yolox_overfit.json"
CLASSES = ("Car", "Pedestrian", "Cyclist")
UNSAID = ("DontCare", "Van", "Person_sitting")


def frames(folder: Path) -> DetectionDataset:
    """Every labelled image below ``folder``."""
    images: list[LabelledImage] = []
    for path in sorted((folder / "training" / "label_2").glob("*.txt")):
        objects = read_labels(path)
        rows = [row for row, name in enumerate(objects.names) if name in (*CLASSES, *UNSAID)]
        classes = [CLASSES.index(objects.names[row]) if objects.names[row] in CLASSES else IGNORED for row in rows]
        image = folder / "training" / "image_2" / f"{path.stem}.png"
        images.append(labelled_image(path.stem, image, objects.boxes_2d[rows], classes))
    return DetectionDataset(images, CLASSES, cache_bytes=2**30)


def measured(dataset: DetectionDataset, network: Yolox, settings: YoloxSettings) -> CocoEvaluation:
    """Average precision of the network on every image of the dataset."""
    samples = [dataset.sample(index) for index in range(len(dataset))]
    found = predict(network, (sample.image for sample in samples), settings, batch_size=1)
    truths = {}
    for index, sample in enumerate(samples):
        rows = sample.classes != IGNORED
        truths[dataset.image(index).name] = ImageBoxes(sample.boxes[rows].astype(np.float64), sample.classes[rows])
    return evaluate_coco(truths, dict(zip(truths, found, strict=True)), CLASSES)


def main() -> None:
    """Train on a folder's images until they are known by heart, and say how well."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--variant", default="nano")
    parser.add_argument("--size", type=int, nargs=2, default=(384, 1248), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rate", type=float, default=0.32, help="learning rate for 64 images")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    settings = YoloxSettings.of({
        "variant": asked.variant, "input_size": tuple(asked.size), "epochs": asked.epochs, "batch_size": asked.batch,
        "learning_rate": asked.rate, "mosaic_probability": 0.0, "mixup_probability": 0.0, "hsv_probability": 0.0,
        "flip_probability": 0.0, "multiscale": (0, 0), "cpu_threads": asked.threads, "loader_threads": 1, "device": asked.device,
        "checkpoint_epochs": 50,
    })  # fmt: skip
    dataset = frames(asked.folder)
    started = time.perf_counter()
    reached: list[dict[str, float]] = []

    def validate(network: Yolox) -> Mapping[str, float]:
        found = measured(dataset, network, settings)
        reached.append({"minutes": round((time.perf_counter() - started) / 60, 2), "map_50": round(found.map_50, 4)})
        return {"mAP@0.5": found.map_50}

    def report(fraction: float, text: str, metrics: Mapping[str, float]) -> None:
        if metrics:
            print(f"{fraction:.3f} {text} " + " ".join(f"{name}={value:.4f}" for name, value in metrics.items()), flush=True)

    processor = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        trained = train_yolox(dataset, settings, Path(folder), report, validate=validate, validation_epochs=25)
    evaluation = measured(dataset, trained.network, settings)
    result = {
        "machine": f"{platform.machine()}, {trained.device}, {asked.threads} thread(s)",
        "torch": torch.__version__,
        "images": len(dataset),
        "objects": dataset.counts(),
        "settings": settings.model_dump(mode="json"),
        "steps": trained.steps,
        "minutes": round(trained.seconds / 60, 2),
        "processor_minutes": round((time.process_time() - processor) / 60, 2),
        "precision": trained.precision,
        "on_the_way": reached,
        "map_50": evaluation.map_50,
        "map_50_95": evaluation.map_50_95,
        "classes": [entry.model_dump(mode="json") for entry in evaluation.classes],
        "final_loss": trained.curves["loss"][-1],
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"mAP@0.5 {evaluation.map_50:.4f}, mAP@0.5:0.95 {evaluation.map_50_95:.4f} after {trained.seconds / 60:.1f} minutes")


if __name__ == "__main__":
    main()
