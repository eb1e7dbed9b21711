"""SimOTA on cases worked out by hand, and against a slow copy of its definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mlops_assets.tasks.detection2d import assignment
from mlops_assets.tasks.detection2d.assignment import Assignment, Targets, assign, pairwise_iou
from mlops_assets.tasks.detection2d.model import Cells, cells_of

SIZE = (64, 64)
CELLS = cells_of(SIZE)
COUNT = len(CELLS.strides)


def targets(*boxes: tuple[float, float, float, float], classes: tuple[int, ...] | None = None, padding: int = 0) -> Targets:
    rows = torch.tensor([*boxes, *[(0.0, 0.0, 0.0, 0.0)] * padding]).reshape(1, -1, 4)
    kinds = torch.tensor([*(classes or (0,) * len(boxes)), *[0] * padding]).reshape(1, -1)
    return Targets(rows, kinds, torch.arange(rows.shape[1])[None] < len(boxes))


def far_away() -> Tensor:
    """Boxes that overlap nothing."""
    return torch.tensor([[[1000.0, 1000.0, 1.0, 1.0]]]).repeat(1, COUNT, 1)


def assigned(boxes: Tensor, found: Targets, *, classes: int = 2, logits: Tensor | None = None) -> Assignment:
    return assign(boxes, torch.zeros(1, COUNT), torch.zeros(1, COUNT, classes) if logits is None else logits, CELLS, found)


def test_one_perfect_cell_takes_the_object_alone() -> None:
    boxes = far_away()
    cell = 2 * 8 + 2  # its centre is (20, 20)
    boxes[0, cell] = torch.tensor([20.0, 20.0, 16.0, 16.0])
    found = assigned(boxes, targets((20, 20, 16, 16)))
    assert found.taken[0].nonzero().flatten().tolist() == [cell]
    assert found.overlap[0, cell] == 1


def test_an_object_takes_as_many_cells_as_its_overlaps_add_up_to() -> None:
    boxes = far_away()
    for cell, width in ((2 * 8 + 2, 18.0), (2 * 8 + 3, 16.0), (3 * 8 + 2, 14.0)):  # overlaps 0.9, 0.8, 0.7
        boxes[0, cell] = torch.tensor([20.0, 20.0, width, 20.0])
    found = assigned(boxes, targets((20, 20, 20, 20)))
    assert found.taken[0].nonzero().flatten().tolist() == [2 * 8 + 2, 2 * 8 + 3]
    assert found.overlap[0, [2 * 8 + 2, 2 * 8 + 3]].tolist() == pytest.approx([0.9, 0.8])


def test_a_cell_that_two_objects_want_goes_to_the_one_it_fits_better() -> None:
    boxes = far_away()
    cell = 2 * 8 + 2
    boxes[0, cell] = torch.tensor([20.0, 20.0, 16.0, 16.0])
    found = assigned(boxes, targets((20, 20, 24, 24), (20, 20, 16, 17)))
    assert found.taken[0, cell]
    assert found.target[0, cell] == 1


def test_of_two_equal_boxes_the_class_decides() -> None:
    boxes = far_away()
    logits = torch.zeros(1, COUNT, 2)
    for cell, kind in ((2 * 8 + 2, 0), (2 * 8 + 3, 1)):
        boxes[0, cell] = torch.tensor([22.0, 20.0, 16.0, 16.0])
        logits[0, cell, kind], logits[0, cell, 1 - kind] = 6.0, -6.0
    found = assigned(boxes, targets((22, 20, 16, 16), (22, 20, 16, 16), classes=(1, 0)), logits=logits)
    assert found.target[0, [2 * 8 + 2, 2 * 8 + 3]].tolist() == [1, 0]


@pytest.mark.parametrize("size", [0.5, 3.0])
def test_an_object_smaller_than_a_cell_still_has_a_cell_that_learns_it(size: float) -> None:
    found = assigned(far_away(), targets((31.0, 17.0, size, size)))
    taken = found.taken[0].nonzero().flatten()
    assert len(taken) == 1
    assert ((CELLS.centers[taken[0]] - torch.tensor([31.0, 17.0])).abs() < 2.5 * CELLS.strides[taken[0]]).all()


def test_nothing_is_assigned_where_there_is_nothing_and_padding_is_never_an_object() -> None:
    assert not assigned(far_away(), targets()).taken.any()
    assert not assigned(far_away(), targets(padding=3)).taken.any()
    alone, padded = assigned(far_away(), targets((30, 30, 20, 20))), assigned(far_away(), targets((30, 30, 20, 20), padding=4))
    assert torch.equal(alone.taken, padded.taken)
    assert torch.equal(alone.target, padded.target)


def random_case(seed: int, images: int = 3, most: int = 6) -> tuple[Tensor, Tensor, Tensor, Targets]:
    rng = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, most + 1, (images,), generator=rng)
    places = torch.rand(images, most, 4, generator=rng) * torch.tensor([64.0, 64.0, 30.0, 30.0]) + torch.tensor([0, 0, 2.0, 2.0])
    found = Targets(places, torch.randint(0, 3, (images, most), generator=rng), torch.arange(most)[None] < counts[:, None])
    near = CELLS.centers + torch.randn(images, COUNT, 2, generator=rng) * 4
    boxes = torch.cat((near, torch.rand(images, COUNT, 2, generator=rng) * 30 + 1), dim=-1)
    return boxes, torch.randn(images, COUNT, generator=rng), torch.randn(images, COUNT, 3, generator=rng), found


def by_definition(
    boxes: Tensor, objectness: Tensor, logits: Tensor, cells: Cells, found: Targets
) -> dict[int, tuple[int, float]]:
    """Cell -> (object, overlap) of one image, object by object, as the paper tells it."""
    objects = [row for row in range(len(found.boxes)) if found.present[row]]
    if not objects:
        return {}
    inside, near = {}, {}
    for row in objects:
        x, y, width, height = found.boxes[row].tolist()
        for cell in range(len(boxes)):
            dx, dy = abs(float(cells.centers[cell, 0]) - x), abs(float(cells.centers[cell, 1]) - y)
            inside[row, cell] = dx < width / 2 and dy < height / 2
            near[row, cell] = dx < 2.5 * float(cells.strides[cell]) and dy < 2.5 * float(cells.strides[cell])
    candidates = [cell for cell in range(len(boxes)) if any(inside[row, cell] or near[row, cell] for row in objects)]
    overlaps = pairwise_iou(found.boxes[None], boxes[None])[0]
    score = (logits.sigmoid() * objectness.sigmoid()[:, None]).sqrt().double()
    cost: dict[tuple[int, int], float] = {}
    for row in objects:
        for cell in candidates:
            kinds = torch.zeros(logits.shape[1], dtype=torch.float64)
            kinds[found.classes[row]] = 1
            cost[row, cell] = (
                float(torch.nn.functional.binary_cross_entropy(score[cell], kinds, reduction="sum"))
                - 3 * math.log(float(overlaps[row, cell]) + 1e-8)
                + (0 if inside[row, cell] and near[row, cell] else 1e5)
            )
    claims: dict[int, list[int]] = {}
    for row in objects:
        best = sorted((float(overlaps[row, cell]) for cell in candidates), reverse=True)[:10]
        for cell in sorted(candidates, key=lambda cell, row=row: cost[row, cell])[: max(1, int(sum(best)))]:
            claims.setdefault(cell, []).append(row)
    answer = {}
    for cell, rows in claims.items():
        row = rows[0] if len(rows) == 1 else min(objects, key=lambda row, cell=cell: cost[row, cell])
        answer[cell] = (row, float(overlaps[row, cell]))
    return answer


@pytest.mark.parametrize("seed", range(4))
def test_the_whole_batch_at_once_equals_the_definition_object_by_object(seed: int) -> None:
    boxes, objectness, logits, found = random_case(seed)
    made = assign(boxes, objectness, logits, CELLS, found)
    for image in range(len(boxes)):
        alone = Targets(found.boxes[image], found.classes[image], found.present[image])
        expected = by_definition(boxes[image], objectness[image], logits[image], CELLS, alone)
        taken = made.taken[image].nonzero().flatten().tolist()
        assert taken == sorted(expected)
        assert [int(made.target[image, cell]) for cell in taken] == [expected[cell][0] for cell in taken]
        assert [float(made.overlap[image, cell]) for cell in taken] == pytest.approx([expected[cell][1] for cell in taken])


def test_a_large_batch_is_taken_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_case(7, images=5)
    whole = assign(*case[:3], CELLS, case[3])
    monkeypatch.setattr(assignment, "PAIRS_AT_ONCE", 1)
    parts = assign(*case[:3], CELLS, case[3])
    assert torch.equal(whole.taken, parts.taken)
    assert torch.equal(whole.target, parts.target)
    assert torch.equal(whole.overlap, parts.overlap)
