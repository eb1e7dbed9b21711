"""PointPillars from a cloud's file to boxes, per frame on a CPU: voxels, pillar graph, backbone graph, decoding, suppression.

    python benchmarks/pointpillars_latency.py --cloud 000002.bin            # a full KITTI cloud, writes the result file
    python benchmarks/pointpillars_latency.py --out /tmp/latency.json       # a generated cloud of a full turn

Presets and numbers of threads take turns frame by frame; medians, and the best turn. With one thread the processor time is given
too: on a machine that others use it is what the wall time would be without them. The weights are untrained, which changes no time
but that of suppression: so that one works on as many candidates as a busy trained detector gives, at random places. Beside them
the budgets of the user: 30 ms for detection, 100 ms from file to answer.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from machine import cpu_model
from numpy.typing import NDArray

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from mlops_assets.data.kitti.clouds import read_bin, write_bin  # noqa: E402
from mlops_assets.tasks.detection3d.pillar_export import export_pointpillars  # noqa: E402
from mlops_assets.tasks.detection3d.pillar_inference import OnnxPillars, RawOutputs  # noqa: E402
from mlops_assets.tasks.detection3d.pillar_settings import PRESETS  # noqa: E402
from mlops_assets.tasks.detection3d.pointpillars import build_pointpillars, parameter_count  # noqa: E402

RESULTS = REPOSITORY / "benchmarks" / "results" / "pointpillars_latency.json"
BUDGETS = {"detection_ms": 30.0, "end_to_end_ms": 100.0}
STEPS = ("read", "voxels", "pillar_graph", "scatter_and_backbone", "decode_and_suppress")


@dataclass
class Contender:
    """One preset with one number of threads, and the seconds of each of its steps."""

    preset: str
    threads: int
    detector: OnnxPillars
    busy: RawOutputs
    seconds: dict[str, list[float]] = field(default_factory=lambda: {step: [] for step in STEPS})
    processor: list[float] = field(default_factory=list)

    def turn(self, path: Path, *, counted: bool) -> None:
        """One frame; the first ones warm up."""
        marks = [time.perf_counter()]
        cloud = read_bin(path)
        marks.append(time.perf_counter())
        busy_since = time.thread_time()
        pillars = self.detector.pillars(cloud)
        marks.append(time.perf_counter())
        features = self.detector.pillar_features(pillars)
        marks.append(time.perf_counter())
        self.detector.canvas_outputs(features, pillars.places)
        marks.append(time.perf_counter())
        self.detector.decode(self.busy)
        marks.append(time.perf_counter())
        if counted:
            for step, begin, end in zip(STEPS, marks, marks[1:], strict=False):
                self.seconds[step].append(end - begin)
            self.processor.append(time.thread_time() - busy_since)

    def row(self) -> dict[str, object]:
        """Medians in milliseconds, and the sums that the budgets are about."""
        median = {step: round(statistics.median(values) * 1000, 2) for step, values in self.seconds.items()}
        frames = list(zip(*self.seconds.values(), strict=True))
        detection = statistics.median(sum(frame[1:]) for frame in frames) * 1000
        whole = statistics.median(sum(frame) for frame in frames) * 1000
        return {
            "preset": self.preset,
            "threads": self.threads,
            "median_ms": median,
            "detection_ms": round(detection, 1),
            "best_detection_ms": round(min(sum(frame[1:]) for frame in frames) * 1000, 1),
            # With one thread the calling one does all the work.
            "detection_processor_ms": round(statistics.median(self.processor) * 1000, 1) if self.threads == 1 else None,
            "file_to_boxes_ms": round(whole, 1),
            "detection_within_budget": detection <= BUDGETS["detection_ms"],
            "file_to_boxes_within_budget": whole <= BUDGETS["end_to_end_ms"],
        }


def busy_outputs(raw: RawOutputs, candidates: int) -> RawOutputs:
    """Outputs with so many anchors above the threshold, in clusters of ten as around real objects."""
    random = np.random.default_rng(0)
    logits = np.full_like(raw.class_logits, -6.0)
    _, rows, columns = logits.shape
    for _ in range(candidates // 10):
        row, column = int(random.integers(rows)), int(random.integers(columns - 10))
        logits[0, row, column : column + 10] = random.uniform(-2, 3, 10)
    return RawOutputs(logits, raw.residuals, raw.direction_logits)


def generated(path: Path) -> NDArray[np.float32]:
    """A full turn of the generated world's scanner, written as a file."""
    from sim.driving.config import WorldConfig
    from sim.driving.world import generate_frame

    cloud = generate_frame(0, 0, WorldConfig(full_turn=True)).cloud
    write_bin(path, cloud)
    return cloud


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cloud", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--candidates", type=int, default=300)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pointpillars-latency-") as folder:
        path = options.cloud or Path(folder) / "generated.bin"
        cloud = read_bin(path) if options.cloud else generated(path)
        contenders, sizes = [], {}
        for preset, settings in PRESETS.items():
            model = build_pointpillars(settings)
            sizes[preset] = {"parameters": parameter_count(model), "pillar_size_m": settings.pillar_size}
            export_pointpillars(model, settings, Path(folder) / preset, [cloud])
            for threads in options.threads:
                detector = OnnxPillars.load(Path(folder) / preset, threads=threads)
                pillars = detector.pillars(cloud)
                sizes[preset]["pillars"] = len(pillars.places)
                busy = busy_outputs(detector.outputs(pillars), options.candidates)
                contenders.append(Contender(preset, threads, detector, busy))
        for number in range(options.rounds + 2):
            for contender in contenders:
                contender.turn(path, counted=number >= 2)
    result = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "versions": {name: version(name) for name in ("onnxruntime", "numpy")},
        "points": len(cloud),
        "cloud": "given" if options.cloud else "generated",
        "rounds": options.rounds,
        "candidates": options.candidates,
        "budgets": BUDGETS,
        "presets": sizes,
        "rows": [contender.row() for contender in contenders],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    for row in result["rows"]:  # type: ignore[union-attr]
        print(json.dumps(row))


if __name__ == "__main__":
    main()
