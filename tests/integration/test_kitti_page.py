"""The page on KITTI, typed from top to bottom: its commands, its examples, and its figures beside the result files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_readme import ROOT, sessions

PAGE = (ROOT / "docs" / "kitti.md").read_text(encoding="utf-8")


def spaces_joined(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.mark.slow
def test_commands_and_examples_of_the_page_print_what_it_says(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for command, expected in sessions(PAGE):
        program = [sys.executable, "-m", "jobs", *command.removeprefix("mlops ").split()]
        done = subprocess.run(program, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        for line in expected:
            assert spaces_joined(line) in spaces_joined(done.stdout), f"{command} does not print: {line}\n{done.stdout}"
    examples = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", PAGE, flags=re.S)
    assert len(examples) == 6
    script = "\n".join(example for example, _ in examples)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    for line in (line for _, printed in examples for line in printed.splitlines()):
        assert line in done.stdout, f"not printed: {line}\n{done.stdout}"


def result(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def test_measured_figures_of_the_page_are_those_of_the_result_files() -> None:
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", PAGE.partition("<!-- figures")[2].partition("<!-- end of")[0], flags=re.M))

    def says(beginning: str, *figures: str) -> None:
        row = next(text for what, text in rows.items() if what.startswith(beginning))
        assert [figure for figure in figures if figure not in row] == [], row

    pipeline = result("kitti_pipeline")
    rates, whole = pipeline["frames_per_second"], pipeline["extrapolated"]
    says(
        "Shard assets", *(f"`{name}` {rates[name]}" for name in ("kitti_frames", "voxels", "kitti_coco")),
        f"{whole['minutes_one_after_the_other']:.0f} minutes", f"{whole['gigabytes_of_voxels']} GB",
    )  # fmt: skip
    voxels = result("voxelization")["clouds"]["A: KITTI 000002"]
    for beginning, grid in (("Pillars of", "pillars 0.16 m"), ("Voxels of", "SECOND 0.05 m")):
        ms = {name: f"{row['median']:.2f} ms" for name, row in voxels[grid]["milliseconds"].items()}
        ours = ms["ours, windows as spconv gives (copy=False)"]
        numpy = f"without numba {ms['ours without numba']}"
        says(beginning, ours, f"spconv {ms['spconv']}", f"loop {ms['mmdet3d style']}", numpy)
    judged = result("kitti_evaluation")
    says(
        "KITTI evaluation", f"{judged['seconds']['two tables']['median'] * 1000:.0f} ms",
        f"{judged['validation_size']['seconds']:.1f} s", f"{judged['largest_difference_to_devkit_percent_points']:.1e}",
    )  # fmt: skip
    network = {
        (row["variant"], row["size"], row["threads"]): f"{row['median_ms']:.1f} ms" for row in result("yolox_latency")["network"]
    }
    says("YOLOX-nano, 416", f"1 thread {network['nano', 416, 1]}", f"2 threads {network['nano', 416, 2]}")
    says("YOLOX-s", network["s", 640, 1])
    heart = result("yolox_overfit")
    says(
        "YOLOX-nano learns",
        f"mAP@0.5 {heart['map_50']:.3f}",
        f"mAP@0.5:0.95 {heart['map_50_95']:.3f}",
        f"{heart['minutes']:.1f} minutes",
    )
    pillars = {(row["preset"], row["threads"]): row for row in result("pointpillars_latency")["rows"]}
    slim = pillars["slim", 1], pillars["slim", 2]
    whole, detection = ([f"{row[key]:.1f}" for row in slim] for key in ("file_to_boxes_ms", "detection_ms"))
    says("PointPillars `slim`, 000002", f"1 thread {whole[0]} ms, 2 threads {whole[1]} ms", " and ".join(detection))
    says("PointPillars `standard`", f"{pillars['standard', 1]['file_to_boxes_ms']:,.1f} ms")
    learned = result("pointpillars_overfit")
    says("PointPillars `slim` learns", f"{min(row['iou_3d'] for row in learned['labels']):.3f}", f"{learned['minutes']} minutes")


def test_what_was_found_on_generated_streets_is_that_of_the_result_files() -> None:
    table = PAGE.partition("<!-- generalisation")[2].partition("<!-- end of generalisation")[0]
    rows = dict(re.findall(r"^\| (.+?) \| (\d.+?) \|$", table, flags=re.M))

    def shown(mean: float, classes: dict[str, dict[str, float]], key: str) -> str:
        assert list(classes) == ["Car", "Pedestrian", "Cyclist"]
        return f"{mean:.3f} ({', '.join(f'{numbers[key]:.3f}' for numbers in classes.values())})"

    images, clouds = result("yolox_generated"), result("pointpillars_generated")
    assert images["judged_on"] == clouds["judged_on"] == "test"
    both = [clouds[name] for name in ("training_streets", "unseen_streets")]
    car = "Car 3D AP_R40@0.70 moderate"
    assert rows == {
        "YOLOX-nano mAP@0.5 (Car, Pedestrian, Cyclist)": " | ".join(
            shown(images[name]["metrics"]["mAP@0.5"], images[name]["per_class"], "ap50") for name in ("training_frames", "unseen")
        ),
        "PointPillars `slim` mAP@0.5 in space (Car, Pedestrian, Cyclist)": " | ".join(
            shown(one["mAP@0.5"], one["per_class"], "ap@0.5") for one in both
        ),
        f"PointPillars `slim` {car}": " | ".join(f"{one['kitti'][car]:.3f}" for one in both),
    }
    assert f"{images['hyperparameters']['epochs']} epochs of\n{images['frames']['train']} streets" in PAGE
    assert f"{clouds['request']['epochs']} epochs of {clouds['world']['frames']['train']} streets" in PAGE


def test_the_steps_of_a_request_are_those_of_the_result_file() -> None:
    told = PAGE.partition("<!-- steps from")[2].partition("<!-- end of steps")[0].strip().splitlines()[3:]
    steps = ("decode", "preprocess", "network", "postprocess", "http", "end_to_end", "fastest_end_to_end")
    measured = result("detector_serving")["rows"]
    assert len(told) == len(measured)
    for line, row in zip(told, measured, strict=True):
        cells = [row["detector"], str(row["threads"]), *(f"{row[f'{step}_ms']:,.1f}" for step in steps)]
        cells += ["yes" if row[f"{budget}_within_budget"] else "no" for budget in ("detection", "end_to_end")]
        assert line == f"| {' | '.join(cells)} |"
