"""Shards of a KITTI version: so many frames at a time, copied out of the source, checked file by file, and never half done.

The words only; making a shard is ``frame_copying``, keeping it ``resources.shards``. A shard's folder is a KITTI copy of the
object layout (a tracking frame ``0003/000012`` is there as ``0003_000012``) with ``shard.json`` beside ``training``.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from mlops_assets.data.kitti.check import Finding
from mlops_assets.data.kitti.layout import Part
from mlops_assets.data.reasons import Reason
from mlops_assets.request.schema import Frozen

#: Frames of one shard: some 500 MB of KITTI, a minute of work on a laptop.
SHARD_FRAMES = 200
FRAMES, SHARD, CONTENTS = "frames.json", "shard.json", "contents.json"


class SourceFile(Frozen):
    """One file of the source as it was when the version was registered."""

    key: str = Field(description="relative to the root of the copy")
    bytes: int
    sha256: str


class FrameEntry(Frozen):
    """One frame of a version: its files by part. Sequences share calibration and labels in the tracking layout."""

    frame_id: str
    files: dict[Part, SourceFile]
    number: int | None = Field(default=None, description="row marker in the labels of its sequence; None in the object layout")

    @property
    def object_id(self) -> str:
        """Its name in the object layout."""
        return self.frame_id.replace("/", "_")


class FrameList(Frozen):
    """``frames.json`` of a version folder: every frame in the order of ids, cut into shards of ``shard_frames``."""

    root: str = Field(description="folder of the copy when it was registered")
    layout: str
    shard_frames: int = SHARD_FRAMES
    frames: tuple[FrameEntry, ...]
    lists: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="`ImageSets` list -> frame ids")

    @classmethod
    def read(cls, folder: Path) -> FrameList:
        """The list in a version's folder."""
        return cls.model_validate_json((folder / FRAMES).read_bytes())

    def shard(self, number: int) -> tuple[FrameEntry, ...]:
        """The frames of shard ``number``, counted from 0."""
        return self.frames[number * self.shard_frames : (number + 1) * self.shard_frames]


class DamagedFile(Frozen):
    """A file that kept its frame out of the shard."""

    frame_id: str
    part: Part
    key: str
    reason: str = Field(description="one line: missing, changed since it was registered, or what cannot be read in it")
    why: Reason | None = Field(default=None, description="the same for readers of other languages; None of an older shard")


class ShardSummary(Frozen):
    """``shard.json``: what came of one shard."""

    dataset_id: str
    version: str
    shard: int
    frames: tuple[str, ...] = Field(description="ids of the frames that are whole, as in the shard's folder")
    damaged: tuple[DamagedFile, ...] = ()
    objects: dict[str, int] = Field(default_factory=dict, description="class -> labelled objects")
    bytes: int
    digest: str = Field(description="SHA-256 over the content of the kept files")


class KeptFile(Frozen):
    """One file of a shard, in the object layout."""

    key: str = Field(description="relative to the shard's folder")
    bytes: int
    sha256: str


class FrameContent(Frozen):
    """One whole frame of a shard, and what `data.kitti.check` says about it."""

    frame_id: str = Field(description="as in the shard's folder")
    source: str = Field(description="SHA-256 of the frame's entry in the list, so that other content is never taken for this")
    files: dict[Part, KeptFile]
    objects: dict[str, int] = Field(default_factory=dict, description="class -> labelled objects")
    findings: tuple[Finding, ...] = ()


class ShardContents(Frozen):
    """``contents.json`` beside ``shard.json``: every whole frame, so that nobody has to read its files to know of them."""

    frames: tuple[FrameContent, ...]

    @classmethod
    def read(cls, folder: Path) -> ShardContents:
        """The contents of a shard's folder."""
        return cls.model_validate_json((folder / CONTENTS).read_bytes())
