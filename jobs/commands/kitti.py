"""`mlops kitti`: looking at a KITTI copy before training on it, and generating a small one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from jobs.command_line import Commands, Unsuccessful, answers, cli

if TYPE_CHECKING:
    from jobs.shard_runs import ShardRuns, ShardState
    from mlops_assets.data.kitti.check import CopyReport

_SHOWN = 5
_CLASSES_SHOWN, _NAME_WIDTH = 20, 14
_TITLES = {
    "missing_file": "missing files",
    "damaged_file": "damaged files",
    "calibration": "calibration",
    "unknown_class": "unknown classes",
    "box_outside_image": "2D boxes outside the image",
    "box_without_area": "2D boxes without area",
    "box_dimensions": "3D boxes without size",
    "box_behind_camera": "3D boxes behind the camera",
    "box_disagrees": "2D and 3D boxes that disagree",
    "duplicate_image": "images that occur twice",
    "duplicate_cloud": "clouds that occur twice",
    "split": "splits",
    "stray_file": "files that belong to no frame",
    "double_file": "two files for one thing",
    "empty_copy": "empty copy",
    "no_points_in_box": "boxes without points",
    "no_points_in_range": "clouds without points ahead",
}


@cli.group("kitti", cls=Commands)
def kitti() -> None:
    """Check KITTI copies, generate small ones, and make the shards of registered ones."""


@kitti.command("check")
@click.argument("path", type=click.Path(file_okay=False))
@click.option("--subset", type=click.Choice(["training", "testing"]), default="training", show_default=True)
@click.option("--without-clouds", is_flag=True, help="Images and labels only: for 2D detection, and much faster.")
@answers
def check(path: str, subset: str, without_clouds: bool, quiet: bool) -> Any:
    """Tell what is wrong with the KITTI copy in folder PATH.

    Counts objects by class and difficulty; looks for missing, damaged and duplicate files, unknown classes, boxes
    outside images, labels that contradict the calibration, and wrong splits. Exit code 1 when there are problems.
    """
    from pathlib import Path

    from mlops_assets.data.kitti.check import check_copy
    from mlops_assets.data.kitti.frames import KittiCopy
    from mlops_assets.data.kitti.layout import PARTS

    copy = KittiCopy.open(Path(path), subset=subset)
    parts = tuple(part for part in PARTS if part != "cloud" or not without_clouds)
    with _progress("checking frames", quiet) as told:
        report = check_copy(copy, parts=parts, told=told)
    data = report.model_dump(mode="json") | {"problems": len(report.problems)}
    if report.problems:
        raise Unsuccessful(data, describe(report))
    return data, lambda: describe(report)


@kitti.command("generate")
@click.argument("path", type=click.Path(file_okay=False))
@click.option("--frames", type=click.IntRange(0, 1_000_000), default=20, show_default=True, help="Single frames, each a street.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="The same seed, the same world.")
@click.option("--sequences", type=click.IntRange(0, 10_000), default=0, show_default=True, help="Tracking sequences.")
@click.option("--sequence-frames", type=click.IntRange(1, 1_000), default=40, show_default=True, help="Frames of a sequence.")
@click.option("--beams", type=click.IntRange(4, 128), default=64, show_default=True, help="Beams of the LiDAR.")
@click.option("--azimuth-step", type=click.FloatRange(0.05, 4.0), default=0.2, show_default=True, help="Degrees between points.")
@click.option("--full-turn", is_flag=True, help="Scan 360 degrees instead of the 180 ahead.")
@click.option("--image-size", default="1242x375", show_default=True, metavar="WxH", help="Pixels of the camera.")
@answers
def generate(
    path: str,
    frames: int,
    seed: int,
    sequences: int,
    sequence_frames: int,
    beams: int,
    azimuth_step: float,
    full_turn: bool,
    image_size: str,
    quiet: bool,
) -> Any:
    """Generate a small driving world in KITTI's format in folder PATH.

    Frames go to PATH/training, sequences to PATH/tracking/training. An interrupted call goes on where it was.
    """
    from pathlib import Path

    from sim.driving.config import WorldConfig
    from sim.driving.world import World, write_world

    width, height = _size(image_size)
    config = WorldConfig(beams=beams, azimuth_step=azimuth_step, full_turn=full_turn, image_width=width, image_height=height)
    world = World(seed=seed, frames=frames, sequences=sequences, sequence_frames=sequence_frames, config=config)
    with _progress("generating frames", quiet) as told:
        write_world(Path(path), world, told=told)
    made = f"{frames:,} frames" + (f" and sequences of {sequence_frames:,}: {sequences:,}" if sequences else "")
    return world.model_dump(mode="json") | {"path": path}, f"{made} in {path}, seed {seed}\nnext: mlops kitti check {path}"


@kitti.command("shards")
@click.argument("name")
@click.option("--make", is_flag=True, help="Make frames, voxels and COCO files of the shards, in this process.")
@click.option("--shard", "chosen", type=int, multiple=True, metavar="N", help="Only this shard; may be repeated.")
@click.option("--config", metavar="FILE", help="With --make: voxel grid and COCO policy, YAML as in the launchpad of the UI.")
@click.option("--version", metavar="V", help="Another than the current version; its first digits are enough.")
@answers
def shards(name: str, make: bool, chosen: tuple[int, ...], config: str | None, version: str | None, quiet: bool) -> Any:
    """List the shards of the registered KITTI copy NAME, each a partition of the assets in the UI.

    With --make they are made by the same job as in the UI; what is made already is reused, and an interrupted call goes
    on where it was. A damaged file keeps its own frame out and no other.

    \b
    A FILE for --config, every key may be left out:
      ops:
        voxels:
          config: {voxel_size: [0.2, 0.2, 4], range_max: [51.2, 25.6, 1]}
        kitti_coco:
          config: {categories: [Car], ignored: {Van: Car}}
    """
    from pathlib import Path

    from jobs.instance import open_instance
    from jobs.shard_config import OPTION, read_config
    from jobs.shard_runs import ShardRuns
    from mlops_assets.errors import UserError
    from resources.platform import Platform

    if config is not None and not make:
        raise UserError("a configuration is for making shards", field=OPTION, given=config, next_step="add --make")
    configured = read_config(Path(config)) if config is not None else {}
    platform = Platform()
    with open_instance(platform.home) as instance:
        runs = ShardRuns(platform, instance, name, version)
        numbers = runs.chosen(chosen)
        states = runs.make(numbers, configured, quiet=quiet) if make else runs.states(numbers)
    text = describe_shards(runs, states)
    data = {
        "dataset": runs.version.dataset_id,
        "version": runs.version.version,
        "shards": [state.model_dump(mode="json") for state in states],
    }
    if any(state.outcome == "failed" for state in states):
        raise Unsuccessful(data, text)
    return data, text


def describe_shards(runs: ShardRuns, states: Sequence[ShardState]) -> str:
    """Shards for the terminal, within 80 columns."""
    from jobs.terminal import table

    count = "1 shard" if len(runs.keys) == 1 else f"{len(runs.keys):,} shards"
    lines = [
        *_wrapped(f"{runs.version.dataset_id} {runs.version.version}: {count}", ""),
        *_wrapped(f"partitions {runs.keys[0]} … {runs.keys[-1]}" if len(runs.keys) > 1 else f"partition {runs.keys[0]}", ""),
        "",
    ]
    rows = [
        (
            f"{state.shard:04d}",
            state.outcome or ("-" if state.frames is None else "made"),
            *("-" if value is None else f"{value:,}" for value in (state.frames, state.objects)),
            "-" if state.bytes is None else f"{state.bytes / 1e6:,.1f} MB",
            "-" if state.frames is None else f"{len(state.damaged):,}",
            "made" if state.voxels else "-",
            "made" if state.coco else "-",
        )
        for state in states
    ]
    lines.append(table(("shard", "state", "frames", "objects", "size", "damaged", "voxels", "coco"), rows))
    for state in states:
        for file in state.damaged[:_SHOWN]:
            lines += _wrapped(f"{file.key}: {file.reason}")
        if len(state.damaged) > _SHOWN:
            lines.append(f"    … and {len(state.damaged) - _SHOWN:,} more in {state.shard:04d} (--json lists all)")
        if state.error is not None:
            lines += _wrapped(f"{state.shard:04d} failed: {' '.join(state.error.split())}")
    return "\n".join(lines)


def describe(report: CopyReport) -> str:
    """A report for the terminal, within 80 columns."""
    from jobs.terminal import plain, table

    lines = [
        f"{report.layout} layout, {report.subset}: {report.frames:,} frames ("
        + ", ".join(f"{count:,} {part}" for part, count in report.files.items())
        + ")"
    ]
    if report.sizes:
        lines.append("images   " + ", ".join(f"{size} ({count:,})" for size, count in list(report.sizes.items())[:4]))
    if report.points:
        lines.append(f"points   {report.points[0]:,} to {report.points[2]:,} a cloud, median {report.points[1]:,}")
    if report.splits:
        lines.append("splits   " + ", ".join(f"{name} {count:,}" for name, count in list(report.splits.items())[:6]))
    if report.classes:
        rows = [
            (plain(count.name)[:_NAME_WIDTH], *(f"{value:,}" for value in (
                count.objects, count.easy, count.moderate, count.hard, count.none, count.without_points, count.points,
            )))
            for count in report.classes[:_CLASSES_SHOWN]
        ]  # fmt: skip
        headers = ("class", "objects", "easy", "moderate", "hard", "none", "no points", "points")
        lines += ["", table(headers, rows)]
        if len(report.classes) > _CLASSES_SHOWN:
            lines.append(f"… and {len(report.classes) - _CLASSES_SHOWN:,} more")
    for is_problem, heading in ((True, "problems"), (False, "notes")):
        found = [finding for finding in report.findings if finding.is_problem == is_problem]
        if found or is_problem:
            lines += ["", f"{len(found):,} {heading}" if found else "no problems"]
        for code in dict.fromkeys(finding.code for finding in found):
            alike = [finding for finding in found if finding.code == code]
            lines.append(f"  {_TITLES[code]}: {len(alike):,}")
            for finding in alike[:_SHOWN]:
                lines += _wrapped(f"{finding.frame or finding.file}: {finding.text}")
            if len(alike) > _SHOWN:
                lines.append(f"    … and {len(alike) - _SHOWN:,} more (--json lists all)")
    return "\n".join(lines)


def _wrapped(text: str, indent: str = "    ") -> list[str]:
    import textwrap

    from jobs.terminal import plain

    return textwrap.wrap(plain(text), 78, initial_indent=indent, subsequent_indent=f"{indent}  ")


def _size(text: str) -> tuple[int, int]:
    from mlops_assets.errors import UserError

    width, _, height = text.partition("x")
    sides = [int(side) if side.isascii() and side.isdigit() and len(side) <= 5 else 0 for side in (width, height)]
    if not (64 <= sides[0] <= 4096 and 32 <= sides[1] <= 2048):
        raise UserError(
            "the image has no such size", field="--image-size", given=text[:40], allowed=("64x32 … 4096x2048",),
            next_step="write it as WIDTHxHEIGHT, e.g. 1242x375",
        )  # fmt: skip
    return sides[0], sides[1]


@contextmanager
def _progress(description: str, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on the terminal's standard error; nothing in a pipe."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
