"""How long one image takes in ONNX Runtime on this CPU: YOLOX nano, tiny and s, at 416 x 416 and 640 x 640, with 1 and 2 threads.

The graph with decoding, as it is exported, one image at a time, weights drawn at random (they do not matter for time); then
letterbox before and suppression after it, which are outside of the graph. Rounds of all configurations alternate, so that a busy
machine disturbs all of them alike; median and fastest are told, and how busy the machine was.

    python benchmarks/yolox_latency.py                    # writes benchmarks/results/yolox_latency.json
    python benchmarks/yolox_latency.py --rounds 5 --variants nano --out /tmp/latency.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from mlops_assets.tasks.detection2d.decoding import detections_of, network_input
from mlops_assets.tasks.detection2d.export import INPUT, OUTPUTS, export_onnx
from mlops_assets.tasks.detection2d.model import parameter_count
from mlops_assets.tasks.detection2d.settings import YoloxSettings
from mlops_assets.tasks.detection2d.training import seeded_network

RESULTS = Path(__file__).resolve().parent / "results" / "yolox_latency.json"
CLASSES = ("Car", "Pedestrian", "Cyclist")
SIZES = (416, 640)
THREADS = (1, 2)
FRAME = (375, 1242)
BUDGET_MS = 30.0


@dataclass
class Timed:
    """One configuration and what it took [ms]."""

    variant: str
    size: int
    threads: int
    run: Callable[[], object]
    milliseconds: list[float] = field(default_factory=list)


def milliseconds(act: Callable[[], object]) -> float:
    """How long ``act`` takes."""
    started = time.perf_counter()
    act()
    return (time.perf_counter() - started) * 1e3


def session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """The model in ONNX Runtime on the CPU with so many threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def around(image: np.ndarray, size: int) -> dict[str, float]:
    """Median milliseconds of letterbox, and of suppression of as many candidates as a crowded street has."""
    rng = np.random.default_rng(0)
    settings = YoloxSettings(variant="nano", input_size=(size, size))
    cells = sum((size // stride) ** 2 for stride in (8, 16, 32))
    centers, sides = rng.uniform(0, size, (cells, 2)), rng.uniform(10, 80, (cells, 2))
    boxes = np.concatenate((centers - sides / 2, centers + sides / 2), axis=1).astype(np.float32)
    scores = (rng.random((cells, len(CLASSES))) ** 200).astype(np.float32)
    return {
        "letterbox": statistics.median(milliseconds(lambda: network_input(image, (size, size))) for _ in range(20)),
        "candidates": int((scores.max(axis=1) >= settings.score_threshold).sum()),
        "suppression": statistics.median(milliseconds(lambda: detections_of(boxes, scores, FRAME, settings)) for _ in range(20)),
    }


def main() -> None:
    """Measure every variant and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--variants", nargs="+", default=["nano", "tiny", "s"])
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    image = np.random.default_rng(0).integers(0, 255, (*FRAME, 3), dtype=np.uint8)
    timed: list[Timed] = []
    millions: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for variant in asked.variants:
            network = seeded_network(YoloxSettings.of({"variant": variant}), len(CLASSES)).eval()
            millions[variant] = round(parameter_count(network) / 1e6, 3)
            for size in SIZES:
                path = Path(folder) / f"{variant}-{size}.onnx"
                export_onnx(network, CLASSES, (size, size), [image], path)
                feed = {INPUT: network_input(image, (size, size))[None]}
                for threads in THREADS:
                    model = session(path, threads)
                    timed.append(Timed(variant, size, threads, lambda model=model, feed=feed: model.run(list(OUTPUTS), feed)))
        busy = [os.getloadavg()[0]]
        for entry in timed:
            entry.run()
        for _ in range(asked.rounds):
            for entry in timed:
                entry.milliseconds.append(milliseconds(entry.run))
        busy.append(os.getloadavg()[0])
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": [round(value, 2) for value in busy],
        "onnxruntime": onnxruntime.__version__,
        "torch": torch.__version__,
        "rounds": asked.rounds,
        "millions_of_parameters": millions,
        "network": [
            {
                "variant": entry.variant,
                "size": entry.size,
                "threads": entry.threads,
                "median_ms": round(statistics.median(entry.milliseconds), 2),
                "fastest_ms": round(min(entry.milliseconds), 2),
                "within_30_ms": statistics.median(entry.milliseconds) <= BUDGET_MS,
            }
            for entry in timed
        ],
        "around_it_ms": {str(size): {name: round(value, 2) for name, value in around(image, size).items()} for size in SIZES},
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for row in result["network"]:
        place = f"{row['variant']:>5} {row['size']} px, {row['threads']} thread(s)"
        print(f"{place}: {row['median_ms']:8.2f} ms (fastest {row['fastest_ms']:.2f})")
    print("around it [ms]:", result["around_it_ms"], "load:", result["load"])


if __name__ == "__main__":
    main()
