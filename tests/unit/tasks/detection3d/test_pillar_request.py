"""A request becomes settings: knobs, ranges that the strides divide, augmentation as listed, refusals that say what there is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.errors import UserError
from mlops_assets.request.schema import CustomOptimizations, DataSettings, TrainingSettings, WorkflowOptimization
from mlops_assets.tasks.detection3d.algorithm import POINTPILLARS
from mlops_assets.tasks.detection3d.pillar_request import pillar_training, requested_augmentation
from mlops_assets.tasks.detection3d.pillar_settings import PRESETS, STANDARD
from tests.unit.tasks.detection3d.cloud_worlds import request

CLASSES = ("Car", "Pedestrian", "Cyclist")


def test_a_request_without_wishes_is_the_standard_setting() -> None:
    plain = request(variant=None).model_copy(update={"hyperparameters": {}})
    wanted = pillar_training(plain, CLASSES)
    kept = {"seed", "device", "checkpoint_seconds"}
    assert wanted.settings.model_dump(exclude=kept) == STANDARD.model_dump(exclude=kept)
    assert wanted.settings.seed == plain.seed
    assert wanted.rounded == ()
    assert set(wanted.knobs) == {knob.name for knob in POINTPILLARS.hyperparameters}


def test_knobs_may_be_called_by_their_aliases_and_classes_narrowed() -> None:
    wanted = pillar_training(request({"lr": 0.001, "nms_threshold": 0.2}), ("Pedestrian",))
    assert (wanted.settings.learning_rate, wanted.settings.suppression_overlap) == (0.001, 0.2)
    assert wanted.settings.class_names == ("Pedestrian",)
    assert wanted.settings.block_channels == PRESETS["slim"].block_channels


@settings(max_examples=60, deadline=None)
@given(
    variant=st.sampled_from(POINTPILLARS.variants),
    forward=st.floats(5.12, 204.8),
    side=st.floats(2.56, 102.4),
)
def test_every_allowed_range_becomes_the_nearest_one_that_the_strides_divide(variant: str, forward: float, side: float) -> None:
    preset = PRESETS[variant]
    unit = preset.pillar_size * math.prod(preset.block_strides)
    wanted = pillar_training(request({"forward_range": forward, "side_range": side}, variant=variant), CLASSES)
    low, high = wanted.settings.range_min, wanted.settings.range_max
    assert low[1] == -high[1]
    assert all(cells % math.prod(preset.block_strides) == 0 for cells in wanted.settings.canvas)
    assert abs(high[0] - forward) <= unit / 2 + 1e-6
    assert abs(high[1] - side) <= unit / 4 + 1e-6
    assert {entry.name for entry in wanted.rounded} <= {"forward_range", "side_range"}
    assert wanted.knobs["forward_range"] == high[0]


def test_a_rounded_range_is_told_with_what_was_asked() -> None:
    (forward,) = pillar_training(request({"forward_range": 20}), CLASSES).rounded
    assert (forward.name, forward.asked, forward.used) == ("forward_range", 20.0, 20.48)


def test_what_is_listed_is_done_and_nothing_else() -> None:
    chosen = requested_augmentation(request(augmentation=("flip", "gt_sampling")), CLASSES)
    assert chosen is not None
    assert chosen.flip is not None
    assert chosen.sampling is not None
    assert chosen.rotation is None
    assert chosen.scaling is None
    assert [entry.name for entry in chosen.sampling.classes] == list(CLASSES)


def test_without_a_list_the_whole_recipe_is_done_unless_it_is_switched_off() -> None:
    whole = requested_augmentation(request(), CLASSES)
    assert whole is not None
    assert None not in (whole.flip, whole.sampling, whole.rotation, whole.scaling)
    off = WorkflowOptimization(
        custom_optimizations=CustomOptimizations(phase1_preprocessing=DataSettings(data_augmentation="disabled"))
    )
    assert requested_augmentation(request(optimization=off), CLASSES) is None


def test_a_person_who_wants_the_cpu_gets_it() -> None:
    cpu = WorkflowOptimization(custom_optimizations=CustomOptimizations(phase2_training=TrainingSettings(resource_type="cpu")))
    assert pillar_training(request(optimization=cpu), CLASSES).settings.device == "cpu"
    assert pillar_training(request(), CLASSES).settings.device == "auto"


@pytest.mark.parametrize(
    ("asked", "field", "hint"),
    [
        (request({"epohcs": 3}), "hyperparameters.epohcs", "did you mean epochs"),
        (request({"epochs": 0}), "hyperparameters.epochs", "1 … 10000"),
        (request({"learning_rate": "fast"}), "hyperparameters.learning_rate", "1e-08 … 1"),
        (request({"learning_rate": float("nan")}), "hyperparameters.learning_rate", "1e-08 … 1"),
        (request({"forward_range": 4000}), "hyperparameters.forward_range", "204.8"),
        (request(variant="tiny"), "variant", "slim, coarse, standard"),
        (request(augmentation=("flipp",)), "preprocessing.augmentation", "did you mean flip"),
        (request(augmentation=("mosaic",)), "preprocessing.augmentation", "object_sampling"),
        (request(algorithm="monodetr"), "algorithm", "pointpillars"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_refused_with_what_there_is(asked, field: str, hint: str) -> None:
    with pytest.raises(UserError) as refused:
        pillar_training(asked, CLASSES)
    assert refused.value.field == field
    assert hint in str(refused.value)
