"""Whatever is done to a picture, the box ends where the coloured rectangle ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yolox_cases import COLOURS, extent, rectangle

from mlops_assets.tasks.detection2d import augmentation
from mlops_assets.tasks.detection2d.augmentation import (
    IGNORED,
    PADDING,
    Augmenter,
    Sample,
    affine,
    affine_matrix,
    cut,
    flipped,
    generator,
    hsv_jittered,
    letterboxed,
    letterboxed_sample,
    mixup,
    mosaic,
    multiscale_size,
)
from mlops_assets.tasks.detection2d.settings import YoloxSettings


@st.composite
def pictures(draw: st.DrawFn) -> Sample:
    left, top = draw(st.integers(0, 70)), draw(st.integers(0, 50))
    width, height = draw(st.integers(12, 50)), draw(st.integers(12, 40))
    return rectangle(left, top, left + width, top + height, kind=draw(st.integers(0, 3)))


def off(sample: Sample, row: int = 0) -> float:
    """How far [px] the box lies from the pixels of its colour."""
    found = extent(sample.image, int(sample.classes[row]))
    assert found is not None
    return float(np.abs(sample.boxes[row] - found).max())


def follows(sample: Sample, row: int = 0, *, tolerance: float = 2.5) -> bool:
    """Whether the box holds its object, and ends where it ends, except that a turned object cut at a border has a wider box."""
    found = extent(sample.image, int(sample.classes[row]))
    if found is None:
        return False
    height, width = sample.image.shape[:2]
    apart = (sample.boxes[row] - found) * (1, 1, -1, -1)  # above 0: the object sticks out
    uncut = not ((sample.boxes[row] == 0) | (sample.boxes[row] == (width, height, width, height))).any()
    return bool((apart <= tolerance).all() and (not uncut or (apart >= -tolerance).all()))


@settings(max_examples=25, deadline=None)
@given(pictures())
def test_a_flip_moves_the_box_with_its_object(sample: Sample) -> None:
    assert off(flipped(sample)) == 0
    twice = flipped(flipped(sample))
    assert np.array_equal(twice.image, sample.image)
    assert np.array_equal(twice.boxes, sample.boxes)


@settings(max_examples=25, deadline=None)
@given(pictures(), st.sampled_from([(64, 64), (96, 64), (320, 352)]))
def test_a_letterbox_scales_the_box_with_its_object(sample: Sample, size: tuple[int, int]) -> None:
    made = letterboxed_sample(sample, size)
    assert made.image.shape == (*size, 3)
    assert off(made) <= 1.5 * max(1.0, size[1] / 120)


def test_a_letterbox_keeps_the_ratio_of_sides_and_pads_right_and_below() -> None:
    image, ratio = letterboxed(np.full((50, 100, 3), 200, np.uint8), (64, 64))
    assert ratio == 0.64
    assert (image[:32] == 200).all()
    assert (image[32:] == PADDING).all()


@settings(max_examples=40, deadline=None)
@given(pictures(), st.integers(0, 10_000))
def test_an_affine_map_moves_the_box_with_its_object(sample: Sample, seed: int) -> None:
    matrix = affine_matrix(generator(seed), (80, 100), degrees=10, scale=(0.5, 2.0), shear=2, translate=0.1)
    made = affine(sample, matrix, (80, 100))
    assert made.image.shape == (80, 100, 3)
    assert len(made.boxes) == 0 or follows(made)


def test_an_object_that_leaves_the_picture_loses_its_box_and_a_half_visible_one_keeps_the_rest() -> None:
    away = np.array(((1.0, 0.0, -45.0), (0.0, 1.0, 0.0)))
    assert len(affine(rectangle(10, 10, 40, 40), away, (90, 120)).boxes) == 0
    half = affine(rectangle(30, 10, 60, 40), away, (90, 120))
    assert half.boxes.tolist() == [[0, 10, 15, 40]]


@pytest.mark.parametrize("seed", range(12))
def test_a_mosaic_keeps_every_box_on_its_object(seed: int) -> None:
    parts = [rectangle(20 + 3 * kind, 15, 70, 60, kind=kind, height=60 + 20 * kind) for kind in range(4)]
    made = mosaic(parts, (96, 128), generator(seed))
    assert made.image.shape == (192, 256, 3)
    assert len(made.boxes) >= 2
    for row in range(len(made.boxes)):
        assert off(made, row) <= 2
    turned = affine(
        made, affine_matrix(generator(seed), (96, 128), degrees=10, scale=(0.5, 1.5), shear=2, translate=0.1), (96, 128)
    )
    assert all(follows(turned, row) for row in range(len(turned.boxes)))


@pytest.mark.parametrize("seed", range(8))
def test_mixup_shows_both_pictures_with_both_boxes(seed: int) -> None:
    mine, other = rectangle(10, 10, 50, 50, kind=0), rectangle(60, 30, 110, 80, kind=2)
    made = mixup(mine, other, generator(seed), scale=(0.5, 1.5))
    assert made.image.shape == mine.image.shape
    assert made.boxes[0].tolist() == mine.boxes[0].tolist()
    if len(made.boxes) > 1:
        blue = made.image[..., 2] > 100
        rows, columns = np.flatnonzero(blue.any(axis=1)), np.flatnonzero(blue.any(axis=0))
        assert np.abs(made.boxes[1] - (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)).max() <= 2


def test_mixup_without_a_visible_object_changes_nothing() -> None:
    mine, empty = (
        rectangle(10, 10, 50, 50),
        Sample(np.full((90, 120, 3), 9, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64)),
    )
    assert mixup(mine, empty, generator(0), scale=(0.5, 1.5)) is mine


def test_colour_jitter_leaves_shapes_and_grey_of_no_colour_alone() -> None:
    sample = rectangle(10, 10, 50, 50)
    jittered = [hsv_jittered(sample.image, generator(seed)) for seed in range(12)]
    assert len({image.tobytes() for image in jittered}) > 6
    for image in jittered:
        inside, outside = image[10:50, 10:50].reshape(-1, 3), image[60:].reshape(-1, 3)
        assert len(np.unique(inside, axis=0)) == len(np.unique(outside, axis=0)) == 1
        assert np.abs(inside[0].astype(int) - COLOURS[0]).max() < 120


def test_small_slender_and_hidden_objects_are_dropped_but_ignored_regions_stay() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    boxes = np.array([[10, 10, 11, 50], [0, 10, 100, 14], [90, 90, 150, 150], [10, 10, 30, 30], [80, 10, 300, 12]], float)
    made = cut(image, boxes, np.array([0, 1, 2, 3, IGNORED]))
    assert made.classes.tolist() == [3, IGNORED]


def test_equal_keys_draw_equal_pictures_and_another_epoch_draws_others() -> None:
    parts = [rectangle(10 + 5 * n, 20, 60, 70, kind=n) for n in range(4)]
    recipe = YoloxSettings(epochs=20, input_size=(64, 96), seed=5)
    first, second = (Augmenter(parts.__getitem__, 4, range(4), recipe) for _ in range(2))
    for _ in range(3):
        second.sample(1, 0, (64, 96))
    one, again, later = first.sample(2, 3, (64, 96)), second.sample(2, 3, (64, 96)), first.sample(2, 4, (64, 96))
    assert np.array_equal(one.image, again.image)
    assert np.array_equal(one.boxes, again.boxes)
    assert not np.array_equal(one.image, later.image)


def test_the_last_epochs_see_pictures_as_they_are() -> None:
    parts = [rectangle(10 + 5 * n, 20, 60, 70, kind=n) for n in range(4)]
    recipe = YoloxSettings(epochs=10, plain_epochs=3, warmup_epochs=0, input_size=(64, 96), hsv_probability=0, flip_probability=0)
    augmenter = Augmenter(parts.__getitem__, 4, range(4), recipe)
    plain = letterboxed_sample(parts[1], (64, 96))
    same = [np.array_equal(augmenter.sample(1, epoch, (64, 96)).image, plain.image) for epoch in range(10)]
    assert same == [False] * 7 + [True] * 3


def test_a_folder_of_empty_pictures_does_not_hang_mixup() -> None:
    empty = Sample(np.full((40, 40, 3), 9, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    made = Augmenter(lambda _: empty, 1, (), YoloxSettings(input_size=(64, 64))).sample(0, 0, (64, 64))
    assert made.boxes.shape == (0, 4)
    assert made.image.shape == (64, 64, 3)


def test_sizes_change_every_few_steps_within_their_range_and_keep_the_ratio() -> None:
    recipe = YoloxSettings(input_size=(384, 768), multiscale=(-5, 5), multiscale_interval=10)
    sizes = [multiscale_size(recipe, step) for step in range(2000)]
    assert sizes[:10] == [(384, 768)] * 10
    assert all(sizes[step] == sizes[step - step % 10] for step in range(2000))
    assert {height for height, _ in sizes} == set(range(224, 545, 32))
    assert all(width == 2 * height for height, width in sizes)
    assert {multiscale_size(YoloxSettings(multiscale=(0, 0)), step) for step in range(50)} == {(640, 640)}


def test_no_two_purposes_share_their_draws() -> None:
    assert len({augmentation._SIZES, augmentation._ORDER, augmentation._CHANGES}) == 3
