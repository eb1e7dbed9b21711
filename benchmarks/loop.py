"""The whole loop, issue to answering endpoint, beside a bare script that fits the same model; interleaved, medians.

Run: `python benchmarks/loop.py` from the repository root with the project installed. Writes benchmarks/results/loop.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from machine import cpu_model

HERE = Path(__file__).resolve().parent
LIBRARIES = ("dagster", "mlflow", "scikit-learn", "onnxruntime", "granian", "duckdb")


def seconds_of(command: list[str], environment: dict[str, str], folder: Path) -> float:
    """Wall seconds of one command, which must succeed."""
    started = time.perf_counter()
    subprocess.run(command, check=True, env=environment, cwd=folder, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    work = Path(tempfile.mkdtemp(prefix="loop-benchmark-"))
    mlops = [sys.executable, "-m", "jobs"]
    first, again, bare = [], [], []
    try:
        for number in range(runs):
            home = work / f"home-{number}"
            environment = {**os.environ, "MLOPS_HOME": str(home), "PYTHONPATH": str(HERE.parent)}
            first.append(seconds_of([*mlops, "demo"], environment, work))
            bare.append(seconds_of([sys.executable, str(HERE / "bare_loop.py"), str(work / f"bare-{number}")], environment, work))
            again.append(seconds_of([*mlops, "demo"], environment, work))
            subprocess.run(
                [*mlops, "stop", "breast-cancer-random-forest"], env=environment, cwd=work, check=True, capture_output=True
            )
    finally:
        shutil.rmtree(work, ignore_errors=True)
    rows = {"loop, empty installation": first, "loop, second issue": again, "bare script": bare}
    result = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {name: version(name) for name in LIBRARIES},
        "runs": runs,
        "seconds": {
            name: {"median": round(statistics.median(values), 2), "min": round(min(values), 2), "max": round(max(values), 2)}
            for name, values in rows.items()
        },
    }
    target = HERE / "results" / "loop.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print("| | median s | min | max |\n| --- | ---: | ---: | ---: |")
    for name, figures in result["seconds"].items():
        print(f"| {name} | {figures['median']} | {figures['min']} | {figures['max']} |")


if __name__ == "__main__":
    main()
