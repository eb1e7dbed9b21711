"""What is wrong with a KITTI copy, told before anyone trains on it: a report, computed frame by frame.

``check_frame`` looks at one frame and can run anywhere; ``report`` puts frames together. A *problem* makes training or
evaluation wrong; a *note* is worth knowing and occurs in KITTI itself, such as a labelled car of which no point was measured.
Nothing is repaired here, and nothing printed.
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal, TypeVar

import numpy as np
from pydantic import Field

from mlops_assets.data.kitti.boxes import camera_boxes, has_box, in_camera_boxes, project_boxes
from mlops_assets.data.kitti.calibration import Calibration
from mlops_assets.data.kitti.classes import CLASSES, difficulty
from mlops_assets.data.kitti.clouds import Cloud
from mlops_assets.data.kitti.frames import KittiCopy, image_size
from mlops_assets.data.kitti.labels import DONT_CARE, KittiObjects
from mlops_assets.data.kitti.layout import PARTS, Frame, Layout, Part
from mlops_assets.data.reasons import FileRejected, Reason, because
from mlops_assets.errors import DataRejected, NotFound
from mlops_assets.request.schema import Frozen

T = TypeVar("T")

#: KITTI's boxes end at the last pixel; rounding may add this much [px].
_EDGE = 1.0
#: Below this overlap of a label's 2D box with the projection of its 3D box, one of label and calibration is wrong.
_LEAST_AGREEMENT = 0.3

Code = Literal[
    "missing_file", "damaged_file", "calibration", "unknown_class", "box_outside_image", "box_without_area", "box_dimensions",
    "box_behind_camera", "box_disagrees", "duplicate_image", "duplicate_cloud", "split", "stray_file", "double_file",
    "empty_copy", "no_points_in_box", "no_points_in_range",
]  # fmt: skip
#: What also occurs in KITTI itself; everything else is a problem.
NOTES: frozenset[Code] = frozenset({"no_points_in_box", "stray_file", "no_points_in_range"})


class Finding(Frozen):
    """One thing found; ``frame`` is empty for what concerns the whole copy."""

    code: Code
    frame: str
    text: str
    file: str = Field(default="", description="key of the file, relative to the copy")
    reason: Reason | None = Field(default=None, description="the same for readers of other languages")

    @property
    def is_problem(self) -> bool:
        """Whether it makes training or evaluation wrong."""
        return self.code not in NOTES


class ClassCount(Frozen):
    """Objects of one class; the difficulties exclude one another: an easy object is not counted as moderate."""

    name: str
    objects: int = 0
    easy: int = 0
    moderate: int = 0
    hard: int = 0
    none: int = Field(default=0, description="too small, hidden or truncated for any difficulty")
    without_points: int = 0
    points: int = Field(default=0, description="points in boxes of this class, boxes upright in the camera frame")


class FrameCheck(Frozen):
    """What one frame holds and what is wrong with it."""

    frame: str
    classes: tuple[ClassCount, ...] = ()
    findings: tuple[Finding, ...] = ()
    size: tuple[int, int] | None = Field(default=None, description="width and height of the image [px]")
    points: int | None = None
    digests: dict[str, str] = Field(default_factory=dict, description="part -> BLAKE2b of its content, for duplicates")


class CopyReport(Frozen):
    """The whole copy, or the frames of it that were looked at."""

    layout: Layout
    subset: str
    frames: int
    checked: int
    files: dict[str, int] = Field(description="part -> frames that have it")
    sizes: dict[str, int] = Field(description="WIDTHxHEIGHT -> images")
    points: tuple[int, int, int] | None = Field(description="fewest, median and most points of a cloud")
    splits: dict[str, int]
    classes: tuple[ClassCount, ...]
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Findings that make training or evaluation wrong."""
        return tuple(finding for finding in self.findings if finding.is_problem)


def check_copy(copy: KittiCopy, *, parts: Iterable[Part] = PARTS, told: Callable[[int, int], None] | None = None) -> CopyReport:
    """Look at every frame; ``parts`` are the files that must be there (labels are not asked for in ``testing``)."""
    wanted = tuple(part for part in parts if part != "labels" or copy.index.subset == "training")
    checks = []
    for number, frame in enumerate(copy.index, start=1):
        checks.append(check_frame(copy, frame, parts=wanted))
        if told is not None:
            told(number, len(copy.index))
    return report(copy, checks)


def check_frame(copy: KittiCopy, frame: Frame, *, parts: Iterable[Part] = PARTS) -> FrameCheck:
    """Look at one frame: its files, its labels by themselves, and its labels against calibration, image and cloud."""
    wanted = tuple(parts)
    findings: list[Finding] = [
        Finding(code="missing_file", frame=frame.frame_id, text=f"no {part} file") for part in frame.missing(wanted)
    ]
    digests: dict[str, str] = {}
    have = {part for part in wanted if frame.key(part) is not None}

    def read(part: Part, reader: Callable[[], T]) -> T | None:
        """What ``reader`` makes of the part; None, with a finding, where it is missing or damaged."""
        if part not in have:
            return None
        try:
            return reader()
        except (DataRejected, NotFound, OSError) as error:
            text = error.headline if isinstance(error, DataRejected) else (getattr(error, "strerror", None) or str(error))
            text = text.replace(f"{copy.root}/", "")
            reason = error.reason if isinstance(error, FileRejected) else None
            file = frame.key(part) or ""
            findings.append(Finding(code="damaged_file", frame=frame.frame_id, file=file, text=text, reason=reason))
            return None

    size = read("image", lambda: _image(copy, frame, digests))
    cloud = read("cloud", lambda: copy.cloud(frame.frame_id))
    calibration = read("calibration", lambda: copy.calibration(frame.frame_id))
    objects = read("labels", lambda: copy.objects(frame.frame_id))
    if cloud is not None:
        digests["cloud"] = hashlib.blake2b(cloud.tobytes(), digest_size=16).hexdigest()
        if not (cloud[:, 0] > 0).any():
            findings.append(Finding(code="no_points_in_range", frame=frame.frame_id, text="no point is ahead of the LiDAR"))
    if calibration is not None and calibration.problems():
        key = frame.calibration or ""
        findings += [Finding(code="calibration", frame=frame.frame_id, file=key, text=text) for text in calibration.problems()]
        calibration = None  # what follows from it would only repeat the finding
    classes: tuple[ClassCount, ...] = ()
    if objects is not None:
        found = _Labels(frame, objects, size)
        points = None if cloud is None or calibration is None else _points(objects, calibration, cloud)
        classes = found.counts(points)
        findings += found.by_themselves()
        empty = sum(count.without_points for count in classes)
        if empty:
            text = f"{empty} of {sum(map(_has_sides, classes))} 3D boxes hold no point"
            findings.append(Finding(code="no_points_in_box", frame=frame.frame_id, text=text))
        if calibration is not None:
            findings += found.against(calibration)
    return FrameCheck(
        frame=frame.frame_id, classes=classes, findings=tuple(findings), size=size,
        points=None if cloud is None else len(cloud), digests=digests,
    )  # fmt: skip


def report(copy: KittiCopy, checks: Iterable[FrameCheck]) -> CopyReport:
    """Frames put together: totals, duplicates between frames, and what concerns the copy as a whole."""
    looked = list(checks)
    findings = [finding for check in looked for finding in check.findings]
    for part, code in (("image", "duplicate_image"), ("cloud", "duplicate_cloud")):
        first: dict[str, str] = {}
        for check in looked:
            digest = check.digests.get(part)
            if digest is not None and first.setdefault(digest, check.frame) != check.frame:
                text = f"the {part} is that of frame {first[digest]}, byte for byte"
                findings.append(Finding.model_validate({"code": code, "frame": check.frame, "text": text}))
    clouds = sorted(check.points for check in looked if check.points is not None)
    splits, wrong = _splits(copy)
    return CopyReport(
        layout=copy.index.layout,
        subset=copy.index.subset,
        frames=len(copy.index),
        checked=len(looked),
        files={part: sum(frame.key(part) is not None for frame in copy.index) for part in PARTS},
        sizes=dict(Counter(f"{check.size[0]}x{check.size[1]}" for check in looked if check.size).most_common()),
        points=(clouds[0], clouds[len(clouds) // 2], clouds[-1]) if clouds else None,
        splits=splits,
        classes=_totals(count for check in looked for count in check.classes),
        findings=(*findings, *wrong, *_of_the_copy(copy)),
    )


class _Labels:
    """The labels of one frame under examination."""

    def __init__(self, frame: Frame, objects: KittiObjects, size: tuple[int, int] | None) -> None:
        self._frame, self._objects, self._size = frame, objects, size
        self._real = has_box(objects)

    def _finding(self, code: Code, row: int, text: str, reason: Reason) -> Finding:
        name = str(self._objects.names[row])[:40]
        where = f"object {row + 1} ({name})"
        return Finding(
            code=code, frame=self._frame.frame_id, file=self._frame.labels or "", text=f"{where}: {text}", reason=reason
        )

    def counts(self, points: np.ndarray | None) -> tuple[ClassCount, ...]:
        """Objects by class and difficulty; ``points`` ``(N,)`` are those in each object's box, None where nobody can tell."""
        levels = difficulty(self._objects, truncation_levels=self._frame.number is not None)
        found = []
        for row, name in enumerate(self._objects.names.tolist()):
            counted: dict[str, object] = {"name": name, "objects": 1}
            if name != DONT_CARE:
                counted[levels[row]] = 1
            if points is not None and self._real[row]:
                counted |= {"points": int(points[row]), "without_points": int(points[row] == 0)}
            found.append(ClassCount.model_validate(counted))
        return _totals(found)

    def by_themselves(self) -> list[Finding]:
        """Unknown classes, 2D boxes without area or outside the image, 3D boxes without size or behind the camera."""
        found = []
        for row, name in enumerate(self._objects.names.tolist()):
            left, top, right, bottom = self._objects.boxes_2d[row].tolist()
            if name not in CLASSES:
                near = difflib.get_close_matches(name, CLASSES, n=1, cutoff=0.5) or difflib.get_close_matches(
                    name.capitalize(), CLASSES, n=1, cutoff=0.5
                )
                meant = f"; did you mean {near[0]}?" if near else ""
                reason = because("misspelt_class", meant=near[0]) if near else because("unknown_class")
                found.append(self._finding("unknown_class", row, f"KITTI has no such class{meant}", reason))
            box = f"{left:g} {top:g} {right:g} {bottom:g}"
            if right <= left or bottom <= top:
                found.append(self._finding("box_without_area", row, f"2D box {box}", because("box_without_area", box=box)))
            elif self._size is not None:
                width, height = self._size
                if left < -_EDGE or top < -_EDGE or right > width - 1 + _EDGE or bottom > height - 1 + _EDGE:
                    reason = because("box_outside_image", box=box, width=width, height=height)
                    text = f"2D box {box} leaves the image of {width} x {height}"
                    found.append(self._finding("box_outside_image", row, text, reason))
            if name != DONT_CARE and not self._real[row]:
                sides = " x ".join(f"{value:g}" for value in self._objects.dimensions[row])
                text = f"height x width x length are {sides} m"
                found.append(self._finding("box_dimensions", row, text, because("box_dimensions", sides=sides)))
            elif name != DONT_CARE and self._objects.locations[row, 2] <= 0:
                z = f"{self._objects.locations[row, 2]:g}"
                found.append(self._finding("box_behind_camera", row, f"z is {z} m", because("box_behind_camera", z=z)))
        return found

    def against(self, calibration: Calibration) -> list[Finding]:
        """2D boxes beside the projections of the 3D boxes, of objects that lie wholly in the image."""
        size = self._size
        whole = self._real & (self._objects.truncation <= 0) & (self._objects.locations[:, 2] > 2)
        rows = np.flatnonzero(whole)
        projected, seen = project_boxes(camera_boxes(self._objects)[rows], calibration, size)
        given = self._objects.boxes_2d[rows]
        low, high = np.maximum(projected[:, :2], given[:, :2]), np.minimum(projected[:, 2:], given[:, 2:])
        shared = np.prod(np.clip(high - low, 0, None), axis=1)
        both = np.prod(projected[:, 2:] - projected[:, :2], axis=1) + np.prod(given[:, 2:] - given[:, :2], axis=1) - shared
        overlap = np.where(seen & (both > 0), shared / np.where(both > 0, both, 1), 0)
        told = "2D box and projected 3D box overlap by {:.2f}: label or calibration is wrong"
        return [
            self._finding("box_disagrees", int(row), told.format(value), because("box_disagrees", overlap=f"{value:.2f}"))
            for row, value in zip(rows.tolist(), overlap.tolist(), strict=True)
            if value < _LEAST_AGREEMENT
        ]


def _image(copy: KittiCopy, frame: Frame, digests: dict[str, str]) -> tuple[int, int]:
    path = copy.path(frame.frame_id, "image")
    size = image_size(path, whole=True)
    digests["image"] = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return size


def _points(objects: KittiObjects, calibration: Calibration, cloud: Cloud) -> np.ndarray:
    real = has_box(objects)
    counts = np.zeros(len(objects), dtype=np.int64)
    counts[real] = in_camera_boxes(cloud, camera_boxes(objects)[real], calibration).sum(axis=1)
    return counts


def _has_sides(count: ClassCount) -> int:
    return 0 if count.name == DONT_CARE else count.objects


def _totals(counts: Iterable[ClassCount]) -> tuple[ClassCount, ...]:
    totals: dict[str, Counter[str]] = {}
    for count in counts:
        totals.setdefault(count.name, Counter()).update(count.model_dump(exclude={"name"}))
    known = {name: position for position, name in enumerate(CLASSES)}
    ordered = sorted(totals, key=lambda name: (known.get(name, -1), name))  # unknown ones first: they want attention
    return tuple(ClassCount(name=name, **totals[name]) for name in ordered)


def _splits(copy: KittiCopy) -> tuple[dict[str, int], list[Finding]]:
    members: dict[str, set[str]] = {}
    found = []
    for name, key in copy.index.splits.items():
        try:
            members[name] = {frame.frame_id for frame in copy.split(name)}
        except (DataRejected, NotFound) as error:
            text = f"{error.headline}: {error.given}" if isinstance(error, NotFound) else error.headline
            if copy.index.subset == "training" and name.startswith("test"):
                continue  # the list of the other subset
            found.append(Finding(code="split", frame="", file=key, text=text))
    shared = members.get("train", set()) & members.get("val", set())
    if shared:
        text = f"{len(shared):,} frames are in train and in val, such as {min(shared)}"
        found.append(Finding(code="split", frame=min(shared), text=text))
    return {name: len(ids) for name, ids in members.items()}, found


def _of_the_copy(copy: KittiCopy) -> list[Finding]:
    found = []
    if not len(copy.index):
        found.append(Finding(code="empty_copy", frame="", text="the folders of the layout hold no frame"))
    for code, keys, text in (
        ("stray_file", copy.index.strays, "no frame can have a file of this name"),
        ("double_file", copy.index.doubles, "the frame has another file for this already; only the first is read"),
    ):
        found += [Finding.model_validate({"code": code, "frame": "", "file": key, "text": text}) for key in keys]
    return found
