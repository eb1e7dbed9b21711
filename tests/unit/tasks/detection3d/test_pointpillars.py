"""The network: its published size, its shapes, its losses; samples and batches that it is fed with."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from mlops_assets.tasks.detection3d.pillar_losses import box_loss, focal_loss, pillar_losses, to_tensors
from mlops_assets.tasks.detection3d.pillar_samples import PillarBatch, PillarMaker, collate
from mlops_assets.tasks.detection3d.pillar_settings import COARSE, SLIM, STANDARD
from mlops_assets.tasks.detection3d.pointpillars import HeadOutputs, PointPillars, build_pointpillars, parameter_count
from mlops_assets.tasks.detection3d.training_frame import TrainingFrame
from tests.unit.tasks.detection3d.pillar_worlds import TINY, box, empty_frame, solid_frame, street

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def batch_of(*frames: TrainingFrame) -> PillarBatch:
    maker = PillarMaker(TINY)
    return collate([maker.sample(frame) for frame in frames], TINY)


def run(model: PointPillars, batch: PillarBatch) -> HeadOutputs:
    tensors = to_tensors(batch, CPU)
    outputs: HeadOutputs = model(tensors.features, tensors.places, tensors.frames)
    return outputs


def test_the_standard_network_has_the_published_4_834_888_parameters() -> None:
    model = build_pointpillars(STANDARD)
    assert parameter_count(model) == 4_834_888
    parts = {name: parameter_count(part) for name, part in model.named_children()}
    assert parts == {"pillar_net": 768, "backbone": 4_806_400, "head": 27_720}


def test_larger_pillars_change_no_parameter_and_slim_has_a_tenth() -> None:
    assert parameter_count(build_pointpillars(COARSE)) == 4_834_888
    assert parameter_count(build_pointpillars(SLIM)) == 449_928


def test_the_same_seed_gives_the_same_weights_and_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, other = build_pointpillars(TINY), build_pointpillars(TINY)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    different = build_pointpillars(TINY.model_copy(update={"seed": 1}))
    assert not torch.equal(one.head.classes.weight, different.head.classes.weight)


def test_every_anchor_gets_its_outputs_and_an_untrained_head_believes_in_little() -> None:
    outputs = run(build_pointpillars(TINY).eval(), batch_of(street(0), street(1)))
    assert [tuple(output.shape) for output in outputs] == [(2, 18, 32, 80), (2, 42, 32, 80), (2, 12, 32, 80)]
    assert 0.001 < torch.sigmoid(outputs.class_logits).mean().item() < 0.05


def test_a_pillar_lands_at_its_place_and_changes_only_its_surroundings() -> None:
    model = build_pointpillars(TINY).eval()
    maker = PillarMaker(TINY)
    cloud = np.array([[24.2, 4.9, -1, 0.5], [24.3, 4.8, -1, 0.5]], dtype=np.float32)
    pillars = maker.pillars(cloud)
    assert pillars.places.tolist() == [31 * 80 + 75]
    with torch.inference_mode():
        empty = model(torch.zeros(0, 16, 10), torch.zeros(0, dtype=torch.int64), 1)
        one = model(torch.from_numpy(pillars.features), torch.from_numpy(pillars.places), 1)
    changed = (one.class_logits - empty.class_logits).abs().amax(dim=(0, 1))
    assert changed[31, 75] > 0
    assert float(changed[:5, :20].max()) == 0


def test_points_are_decorated_with_offsets_from_their_mean_and_from_the_middle_of_the_pillar() -> None:
    cloud = np.array([[1.0, 0.1, -1.0, 0.5], [1.2, 0.2, -2.0, 0.7]], dtype=np.float32)
    features = PillarMaker(TINY).pillars(cloud).features
    assert features.shape == (1, 16, 10)
    middle = np.array([0.96 + 0.16, 0.16, -1.0])
    assert features[0, 0].tolist() == pytest.approx([1, 0.1, -1, 0.5, -0.1, -0.05, 0.5, *(cloud[0, :3] - middle)], abs=1e-5)
    assert features[0, 1].tolist() == pytest.approx([1.2, 0.2, -2, 0.7, 0.1, 0.05, -0.5, *(cloud[1, :3] - middle)], abs=1e-5)
    assert not features[0, 2:].any()


def test_an_object_without_points_is_left_out_and_one_outside_the_grid_does_not_count() -> None:
    seen = street(3)
    hidden = dataclasses.replace(
        seen,
        points=seen.points[seen.points[:, 3] < 0.4],  # the ground alone
        boxes=np.concatenate([seen.boxes, [box(80, 0)]]),
        names=np.append(seen.names, "Car"),
    )
    targets = PillarMaker(TINY).sample(hidden).targets
    assert len(targets.positive) == 0 and len(targets.ignored) > 0
    assert len(PillarMaker(TINY).sample(seen).targets.positive) > 0


def test_the_sample_of_a_frame_in_a_batch_is_that_of_the_frame_alone() -> None:
    model = build_pointpillars(TINY).eval()
    together = run(model, batch_of(street(0), solid_frame([], []), street(1)))
    for place, frame in ((0, street(0)), (2, street(1))):
        alone = run(model, batch_of(frame))
        for whole, single in zip(together, alone, strict=True):
            assert torch.allclose(whole[place], single[0], atol=1e-5)


def test_losses_of_a_perfect_answer_are_small_and_of_its_opposite_large() -> None:
    batch = to_tensors(batch_of(street(0), street(1)), CPU)
    anchors = 6 * 32 * 80
    logits = torch.full((2 * anchors, 3), -8.0)
    logits[batch.positive, batch.classes] = 8.0
    residuals = torch.zeros(2 * anchors, 7)
    residuals[batch.positive] = batch.residuals
    residuals[batch.positive, 6] += math.pi
    halves = torch.zeros(2 * anchors, 2)
    halves[batch.positive, batch.directions] = 9.0

    def outputs(sign: float) -> HeadOutputs:
        def shaped(values: torch.Tensor) -> torch.Tensor:
            numbers = values.shape[1]
            return values.view(2, 6, 32 * 80, numbers).transpose(2, 3).reshape(2, 6 * numbers, 32, 80)

        return HeadOutputs(shaped(sign * logits), shaped(residuals + (1 - sign)), shaped(sign * halves))

    right, wrong = pillar_losses(outputs(1), batch, TINY), pillar_losses(outputs(-1), batch, TINY)
    assert float(right.total) < 0.01
    assert all(float(part) > 1 for part in (wrong.classes, wrong.boxes, wrong.directions))
    assert float(right.total) == pytest.approx(float(right.classes + right.boxes + right.directions))


def test_anchors_that_are_left_out_do_not_count_in_the_class_loss() -> None:
    batch = to_tensors(batch_of(street(0)), CPU)
    assert len(batch.ignored)
    base = torch.full((1, 6, 3, 32 * 80), -4.0)
    raised = base.clone()
    kind, place = batch.ignored // (32 * 80), batch.ignored % (32 * 80)
    raised[0, kind, :, place] = 4.0
    rest = torch.zeros(1, 42, 32, 80), torch.zeros(1, 12, 32, 80)
    one, other = (pillar_losses(HeadOutputs(v.view(1, 18, 32, 80), *rest), batch, TINY) for v in (base, raised))
    assert float(one.classes) == float(other.classes)


def test_focal_loss_and_box_loss_are_the_published_formulas() -> None:
    logit = torch.tensor([0.3, -2.0])
    p = torch.sigmoid(logit)
    expected = torch.stack([-0.25 * (1 - p[0]) ** 2 * torch.log(p[0]), -0.75 * p[1] ** 2 * torch.log(1 - p[1])])
    assert torch.allclose(focal_loss(logit, torch.tensor([1.0, 0.0])), expected)
    found = torch.tensor([[0.05, 0, 0, 0, 0, 0, math.pi], [1.0, 0, 0, 0, 0, 0, math.pi / 2]])
    # Within 1/9 half the square times 9, beyond it the distance less 1/18; half a turn costs nothing, a quarter is the worst.
    assert box_loss(found, torch.zeros(2, 7)).tolist() == pytest.approx([0.5 * 9 * 0.05**2, 2 * (1 - 1 / 18)], abs=1e-5)


def test_a_batch_without_pillars_or_objects_has_a_finite_loss_and_leaves_the_norms_finite() -> None:
    nothing = empty_frame()
    model = build_pointpillars(TINY).train()
    batch = batch_of(nothing, nothing)
    assert batch.features.shape == (0, 16, 10)
    losses = pillar_losses(run(model, batch), to_tensors(batch, CPU), TINY)
    losses.total.backward()
    assert math.isfinite(losses.total.item()) and losses.boxes.item() == losses.directions.item() == 0
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
