"""Training: losses fall, a stop and a crash continue to the same bits, one frame is learned by heart, damage is named."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from mlops_assets.errors import ComputeError, DataRejected, IntegrityError, TrainingStopped, UserError
from mlops_assets.tasks.detection.overlap import iou_3d
from mlops_assets.tasks.detection3d.kitti_clouds import training_frame
from mlops_assets.tasks.detection3d.pillar_checkpoints import CHECKPOINT, MODEL, read_model
from mlops_assets.tasks.detection3d.pillar_devices import device_of, precision_of
from mlops_assets.tasks.detection3d.pillar_export import export_pointpillars
from mlops_assets.tasks.detection3d.pillar_inference import OnnxPillars
from mlops_assets.tasks.detection3d.pillar_training import one_cycle, train_pointpillars
from mlops_assets.tasks.detection3d.training_frame import TrainingFrame
from sim.driving.config import WorldConfig
from sim.driving.world import generate_frame
from tests.unit.tasks.detection3d.pillar_worlds import TINY, empty_frame, street

STREETS = [street(number) for number in range(3)]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def silent(fraction: float, text: str, metrics: Mapping[str, float]) -> None:
    """No report."""


def stopping_after(steps: int) -> Callable[[], bool]:
    asked = iter(range(1_000_000))
    return lambda: next(asked) + 1 >= steps


def jitter(frame: TrainingFrame, random: np.random.Generator) -> TrainingFrame:
    """Moves the whole frame sideways by a random distance."""
    shift = random.uniform(-1, 1)
    return dataclasses.replace(
        frame,
        points=frame.points + np.array([0, shift, 0, 0], dtype=np.float32),
        boxes=frame.boxes + np.array([0, shift, 0, 0, 0, 0, 0]),
    )


def weights(path: Path) -> dict[str, torch.Tensor]:
    model, _ = read_model(path)
    return model.state_dict()


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_one_generated_frame_is_learned_by_heart_and_found_again_through_onnx(tmp_path: Path) -> None:
    made = generate_frame(1, 3, WorldConfig(azimuth_step=0.5))
    frame = training_frame(made.cloud, made.objects, made.calibration)
    settings = TINY.model_copy(update={"epochs": 60, "batch_size": 1})
    told: list[tuple[float, dict[str, float]]] = []
    trained = train_pointpillars([frame], settings, tmp_path, lambda fraction, _, metrics: told.append((fraction, dict(metrics))))
    losses = trained.curves["loss"]
    assert trained.steps == len(losses) == 60
    assert losses[-1] < 0.05 * losses[0]
    assert all(curve[-1] < 0.1 * curve[0] for curve in trained.curves.values())
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == 1
    assert told[-1][1]["loss"] == losses[-1]

    model, kept = read_model(trained.model)
    assert kept == settings
    export_pointpillars(model, kept, tmp_path / "onnx", [frame.points])
    found = OnnxPillars.load(tmp_path / "onnx").detect(frame.points)
    (x_low, y_low, _), (x_high, y_high, _) = settings.range_min, settings.range_max
    wanted = [
        row
        for row, (box, name) in enumerate(zip(frame.boxes, frame.names, strict=True))
        if name in settings.class_names and x_low <= box[0] < x_high - 2 and y_low + 1 <= box[1] < y_high - 1
    ]
    assert len(wanted) >= 3
    shared = iou_3d(frame.boxes[wanted], found.boxes)
    assert (shared.max(axis=1) > 0.7).all()
    assert [found.names[row] for row in shared.argmax(axis=1)] == [frame.names[row] for row in wanted]


def test_a_training_that_was_stopped_continues_to_the_same_bits(tmp_path: Path) -> None:
    whole = train_pointpillars(STREETS, TINY, tmp_path / "whole", silent, augment=jitter)
    again = train_pointpillars(STREETS, TINY, tmp_path / "again", silent, augment=jitter)
    assert same(whole.model, again.model)
    for steps in (1, 4):  # in the middle of the first epoch of two steps, and after the second
        folder = tmp_path / f"stopped-{steps}"
        with pytest.raises(TrainingStopped, match=f"stopped at step {steps} of 6"):
            train_pointpillars(STREETS, TINY, folder, silent, augment=jitter, stop=stopping_after(steps))
        assert (folder / CHECKPOINT).is_file() and not (folder / MODEL).exists()
        continued = train_pointpillars(STREETS, TINY, folder, silent, augment=jitter)
        assert same(whole.model, continued.model)
        assert continued.curves == whole.curves
        assert not (folder / CHECKPOINT).exists()
    other = train_pointpillars(STREETS, TINY.model_copy(update={"seed": 1}), tmp_path / "other", silent, augment=jitter)
    assert not same(whole.model, other.model)


def test_threads_that_make_samples_do_not_change_the_result(tmp_path: Path) -> None:
    one = train_pointpillars(STREETS, TINY, tmp_path / "one", silent, augment=jitter)
    many = train_pointpillars(STREETS, TINY.model_copy(update={"workers": 3}), tmp_path / "many", silent, augment=jitter)
    assert same(one.model, many.model)


def test_a_crash_between_two_steps_continues_from_the_last_checkpoint_to_the_same_bits(tmp_path: Path) -> None:
    class Crash(BaseException):
        """What nothing catches."""

    settings = TINY.model_copy(update={"checkpoint_seconds": 0.0})
    asked = iter(range(100))

    def crash() -> bool:
        if next(asked) == 2:
            raise Crash
        return False

    with pytest.raises(Crash):
        train_pointpillars(STREETS, settings, tmp_path / "crashed", silent, stop=crash)
    whole = train_pointpillars(STREETS, settings, tmp_path / "whole", silent)
    assert same(whole.model, train_pointpillars(STREETS, settings, tmp_path / "crashed", silent).model)


def test_a_report_that_ends_the_training_leaves_a_checkpoint_in_the_folder_for_them(tmp_path: Path) -> None:
    def report(fraction: float, text: str, metrics: Mapping[str, float]) -> None:
        if fraction > 0:
            raise TrainingStopped("not wanted any more")

    with pytest.raises(TrainingStopped, match="not wanted"):
        train_pointpillars(STREETS, TINY, tmp_path / "model", report, checkpoints=tmp_path / "kept")
    assert (tmp_path / "kept" / CHECKPOINT).is_file()
    assert not list((tmp_path / "model").iterdir())


def test_a_checkpoint_of_other_settings_or_data_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped):
        train_pointpillars(STREETS, TINY, tmp_path, silent, data_version="a", stop=lambda: True)
    with pytest.raises(UserError, match="other settings"):
        train_pointpillars(STREETS, TINY.model_copy(update={"seed": 9}), tmp_path, silent, data_version="a")
    for frames, version in ((STREETS, "b"), (STREETS[:2], "a")):
        with pytest.raises(UserError, match="other data"):
            train_pointpillars(frames, TINY, tmp_path, silent, data_version=version)
    path = tmp_path / CHECKPOINT
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"no checkpoint at all"):
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match="cannot be read"):
            train_pointpillars(STREETS, TINY, tmp_path, silent, data_version="a")


def test_a_model_file_that_would_execute_something_is_not_read(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "executed",)

    torch.save({"format": 1, "settings": Harm()}, tmp_path / MODEL)
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_model(tmp_path / MODEL)
    assert not (tmp_path / "executed").exists()
    torch.save({"format": 1, "settings": TINY.model_dump_json(), "weights": {}}, tmp_path / MODEL)
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_model(tmp_path / MODEL)


def test_frames_without_boxes_or_points_can_be_among_those_trained_on(tmp_path: Path) -> None:
    bare = dataclasses.replace(STREETS[0], boxes=np.empty((0, 7)), names=STREETS[0].names[:0])
    trained = train_pointpillars([empty_frame(), bare], TINY.model_copy(update={"batch_size": 1}), tmp_path, silent)
    assert all(np.isfinite(curve).all() for curve in trained.curves.values())
    model, _ = read_model(trained.model)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_no_frame_and_a_frame_that_cannot_be_read_end_the_training_by_name(tmp_path: Path) -> None:
    class Broken:
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> TrainingFrame:
            raise DataRejected("000007.bin is empty: 0 bytes")

    with pytest.raises(DataRejected, match="no frame to train on"):
        train_pointpillars([], TINY, tmp_path, silent)
    with pytest.raises(DataRejected, match=r"000007\.bin"):
        train_pointpillars(Broken(), TINY, tmp_path, silent)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pillar-samples")]


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path: Path) -> None:
    absurd = dataclasses.replace(STREETS[0], points=STREETS[0].points * np.float32([1, 1, 1, 3e38]))
    with pytest.raises(ComputeError, match="the loss is"):
        train_pointpillars([absurd], TINY, tmp_path, silent)


def test_the_learning_rate_rises_and_falls_once_and_momentum_runs_the_other_way() -> None:
    rates, momenta = np.array([one_cycle(step, 100, TINY) for step in range(100)]).T
    assert rates[0] == pytest.approx(0.0003) and rates.max() == pytest.approx(0.003) and rates[-1] == pytest.approx(3e-7)
    assert rates.argmax() == momenta.argmin() == 40
    assert (np.diff(rates[:41]) > 0).all() and (np.diff(rates[40:]) < 0).all()
    assert momenta[0] == 0.95 and momenta.min() == pytest.approx(0.85) and momenta[-1] == pytest.approx(0.95)
    assert all(np.isfinite(one_cycle(step, total, TINY)).all() for total in (1, 2, 3) for step in range(total))


def test_a_cpu_trains_in_float32_and_a_missing_gpu_is_said() -> None:
    cpu = device_of(TINY)
    assert cpu.type == "cpu" and not precision_of(TINY, cpu).mixed
    if torch.cuda.is_available():
        pytest.skip("a GPU is there")
    assert device_of(TINY.model_copy(update={"device": "auto"})).type == "cpu"
    with pytest.raises(UserError, match="no CUDA device"):
        device_of(TINY.model_copy(update={"device": "cuda"}))
