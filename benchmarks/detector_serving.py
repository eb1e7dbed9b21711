"""One frame through the model server: PNG or cloud in over HTTP, boxes out, step by step, beside the user's two budgets.

    python benchmarks/detector_serving.py --image 000002.png --cloud 000002.bin   # writes results/detector_serving.json
    python benchmarks/detector_serving.py --out /tmp/serving.json                  # a frame of the generated world

Every detector is packaged as the platform packages it and served by a real server process on loopback; one client sends one frame
at a time on an open connection. The steps are measured beside it, in this process, with the same functions and sessions; what the
whole request takes more than their sum is HTTP, JSON, threads and counting. Weights are untrained, which changes no time but that
of suppression: so the score threshold is put where `--candidates` boxes of this frame pass it. Detectors and numbers of threads
take turns frame by frame, so that a busy machine disturbs all alike; medians, and the fastest.

Budgets: 30 ms for detection (input of the network, network, decoding and suppression), 100 ms from request to answer.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import cpu_model
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from mlops_assets.data.kitti.clouds import read_bin  # noqa: E402
from mlops_assets.serving.clouds import CloudReader, decode_cloud  # noqa: E402
from mlops_assets.serving.graphs import THREADS_VARIABLE, session_of  # noqa: E402
from mlops_assets.serving.images import ImageReader, decode_image  # noqa: E402
from mlops_assets.serving.package import Examples, ModelMetadata  # noqa: E402
from mlops_assets.serving.packaging import build_package  # noqa: E402
from mlops_assets.tasks.detection.drift import (  # noqa: E402
    CLOUD_QUANTITIES,
    CONFIDENCE,
    IMAGE_QUANTITIES,
    cloud_quantities,
    histogram_of,
    image_quantities,
)
from mlops_assets.tasks.detection2d.decoding import detections_of, network_input  # noqa: E402
from mlops_assets.tasks.detection2d.export import export_onnx  # noqa: E402
from mlops_assets.tasks.detection2d.model import parameter_count  # noqa: E402
from mlops_assets.tasks.detection2d.settings import YoloxSettings  # noqa: E402
from mlops_assets.tasks.detection2d.training import seeded_network  # noqa: E402
from mlops_assets.tasks.detection3d.pillar_export import export_pointpillars  # noqa: E402
from mlops_assets.tasks.detection3d.pillar_inference import CANVAS_GRAPH, PILLAR_GRAPH, OnnxPillars  # noqa: E402
from mlops_assets.tasks.detection3d.pillar_settings import PRESETS  # noqa: E402
from mlops_assets.tasks.detection3d.pointpillars import build_pointpillars  # noqa: E402
from mlops_assets.tasks.interface import InputField, Signature  # noqa: E402

RESULTS = REPOSITORY / "benchmarks" / "results" / "detector_serving.json"
CLASSES = ("Car", "Pedestrian", "Cyclist")
#: Variant and input size [px]; the last has the shape of a KITTI image, at the scale of 640 x 640.
YOLOX = (("nano", (416, 416)), ("tiny", (416, 416)), ("s", (640, 640)), ("s", (192, 640)))
PILLARS = ("slim", "standard")
BUDGETS = {"detection_ms": 30.0, "end_to_end_ms": 100.0}
STEPS = ("decode", "preprocess", "network", "postprocess", "measure")
WARM_UP = 1


@dataclass
class Contender:
    """One detector with one number of threads: its server, its steps, and the seconds of both."""

    name: str
    threads: int
    port: int
    media_type: str
    body: bytes
    steps: Callable[[bytes], list[float]]
    seconds: dict[str, list[float]] = field(default_factory=lambda: {step: [] for step in STEPS})
    requests: list[float] = field(default_factory=list)

    def request(self, connection: http.client.HTTPConnection) -> None:
        """Send the frame and read the answer."""
        connection.request("POST", "/invocations", self.body, {"content-type": self.media_type})
        reply = connection.getresponse()
        answer = json.loads(reply.read())
        if reply.status != 200:
            raise SystemExit(f"{self.name}: {answer}")

    def turn(self, *, counted: bool) -> None:
        """One frame over HTTP and one step by step; the first ones warm up."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        # A client keeps its connection; here the others' turns are so long that the server would have closed it.
        connection.connect()
        started = time.perf_counter()
        self.request(connection)
        took = time.perf_counter() - started
        connection.close()
        marks = self.steps(self.body)
        if counted:
            self.requests.append(took)
            for step, begin, end in zip(STEPS, marks, marks[1:], strict=False):
                self.seconds[step].append(end - begin)

    def row(self) -> dict[str, Any]:
        """Medians [ms], and whether the budgets hold."""
        median = {step: statistics.median(values) * 1e3 for step, values in self.seconds.items()}
        detections = [sum(turn) * 1e3 for turn in zip(*(self.seconds[step] for step in STEPS[1:4]), strict=True)]
        whole = statistics.median(self.requests) * 1e3
        detection = statistics.median(detections)
        return {
            "detector": self.name,
            "threads": self.threads,
            **{f"{step}_ms": round(value, 2) for step, value in median.items()},
            "http_ms": round(max(0.0, whole - sum(median.values())), 2),
            "detection_ms": round(detection, 1),
            "fastest_detection_ms": round(min(detections), 1),
            "end_to_end_ms": round(whole, 1),
            "fastest_end_to_end_ms": round(min(self.requests) * 1e3, 1),
            "detection_within_budget": detection <= BUDGETS["detection_ms"],
            "end_to_end_within_budget": whole <= BUDGETS["end_to_end_ms"],
        }


def sealed(export: Path, signature: Signature, row: dict[str, Any], boxes: list[dict[str, Any]], name: str) -> Path:
    """The package of an export folder that has its graphs."""
    examples = Examples(rows=(row,), boxes=(tuple(boxes),))
    (export / "signature.json").write_text(signature.model_dump_json(), encoding="utf-8")
    (export / "examples.json").write_text(examples.model_dump_json(), encoding="utf-8")
    metadata = ModelMetadata(
        model_id=name, version="v1.0.0", training_id="train-20260131-090000-abcd", algorithm=name, task_type=signature.task_type,
        hyperparameters={}, metrics={}, dataset_id="frame", dataset_version="none", plan_digest="0" * 64, code_version="0.1.0",
        created_at="2026-01-31T09:00:00+00:00",
    )  # fmt: skip
    build_package(export, metadata, export.with_name(f"{export.name}-package"))
    return export.with_name(f"{export.name}-package")


def threshold(scores: np.ndarray[Any, Any], candidates: int) -> float:
    """The score that just so many pass."""
    return float(min(0.999, max(1e-6, np.sort(scores.ravel())[-candidates])))


def yolox(folder: Path, variant: str, size: tuple[int, int], content: bytes, candidates: int) -> tuple[Path, dict[str, Any]]:
    """The package of an untrained YOLOX, and what is to be told of it."""
    name = f"YOLOX-{variant} {size[0]} x {size[1]}"
    export = folder / f"{variant}-{size[0]}-{size[1]}"
    export.mkdir()
    image = decode_image(content, 0, "image")
    network = seeded_network(YoloxSettings.of({"variant": variant}), len(CLASSES)).eval()
    graph = export / "model.onnx"
    export_onnx(network, CLASSES, size, [image], graph)
    scores = session_of(graph.read_bytes(), name).run(["scores"], {"images": network_input(image, size)[None]})[0]
    signature = Signature(
        task_type="detection_2d",
        inputs=(InputField(name="image", kind="image", required=True),),
        classes=CLASSES,
        target="objects",
        settings={
            "input_size": list(size),
            "score_threshold": threshold(scores.max(axis=2), candidates),
            "nms_threshold": 0.65,
            "max_detections": 100,
        },
        reference={quantity: histogram_of(np.arange(100.0)) for quantity in (*IMAGE_QUANTITIES, CONFIDENCE)},
    )
    reader = ImageReader(signature, {"model.onnx": graph.read_bytes()}, "v1.0.0")
    boxes = reader.objects(reader.detect(image))
    package = sealed(export, signature, {"image": base64.b64encode(content).decode()}, boxes, "yolox")
    return package, {"name": name, "millions_of_parameters": round(parameter_count(network) / 1e6, 2), "boxes": len(boxes)}


def yolox_steps(package: Path, threads: int) -> Callable[[bytes], list[float]]:
    """What the server does with one image, as a function from its bytes to the clock [s] before, between and after the steps."""
    signature = Signature.model_validate_json((package / "signature.json").read_bytes())
    reader = ImageReader(signature, {"model.onnx": (package / "model.onnx").read_bytes()}, "v1.0.0")
    session = session_of((package / "model.onnx").read_bytes(), "model.onnx", threads=threads)

    def steps(content: bytes) -> list[float]:
        """Pixels, network input, graph, boxes, drift quantities, each between two marks."""
        marks = [time.perf_counter()]
        image = decode_image(content, 0, "image")
        marks.append(time.perf_counter())
        given = network_input(image, reader.settings.input_size)[None]
        marks.append(time.perf_counter())
        boxes, scores = session.run(["boxes", "scores"], {"images": given})
        marks.append(time.perf_counter())
        reader.objects(detections_of(boxes[0], scores[0], (image.shape[0], image.shape[1]), reader.settings))
        marks.append(time.perf_counter())
        image_quantities(image)
        return [*marks, time.perf_counter()]

    return steps


def pillars(folder: Path, preset: str, content: bytes, candidates: int) -> tuple[Path, dict[str, Any]]:
    """The package of an untrained PointPillars, and what is to be told of it."""
    export = folder / preset
    cloud = decode_cloud(content, 0, "points")
    model = build_pointpillars(PRESETS[preset])
    export_pointpillars(model, PRESETS[preset], export, [cloud])
    graphs = {path.name: path.read_bytes() for path in export.glob("*.onnx")}
    (export / CANVAS_GRAPH).rename(export / "model.onnx")
    graphs["model.onnx"] = graphs.pop(CANVAS_GRAPH)
    detector = OnnxPillars(graphs[PILLAR_GRAPH], graphs["model.onnx"], PRESETS[preset])
    logits = detector.outputs(detector.pillars(cloud)).class_logits
    best = logits.reshape(PRESETS[preset].anchors_per_cell, len(PRESETS[preset].classes), -1).max(axis=1)
    settings = PRESETS[preset].model_copy(update={"score_threshold": threshold(1 / (1 + np.exp(-best)), candidates)})
    signature = Signature(
        task_type="detection_3d",
        inputs=(InputField(name="points", kind="points", required=True),),
        classes=settings.class_names,
        target="objects",
        settings={
            "pillar": settings.model_dump(mode="json"),
            "files": {"pillars": PILLAR_GRAPH, "canvas": "model.onnx"},
        },
        reference={quantity: histogram_of(np.arange(100.0)) for quantity in (*CLOUD_QUANTITIES, CONFIDENCE)},
    )
    reader = CloudReader(signature, graphs, "v1.0.0")
    boxes = reader.objects(reader.detect(cloud))
    package = sealed(export, signature, {"points": base64.b64encode(content).decode()}, boxes, "pointpillars")
    parameters = sum(p.numel() for p in model.parameters())
    return package, {"name": f"PointPillars {preset}", "millions_of_parameters": round(parameters / 1e6, 2), "boxes": len(boxes)}


def pillar_steps(package: Path, threads: int) -> Callable[[bytes], list[float]]:
    """What the server does with one cloud, as a function from its bytes to the clock [s] before, between and after the steps."""
    signature = Signature.model_validate_json((package / "signature.json").read_bytes())
    graphs = {path.name: path.read_bytes() for path in package.glob("*.onnx")}
    reader = CloudReader(signature, graphs, "v1.0.0")
    detector = OnnxPillars(graphs[PILLAR_GRAPH], graphs["model.onnx"], reader.settings, threads=threads)

    def steps(content: bytes) -> list[float]:
        """Clouds, pillars, graphs, boxes, drift quantities, each between two marks."""
        marks = [time.perf_counter()]
        cloud = decode_cloud(content, 0, "points")
        marks.append(time.perf_counter())
        made = detector.pillars(cloud)
        marks.append(time.perf_counter())
        outputs = detector.outputs(made)
        marks.append(time.perf_counter())
        reader.objects(detector.decode(outputs))
        marks.append(time.perf_counter())
        cloud_quantities(cloud, reader.settings.range_min, reader.settings.range_max)
        return [*marks, time.perf_counter()]

    return steps


def serve(package: Path, threads: int, stack: ExitStack) -> int:
    """Start the server of a package, ended with ``stack``; its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), THREADS_VARIABLE: str(threads)}
    command = [sys.executable, "-m", "mlops_assets.serving", "--package", str(package), "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def end() -> None:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)

    stack.callback(end)
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return port
        except OSError:
            time.sleep(0.1)
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the server of {package} did not start")


def frame(image: Path | None, cloud: Path | None) -> tuple[bytes, bytes]:
    """A PNG and the bytes of a cloud, given or generated."""
    from sim.driving.config import WorldConfig
    from sim.driving.world import generate_frame

    made = None if image and cloud else generate_frame(0, 0, WorldConfig(full_turn=True))
    if image:
        png = image.read_bytes()
    else:
        buffer = io.BytesIO()
        Image.fromarray(made.image).save(buffer, "PNG")  # type: ignore[union-attr]
        png = buffer.getvalue()
    points = read_bin(cloud) if cloud else made.cloud  # type: ignore[union-attr]
    return png, points.astype("<f4").tobytes()


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--cloud", type=Path)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--candidates", type=int, default=300)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    png, points = frame(asked.image, asked.cloud)
    jpeg = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(jpeg, "JPEG", quality=90)
    contenders: list[Contender] = []
    with tempfile.TemporaryDirectory(prefix="detector-serving-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        detectors = []
        made: list[tuple[Path, dict[str, Any], str, Callable[[Path, int], Callable[[bytes], list[float]]], bytes]] = [
            (*yolox(folder, variant, size, png, asked.candidates), "image/png", yolox_steps, png) for variant, size in YOLOX
        ]
        made += [
            (*pillars(folder, preset, points, asked.candidates), "application/octet-stream", pillar_steps, points)
            for preset in PILLARS
        ]
        for package, told, media_type, steps, body in made:
            detectors.append(told)
            for threads in asked.threads:
                port = serve(package, threads, stack)
                contenders.append(Contender(told["name"], threads, port, media_type, body, steps(package, threads)))
                if told is made[0][1]:
                    name = f"{told['name']}, JPEG"
                    contenders.append(Contender(name, threads, port, "image/jpeg", jpeg.getvalue(), steps(package, threads)))
        load = [os.getloadavg()[0]]
        for number in range(asked.rounds + WARM_UP):
            for contender in contenders:
                contender.turn(counted=number >= WARM_UP)
        load.append(os.getloadavg()[0])
    picture = Image.open(io.BytesIO(png))
    result = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "load": [round(value, 2) for value in load]},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("onnxruntime", "numpy", "pillow", "granian", "torch")},
        },
        "frame": {
            "given": bool(asked.image and asked.cloud),
            "image": f"{picture.width} x {picture.height}",
            "png_bytes": len(png),
            "jpeg_bytes": len(jpeg.getvalue()),
            "points": len(points) // 16,
        },
        "rounds": asked.rounds,
        "candidates": asked.candidates,
        "budgets": BUDGETS,
        "detectors": detectors,
        "rows": [contender.row() for contender in contenders],
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for row in result["rows"]:  # type: ignore[attr-defined]
        print(json.dumps(row, ensure_ascii=False))


if __name__ == "__main__":
    main()
