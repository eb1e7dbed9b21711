"""Detectors go the way that tables go: from a KITTI copy and an issue to an endpoint that answers with boxes.

One installation for the module: the tests read, in file order, what the loops before them left. The world is generated, small
enough to train in seconds; what a trained detector is worth is measured in ``benchmarks``.
"""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from installation import EXAMPLES, Installation

from mlops_assets.reports.record import TrainingRecord
from sim.driving.config import WorldConfig
from sim.driving.world import World, write_world

pytestmark = [pytest.mark.service, pytest.mark.slow]

LINE = "generated-world-yolox"
FRAMES, DAMAGED = 24, "000005.png"
YOLOX = (EXAMPLES / "yolox_generated.ja.md").read_text(encoding="utf-8")
PILLARS = """# Objects in clouds

```yaml
model_id: clouds
dataset_id: generated-world
algorithm: pointpillars
variant: slim
augmentation: [random_flip]
hyperparameters: {epochs: 2, batch_size: 4, forward_range: 30.72, side_range: 15.36}
evaluation_metrics: [mAP@0.5, recall, precision, inference_latency_ms]
evaluation_threshold: 0.0
```
"""


def smaller(body: str, **other: str) -> str:
    """The example at a size that trains in seconds, and asking for no quality that this gives."""
    changes = {"epochs: 60": "epochs: 4", "input_size: [160, 512]": "input_size: [96, 320]", "threshold: 0.3": "threshold: 0.0"}
    for own, changed in {**changes, **other}.items():
        assert own in body
        body = body.replace(own, changed)
    return body


@pytest.fixture(scope="module")
def mlops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = Installation(tmp_path_factory.mktemp("detectors"))
    config = WorldConfig(beams=16, azimuth_step=1.0, image_width=640, image_height=192)
    write_world(installation.folder / "world", World(seed=7, frames=FRAMES, config=config))
    damaged = installation.folder / "world" / "training" / "image_2" / DAMAGED
    damaged.write_bytes(damaged.read_bytes()[:2000])
    installation.run("dataset", "add", "generated-world", installation.folder / "world")
    yield installation
    installation.stop()
    installation.assert_nothing_runs()


@pytest.fixture(scope="module")
def first(mlops: Installation) -> TrainingRecord:
    """The first version of the image detector; its issue is number 1."""
    number = mlops.issue("yolox", smaller(YOLOX))
    return TrainingRecord.model_validate(mlops.json("run", str(number)))


@pytest.fixture(scope="module")
def second(mlops: Installation, first: TrainingRecord) -> TrainingRecord:
    """The same line again, with another seed: issue 2."""
    number = mlops.issue("again", smaller(YOLOX, **{"deploy_to: dev": "deploy_to: dev\nseed: 43"}))
    return TrainingRecord.model_validate(mlops.json("run", str(number)))


def posted(record: TrainingRecord, body: bytes, content_type: str) -> dict[str, Any]:
    assert record.endpoint is not None
    request = urllib.request.Request(f"{record.endpoint.url}/invocations", body, headers={"Content-Type": content_type})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return dict(json.load(answer))


def an_image(mlops: Installation) -> Path:
    return sorted((mlops.folder / "world" / "training" / "image_2").glob("*.png"))[0]


def a_cloud(mlops: Installation) -> Path:
    return sorted((mlops.folder / "world" / "training" / "velodyne").glob("*.bin"))[0]


def test_an_issue_about_images_becomes_an_endpoint_that_answers_with_boxes(mlops: Installation, first: TrainingRecord) -> None:
    assert (first.outcome, first.model_id, first.issue) == ("deployed", LINE, 1)
    assert first.model is not None and first.model.version == "v1.0.0"
    content = an_image(mlops).read_bytes()
    answer = posted(first, content, "image/png")
    assert answer["model_version"] == "v1.0.0"
    (prediction,) = answer["predictions"]
    for box in prediction["boxes"]:
        left, top, right, bottom = box["box"]
        assert 0 <= left < right <= 640 and 0 <= top < bottom <= 192
        assert box["class"] in {"Car", "Pedestrian", "Cyclist"} and 0 < box["score"] <= 1
    encoded = json.dumps({"rows": [{"image": base64.b64encode(content).decode()}]}).encode()
    assert posted(first, encoded, "application/json") == answer
    assert mlops.json("predict", LINE, an_image(mlops)) == answer


def test_the_thread_of_a_detector_has_the_frame_of_every_report_in_its_language(
    mlops: Installation, first: TrainingRecord
) -> None:
    record = mlops.only_training(1)
    assert record == first
    body = mlops.result_comment(1)
    for expected in ("YOLOX", "mAP@0.5", "Car", first.plan_digest, "image/png", "v1.0.0"):
        assert expected in body
    assert "学習" in body
    assert mlops.json("thread", "1")["labels"] == ["mlops:done", "mlops:train"]
    assert mlops.registered(LINE) == [("v1.0.0", record.training_id)]


def test_the_next_version_takes_over_and_a_rollback_brings_the_one_before_back(
    mlops: Installation, first: TrainingRecord, second: TrainingRecord
) -> None:
    assert second.model is not None and second.endpoint is not None
    assert [row["version"] for row in mlops.json("trainings", LINE)] == ["v1.0.0", second.model.version]
    content = an_image(mlops).read_bytes()
    assert posted(second, content, "image/png")["model_version"] == second.model.version
    assert mlops.json("rollback", LINE)["version"] == "v1.0.0"
    assert posted(second, content, "image/png")["model_version"] == "v1.0.0"
    assert (mlops.home / "history" / "training_history" / f"{first.training_id}.md").is_file()


def test_a_detector_is_reproduced_to_the_last_digit(mlops: Installation, first: TrainingRecord) -> None:
    again = mlops.json("reproduce", first.training_id)
    compared = {row["metric"]: (row["recorded"], row["reproduced"]) for row in again["comparisons"]}
    assert "mAP@0.5" in compared and all(recorded == now for recorded, now in compared.values())
    assert "inference_latency_ms" not in compared, "a time is measured anew each time"


def test_drift_is_told_of_the_images_that_were_sent(mlops: Installation, first: TrainingRecord) -> None:
    told = mlops.json("drift", LINE)
    assert {"brightness", "contrast", "confidence"} <= {row["name"] for row in told["quantities"]}


def test_the_damaged_image_is_named_and_the_other_frames_were_learned_from(mlops: Installation, first: TrainingRecord) -> None:
    assert first.dataset is not None and sum(first.dataset.rows.values()) == FRAMES - 1
    reference = mlops.platform.ledger.reference(first.training_id, "dataset")
    assert reference is not None
    assert DAMAGED in (mlops.platform.store.checkout(reference.prefix) / "quality.md").read_text(encoding="utf-8")


def test_an_issue_about_clouds_becomes_an_endpoint_that_answers_with_boxes_in_space(mlops: Installation) -> None:
    number = mlops.issue("clouds", PILLARS)
    record = TrainingRecord.model_validate(mlops.json("run", str(number)))
    assert (record.outcome, record.model_id) == ("deployed", "clouds")
    answer = posted(record, a_cloud(mlops).read_bytes(), "application/octet-stream")
    (prediction,) = answer["predictions"]
    for box in prediction["boxes"]:
        assert len(box["center"]) == len(box["size"]) == 3 and all(side > 0 for side in box["size"])
    assert mlops.json("predict", "clouds", a_cloud(mlops)) == answer
