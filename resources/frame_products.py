"""What is made of a shard: pictures, voxels and a COCO file, each stored once under what it was made of.

A product's place in the store follows from the shard's digest, the settings and the format of the code, so the same product is
found and not made again, in whatever run or process. Frames of voxels that a killed process left in the ``workshop`` are read,
checked and kept.
Making the shard itself is ``shards``; what partitions are called is in ``frame_assets``.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import Field

from mlops_assets.data.forms import Told
from mlops_assets.data.frame_shards import ShardSummary
from mlops_assets.data.kitti.coco import CocoPolicy
from mlops_assets.data.kitti.layout import PARTS, Part
from mlops_assets.errors import IntegrityError
from mlops_assets.request.digest import sha256_of
from mlops_assets.request.schema import Frozen
from mlops_assets.tasks.detection3d.occupancy import VoxelOccupancy
from mlops_assets.tasks.detection3d.voxel_files import SUFFIX, VOXEL_FORMAT
from mlops_assets.tasks.detection3d.voxels import VoxelGrid, Voxels

if TYPE_CHECKING:
    from mlops_assets.data.kitti.frames import KittiCopy
    from resources.platform import Platform

#: Part of the version of a product; raised whenever the same shard and settings would give another one.
COCO_FORMAT, PICTURES_FORMAT = "coco-1", "pictures-1"
BIRDS_EYE_VIEW, CAMERA, POINTS_PER_VOXEL = "birds_eye_view.png", "image_with_boxes.png", "points_per_voxel.png"
#: Every frame that is done is a debug record here: how a terminal in the same process shows what a step is at.
PROGRESS_LOGGER = "mlops.frames"
_SHOWN_DIGITS = 16
_WIDEST = 1000

SummaryT = TypeVar("SummaryT", bound=Frozen)


class VoxelSummary(Frozen):
    """``summary.json`` of the voxels of a shard; beside it ``frames/{frame_id}.npz`` and the figure of points per voxel."""

    shard_digest: str
    format: str
    grid: VoxelGrid
    frames: tuple[str, ...] = Field(description="frames that have a cloud, in order")
    without_cloud: int
    occupancy: VoxelOccupancy | None = Field(description="None where no frame has a cloud")
    digest: str = Field(description="SHA-256 over the content of the frames' files")


class CocoSummary(Frozen):
    """``summary.json`` of the COCO file of a shard, ``annotations.json`` beside it; file names are relative to the shard."""

    shard_digest: str
    format: str
    policy: CocoPolicy
    images: int
    without_labels: int = Field(description="frames left out: without an image or without labels")
    annotations: int
    crowds: int = Field(description="annotations that are neither demanded nor punished")
    roles: dict[str, int] = Field(description="KITTI class and what became of it -> objects")
    digest: str = Field(description="SHA-256 of annotations.json")


@dataclass(frozen=True)
class Made(Generic[SummaryT]):
    """A product in the store; ``reused`` where it had been made before, ``seconds`` is the work of this call."""

    summary: SummaryT
    prefix: str
    bytes: int
    reused: bool
    seconds: float


class FrameProducts:
    """Makes and finds the products of shards. Folders given are a shard's and read-only."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def voxels(self, shard: ShardSummary, folder: Path, grid: VoxelGrid, told: Told) -> Made[VoxelSummary]:
        """Hard voxels of every frame of a shard that has a cloud.

        Raises:
            UserError: the grid takes too much memory.
            DataRejected: naming the file: a cloud cannot be read.
        """
        identity = {"shard": shard.digest, "grid": grid.model_dump(mode="json"), "format": VOXEL_FORMAT}

        def make(work: Path) -> None:
            _write_shard_voxels(shard, folder, grid, work, told)

        return self._made("voxels", shard.dataset_id, identity, VoxelSummary, make)

    def coco(self, shard: ShardSummary, folder: Path, policy: CocoPolicy, told: Told) -> Made[CocoSummary]:
        """The labels of a shard as one COCO file, by a policy.

        Raises:
            UserError: the policy contradicts itself.
            DataRejected: naming the file: labels or an image cannot be read.
        """
        policy.verify()
        identity = {"shard": shard.digest, "policy": policy.model_dump(mode="json"), "format": COCO_FORMAT}

        def make(work: Path) -> None:
            _write_shard_coco(shard, folder, policy, work, told)

        return self._made("coco", shard.dataset_id, identity, CocoSummary, make)

    def pictures(self, shard: ShardSummary, folder: Path) -> Path | None:
        """A folder with ``BIRDS_EYE_VIEW`` and ``CAMERA`` of the shard's frame with the most objects; None without such."""
        from mlops_assets.data.kitti.frames import KittiCopy

        if not whole_frames(shard, folder, PARTS):
            return None
        identity = {"shard": shard.digest, "format": PICTURES_FORMAT}

        def make(work: Path) -> None:
            copy = KittiCopy.open(folder)
            frame_id = max(whole_frames(shard, folder, PARTS), key=lambda name: len(copy.objects(name)))
            _draw(copy, frame_id, work)
            (work / "summary.json").write_text(Picture(frame_id=frame_id).model_dump_json(), encoding="utf-8")

        return self.folder(self._made("pictures", shard.dataset_id, identity, Picture, make))

    def folder(self, made: Made[SummaryT]) -> Path:
        """A local, verified view of a product."""
        return self._platform.store.checkout(made.prefix)

    def _made(
        self, kind: str, dataset_id: str, identity: Mapping[str, object], summary: type[SummaryT], make: Callable[[Path], None]
    ) -> Made[SummaryT]:
        store, begun = self._platform.store, time.monotonic()
        prefix = f"datasets/{dataset_id}/{kind}/{sha256_of(dict(identity))[:_SHOWN_DIGITS]}"
        manifest = store.manifest(prefix)
        reused = manifest is not None
        if manifest is None:
            with self._platform.workshop.making(prefix) as work:  # a second process waits, and then finds what the first has made
                manifest = store.manifest(prefix)
                reused = manifest is not None
                if manifest is None:
                    make(work)
                    _finish(work)
                    manifest = store.publish(prefix, work)
        read = summary.model_validate_json(store.get(f"{prefix}/summary.json"))
        return Made(read, prefix, sum(manifest.sizes.values()), reused, time.monotonic() - begun)


class Picture(Frozen):
    """``summary.json`` of the pictures of a shard."""

    frame_id: str


def whole_frames(shard: ShardSummary, folder: Path, parts: Sequence[Part]) -> tuple[str, ...]:
    """The frames of a shard that have all of these parts; a copy may come without images, clouds or labels."""
    from mlops_assets.data.kitti.frames import KittiCopy

    if not shard.frames:  # then its folder holds nothing to open
        return ()
    index = KittiCopy.open(folder).index
    return tuple(name for name in shard.frames if not index.frame(name).missing(parts))


def _write_shard_voxels(shard: ShardSummary, folder: Path, grid: VoxelGrid, work: Path, told: Told) -> None:
    """Fill ``work``; frames that are there already, and whole, are kept."""
    from mlops_assets.data.kitti.frames import KittiCopy
    from mlops_assets.serving.package import make_manifest
    from mlops_assets.tasks.detection3d.figures import points_per_voxel
    from mlops_assets.tasks.detection3d.occupancy import occupancy_of, summed
    from mlops_assets.tasks.detection3d.voxel_files import write_voxels
    from mlops_assets.tasks.detection3d.voxels import Voxelizer

    names = whole_frames(shard, folder, ("cloud",))
    frames = work / "frames"
    frames.mkdir(exist_ok=True)
    counts = []
    if names:
        copy, voxelizer = KittiCopy.open(folder), Voxelizer(grid)
        with _pace(told, len(names)) as done:
            for name in names:
                path = frames / f"{name}{SUFFIX}"
                voxels = _left_by_a_killed_run(path)
                if voxels is None:
                    voxels = voxelizer.voxelize(copy.cloud(name), copy=False)
                    write_voxels(path, voxels)
                counts.append(occupancy_of(voxels, grid))
                done()
    occupancy = summed(counts) if counts else None
    if occupancy is not None:
        (work / POINTS_PER_VOXEL).write_bytes(points_per_voxel(occupancy))
    summary = VoxelSummary(
        shard_digest=shard.digest,
        format=VOXEL_FORMAT,
        grid=grid,
        frames=names,
        without_cloud=len(shard.frames) - len(names),
        occupancy=occupancy,
        digest=make_manifest(frames).digest,  # of the frames alone: a figure differs with the release of matplotlib
    )
    (work / "summary.json").write_text(summary.model_dump_json(indent=1), encoding="utf-8")


def _write_shard_coco(shard: ShardSummary, folder: Path, policy: CocoPolicy, work: Path, told: Told) -> None:
    from mlops_assets.data.kitti.coco import to_coco, write_coco
    from mlops_assets.data.kitti.frames import KittiCopy
    from mlops_assets.data.kitti.layout import FrameIndex
    from mlops_assets.serving.package import sha256_of_file

    names = whole_frames(shard, folder, ("image", "labels"))
    with _pace(told, len(names)) as done:
        # without a frame there is nothing to open, and the document has its categories only
        copy = KittiCopy.open(folder) if names else KittiCopy(folder, FrameIndex("object", "training", {}))
        document = to_coco(copy, names, policy, told=lambda _: done())
    write_coco(work / "annotations.json", document)
    summary = CocoSummary(
        shard_digest=shard.digest,
        format=COCO_FORMAT,
        policy=policy,
        images=len(names),
        without_labels=len(shard.frames) - len(names),
        annotations=len(document["annotations"]),
        crowds=sum(annotation["iscrowd"] for annotation in document["annotations"]),
        roles=document["info"]["roles"],
        digest=sha256_of_file(work / "annotations.json"),
    )
    (work / "summary.json").write_text(summary.model_dump_json(indent=1), encoding="utf-8")


def _draw(copy: KittiCopy, frame_id: str, work: Path) -> None:
    from mlops_assets.data.kitti.boxes import camera_boxes, camera_to_lidar_boxes, has_box
    from mlops_assets.tasks.detection3d.figures import DrawnBoxes, birds_eye_view, image_with_boxes

    objects, calibration = copy.objects(frame_id), copy.calibration(frame_id)
    objects = objects.select(has_box(objects))
    drawn = DrawnBoxes(camera_to_lidar_boxes(camera_boxes(objects), calibration), objects.names.tolist())
    (work / BIRDS_EYE_VIEW).write_bytes(_fitting(birds_eye_view(copy.cloud(frame_id), drawn)))
    picture = image_with_boxes(copy.image(frame_id), drawn, lambda points: calibration.to_image(calibration.to_camera(points)))
    (work / CAMERA).write_bytes(_fitting(picture))


def _fitting(picture: bytes) -> bytes:
    """A PNG no wider than Dagster's dialog, which cuts off what does not fit."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        if image.width <= _WIDEST:
            return picture
        smaller = image.convert("RGB").resize((_WIDEST, round(image.height * _WIDEST / image.width)), Image.Resampling.LANCZOS)
    target = io.BytesIO()
    smaller.save(target, format="PNG", optimize=True)
    return target.getvalue()


def _left_by_a_killed_run(path: Path) -> Voxels | None:
    from mlops_assets.tasks.detection3d.voxel_files import read_voxels

    try:
        return read_voxels(path)
    except (FileNotFoundError, IntegrityError):
        return None


def _finish(work: Path) -> None:
    """Take away what a killed writer had not yet given its name; what stays is final, so that the store may link it."""
    for path in sorted(work.rglob("*")):
        if path.name.startswith("."):
            path.unlink()
        elif path.is_file():
            path.chmod(0o444)


@contextmanager
def _pace(told: Told, total: int) -> Iterator[Callable[[], None]]:
    """Counts frames and tells how many are done, and how fast."""
    begun, count = time.monotonic(), 0

    def done() -> None:
        nonlocal count
        count += 1
        rate = count / max(time.monotonic() - begun, 1e-9)
        told(count / total, f"{count:,} of {total:,} frames, {rate:,.1f} frames/s")

    yield done
