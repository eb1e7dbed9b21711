"""The network: published sizes, shapes, initialisation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mlops_assets.errors import UserError
from mlops_assets.tasks.detection2d.model import (
    Detector,
    PyramidPooling,
    Yolox,
    boxes_of,
    cells_of,
    parameter_count,
)
from mlops_assets.tasks.detection2d.settings import ARCHITECTURES, Variant


@pytest.mark.parametrize(
    ("variant", "published"), [("nano", "0.91"), ("tiny", "5.06"), ("s", "9.0"), ("m", "25.3"), ("l", "54.2"), ("x", "99.1")]
)
def test_every_variant_has_as_many_parameters_as_published(variant: Variant, published: str) -> None:
    with torch.device("meta"):
        network = Yolox(variant, 80)
    digits = len(published.split(".")[1])
    assert f"{parameter_count(network) / 1e6:.{digits}f}" == published
    assert float(published) == ARCHITECTURES[variant].published_millions


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (224, 32 * 9)])
@pytest.mark.parametrize("variant", ["nano", "s"])
def test_every_cell_of_every_map_predicts(variant: Variant, size: tuple[int, int]) -> None:
    with torch.device("meta"):
        raw = Yolox(variant, 3)(torch.empty(2, 3, *size))
    cells = cells_of(size)
    count = sum((size[0] // stride) * (size[1] // stride) for stride in (8, 16, 32))
    assert raw.shape == (2, count, 8)
    assert cells.centers.shape == (count, 2)
    assert (cells.centers[:, 0] < size[1]).all()
    assert (cells.centers[:, 1] < size[0]).all()


@pytest.mark.parametrize("size", [(100, 96), (96, 95)])
def test_sizes_that_the_maps_do_not_fit_are_refused_in_words(size: tuple[int, int]) -> None:
    with torch.device("meta"), pytest.raises(UserError, match="multiples of 32"):
        Yolox("nano", 1)(torch.empty(1, 3, *size))


def test_a_network_without_classes_is_refused() -> None:
    with pytest.raises(UserError, match="classes"):
        Yolox("nano", 0)


def test_a_new_network_scores_every_cell_near_the_prior() -> None:
    torch.manual_seed(0)
    network = Yolox("nano", 2)
    for level in network.head:
        for layer in (level.objectness, level.class_logits):
            assert layer.bias.sigmoid().allclose(torch.tensor(0.01))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.03)}


def test_only_nano_convolves_channels_by_themselves() -> None:
    def grouped(variant: Variant) -> bool:
        with torch.device("meta"):
            return any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in Yolox(variant, 1).modules())

    assert [grouped(variant) for variant in ("nano", "tiny", "s")] == [True, False, False]


def test_repeated_pooling_equals_the_published_windows() -> None:
    layer = PyramidPooling(4)
    x = torch.randn(1, 2, 17, 23)
    once = layer.pool(x)
    for window, repeated in ((5, once), (9, layer.pool(once)), (13, layer.pool(layer.pool(once)))):
        assert torch.equal(repeated, nn.functional.max_pool2d(x, window, stride=1, padding=window // 2))


def test_offsets_decode_to_pixels() -> None:
    cells = cells_of((64, 64))
    raw = torch.zeros(1, len(cells.strides), 4)
    raw[0, 9] = torch.tensor([0.5, 0.25, torch.log(torch.tensor(2.0)), 0.0])
    box = boxes_of(raw, cells)[0, 9]  # second cell of the second row at stride 8
    assert box.tolist() == pytest.approx([12.0, 10.0, 16.0, 8.0])
    raw[0, 0] = torch.tensor([0.0, 0.0, 1000.0, 1000.0])
    assert boxes_of(raw, cells).isfinite().all()


def test_the_detector_gives_corners_and_scores_between_0_and_1() -> None:
    torch.manual_seed(1)
    detector = Detector(Yolox("nano", 3), (64, 96)).eval()
    with torch.inference_mode():
        boxes, scores = detector(torch.rand(2, 3, 64, 96) * 255)
    assert boxes.shape[:2] == scores.shape[:2]
    assert boxes.shape[2] == 4
    assert scores.shape[2] == 3
    assert (boxes[..., 2:] >= boxes[..., :2]).all()
    assert ((scores >= 0) & (scores <= 1)).all()
