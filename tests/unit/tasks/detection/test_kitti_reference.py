"""The evaluator beside the C++ development kit's own results, which are not part of the project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlops_assets.data.kitti.labels import read_labels
from mlops_assets.tasks.detection.kitti_evaluation import evaluate_kitti
from mlops_assets.tasks.detection.kitti_result import KittiEvaluation

SETS = [".", "edge_cases", "edge_cases_no_aos", "ground_truth_as_detections"]


def evaluated(folder: Path) -> KittiEvaluation:
    labels = {path.stem: read_labels(path, scores=False) for path in (folder / "labels").glob("*.txt")}
    detections = {path.stem: read_labels(path, scores=True) for path in (folder / "detections").glob("*.txt")}
    return evaluate_kitti(labels, detections)


@pytest.mark.parametrize("name", SETS)
def test_every_number_and_curve_is_that_of_the_development_kit(shared: Path, name: str) -> None:
    folder = shared / "data" / "kitti" / "eval_reference" / name
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))["configs"]
    found = evaluated(folder)
    numbers = {(n.overlaps, n.recall_positions, n.class_name, n.metric, n.difficulty): n.value for n in found.numbers}
    curves = {(c.overlaps, c.class_name, c.metric, c.difficulty): c.values for c in found.curves}
    for overlaps, tables in expected.items():
        for positions in ("R40", "R11"):
            for class_name, metrics in tables[positions].items():
                for metric, difficulties in metrics.items():
                    for difficulty, value in difficulties.items():
                        convention = (overlaps, positions, class_name, metric, difficulty)
                        assert numbers.pop(convention) == pytest.approx(value, abs=1e-9), convention
        for class_name, metrics in tables["curves_41"].items():
            for metric, difficulties in metrics.items():
                for difficulty, values in difficulties.items():
                    place = (overlaps, class_name, metric, difficulty)
                    assert curves.pop(place) == pytest.approx(values, abs=1e-9), place
    # What the devkit did not evaluate has no number here either.
    assert numbers == {}
    assert curves == {}
