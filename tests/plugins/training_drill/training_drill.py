"""A learning task for tests of compute: it counts rows, and sleeps, fails, spawns or misbehaves as its hyperparameters say.

Put this folder on PYTHONPATH: the ``dist-info`` beside this file is what registers the task.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from mlops_assets.request.schema import TrainingRequest
from mlops_assets.tasks.interface import ProgressReporter, TrainSummary


class DrillTask:
    name = "drill"
    algorithms = ()

    def train(
        self, features: Path, request: TrainingRequest, out: Path, report: ProgressReporter, *, checkpoints: Path
    ) -> TrainSummary:
        started = time.perf_counter()
        knobs: Mapping[str, object] = request.hyperparameters
        rounds = int(str(knobs.get("rounds", 4)))
        (out / "weights.txt").write_text("half")
        if knobs.get("spawn"):
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            Path(str(knobs["spawn"])).write_text(str(child.pid))
        if knobs.get("environment"):
            (out / "environment.txt").write_text("\n".join(sorted(os.environ)))
        for number in range(1, rounds + 1):
            time.sleep(float(str(knobs.get("pause", 0.0))))
            report(number / rounds, f"round {number}/{rounds}", {"validation_auc": 0.5 + number / (4 * rounds)})
        rows = len((features / "train.csv").read_text().splitlines())
        (out / "weights.txt").write_text(f"rows {rows}")
        self.misbehave(str(knobs.get("misbehave", "")), features, out)
        curve = [0.5 + n / (4 * rounds) for n in range(1, rounds + 1)]
        return TrainSummary(
            algorithm=request.algorithm,
            hyperparameters=dict(request.hyperparameters),
            seconds=time.perf_counter() - started,
            iterations=rounds,
            metrics={"validation_auc": curve[-1], "train_rows": float(rows)},
            curves={"validation_auc": curve},
        )

    def misbehave(self, how: str, features: Path, out: Path) -> None:
        match how:
            case "raise":
                raise ValueError("the matrix is singular")
            case "full_disk":
                with Path("/dev/full").open("w") as full:
                    full.write("x" * 100_000)
            case "exit_quietly":
                sys.exit(0)
            case "crash":
                os.kill(os.getpid(), 11)
            case "write_input":
                (features / "train.csv").write_text("changed")
            case "no_model":
                (out / "weights.txt").unlink()
            case "long_step":  # one step of the main thread in which no Python signal handler runs
                time.sleep(0)
                import hashlib

                hashlib.pbkdf2_hmac("sha256", b"x", b"y", 200_000_000)
            case "fork_and_terminate":
                import multiprocessing

                worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
                worker.start()
                time.sleep(0.2)
                worker.terminate()
                worker.join(5)
                if worker.exitcode != -15:
                    raise RuntimeError(f"the worker ended with {worker.exitcode}")
                time.sleep(0.3)
