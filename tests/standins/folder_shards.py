"""Shards of a generated world without the catalogue: what the frame assets need of ``platform.shards``, for their own tests."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mlops_assets.data.dataset import KITTI, CatalogueEntry, DatasetVersion
from mlops_assets.data.frame_shards import DamagedFile, ShardSummary
from mlops_assets.data.kitti.frames import KittiCopy, image_size
from mlops_assets.data.kitti.layout import PARTS
from mlops_assets.errors import DataRejected, NotFound
from resources.platform import Platform
from sim.driving.config import WorldConfig
from sim.driving.world import World, write_world

SMALL = WorldConfig(beams=16, azimuth_step=1.0, image_width=320, image_height=100)


def generated(folder: Path, frames: int) -> Path:
    write_world(folder, World(seed=5, frames=frames, sequences=0, config=SMALL))
    return folder


def published(platform: Platform, source: Path, shards: int, version: str = "sha256-8f3c2a1b00112233") -> DatasetVersion:
    made = DatasetVersion(
        dataset_id="streets", version=version, form=KITTI, raw_sha256="0" * 64, raw_bytes=1, rows=0, columns=(), duplicate_rows=0,
        shards=shards, entry=CatalogueEntry(dataset_id="streets", source=str(source)), added_at="2026-01-01T00:00:00Z",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "version.json").write_text(made.model_dump_json())
        platform.store.publish(f"datasets/streets/versions/{version}", Path(name))
    platform.store.put("datasets/streets/current.json", made.model_dump_json().encode())
    return made


class FolderShards:
    """Cuts the source into shards of ``size`` frames and checks what can be read."""

    size = 3

    def __init__(self, platform: Platform) -> None:
        self._store = platform.store

    def known(self, version: DatasetVersion, number: int) -> ShardSummary | None:
        try:
            return ShardSummary.model_validate_json(self._store.get(f"{self._prefix(version, number)}/shard.json"))
        except NotFound:
            return None

    def frames(self, version: DatasetVersion, number: int, told: Callable[[float, str], None]) -> tuple[Path, ShardSummary]:
        summary = self.known(version, number)
        if summary is None:
            summary = self._make(version, number)
            told(1.0, "copied")
        return self._store.checkout(self._prefix(version, number)), summary

    def _prefix(self, version: DatasetVersion, number: int) -> str:
        return f"datasets/{version.dataset_id}/shards/{version.version}/{number:04d}"

    def _make(self, version: DatasetVersion, number: int) -> ShardSummary:
        copy = KittiCopy.open(Path(version.entry.source))
        kept, damaged, objects = [], [], Counter[str]()
        with tempfile.TemporaryDirectory() as name:
            for frame_id in list(copy.index.frames)[number * self.size : (number + 1) * self.size]:
                try:
                    copy.cloud(frame_id)
                    image_size(copy.path(frame_id, "image"), whole=True)
                except DataRejected as error:
                    part = "cloud" if ".bin" in str(error.field) else "image"
                    key = copy.path(frame_id, part).relative_to(copy.root).as_posix()
                    damaged.append(DamagedFile(frame_id=frame_id, part=part, key=key, reason=error.headline.rsplit("/")[-1]))
                    continue
                objects.update(copy.objects(frame_id).names.tolist())
                kept.append(frame_id)
                for part in PARTS:
                    source = copy.path(frame_id, part)
                    target = Path(name) / source.relative_to(copy.root)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, target)
            summary = ShardSummary(
                dataset_id=version.dataset_id, version=version.version, shard=number, frames=tuple(kept), damaged=tuple(damaged),
                objects=dict(objects), bytes=sum(p.stat().st_size for p in Path(name).rglob("*.*")), digest=f"{number}" * 64,
            )  # fmt: skip
            (Path(name) / "shard.json").write_text(summary.model_dump_json())
            self._store.publish(self._prefix(version, number), Path(name))
        return summary
