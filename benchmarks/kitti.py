"""All benchmarks of the driving parts, one after the other; each that lacks something says what, and the others go on.

    python benchmarks/kitti.py                                       # what needs no data; generated clouds instead of real ones
    python benchmarks/kitti.py --copy KITTI --reference REFERENCE    # everything, about 30 minutes on two cores

KITTI holds training/{velodyne,image_2,label_2,calib} with at least the frames 000000, 000001 and 000002; REFERENCE holds labels/,
detections/ and expected.json with the numbers of the C++ development kit. Neither is part of the project: KITTI's licence
(CC BY-NC-SA 3.0) forbids commercial use. Both may be named by environment variables of the same names, as `make benchmark` does.
What is measured on generated clouds is shown and not kept: the files in results/ are about real ones.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
CLOUD = "training/velodyne/000002.bin"


@dataclass(frozen=True)
class Benchmark:
    """One script: the modules it cannot do without, its arguments with the data, and those without (None: left out)."""

    name: str
    modules: tuple[str, ...]
    needs: str
    with_data: tuple[str, ...] | None
    without_data: tuple[str, ...] | None


def benchmarks(copy: Path | None, reference: Path | None, scratch: Path) -> tuple[Benchmark, ...]:
    """Every benchmark with the data that is at hand."""
    cloud = copy / CLOUD if copy else None
    labelled = copy if copy and cloud and cloud.is_file() and (copy / "training/label_2/000002.txt").is_file() else None
    at_cloud = ("--cloud", str(cloud)) if cloud and cloud.is_file() else None
    at_copy = (str(labelled),) if labelled else None
    at_reference = ("--reference", str(reference)) if reference and (reference / "expected.json").is_file() else None
    real_cloud = f"--copy FOLDER (or KITTI=FOLDER) with {CLOUD}"
    real_copy = "--copy FOLDER (or KITTI=FOLDER) with clouds, images, labels and calibration of 000000, 000001, 000002"
    devkit = "--reference FOLDER (or KITTI_REFERENCE=FOLDER) with labels/, detections/, expected.json"
    frame = copy / "training/image_2/000002.png" if copy else None
    at_frame = (*at_cloud, "--image", str(frame)) if at_cloud and frame and frame.is_file() else None
    frames = "--copy FOLDER (or KITTI=FOLDER) with the cloud and the image of 000002"
    measured = ("voxelization", "pointpillars_latency", "detector_serving")
    unkept = {name: ("--out", str(scratch / f"{name}.json")) for name in measured}
    torch = ("torch", "onnxruntime")
    return (
        Benchmark("voxelization", ("numba", "spconv"), real_cloud, at_cloud, unkept["voxelization"]),
        Benchmark("kitti_evaluation", (), devkit, at_reference, None),
        Benchmark("pointpillars_latency", torch, real_cloud, at_cloud, unkept["pointpillars_latency"]),
        Benchmark("kitti_pipeline", ("numba",), "no data", (), None),
        Benchmark("yolox_latency", (*torch, "onnxscript"), "no data", (), None),
        Benchmark("detector_serving", (*torch, "onnxscript", "granian"), frames, at_frame, unkept["detector_serving"]),
        Benchmark("pointpillars_overfit", torch, real_copy, at_copy, None),
        Benchmark("yolox_overfit", (*torch, "faster_coco_eval"), real_copy, at_copy, None),
    )


def run(benchmark: Benchmark) -> bool:
    """Run one, or say why not; False: it ran and failed."""
    missing = [module for module in benchmark.modules if find_spec(module) is None]
    if missing:
        print(f"{benchmark.name}: left out, needs {', '.join(missing)}: pip install -e .[dev,bench]", flush=True)
        return True
    arguments = benchmark.with_data
    if arguments is None:
        arguments = benchmark.without_data
        if arguments is None:
            print(f"{benchmark.name}: left out, needs {benchmark.needs}", flush=True)
            return True
        print(f"{benchmark.name}: on a generated cloud, result not kept; for the real one: {benchmark.needs}", flush=True)
    else:
        print(f"{benchmark.name}: writes benchmarks/results/{benchmark.name}.json", flush=True)
    command = [sys.executable, str(REPOSITORY / "benchmarks" / f"{benchmark.name}.py"), *arguments]
    search = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": search}, check=False)
    return done.returncode == 0


def main() -> int:
    """Run them all; 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copy", type=Path, default=os.environ.get("KITTI") or None)
    parser.add_argument("--reference", type=Path, default=os.environ.get("KITTI_REFERENCE") or None)
    given = parser.parse_args()
    copy, reference = (folder.resolve() if folder else None for folder in (given.copy, given.reference))
    with tempfile.TemporaryDirectory(prefix="kitti-benchmarks-") as scratch:
        failed = [one.name for one in benchmarks(copy, reference, Path(scratch)) if not run(one)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
