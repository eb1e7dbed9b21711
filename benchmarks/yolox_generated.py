"""Does YOLOX generalise? Trained on generated streets of one seed, measured on those and on streets of another seed.

Nothing is downloaded and nothing is real: it says whether training, augmentation, evaluation and thresholds work together, not
how well KITTI would be detected. The four verbs of the task do the work, as an issue would have them.

    OMP_NUM_THREADS=1 nice -n 19 python benchmarks/yolox_generated.py            # ten minutes on one core
    python benchmarks/yolox_generated.py --choose --out /tmp/chosen.json         # settings are chosen so: no test frame is read

The LiDAR is the full one although only images are read: an object without five points is no label but DontCare, and with 16 beams
that is half of the people in sight. Nothing beyond 40 m is labelled: there a car is 11 pixels high in images of 512 x 160, which
is KITTI's least height of 25 in its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from mlops_assets.request.schema import DatasetRequest, Preprocessing, TrainingRequest
from mlops_assets.tasks.detection2d.image_folder import ImageFolder
from mlops_assets.tasks.detection2d.preparation import object_counts
from mlops_assets.tasks.detection2d.task import ImageDetectionTask
from sim.driving.config import WorldConfig
from sim.driving.world import World, write_world

RESULTS = Path(__file__).resolve().parent / "results" / "yolox_generated.json"
PARTS = {"image_2": "png", "velodyne": "bin", "calib": "txt", "label_2": "txt"}
#: Of each split: the seed of its streets.
SEEDS = {"train": 11, "validation": 22, "test": 33}


#: Farther objects are DontCare [m].
LABEL_DISTANCE = 40.0


def joined(root: Path, frames: dict[str, int], config: WorldConfig) -> dict[str, list[str]]:
    """One copy of frames of three seeds; frame ids by split."""
    ids: dict[str, list[str]] = {}
    for position, (split, count) in enumerate(frames.items()):
        world = root.parent / f"world-{split}"
        write_world(world, World(seed=SEEDS[split], frames=count, config=config))
        ids[split] = [f"{position}{number:05d}" for number in range(count)]
        for folder, suffix in PARTS.items():
            (root / "training" / folder).mkdir(parents=True, exist_ok=True)
            for number, name in enumerate(ids[split]):
                os.link(world / "training" / folder / f"{number:06d}.{suffix}", root / "training" / folder / f"{name}.{suffix}")
    return ids


def listed(root: Path, splits: dict[str, list[str]]) -> None:
    """Write the lists by which the data step splits the copy."""
    (root / "ImageSets").mkdir(exist_ok=True)
    for split, names in splits.items():
        (root / "ImageSets" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def main() -> None:
    """Train on some streets, measure on others, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--variant", default="yolox-nano")
    parser.add_argument("--frames", type=int, nargs=3, default=(500, 60, 100), metavar=("TRAIN", "VALIDATION", "TEST"))
    parser.add_argument("--size", type=int, nargs=2, default=(160, 512), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=0.16, help="learning rate for 64 images")
    parser.add_argument("--augmentation", nargs="*", default=["mosaic", "hsv_jitter", "random_horizontal_flip"])
    parser.add_argument("--choose", action="store_true", help="judge on the validation frames and leave the test frames out")
    parser.add_argument("--keep", type=Path, help="folder for figures and model")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    height, width = asked.size
    config = WorldConfig(image_width=width, image_height=height, label_distance=LABEL_DISTANCE)
    request = TrainingRequest(
        model_id="generated", dataset=DatasetRequest(dataset_id="generated"), learning_type="supervised",
        task_type="detection_2d",
        algorithm="yolox", variant=asked.variant,
        hyperparameters={"epochs": asked.epochs, "batch_size": asked.batch, "lr": asked.rate},
        preprocessing=Preprocessing(input_size=(height, width), augmentation=tuple(asked.augmentation)),
    )  # fmt: skip
    task = ImageDetectionTask()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "copy"
        ids = joined(root, dict(zip(SEEDS, (*asked.frames[:2], 0) if asked.choose else asked.frames, strict=True)), config)
        if asked.choose:
            ids["test"] = ids["validation"]
        listed(root, ids)
        features_at = Path(folder) / "features"
        features = task.prepare(root, request, features_at)
        training_objects = dict(object_counts(json.loads(ImageFolder.read(features_at).annotations("train").read_text())))
        started, busy = time.perf_counter(), [os.getloadavg()[0]]
        seen: list[tuple[float, float]] = []

        def report(fraction: float, text: str, metrics: object) -> None:
            values = dict(metrics) if isinstance(metrics, dict) else {}
            if "validation_mAP@0.5" in values:
                seen.append((round((time.perf_counter() - started) / 60, 2), round(values["validation_mAP@0.5"], 4)))
            if values:
                print(f"{fraction:.2f} {text} loss {values.get('train_loss', 0):.3f} {seen[-1:]}", flush=True)

        trained = task.train(features_at, request, Path(folder) / "model", report, checkpoints=Path(folder) / "checkpoints")
        unseen = task.evaluate(features_at, Path(folder) / "model", request, Path(folder) / "unseen")
        listed(root, {"test": ids["train"][: len(ids["test"])]})
        task.prepare(root, request, Path(folder) / "features-of-training")
        learned = task.evaluate(Path(folder) / "features-of-training", Path(folder) / "model", request, Path(folder) / "learned")
        exported = task.export(root, features_at, Path(folder) / "model", request, Path(folder) / "export")
        busy.append(os.getloadavg()[0])
        if asked.keep:
            for name in ("unseen", "learned", "model", "export"):
                shutil.copytree(Path(folder) / name, asked.keep / name, dirs_exist_ok=True)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared; Python {platform.python_version()}",
        "load": [round(value, 2) for value in busy],
        "libraries": {name: version(name) for name in ("torch", "numpy", "pillow", "onnxruntime", "faster-coco-eval")},
        "world": {"seeds": SEEDS, **config.model_dump(mode="json")},
        "judged_on": "validation" if asked.choose else "test",
        "frames": features.rows,
        "objects": features.objects,
        "training_objects": training_objects,
        "hyperparameters": trained.hyperparameters,
        "input_size": [height, width],
        "training_minutes": round(trained.seconds / 60, 2),
        "processor_minutes": round((usage.ru_utime + usage.ru_stime) / 60, 2),
        "validation_on_the_way": [{"minutes": minutes, "map_50": value} for minutes, value in seen],
        "conventions": unseen.conventions,
        "unseen": {"metrics": unseen.metrics, "per_class": unseen.per_class, "confusion_matrix": unseen.confusion_matrix},
        "training_frames": {"metrics": learned.metrics, "per_class": learned.per_class},
        "graph": {"largest_difference": exported.largest_difference, "boxes_equal": exported.labels_equal},
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print("unseen", unseen.metrics, "training frames", learned.metrics, f"{trained.seconds / 60:.1f} minutes")


if __name__ == "__main__":
    main()
