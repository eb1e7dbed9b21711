"""KITTI evaluation of the 60-frame reference set: seconds, first call beside warm, and the distance to the C++ devkit's numbers.

The peer is the C++ development kit: 0.8-1.0 s for the twelve curves of one table of minimum overlaps, recorded once on two cores
of an Intel Xeon with the files read from disk. It is not run here (it needs boost and a compiler), so the ratio is between
machines and rough.

The reference set is not part of the project: its folder (`labels/`, `detections/`, `expected.json`) is named.

    python benchmarks/kitti_evaluation.py --reference FOLDER      # writes benchmarks/results/kitti_evaluation.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from machine import cpu_model

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results" / "kitti_evaluation.json"
PEER_SECONDS = (0.8, 1.0)
VALIDATION_FRAMES = 3769


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """The seconds that ``work`` takes, and its answer."""
    start = time.perf_counter()
    answer = work()
    return time.perf_counter() - start, answer


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Labels and detections of every frame in a folder of the reference, by frame."""
    from mlops_assets.data.kitti.labels import read_labels

    labels = {path.stem: read_labels(path, scores=False) for path in sorted((folder / "labels").glob("*.txt"))}
    detections = {path.stem: read_labels(path, scores=True) for path in sorted((folder / "detections").glob("*.txt"))}
    return labels, detections


def first_call(folder: Path) -> dict[str, float]:
    """In a process of its own: importing, reading and the first evaluation, with nothing warm."""
    importing, evaluate = timed(
        lambda: __import__("mlops_assets.tasks.detection.kitti_evaluation", fromlist=["x"]).evaluate_kitti
    )
    reading, (labels, detections) = timed(lambda: read(folder))
    evaluating, _ = timed(lambda: evaluate(labels, detections))
    return {"import": importing, "read": reading, "evaluate": evaluating}


def furthest(folder: Path, evaluation: Any) -> float:
    """Largest difference to the devkit over all numbers, in percent points."""
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))["configs"]
    return max(
        abs(
            number.value - expected[number.overlaps][number.recall_positions][number.class_name][number.metric][number.difficulty]
        )
        for number in evaluation.numbers
    )


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """Time the first call in fresh processes and later calls in this one; answers are compared with the reference."""
    from mlops_assets.tasks.detection.kitti_evaluation import STRICT, evaluate_kitti

    command = [sys.executable, str(Path(__file__)), "--reference", str(folder), "--first-call"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    cold = [
        json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
        for _ in range(max(3, rounds // 3))
    ]
    labels, detections = read(folder)
    evaluation = evaluate_kitti(labels, detections)
    seconds: dict[str, list[float]] = {"two tables": [], "one table": [], "read and two tables": [], "read and one table": []}
    for _ in range(rounds):
        seconds["two tables"].append(timed(lambda: evaluate_kitti(labels, detections))[0])
        seconds["one table"].append(timed(lambda: evaluate_kitti(labels, detections, overlaps=[STRICT]))[0])
        seconds["read and two tables"].append(timed(lambda: evaluate_kitti(*read(folder)))[0])
        seconds["read and one table"].append(timed(lambda: evaluate_kitti(*read(folder), overlaps=[STRICT]))[0])
    names = sorted(labels)
    many = {f"{number:06d}": names[number % len(names)] for number in range(VALIDATION_FRAMES)}
    repeated = [{frame: side[name] for frame, name in many.items()} for side in (labels, detections)]
    large = [timed(lambda: evaluate_kitti(*repeated))[0] for _ in range(3)]
    return {
        "frames": len(labels),
        "objects": sum(map(len, labels.values())),
        "detections": sum(map(len, detections.values())),
        "largest_difference_to_devkit_percent_points": furthest(folder, evaluation),
        "seconds": {name: {"median": statistics.median(all_), "all": all_} for name, all_ in seconds.items()},
        "first_call_seconds": {
            name: {"median": statistics.median(c[name] for c in cold), "all": [c[name] for c in cold]} for name in cold[0]
        },
        "validation_size": {
            "frames": VALIDATION_FRAMES,
            "what": "the set repeated",
            "seconds": statistics.median(large),
            "all": large,
        },
    }


def main() -> None:
    """Measure and write, or print one first call where a fresh process is asked for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--first-call", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    sys.path.insert(0, str(REPOSITORY))
    if given.first_call:
        print(json.dumps(first_call(given.reference)))
        return
    load = os.getloadavg()[0]
    measured = measure(given.reference, given.rounds)
    median = {name: row["median"] for name, row in measured["seconds"].items()}
    cold = sum(row["median"] for row in measured["first_call_seconds"].values())
    result = {
        "benchmark": "kitti_evaluation",
        "what": "2D, BEV, 3D AP and AOS, R40 and R11, three classes and difficulties; two tables of minimum overlaps unless said",
        "command": f"python benchmarks/kitti_evaluation.py --reference FOLDER --rounds {given.rounds}",
        "machine": {
            "processor": cpu_model(),
            "cores": os.cpu_count(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "load_average_before": load,
        },
        "versions": {name: version(name) for name in ("numpy", "pydantic")},
        **measured,
        "peer": {
            "what": "KITTI C++ devkit, recorded once on 2 cores of an Intel Xeon, one table, files read from disk; not run here",
            "seconds": PEER_SECONDS,
            "times_faster": [seconds / median["read and one table"] for seconds in PEER_SECONDS],
        },
        "target": {"two tables": 0.5, "wait_before_the_first_call": 2.0},
    }
    given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({"median seconds": median, "first call with import and reading": cold, "peer": result["peer"]}, indent=2))
    if measured["largest_difference_to_devkit_percent_points"] > 1e-9:
        raise SystemExit("the numbers are not the devkit's")


if __name__ == "__main__":
    main()
