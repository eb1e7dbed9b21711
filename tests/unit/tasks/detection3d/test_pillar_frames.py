"""Frames of a KITTI copy as PointPillars is trained on them, with the augmentation of this family."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mlops_assets.data.kitti.frames import KittiCopy
from mlops_assets.errors import DataRejected
from mlops_assets.tasks.detection3d.augmentation import AugmentationSettings, augment
from mlops_assets.tasks.detection3d.kitti_clouds import KittiLidarFrames
from mlops_assets.tasks.detection3d.pillar_samples import PillarMaker
from mlops_assets.tasks.detection3d.pillar_settings import COARSE, STANDARD
from mlops_assets.tasks.detection3d.pillar_training import train_pointpillars
from sim.driving.config import WorldConfig
from sim.driving.world import World, write_world
from tests.unit.tasks.detection3d.pillar_worlds import TINY

NAMES = ("000000", "000001")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> KittiCopy:
    root = tmp_path_factory.mktemp("world")
    write_world(root, World(seed=2, frames=2, config=WorldConfig(azimuth_step=1.0, image_width=200, image_height=80)))
    return KittiCopy.open(root)


def test_every_labelled_object_in_range_gets_its_anchors(copy: KittiCopy) -> None:
    frames = KittiLidarFrames(copy, NAMES)
    assert len(frames) == 2
    maker = PillarMaker(COARSE)
    for number in range(2):
        frame = frames[number]
        assert "DontCare" not in frame.names.tolist()
        targets = maker.sample(frame).targets
        learnt = np.isin(frame.names, COARSE.class_names) & (frame.boxes[:, 0] < 69)
        assert len(targets.positive) >= learnt.sum() > 0


def test_a_copy_is_trained_on_with_flips_turns_and_scales(copy: KittiCopy, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    changes = AugmentationSettings()
    trained = train_pointpillars(
        KittiLidarFrames(copy, NAMES),
        TINY,
        tmp_path,
        lambda *_: None,
        augment=lambda frame, random: augment(frame, changes, random),
    )
    assert trained.steps == 3 and np.isfinite(trained.curves["loss"]).all()


def test_a_damaged_cloud_ends_the_training_and_is_named(copy: KittiCopy, tmp_path: Path) -> None:
    path = copy.path("000001", "cloud")
    whole = path.read_bytes()
    path.write_bytes(whole[:1001])
    try:
        with pytest.raises(DataRejected, match=r"000001\.bin"):
            train_pointpillars(KittiLidarFrames(copy, NAMES), TINY, tmp_path, lambda *_: None)
    finally:
        path.write_bytes(whole)


def test_the_cars_and_people_of_real_frames_hold_points_and_get_anchors(shared: Path) -> None:
    frames = KittiLidarFrames(KittiCopy.open(shared / "data" / "kitti" / "object"), (*NAMES, "000002"))
    maker = PillarMaker(STANDARD)
    found = []
    for number in range(3):
        sample = maker.sample(frames[number])
        assert len(sample.pillars.places) > 4000
        found.append(sorted({STANDARD.class_names[kind] for kind in sample.targets.classes.tolist()}))
    assert found == [["Pedestrian"], ["Car", "Cyclist"], ["Car"]]
