"""Settings of PointPillars: what is derived from them, and what is refused in which words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlops_assets.errors import UserError
from mlops_assets.tasks.detection3d.pillar_settings import COARSE, SLIM, STANDARD, PillarSettings, pillar_settings

ROOT = Path(__file__).resolve().parents[4]


def test_presets_are_the_kitti_range_in_the_stated_pillars() -> None:
    assert (STANDARD.canvas, STANDARD.head_cells) == ((496, 432), (248, 216))
    assert (COARSE.canvas, COARSE.head_cells) == ((248, 216), (124, 108)) == (SLIM.canvas, SLIM.head_cells)
    assert STANDARD.class_names == ("Car", "Pedestrian", "Cyclist")
    assert STANDARD.anchors_per_cell == 6


def test_a_preset_takes_other_values() -> None:
    made = pillar_settings({"epochs": 3, "learning_rate": 0.001}, preset="slim")
    assert made == SLIM.model_copy(update={"epochs": 3, "learning_rate": 0.001})


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"epoch": 3}, "epoch", "did you mean epochs?"),
        ({"epochs": 0}, "epochs", "greater than or equal to 1"),
        ({"epochs": "many"}, "epochs", "valid integer"),
        ({"learning_rate": float("nan")}, "learning_rate", "finite"),
        ({"device": "tpu"}, "device", "'auto', 'cpu' or 'cuda'"),
        ({"classes": []}, "classes", "at least one"),
        ({"range_max": [70.0, 40.0, 1.0]}, "range_max", "438 pillars along x"),
        ({"block_strides": [2, 3, 2]}, "block_layers, block_strides", "strides 1, 2 or 4"),
        ({"range_max": [-1.0, 40.0, 1.0]}, "range_max", "empty along x"),
        ({"pillar_size": 0.001}, "pillar_size", "pillars"),
    ],
)
def test_a_wrong_value_is_refused_by_name_with_what_is_allowed(values: dict[str, object], field: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        pillar_settings(values)  # type: ignore[arg-type]
    assert refused.value.field == field
    assert words in str(refused.value)


def test_a_range_that_strides_do_not_divide_is_answered_with_one_that_they_do() -> None:
    with pytest.raises(UserError) as refused:
        PillarSettings(range_max=(70.0, 39.68, 1.0))
    assert "69.12 or 70.4 m" in str(refused.value)


def test_thresholds_in_the_wrong_order_and_a_class_named_twice_are_refused() -> None:
    car = STANDARD.classes[0].model_dump()
    with pytest.raises(UserError, match="unmatched threshold"):
        pillar_settings({"classes": [{**car, "unmatched": 0.7}]})
    with pytest.raises(UserError, match="no name may occur twice"):
        pillar_settings({"classes": [car, {**car, "name": "Van"}]})
    with pytest.raises(UserError, match="PointPillars has no such setting"):
        pillar_settings({"classes": [{**car, "lenght": 4}]})


def test_an_unknown_preset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="standard, coarse, slim"):
        pillar_settings({}, preset="huge")


def test_the_digest_changes_with_the_training_and_not_with_the_decoding() -> None:
    digest = STANDARD.training_digest()
    same = pillar_settings({"score_threshold": 0.3, "workers": 4, "device": "cpu"})
    assert same.training_digest() == digest
    for values in ({"seed": 1}, {"epochs": 81}, {"pillar_size": 0.32}, {"mixed_precision": False}):
        assert pillar_settings(values).training_digest() != digest  # type: ignore[arg-type]


def test_settings_come_back_from_their_json() -> None:
    assert PillarSettings.model_validate_json(SLIM.model_dump_json()) == SLIM


def test_what_serving_needs_does_not_import_torch() -> None:
    program = (
        "import sys; import mlops_assets.tasks.detection3d.pillar_inference, mlops_assets.tasks.detection3d.kitti_clouds; "
        "print(sorted({'torch', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
