"""The quality rules for frames: are the files whole, do the labels make sense, is there something to learn and to measure.

Each looks at what shards say of themselves and returns a check with its evidence; nothing is read again here. Rules for tables
are in ``quality``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from mlops_assets.data.dataset import SPLITS, QualityCheck
from mlops_assets.data.frame_shards import DamagedFile
from mlops_assets.data.kitti.check import Code, Finding
from mlops_assets.data.kitti.layout import Part
from mlops_assets.data.quality import DUPLICATE_RATE
from mlops_assets.data.reasons import Reason, because

Evidence = dict[str, float | int | str | None]
Severity = Literal["stop", "alert", "log"]

#: Share of a version's frames that may be lost to damage: below the first it is only logged, above the second work stops.
DAMAGE_ALERT: Final = 0.01
DAMAGE_STOP: Final = 0.20
LEAST_FRAMES: Final = len(SPLITS)
_FILES_TOLD = 20
_EXAMPLES = 3
#: What the labels of a frame can be found wrong in.
LABEL_FINDINGS: Final[tuple[Code, ...]] = (
    "unknown_class", "calibration", "box_outside_image", "box_without_area", "box_dimensions", "box_behind_camera",
    "box_disagrees",
)  # fmt: skip
_NAMES: Final = {"calibration": "calibration_finding"}


def check_files(
    frames: int, damaged: Sequence[DamagedFile], incomplete: Mapping[str, Sequence[Part]], usable: int
) -> QualityCheck:
    """Every file is there and whole. Stops when more than 20 % of the frames are damaged or fewer than 3 can be used.

    Args:
        frames: of the version.
        damaged: files that kept their frames out.
        incomplete: frame -> files that this task needs and the copy never had.
        usable: frames that are left.
    """
    lost = len({file.frame_id for file in damaged})
    evidence: Evidence = {}
    reasons: dict[str, Reason] = {}
    if lost:
        evidence["damaged_frames"] = lost
        evidence["rate"] = lost / frames
    by_key = {file.key: file for file in damaged}
    for key, file in list(by_key.items())[:_FILES_TOLD]:
        evidence[key] = file.reason
        if file.why:
            reasons[key] = file.why
    more = len(by_key) - _FILES_TOLD
    if more > 0:
        evidence["…"], reasons["…"] = f"{more} more", because("more", count=more)
    if incomplete:
        evidence["incomplete_frames"] = len(incomplete)
        for part, count in Counter(part for parts in incomplete.values() for part in parts).items():
            evidence[f"without_{part}"] = count
    severity: Severity = "log"
    if usable < LEAST_FRAMES or lost > DAMAGE_STOP * frames:
        severity = "stop"
        evidence["usable_frames"] = usable
    elif (lost >= DAMAGE_ALERT * frames and lost) or incomplete:
        severity = "alert"
    limit = f"all whole; stops above {DAMAGE_STOP:.0%} of the frames or below {LEAST_FRAMES} frames"
    passed = not damaged and not incomplete and severity != "stop"
    return QualityCheck(rule="files", severity=severity, passed=passed, evidence=evidence, reasons=reasons, limit=limit)


def check_labels(findings: Sequence[Finding], objects: Mapping[str, int], asked: Sequence[str], empty: int) -> QualityCheck:
    """Alert: labels are as KITTI has them, and every class that is asked for occurs.

    Args:
        findings: what ``data.kitti.check`` found in the frames that are used.
        objects: class -> labelled objects in them.
        asked: classes of the request.
        empty: frames without any object, which is told and is no fault.
    """
    problems = [finding for finding in findings if finding.code in LABEL_FINDINGS]
    evidence: Evidence = {}
    reasons: dict[str, Reason] = {}
    absent = [name for name in asked if not objects.get(name)]
    for name in absent:
        evidence[f"class {name}"], reasons[f"class {name}"] = "asked for, no object", because("class_without_objects")
    for code, count in Counter(finding.code for finding in problems).most_common():
        evidence[_NAMES.get(code, code)] = count
        for finding in [finding for finding in problems if finding.code == code][:_EXAMPLES]:
            where, _, what = finding.text.partition(": ")
            key = f"{finding.file}, {where}"
            if key in evidence:  # told above under what is wrong with it first; both would be read as one
                continue
            evidence[key] = what or finding.frame
            if finding.reason:
                reasons[key] = finding.reason
    if empty:
        evidence["frames_without_objects"] = empty
    return QualityCheck(
        rule="labels", severity="alert", passed=not problems and not absent, evidence=evidence, reasons=reasons,
        limit="known classes, boxes with area inside the image, in agreement with the calibration",
    )  # fmt: skip


def check_repeated(repeated: int, frames: int) -> QualityCheck:
    """Alert: at most 1 % of the frames show the same as another, byte for byte."""
    rate = repeated / frames if frames else 0.0
    return QualityCheck(
        rule="duplicates", severity="alert", passed=rate <= DUPLICATE_RATE, evidence={"rows": repeated, "rate": rate},
        limit=f"<= {DUPLICATE_RATE:.0%}",
    )  # fmt: skip


def check_support(counts: Mapping[str, Mapping[str, int]], asked: Sequence[str]) -> QualityCheck:
    """Stop: there are objects to learn from and to measure with. Alert: a class that is asked for is in only some splits."""
    evidence: Evidence = {name: sum(counts[name].values()) for name in SPLITS}
    reasons: dict[str, Reason] = {}
    severity: Severity = "alert"
    lacking = [split for split in ("train", "test") if not evidence[split]]
    if lacking:
        severity = "stop"
    missing = {name: [split for split in SPLITS if not counts[split].get(name)] for name in asked}
    for name, splits in missing.items():
        if splits:
            lacks = ", ".join(splits)
            evidence[f"class {name}"] = f"no object in {lacks}"
            reasons[f"class {name}"] = because("class_not_in_splits", splits=lacks)
    return QualityCheck(
        rule="class_support", severity=severity, passed=not lacking and not any(missing.values()), evidence=evidence,
        reasons=reasons, limit="objects in train and test, of every class asked for in every split",
    )  # fmt: skip
