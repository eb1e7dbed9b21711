"""Losses against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mlops_assets.tasks.detection2d.augmentation import IGNORED
from mlops_assets.tasks.detection2d.losses import PARTS, GroundTruth, Losses, box_loss, ground_truth, offsets_of, yolox_losses
from mlops_assets.tasks.detection2d.model import boxes_of, cells_of

SIZE = (64, 64)
CELLS = cells_of(SIZE)
COUNT = len(CELLS.strides)
NOTHING = (np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


def truth(*images: tuple[list[list[float]], list[int]]) -> GroundTruth:
    return ground_truth(
        [np.array(boxes, np.float32).reshape(-1, 4) for boxes, _ in images], [np.array(kinds, np.int64) for _, kinds in images]
    )


def part(losses: Losses, name: str) -> float:
    return float(losses.parts[PARTS.index(name)])


def test_box_losses_of_two_boxes_that_share_a_third() -> None:
    found, wanted = torch.tensor([[5.0, 5.0, 10.0, 10.0]]), torch.tensor([[10.0, 5.0, 10.0, 10.0]])
    assert box_loss(found, wanted, "iou").item() == pytest.approx(1 - (1 / 3) ** 2)
    assert box_loss(found, wanted, "giou").item() == pytest.approx(1 - 1 / 3)


def test_only_giou_tells_how_far_apart_boxes_are() -> None:
    found = torch.tensor([[5.0, 5.0, 10.0, 10.0]])
    near, far = torch.tensor([[20.0, 5.0, 10.0, 10.0]]), torch.tensor([[50.0, 5.0, 10.0, 10.0]])
    assert box_loss(found, near, "iou") == box_loss(found, far, "iou") == 1
    assert box_loss(found, near, "giou").item() == pytest.approx(1 + 5 / 25)
    assert box_loss(found, far, "giou") > box_loss(found, near, "giou")


def test_a_network_that_knows_the_answer_has_no_loss() -> None:
    raw = torch.full((1, COUNT, 4 + 1 + 2), -20.0)
    cell = 2 * 8 + 2
    wanted = torch.tensor([[20.0, 20.0, 16.0, 16.0]])
    raw[0, cell, :4] = offsets_of(wanted, CELLS.corners[[cell]], CELLS.strides[[cell]])
    raw[0, cell, 4:] = torch.tensor([20.0, -20.0, 20.0])
    losses = yolox_losses(raw, CELLS, truth(([[12, 12, 28, 28]], [1])), l1=True)
    assert losses.total.item() == pytest.approx(0, abs=1e-4)
    assert part(losses, "cells_per_object") == 1


def test_offsets_are_the_inverse_of_decoding() -> None:
    wanted = torch.tensor([[20.0, 23.0, 16.0, 9.0]]).expand(COUNT, 4)
    assert boxes_of(offsets_of(wanted, CELLS.corners, CELLS.strides)[None], CELLS)[0].allclose(wanted, atol=1e-3)


def test_the_distance_of_offsets_counts_only_when_asked() -> None:
    torch.manual_seed(0)
    raw, known = torch.randn(1, COUNT, 6), truth(([[12, 12, 40, 40]], [0]))
    without, with_l1 = yolox_losses(raw, CELLS, known), yolox_losses(raw, CELLS, known, l1=True)
    assert part(without, "l1_loss") == 0
    assert part(with_l1, "l1_loss") > 0
    assert with_l1.total.item() == pytest.approx(without.total.item() + part(with_l1, "l1_loss"))


def test_a_batch_without_objects_teaches_that_there_are_none() -> None:
    raw = torch.zeros(2, COUNT, 8, requires_grad=True)
    losses = yolox_losses(raw, CELLS, ground_truth([NOTHING[0]] * 2, [NOTHING[1]] * 2), l1=True)
    losses.total.backward()
    assert losses.total.item() == pytest.approx(2 * COUNT * math.log(2), rel=1e-5)
    assert raw.grad is not None
    assert (raw.grad[..., 4] > 0).all()
    assert raw.grad[..., [0, 1, 2, 3, 5, 6, 7]].abs().sum() == 0


def test_empty_and_full_images_share_a_batch() -> None:
    torch.manual_seed(0)
    raw = torch.randn(3, COUNT, 7, requires_grad=True)
    losses = yolox_losses(raw, CELLS, truth(([], []), ([[4, 4, 30, 30], [30, 30, 60, 60]], [0, 1]), ([[1, 1, 9, 9]], [1])))
    losses.total.backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()
    assert raw.grad[0, :, :4].abs().sum() == 0


def test_in_an_ignored_region_no_cell_is_told_that_there_is_nothing() -> None:
    raw = torch.zeros(1, COUNT, 6, requires_grad=True)
    yolox_losses(raw, CELLS, truth(([[0, 0, 32, 64], [36, 10, 60, 50]], [IGNORED, 0]))).total.backward()
    assert raw.grad is not None
    left = CELLS.centers[:, 0] < 32
    assert raw.grad[0, left, 4].abs().sum() == 0
    assert (raw.grad[0, ~left, 4] != 0).all()


def test_an_object_inside_an_ignored_region_is_still_learned() -> None:
    raw = torch.zeros(1, COUNT, 6, requires_grad=True)
    yolox_losses(raw, CELLS, truth(([[0, 0, 64, 64], [12, 12, 40, 40]], [IGNORED, 0]))).total.backward()
    assert raw.grad is not None
    assert (raw.grad[0, :, 4] < 0).any()
    assert not (raw.grad[0, :, 4] > 0).any()


def test_half_precision_predictions_do_not_overflow() -> None:
    raw = torch.full((1, COUNT, 6), 60.0, dtype=torch.float16)
    assert yolox_losses(raw, CELLS, truth(([[12, 12, 40, 40]], [0])), iou_loss="giou").total.isfinite()
