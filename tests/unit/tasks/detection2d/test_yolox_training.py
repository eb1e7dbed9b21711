"""Training by heart, stopping and going on, and what is kept of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from yolox_cases import red_squares

from mlops_assets.errors import ComputeError, ComputeInterrupted, DataRejected, IntegrityError, UserError
from mlops_assets.tasks.detection2d.checkpoint import CHECKPOINT, read_weights, write_weights
from mlops_assets.tasks.detection2d.dataset import DetectionDataset, labelled_image
from mlops_assets.tasks.detection2d.decoding import predict
from mlops_assets.tasks.detection2d.loading import batches
from mlops_assets.tasks.detection2d.model import Yolox
from mlops_assets.tasks.detection2d.schedule import MovingAverage, learning_rate, optimizer_of
from mlops_assets.tasks.detection2d.settings import YoloxSettings
from mlops_assets.tasks.detection2d.training import Trained, device_of, precision_of, seeded_network, train_yolox

Reported = list[tuple[float, str, dict[str, float]]]
#: Everything random is switched on, so that going on must find the same draws again.
EVENTFUL = YoloxSettings(
    variant="nano", input_size=(64, 64), epochs=3, warmup_epochs=1, plain_epochs=1, batch_size=2, learning_rate=0.1,
    mosaic_probability=0.7, mixup_probability=0.7, multiscale=(0, 1), multiscale_interval=2, cpu_threads=1, loader_threads=2,
    device="cpu",
)  # fmt: skip
PLAIN = EVENTFUL.model_copy(
    update={
        "mosaic_probability": 0.0, "mixup_probability": 0.0, "multiscale": (0, 0), "hsv_probability": 0.0,
        "flip_probability": 0.0, "loader_threads": 0,
    }
)  # fmt: skip


def train(
    dataset: DetectionDataset,
    settings: YoloxSettings,
    folder: Path,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    validate: Callable[[Yolox], Mapping[str, float]] | None = None,
) -> tuple[Trained, Reported]:
    told: Reported = []
    made = train_yolox(
        dataset, settings, folder, lambda fraction, text, metrics: told.append((fraction, text, dict(metrics))),
        should_stop=should_stop, validate=validate,
    )  # fmt: skip
    return made, told


def stop_after(steps: int) -> Callable[[], bool]:
    left = [steps]

    def stop() -> bool:
        left[0] -= 1
        return left[0] == 0

    return stop


def overlap(one: Sequence[float], two: Sequence[float]) -> float:
    shared = max(0.0, min(one[2], two[2]) - max(one[0], two[0])) * max(0.0, min(one[3], two[3]) - max(one[1], two[1]))
    return shared / ((one[2] - one[0]) * (one[3] - one[1]) + (two[2] - two[0]) * (two[3] - two[1]) - shared)


def test_a_few_pictures_are_learned_by_heart(tmp_path: Path) -> None:
    dataset = red_squares(4, seed=1)
    settings = PLAIN.model_copy(
        update={"epochs": 50, "warmup_epochs": 6, "plain_epochs": 2, "batch_size": 4, "learning_rate": 0.6, "seed": 1}
    )
    made, told = train(dataset, settings, tmp_path)
    loss = made.curves["loss"]
    assert sum(loss[-7:-2]) < 0.5 * sum(loss[:5])
    samples = [dataset.sample(index) for index in range(4)]
    for sample, found in zip(samples, predict(made.network, [sample.image for sample in samples], settings), strict=True):
        assert found.scores is not None
        assert found.scores[0] > 0.3
        assert overlap(found.boxes[0].tolist(), sample.boxes[0].tolist()) > 0.5
    assert made.curves["l1_loss"][:48] == [0.0] * 48
    assert all(value > 0 for value in made.curves["l1_loss"][48:])
    fractions = [fraction for fraction, _, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


@pytest.mark.parametrize("steps", [2, 3])
def test_a_stopped_training_goes_on_to_the_very_same_weights(tmp_path: Path, steps: int) -> None:
    dataset = red_squares(3, empty=1)
    whole, _ = train(dataset, EVENTFUL, tmp_path / "whole")
    with pytest.raises(ComputeInterrupted, match=f"after step {steps}"):
        train(dataset, EVENTFUL, tmp_path / "halves", should_stop=stop_after(steps))
    halves, _ = train(dataset, EVENTFUL.model_copy(update={"loader_threads": 0}), tmp_path / "halves")
    assert halves.resumed_at == steps
    assert halves.steps == whole.steps == 6
    assert halves.curves == whole.curves
    expected = whole.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in halves.network.state_dict().items())


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    dataset = red_squares(2)
    settings = PLAIN.model_copy(update={"epochs": 1, "warmup_epochs": 0, "plain_epochs": 0})
    first, _ = train(dataset, settings, tmp_path)
    again, told = train(dataset, settings, tmp_path)
    assert again.resumed_at == again.steps == first.steps
    assert told == []
    assert all(torch.equal(a, b) for a, b in zip(first.network.parameters(), again.network.parameters(), strict=True))


def test_checkpoints_of_other_trainings_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    dataset = red_squares(2)
    settings = PLAIN.model_copy(update={"epochs": 1, "warmup_epochs": 0, "plain_epochs": 0})
    train(dataset, settings, tmp_path)
    with pytest.raises(UserError, match="other settings") as refused:
        train(dataset, settings.model_copy(update={"learning_rate": 0.2}), tmp_path)
    assert refused.value.field == "learning_rate"
    with pytest.raises(UserError, match="other data"):
        train(red_squares(2, seed=9), settings, tmp_path)
    whole = (tmp_path / CHECKPOINT).read_bytes()
    for damaged in (b"", b"no checkpoint", whole[: len(whole) // 2]):
        (tmp_path / CHECKPOINT).write_bytes(damaged)
        with pytest.raises(IntegrityError, match="delete it to start again"):
            train(dataset, settings, tmp_path)


def test_a_file_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    torch.save({"format": 1, "weights": print}, tmp_path / "weights.pt")
    with pytest.raises(IntegrityError, match="damaged"):
        read_weights(tmp_path / "weights.pt")


def test_weights_are_read_back_as_they_were(tmp_path: Path) -> None:
    network = seeded_network(PLAIN, 2)
    write_weights(tmp_path / "weights.pt", network, ("Car", "自転車"))
    again, names = read_weights(tmp_path / "weights.pt")
    assert names == ("Car", "自転車")
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pt"]


def test_the_seed_decides_the_first_weights_and_leaves_other_draws_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = seeded_network(PLAIN, 1)
    assert torch.equal(torch.rand(1), expected)
    second, other = seeded_network(PLAIN, 1), seeded_network(PLAIN.model_copy(update={"seed": 1}), 1)
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_validation_is_measured_on_the_average_and_kept(tmp_path: Path) -> None:
    seen: list[bool] = []

    def validate(network: Yolox) -> Mapping[str, float]:
        seen.append(network.training)
        return {"mAP@0.5": 0.25}

    settings = PLAIN.model_copy(update={"epochs": 1, "warmup_epochs": 0, "plain_epochs": 0})
    made, told = train(red_squares(2), settings, tmp_path, validate=validate)
    assert seen == [False]
    assert made.curves["mAP@0.5"] == [0.25]
    assert told[-1][2]["mAP@0.5"] == 0.25


def test_labels_without_objects_and_unreadable_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="nothing to learn"):
        train(red_squares(0, empty=2), PLAIN, tmp_path)
    with pytest.raises(DataRejected, match="nothing to learn"):
        train(DetectionDataset([], ("Car",)), PLAIN, tmp_path)
    lost = DetectionDataset([labelled_image("lost", tmp_path / "lost.png", [[1, 1, 9, 9]], [0])], ("Car",))
    for threads in (0, 2):
        with pytest.raises(DataRejected, match=r"lost\.png cannot be read"):
            train(lost, PLAIN.model_copy(update={"loader_threads": threads}), tmp_path / "run")


def test_a_training_that_diverges_says_so(tmp_path: Path) -> None:
    settings = PLAIN.model_copy(update={"learning_rate": 1e30, "warmup_epochs": 0})
    with pytest.raises(ComputeError, match="Lower learning_rate"):
        train(red_squares(2), settings, tmp_path)


def test_threads_do_not_change_the_batches() -> None:
    dataset = red_squares(5)
    one, two = (EVENTFUL.model_copy(update={"loader_threads": threads}) for threads in (0, 3))
    for epoch in range(2):
        for first, second in zip(batches(dataset, one, epoch), batches(dataset, two, epoch), strict=True):
            assert first.images.tobytes() == second.images.tobytes()
            assert [box.tolist() for box in first.boxes] == [box.tolist() for box in second.boxes]
    assert sum(len(batch.images) for batch in batches(dataset, one, 0)) == 5
    assert len(list(batches(dataset, two, 0, first=2))) == 1


def test_the_rate_warms_up_falls_and_stays_low_at_the_end() -> None:
    settings = YoloxSettings(epochs=100, warmup_epochs=5, plain_epochs=15, batch_size=64, learning_rate=0.01)
    rates = [learning_rate(settings, step, 10) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01 * (1 / 50) ** 2)
    assert rates[49] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(0.01)
    assert rates[450] == pytest.approx((0.01 + 0.0005) / 2)
    assert rates[850:] == [pytest.approx(0.0005)] * 150
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[49:]))


def test_only_convolution_weights_decay() -> None:
    network = seeded_network(PLAIN, 1)
    decaying, others = optimizer_of(network, PLAIN).param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (5e-4, 0.0)
    assert {weight.ndim for weight in decaying["params"]} == {4}
    assert {weight.ndim for weight in others["params"]} == {1}
    assert len(decaying["params"]) + len(others["params"]) == len(list(network.parameters()))


def test_the_average_follows_fast_at_first_and_holds_still_by_itself() -> None:
    network = seeded_network(PLAIN, 1)
    average = MovingAverage(network, 0.9998)
    weight = next(network.parameters())
    before = weight.detach().clone()
    with torch.no_grad():
        weight += 1
    average.update(network)
    share = 1 - 0.9998 * (1 - math.exp(-1 / 2000))
    assert torch.allclose(next(average.network.parameters()), before + share)
    assert torch.equal(weight, before + 1)
    average.updates = 10**6
    average.update(network)
    assert torch.allclose(next(average.network.parameters()), before + share + (1 - share) * 2e-4, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in average.network.parameters())


def test_a_device_or_precision_that_is_not_here_is_refused() -> None:
    assert precision_of(PLAIN, torch.device("cpu")) == "fp32"
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        precision_of(PLAIN.model_copy(update={"precision": "fp16"}), torch.device("cpu"))
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no usable GPU"):
            device_of(PLAIN.model_copy(update={"device": "cuda"}))


def test_half_precision_learns_the_same_within_its_digits(tmp_path: Path) -> None:
    short = PLAIN.model_copy(update={"epochs": 1, "warmup_epochs": 0, "plain_epochs": 1})
    half, _ = train(red_squares(2), short.model_copy(update={"precision": "bf16"}), tmp_path / "half")
    full, _ = train(red_squares(2), short, tmp_path / "full")
    assert (half.precision, full.precision) == ("bf16", "fp32")
    assert half.curves["loss"][0] == pytest.approx(full.curves["loss"][0], rel=0.15)
    assert half.curves["loss"] != full.curves["loss"]
    assert {parameter.dtype for parameter in half.network.parameters()} == {torch.float32}
