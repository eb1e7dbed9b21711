"""Generated frames and sequences, and a copy of them in KITTI's layout on disk.

The same seed and configuration give the same points, labels and pixels on every machine and in any order. A copy that was
interrupted is completed by the same call; one that was made otherwise is never mixed with another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlops_assets.data.kitti.calibration import Calibration, write_calibration
from mlops_assets.data.kitti.clouds import Cloud, write_bin
from mlops_assets.data.kitti.labels import KittiObjects, write_labels
from mlops_assets.data.kitti.tracking import TrackedObjects, write_tracking_labels
from mlops_assets.errors import UserError
from mlops_assets.whole_files import write_whole
from sim.driving.annotation import annotate
from sim.driving.camera import photograph
from sim.driving.config import WorldConfig
from sim.driving.lidar import scan
from sim.driving.placement import place
from sim.driving.rig import Rig, build_rig
from sim.driving.scene import Scene, draw_scene

#: Raised with every change that gives a seed another world.
GENERATION = 2
#: Frames a second of a sequence, as KITTI's.
FRAME_RATE = 10.0
MANIFEST = "generated.json"
#: Streets of sequences are numbered from here, those of single frames from 0.
_FIRST_SEQUENCE = 10_000_000
_VALIDATION_EVERY = 5


@dataclass(frozen=True, eq=False)
class GeneratedFrame:
    """One frame with its truth.

    Attributes:
        cloud: ``(P, 4)`` float32, LiDAR frame [m], reflectance.
        owners: ``(P,)`` int64 track of the object that returned the point, -1 for everything without a label.
        image: ``(height, width, 3)`` uint8, RGB, ``image_2``.
        objects: labels, DontCare included.
        tracks: ``(N,)`` int64 number of each label's object in its street; -1 for DontCare.
    """

    calibration: Calibration
    cloud: Cloud
    owners: NDArray[np.int64]
    image: NDArray[np.uint8]
    objects: KittiObjects
    tracks: NDArray[np.int64]


class World(BaseModel):
    """What a generated copy is: written beside it as ``generated.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    generation: int = GENERATION
    seed: int = Field(ge=0)
    frames: int = Field(ge=0, le=1_000_000)
    sequences: int = Field(default=0, ge=0, le=10_000)
    sequence_frames: int = Field(default=40, ge=1, le=1_000, description="frames of each sequence, 10 a second")
    config: WorldConfig = WorldConfig()


def generate_frame(seed: int, number: int, config: WorldConfig | None = None) -> GeneratedFrame:
    """Frame ``number`` of this seed: a street of its own."""
    config = config or WorldConfig()
    return _frame(build_rig(config), config, draw_scene(seed, number), 0.0, [seed, number, 1])


def generate_sequence(seed: int, number: int, frames: int, config: WorldConfig | None = None) -> Iterator[GeneratedFrame]:
    """Frames of one street, a tenth of a second apart; ``tracks`` name the same object in all of them."""
    config = config or WorldConfig()
    rig = build_rig(config)
    scene = draw_scene(seed, _FIRST_SEQUENCE + number, duration=frames / FRAME_RATE)
    for frame in range(frames):
        yield _frame(rig, config, scene, frame / FRAME_RATE, [seed, _FIRST_SEQUENCE + number, 1 + frame])


def write_world(root: Path, world: World, *, told: Callable[[int, int], None] | None = None) -> None:
    """Write the copy: ``root/training`` and ``root/ImageSets``, sequences in ``root/tracking/training``.

    Frames that are already there are kept, so that an interrupted call goes on; more frames may be asked for later. Every
    fifth frame is of the split ``val``. ``told`` hears of the frames done and of all to do.

    Raises:
        UserError: the folder holds something else, or a world of another seed, configuration or generation.
        OSError: a file cannot be written; whole files stay, half ones do not.
    """
    world = _claim(root, world)
    total = world.frames + world.sequences * world.sequence_frames
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if told is not None:
            told(done, total)

    for number in range(world.frames):
        _write_frame(root / "training", number, world)
        step()
    names = [f"{number:06d}" for number in range(world.frames)]
    validation = names[_VALIDATION_EVERY - 1 :: _VALIDATION_EVERY]
    splits = {"train": [name for name in names if name not in set(validation)], "val": validation, "trainval": names}
    for split, members in splits.items():
        write_whole(root / "ImageSets" / f"{split}.txt", "".join(f"{name}\n" for name in members).encode(), shared=True)
    for number in range(world.sequences):
        _write_sequence(root / "tracking" / "training", number, world, step)


def _frame(rig: Rig, config: WorldConfig, scene: Scene, time: float, entropy: list[int]) -> GeneratedFrame:
    random = np.random.Generator(np.random.PCG64(entropy))
    placement = place(scene, time)
    measured = scan(rig, config, placement, scene.crossing, random)
    picture = photograph(rig, config, placement, scene.brightness, scene.crossing, random)
    annotation = annotate(rig, config, placement, measured, picture)
    # Row -1 is the ground, the row after the actors the structures: neither has a label.
    tracks = np.array([*(actor.track for actor in placement.actors), -1, -1], dtype=np.int64)
    return GeneratedFrame(
        rig.calibration, measured.points, tracks[measured.owners], picture.pixels, annotation.objects, annotation.tracks
    )


def _claim(root: Path, world: World) -> World:
    """Make the folder this world's, or find that it already is; what the copy holds in the end."""
    manifest = root / MANIFEST
    if manifest.is_file():
        try:
            found = World.model_validate_json(manifest.read_bytes())
        except ValidationError as error:
            raise _taken(root, f"{MANIFEST} there is not readable") from error
        same = ("generation", "seed", "config", "sequence_frames")
        differing = [name for name in same if getattr(found, name) != getattr(world, name)]
        if differing:
            raise _taken(root, f"it holds a world of another {', '.join(differing)}")
        world = world.model_copy(
            update={"frames": max(world.frames, found.frames), "sequences": max(world.sequences, found.sequences)}
        )
    elif root.is_dir() and any(root.iterdir()):
        raise _taken(root, "it is not empty and was not generated here")
    write_whole(manifest, (json.dumps(world.model_dump(mode="json"), indent=2) + "\n").encode(), shared=True)
    return world


def _write_frame(training: Path, number: int, world: World) -> None:
    name = f"{number:06d}"
    image, cloud = training / "image_2" / f"{name}.png", training / "velodyne" / f"{name}.bin"
    calibration, labels = training / "calib" / f"{name}.txt", training / "label_2" / f"{name}.txt"
    paths = (image, cloud, calibration, labels)
    if all(path.is_file() for path in paths):
        return
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    frame = generate_frame(world.seed, number, world.config)
    write_image(image, frame.image)
    write_bin(cloud, frame.cloud)
    write_calibration(calibration, frame.calibration)
    write_labels(labels, frame.objects)


def _write_sequence(training: Path, number: int, world: World, step: Callable[[], None]) -> None:
    name = f"{number:04d}"
    labels = training / "label_02" / f"{name}.txt"
    if labels.is_file():  # written last
        for _ in range(world.sequence_frames):
            step()
        return
    folders = [training / "image_02" / name, training / "velodyne" / name, training / "calib", training / "label_02"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    tracked = {}
    for index, frame in enumerate(generate_sequence(world.seed, number, world.sequence_frames, world.config)):
        write_image(folders[0] / f"{index:06d}.png", frame.image)
        write_bin(folders[1] / f"{index:06d}.bin", frame.cloud)
        if index == 0:
            write_calibration(training / "calib" / f"{name}.txt", frame.calibration, tracking=True)
        tracked[index] = TrackedObjects(_with_levels(frame.objects), frame.tracks)
        step()
    write_tracking_labels(labels, tracked)


def _with_levels(objects: KittiObjects) -> KittiObjects:
    """Truncation as the tracking benchmark writes it: 0 none, 1 partly, 2 for more than half outside the image."""
    share = objects.truncation
    levels = np.where(share < 0, share, np.where(share <= 0.02, 0.0, np.where(share <= 0.5, 1.0, 2.0)))
    return KittiObjects(
        objects.names, levels, objects.occlusion, objects.alpha, objects.boxes_2d, objects.dimensions, objects.locations,
        objects.rotation_y,
    )  # fmt: skip


def write_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write ``(height, width, 3)`` RGB as PNG; readers see the old file or the whole new one.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)  # five times as fast as the default, a third larger
    write_whole(path, buffer.getvalue(), shared=True)


def _taken(root: Path, why: str) -> UserError:
    return UserError(
        f"the world cannot be written here: {why}",
        field="path",
        given=str(root),
        next_step="give an empty folder, or remove this one first",
    )
