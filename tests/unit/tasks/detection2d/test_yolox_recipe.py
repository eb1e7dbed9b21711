"""What an issue writes becomes settings: every knob has an effect, lists switch augmentations on and off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from generated_frames import asked
from yolox_cases import rectangle

from mlops_assets.errors import UserError
from mlops_assets.tasks.detection2d.algorithm import YOLOX
from mlops_assets.tasks.detection2d.augmentation import Augmenter, Sample
from mlops_assets.tasks.detection2d.recipe import PIXELS_A_THREAD, settings_of, threads_for
from mlops_assets.tasks.detection2d.settings import YoloxSettings

LISTED = ("mosaic", "mixup", "hsv_jitter", "random_horizontal_flip")


@pytest.mark.parametrize("variant", YOLOX.variants)
def test_the_described_defaults_are_those_of_the_settings(variant: str) -> None:
    described = YOLOX.resolved({}, variant)
    recipe = YoloxSettings.of({"variant": variant})
    for knob in YOLOX.hyperparameters:
        expected = recipe.multiscale != (0, 0) if knob.name == "multiscale" else getattr(recipe, knob.name)
        assert described[knob.name] == expected or (described[knob.name] is None and knob.nullable), knob.name
    assert settings_of(asked(variant=variant, size=()), 1) == recipe.model_copy(update={"seed": 1, "cpu_threads": 1})


@pytest.mark.parametrize("knob", YOLOX.hyperparameters, ids=lambda knob: knob.name)
def test_every_knob_and_alias_reaches_the_settings(knob: Any) -> None:
    usual = settings_of(asked(variant="yolox-s"), 1)
    if knob.choices:
        value: Any = next(choice for choice in knob.choices if choice != knob.default)
    elif knob.kind == "bool":
        value = not knob.default
    else:
        value = 2 if knob.kind == "int" else 0.25
    for name in (knob.name, *knob.aliases):
        changed = settings_of(asked({name: value}, variant="yolox-s"), 1)
        found = changed.multiscale != (0, 0) if knob.name == "multiscale" else getattr(changed, knob.name)
        assert found == value
        assert changed != usual


@pytest.mark.parametrize("knob", [k for k in YOLOX.hyperparameters if k.minimum is not None], ids=lambda knob: knob.name)
def test_the_ends_of_the_described_ranges_hold_as_they_are_written(knob: Any) -> None:
    for value in (knob.minimum, knob.maximum):
        given = {knob.name: int(value) if knob.kind == "int" else value}
        if knob.name in ("warmup_epochs", "plain_epochs"):
            given["epochs"] = 10_000
        assert getattr(settings_of(asked(given), 1), knob.name) == value


def test_the_example_of_the_issue_is_what_it_says() -> None:
    knobs = {
        "batch_size": 32, "epochs": 300, "lr": 0.01, "weight_decay": 0.0005, "warmup_epochs": 5, "mosaic_prob": 1.0,
        "mixup_prob": 1.0,
    }  # fmt: skip
    settings = settings_of(asked(knobs, variant="yolox-m", size=(640, 640), augmentation=LISTED), 4)
    assert (settings.variant, settings.input_size, settings.batch_rate) == ("m", (640, 640), 0.005)
    assert (settings.mosaic_probability, settings.mixup_probability) == (1, 1)
    assert (settings.hsv_probability, settings.flip_probability) == (1, 0.5)
    assert (settings.degrees, settings.translate, settings.shear, settings.multiscale) == (0, 0, 0, (0, 0))
    assert settings.cpu_threads == 4


def test_a_list_switches_on_what_it_names_and_off_what_it_does_not() -> None:
    settings = settings_of(asked(augmentation=("mix_up", "random_flip")), 1)
    # the recipe of nano has no MixUp: asked for, it is made
    assert (settings.mixup_probability, settings.flip_probability) == (1.0, 0.5)
    assert (settings.mosaic_probability, settings.hsv_probability, settings.multiscale) == (0, 0, (0, 0))
    turned = settings_of(asked(augmentation=("rotation",)), 1)
    assert (turned.degrees, turned.affine_probability, turned.mosaic_probability) == (10, 1, 0)
    both = settings_of(asked(augmentation=("mosaic", "rotation", "multi_scale")), 1)
    assert (both.mosaic_probability, both.affine_probability, both.multiscale) == (0.5, 0, (-3, 7))


def test_a_number_that_the_issue_writes_holds_whatever_the_list_says() -> None:
    settings = settings_of(asked({"mosaic_prob": 0.3, "mixup_prob": 0.0, "degrees": 4}, augmentation=("mixup",)), 1)
    assert (settings.mosaic_probability, settings.mixup_probability, settings.degrees, settings.shear) == (0.3, 0, 4, 0)


def test_an_unknown_augmentation_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match="no such augmentation") as refused:
        settings_of(asked(augmentation=("cutmix",)), 1)
    assert "mosaic" in refused.value.allowed


@pytest.mark.parametrize(
    ("knobs", "phases"),
    [({"epochs": 5, "warmup_epochs": 5}, (5, 0)), ({"epochs": 6, "plain_epochs": 6}, (0, 6)), ({"epochs": 30}, (5, 6))],
)
def test_a_phase_that_is_written_leaves_the_other_what_room_there_is(knobs: dict[str, int], phases: tuple[int, int]) -> None:
    settings = settings_of(asked(knobs), 1)
    assert (settings.warmup_epochs, settings.plain_epochs) == phases


def test_small_batches_are_calculated_by_one_thread() -> None:
    small = settings_of(asked({"batch_size": 4}, size=(160, 512)), 16)
    large = settings_of(asked({"batch_size": 32}, size=(640, 640)), 16)
    assert (small.cpu_threads, large.cpu_threads) == (1, 12)
    assert threads_for(large, 2) == 2
    assert large.batch_size * 640 * 640 // PIXELS_A_THREAD == 12


def sample_of(settings: YoloxSettings) -> Sample:
    pictures = [rectangle(20, 30, 60, 50, kind=kind, height=96, width=128) for kind in (0, 1)]
    return Augmenter(pictures.__getitem__, 2, (1,), settings).sample(0, 0, (96, 128))


def test_mixup_and_turning_work_without_mosaics() -> None:
    off = {"mosaic_prob": 0.0, "hsv_prob": 0.0, "flip_prob": 0.0, "epochs": 10}
    plain = sample_of(settings_of(asked(off, size=(96, 128)), 1))
    assert plain.boxes.tolist() == [[20, 30, 60, 50]]
    mixed = sample_of(settings_of(asked({**off, "mixup_prob": 1.0}, size=(96, 128)), 1))
    assert mixed.classes.tolist() == [0, 1]
    turned = sample_of(settings_of(asked({**off, "affine_prob": 1.0, "degrees": 30}, size=(96, 128)), 1))
    assert turned.boxes.tolist() != plain.boxes.tolist()
    left, top, right, bottom = turned.boxes[0].tolist()
    red = (turned.image[..., 0] > 200) & (turned.image[..., 1] < 60)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert (left, top, right, bottom) == pytest.approx((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1), abs=3)
