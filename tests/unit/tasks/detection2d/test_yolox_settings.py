"""The recipe of each variant, and what a wrong knob is answered with."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mlops_assets.errors import UserError
from mlops_assets.tasks.detection2d.settings import YoloxSettings


def test_the_defaults_are_the_published_recipe() -> None:
    settings = YoloxSettings()
    assert (settings.variant, settings.input_size, settings.epochs, settings.warmup_epochs, settings.plain_epochs) == (
        "s", (640, 640), 300, 5, 15,
    )  # fmt: skip
    assert (settings.momentum, settings.weight_decay, settings.ema_decay) == (0.9, 5e-4, 0.9998)
    assert settings.batch_rate == pytest.approx(0.01)
    assert (settings.mosaic_probability, settings.mixup_probability, settings.mosaic_scale) == (1.0, 1.0, (0.1, 2.0))
    assert (settings.degrees, settings.translate, settings.shear, settings.flip_probability) == (10.0, 0.1, 2.0, 0.5)
    assert (settings.score_threshold, settings.nms_threshold, settings.multiscale) == (0.01, 0.65, (-5, 5))


def test_the_small_variants_have_their_own_recipe_unless_told_otherwise() -> None:
    nano, tiny = YoloxSettings(variant="nano"), YoloxSettings(variant="tiny")
    assert (nano.input_size, nano.mixup_probability, nano.mosaic_probability, nano.mosaic_scale) == (
        (416, 416),
        0,
        0.5,
        (0.5, 1.5),
    )
    assert (tiny.input_size, tiny.mixup_probability, tiny.mosaic_probability) == ((416, 416), 0, 1.0)
    assert YoloxSettings(variant="nano", mixup_probability=1.0).mixup_probability == 1.0


@pytest.mark.parametrize(("epochs", "warmup", "plain"), [(300, 5, 15), (30, 5, 6), (10, 1, 2), (1, 0, 0)])
def test_short_trainings_shorten_their_first_and_last_phase(epochs: int, warmup: int, plain: int) -> None:
    settings = YoloxSettings(epochs=epochs)
    assert (settings.warmup_epochs, settings.plain_epochs) == (warmup, plain)


def test_names_and_sizes_may_be_written_as_people_write_them() -> None:
    assert YoloxSettings.of({"variant": "yolox-m"}).variant == "m"
    assert YoloxSettings.of({"variant": " YOLOX_Nano ", "input_size": 320}).input_size == (320, 320)
    assert YoloxSettings.of({"input_size": [384, 1248]}).input_size == (384, 1248)


@pytest.mark.parametrize(
    ("given", "field", "told"),
    [
        ({"variant": "yolox-xxl"}, "variant", "nano, tiny, s, m, l, x"),
        ({"input_size": 400}, "input_size", "multiples of 32"),
        ({"epochs": 0}, "epochs", "greater than or equal to 1"),
        ({"epochs": 10, "warmup_epochs": 8, "plain_epochs": 5}, "epochs", "exceed epochs 10"),
        ({"learning_rat": 0.1}, "learning_rat", "learning_rate"),
        ({"mosaic_scale": (2.0, 0.1)}, "mosaic_scale", "smallest"),
        ({"learning_rate": float("nan")}, "learning_rate", "finite"),
    ],
)
def test_a_wrong_knob_is_named_with_what_is_allowed(given: dict[str, object], field: str, told: str) -> None:
    with pytest.raises(UserError) as refused:
        YoloxSettings.of(given)
    assert refused.value.field is not None
    assert refused.value.field.split(".")[0] == field
    assert told in str(refused.value)


def test_settings_do_not_change_and_survive_json() -> None:
    settings = YoloxSettings(variant="tiny", epochs=7)
    assert YoloxSettings.model_validate_json(settings.model_dump_json()) == settings
    with pytest.raises(ValidationError):
        settings.epochs = 9  # type: ignore[misc]
