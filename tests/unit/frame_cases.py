"""A KITTI copy as its registration describes it, plans of detectors on it, and the record of one that was trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlops_assets.data.dataset import KITTI, CatalogueEntry, DatasetVersion
from mlops_assets.reports.record import (
    PHASES,
    DatasetFacts,
    EndpointFacts,
    GateDecision,
    ModelFacts,
    PhaseProgress,
    TrainingRecord,
)
from mlops_assets.request.optimiser.estimate import Actual, estimate
from mlops_assets.request.optimiser.models import Optimization
from mlops_assets.request.parser import parse_issue
from mlops_assets.request.plan import Plan
from mlops_assets.request.planner import make_plan
from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.detection2d.task import ImageDetectionTask
from mlops_assets.tasks.detection3d.task import CloudDetectionTask
from mlops_assets.tasks.interface import Algorithm
from mlops_assets.tasks.tabular.algorithms import ALGORITHMS

LOCAL = {"compute": "local", "processors": 2}
WITH_GPU = {**LOCAL, "gpu": True}
TASKS = (ImageDetectionTask(), CloudDetectionTask())
OFFERED: tuple[Algorithm, ...] = (*ALGORITHMS, *(algorithm for task in TASKS for algorithm in task.algorithms))
#: Labelled objects of KITTI's 7,481 training frames; the numbers that everybody quotes, no data.
OBJECTS = {
    "Car": 28_742, "Pedestrian": 4_487, "Van": 2_914, "Cyclist": 1_627, "Truck": 1_094, "Misc": 973, "Tram": 511,
    "Person_sitting": 222,
}  # fmt: skip
FRAMES = 7_481
SHA = "3f" * 32

#: The user's two examples in the repository's own words: the same fields, both ways to write them.
LONG = """model_type: supervised_learning
algorithm: yolox
variant: yolox-m

dataset:
  name: kitti_object_detection
  s3_uri: s3://a-bucket/kitti/object/
  classes: [Car, Pedestrian, Cyclist]
  train_size: 7481
  val_size: 7518

preprocessing:
  input_size: [640, 640]
  augmentation:
    - mosaic
    - mixup
    - hsv_jitter
    - random_horizontal_flip

hyperparameters:
  {batch_size: 32, epochs: 300, lr: 0.01, weight_decay: 0.0005, warmup_epochs: 5, mosaic_prob: 1.0, mixup_prob: 1.0}

evaluation:
  metrics: [mAP@0.5, "mAP@0.5:0.95", recall, precision, inference_latency_ms]
  test_dataset: kitti_val

deployment:
  target: sagemaker_endpoint
  instance_type: ml.g4dn.xlarge
  auto_scaling: {min_instances: 1, max_instances: 5, target_invocations_per_instance: 100}
"""
SHORT = """model_type: supervised_learning
algorithm: yolox
variant: yolox-m  # Nano/Tiny/S/M/L/X
dataset:
  name: kitti_object_detection
  s3_uri: s3://a-bucket/kitti/object/
  train_split: 7481
  val_split: 7518
hyperparameters:
  input_size: [640, 640]
  batch_size: 32
  epochs: 300
  lr: 0.01
  warmup_epochs: 5
  mosaic_prob: 1.0
  mixup_prob: 1.0
augmentation:
  - mosaic
  - mixup
  - hsv_jitter
  - random_flip
evaluation_metrics:
  - mAP@0.5
  - mAP@0.5:0.95
  - inference_latency_ms
deployment:
  target: sagemaker_endpoint
  instance_type: ml.g4dn.xlarge  # GPU推論
  auto_scaling:
    min_instances: 1
    max_instances: 10
    target_latency_ms: 50
"""
CLOUDS = "dataset_id: kitti_object_detection\nalgorithm: pointpillars\n"


def kitti(frames: int = FRAMES, objects: Mapping[str, int] = OBJECTS, **changed: Any) -> DatasetVersion:
    """A registered copy in which every frame has every part."""
    content: dict[str, Any] = {
        "dataset_id": "kitti_object_detection",
        "version": "sha256-0123456789abcdef",
        "form": KITTI,
        "raw_sha256": "0" * 64,
        "raw_bytes": 1,
        "rows": frames,
        "columns": (),
        "duplicate_rows": 0,
        "target_counts": dict(objects),
        "parts": dict.fromkeys(("image", "cloud", "calibration", "labels"), frames),
        "shards": -(-frames // 200),
        "entry": CatalogueEntry(dataset_id="kitti_object_detection", source="kitti"),
        "added_at": "2026-11-01T00:00:00Z",
    }
    return DatasetVersion.model_validate({**content, **changed})


def request_of(body: str, title: str = "") -> TrainingRequest:
    return parse_issue(title, body, offered=OFFERED)


def plan_of(
    body: str | TrainingRequest, version: DatasetVersion | None = None, resources: Mapping[str, Any] = LOCAL, title: str = ""
) -> Plan:
    """The plan of a body on the copy, by the task that offers its algorithm."""
    request = request_of(body, title) if isinstance(body, str) else body
    task = next(task for task in TASKS if any(a.name == request.algorithm for a in task.algorithms))
    algorithm = next(a for a in task.algorithms if a.name == request.algorithm)
    given = version or kitti()
    return make_plan(request, given, "code-1", task=task, algorithm=algorithm, resources=resources, cost_cap_usd=None)


def trained(body: str = LONG, title: str = "", **changed: Any) -> TrainingRecord:
    """The record of a detector that was trained, deployed and measured; the numbers are made up."""
    plan = plan_of(body, title=title)
    clouds = plan.request.task_type == "detection_3d"
    request = request_of(body, title)
    kitti_numbers = {
        f"{name}_{metric}_ap_{difficulty}_{positions}": 0.701 - 0.07 * place
        for positions in ("r40", "r11")
        for name in ("car", "pedestrian", "cyclist")
        for metric in ("3d", "bev", "2d", "aos")
        for place, difficulty in enumerate(("easy", "moderate", "hard"))
    }
    metrics = {"mAP@0.5": 0.6123, "mAP@0.5:0.95": 0.3411, "recall": 0.71, "precision": 0.83, "inference_latency_ms": 812.4}
    content: dict[str, Any] = {
        "training_id": "train-20261121-050000-ab12",
        "model_id": plan.request.model_id,
        "issue": 7,
        "attempt": 1,
        "outcome": "deployed",
        "language": request.language,
        "started_at": "2026-11-21T05:00:00+00:00",
        "finished_at": "2026-11-21T09:30:00+00:00",
        "request": request,
        "settled": {"dataset.classes": ["Car", "Pedestrian", "Cyclist"], "variant": plan.request.variant},
        "plan_digest": plan.digest,
        "approved_by": "maintainer",
        "code_version": "0.1.0+abc1234",
        "environment": {"python": "3.11.9", "torch": "2.13.0"},
        "not_done": tuple(item.key for item in plan.not_done),
        "characteristics": plan.characteristics,
        "optimizations": plan.optimizations,
        "estimate": estimate(plan, ()),
        "actual": Actual(duration_seconds=16_200.0, cost_usd=0.0, metric="mAP@0.5", score=0.6123),
        "dataset": DatasetFacts(
            dataset_id="kitti_object_detection",
            version="sha256-0123456789abcdef",
            target="objects",
            form=KITTI,
            parts=("cloud", "calibration") if clouds else ("image",),
            objects={"train": 24_000, "validation": 3_400, "test": 7_456},
            rows={"train": 5_236, "validation": 748, "test": 1_496},
            removed={"damaged": 1},
            split="listed",
            features=1,
            classes=("Car", "Pedestrian", "Cyclist"),
            digest=SHA,
        ),
        "feature_digest": SHA,
        "hyperparameters": plan.hyperparameters,
        "training_seconds": 15_000.0,
        "curves": {"loss": [9.1, 4.2, 3.3]},
        "metrics": {**metrics, **(kitti_numbers if clouds else {})},
        "conventions": {
            "mAP@0.5": "COCO AP, IoU 0.5, 3 classes",
            "inference_latency_ms": "ONNX Runtime, 2 threads, one image, median",
            **{name: "KITTI, 40 recall positions" for name in kitti_numbers if clouds},
        },
        "per_class": {
            "Car": {"ap50": 0.81, "ap50_95": 0.4, "recall": 0.84, "precision": 0.9, "support": 6_100},
            "Pedestrian": {"ap50": 0.55, "ap50_95": 0.4, "recall": 0.66, "precision": 0.8, "support": 900},
            "Cyclist": {"ap50": 0.47, "ap50_95": 0.4, "recall": 0.63, "precision": 0.79, "support": 456},
        },
        "confusion_matrix": [[5_100, 3, 1, 996], [2, 590, 8, 300], [0, 9, 280, 167], [500, 120, 60, 0]],
        "confusion_classes": ("Car", "Pedestrian", "Cyclist", "background"),
        "variants": next(a.variants for a in OFFERED if a.name == request.algorithm),
        "gate": GateDecision(metric="mAP@0.5", direction="higher", value=0.6123, threshold=0.5, passed=True),
        "model": ModelFacts(version="v1.0.0", package_digest=SHA, uri="models/kitti/v1.0.0"),
        "endpoint": EndpointFacts(environment="dev", url="http://127.0.0.1:8101"),
        "phases": tuple(PhaseProgress(phase=phase, state="done", seconds=1.0) for phase in PHASES),
    }  # fmt: skip
    return TrainingRecord.model_validate({**content, **changed})


def fell_short(body: str = LONG, **changed: Any) -> TrainingRecord:
    """The same, below its threshold."""
    gate = GateDecision(
        metric="mAP@0.5",
        direction="higher",
        value=0.6123,
        threshold=0.7,
        passed=False,
        suggestions=("more_epochs", "larger_variant", "larger_input", "more_data"),
    )
    return trained(body, **{"outcome": "below_threshold", "gate": gate, "model": None, "endpoint": None, **changed})


def every_optimization() -> tuple[Optimization, ...]:
    """One optimisation at least with every action and every reason that only detectors meet."""
    fast, cheap = (f"workflow_optimization: {{performance_profile: {name}}}\n" for name in ("speed", "cost"))
    yolox = "dataset_id: kitti_object_detection\nalgorithm: yolox\n"
    cloud = {"compute": "sagemaker", "instance_type": "ml.g4dn.xlarge"}
    plans = [
        plan_of(LONG),
        plan_of(CLOUDS),
        plan_of(yolox + fast, resources=WITH_GPU),
        plan_of(yolox + cheap, kitti(frames=200), resources=cloud),
        plan_of(yolox, kitti(frames=20_000), resources=cloud),
    ]
    return tuple(optimization for plan in plans for optimization in plan.optimizations)
