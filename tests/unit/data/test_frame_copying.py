"""A shard is made frame by frame: damage keeps out one frame, a kill costs one frame, and nothing half done is ever seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from mlops_assets.data.frame_copying import copy_shard
from mlops_assets.data.frame_quality import check_files
from mlops_assets.data.frame_shards import DamagedFile, ShardContents, ShardSummary
from mlops_assets.data.kitti.classes import difficulty
from mlops_assets.data.kitti.frames import KittiCopy
from mlops_assets.errors import MlopsError, NotFound
from tests.standins.kitti_worlds import FRAMES, copied, cut, generated, quiet, registered


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated(tmp_path_factory.mktemp("copying") / "world")


def made(source: Path, work: Path, *, spoil: object = None) -> ShardSummary:
    version, listed = registered(source, work / "version")
    return copy_shard(listed.frames, source, version, 0, work / "shard", quiet)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_shard_is_a_kitti_copy_with_the_same_bytes_and_nothing_else(world: Path, tmp_path: Path) -> None:
    summary = made(world, tmp_path)
    shard = tmp_path / "shard"
    wanted = {f"training/{path.relative_to(world / 'training').as_posix()}" for path in (world / "training").rglob("*.*")}
    assert content(shard).keys() == wanted | {"shard.json", "contents.json"}
    assert all((shard / name).read_bytes() == (world / name).read_bytes() for name in wanted)
    assert summary.frames == tuple(f"{number:06d}" for number in range(FRAMES)) and not summary.damaged
    assert summary.bytes == sum((world / name).stat().st_size for name in wanted)
    assert ShardSummary.model_validate_json((shard / "shard.json").read_bytes()) == summary
    assert all(path.stat().st_mode & 0o222 == 0 for path in shard.rglob("*") if path.is_file()), "final, so it may be linked"
    assert made(world, tmp_path / "again").digest == summary.digest


def test_a_tracking_sequence_becomes_frames_of_the_object_layout(world: Path, tmp_path: Path) -> None:
    summary = made(world / "tracking", tmp_path)
    assert "0003_000002" in summary.frames and len(summary.frames) == FRAMES
    source, shard = KittiCopy.open(world / "tracking"), KittiCopy.open(tmp_path / "shard")
    assert shard.index.layout == "object"
    for frame in source.index:
        name = frame.frame_id.replace("/", "_")
        given, kept = source.objects(frame.frame_id), shard.objects(name)
        assert kept.names.tolist() == given.names.tolist()
        np.testing.assert_allclose(kept.boxes_2d, given.boxes_2d, atol=1e-5)
        np.testing.assert_allclose(kept.locations, given.locations, atol=1e-5)
        assert difficulty(kept) == difficulty(given, truncation_levels=True), "levels are written as shares"
        np.testing.assert_allclose(shard.calibration(name).P2, source.calibration(frame.frame_id).P2, rtol=1e-11)
        assert (shard.cloud(name) == source.cloud(frame.frame_id)).all()


DAMAGE = {
    "000000": ("image_2/000000.png", lambda p: cut(p, 2000), "image"),
    "000001": ("velodyne/000001.bin", lambda p: cut(p, 1001), "cloud"),
    "000002": ("label_2/000002.txt", lambda p: p.write_text("Car 0 0\n"), "labels"),
    "000003": ("calib/000003.txt", lambda p: p.write_text("P0: 1 2 3\n"), "calibration"),
    "000004": ("velodyne/000004.bin", lambda p: p.write_bytes(b""), "cloud"),
    "000005": ("label_2/000005.txt", lambda p: p.write_bytes(b"\xff\xfe\x00"), "labels"),
    "000006": ("image_2/000006.png", lambda p: p.write_bytes(b"no image"), "image"),
    "000007": ("velodyne/000007.bin", lambda p: p.write_bytes(np.full(8, np.nan, "<f4").tobytes()), "cloud"),
}  # fmt: skip


def test_every_file_that_was_damaged_before_it_was_registered_is_named_and_costs_its_own_frame(
    world: Path, tmp_path: Path
) -> None:
    source = copied(world, tmp_path / "world")
    for key, damage, _ in DAMAGE.values():
        damage(source / "training" / key)
    summary = made(source, tmp_path)
    assert {d.frame_id: (d.key, d.part) for d in summary.damaged} == {
        frame: (f"training/{key}", part) for frame, (key, _, part) in DAMAGE.items()
    }
    assert summary.frames == tuple(f"{number:06d}" for number in range(len(DAMAGE), FRAMES))
    for damage in summary.damaged:
        assert "\n" not in damage.reason and str(tmp_path) not in damage.reason and damage.key not in damage.reason, damage
        assert len(damage.reason) > 10
    assert not [name for name in content(tmp_path / "shard") if any(frame in name for frame in DAMAGE)]
    why = {damage.frame_id: damage.why for damage in summary.damaged}
    assert {frame: reason and (reason.code, reason.values) for frame, reason in why.items()} == {
        "000000": ("image", {}),
        "000001": ("cut_off", {"bytes": 1001}),
        "000002": ("columns", {"line": 1, "columns": 3}),
        "000003": ("columns", {"line": 1, "columns": 3}),
        "000004": ("empty", {}),
        "000005": ("not_text", {"byte": 0}),
        "000006": ("image", {}),
        "000007": ("not_finite", {"points": 2, "first": 0}),
    }


def test_a_shard_that_an_older_release_has_kept_is_read_and_keeps_its_line() -> None:
    old = DamagedFile.model_validate({"frame_id": "000001", "part": "cloud", "key": "a.bin", "reason": "is missing"})
    assert old.why is None and check_files(3, [old], {}, 2).evidence["a.bin"] == "is missing"


def test_a_file_that_changed_or_went_since_it_was_registered_is_named_with_what_happened(world: Path, tmp_path: Path) -> None:
    source = copied(world, tmp_path / "world")
    version, listed = registered(source, tmp_path / "version")
    folder = source / "training"
    (folder / "image_2" / "000000.png").unlink()
    cut(folder / "velodyne" / "000001.bin", 160)
    labels = folder / "label_2" / "000002.txt"
    labels.write_bytes(labels.read_bytes().replace(b"0", b"1", 1))
    with (folder / "calib" / "000003.txt").open("a") as stream:
        stream.write("more\n")
    summary = copy_shard(listed.frames, source, version, 0, tmp_path / "shard", quiet)
    reasons = {damage.frame_id: damage.reason for damage in summary.damaged}
    assert reasons["000000"] == "is missing"
    assert reasons["000001"].startswith("changed since it was registered: 160 bytes")
    assert reasons["000002"] == "changed since it was registered: other content of the same size"
    codes = {damage.frame_id: damage.why.code for damage in summary.damaged if damage.why}
    assert codes == {"000000": "missing", "000001": "resized", "000002": "altered", "000003": "grown"}
    assert "more bytes" in reasons["000003"] and len(reasons) == 4 and len(summary.frames) == FRAMES - 4


def test_a_damaged_file_of_a_sequence_costs_that_sequence_only(world: Path, tmp_path: Path) -> None:
    source = copied(world / "tracking", tmp_path / "tracking")
    labels = source / "training" / "label_02" / "0002.txt"
    labels.write_text(labels.read_text() + "0 1 Car\n")
    summary = made(source, tmp_path)
    assert {damage.frame_id for damage in summary.damaged} == {f"0002_00000{n}" for n in range(3)}
    assert {damage.key for damage in summary.damaged} == {"training/label_02/0002.txt"} and len(summary.frames) == FRAMES - 3


def test_a_mended_file_is_taken_on_the_next_call_and_the_other_frames_are_not_copied_again(world: Path, tmp_path: Path) -> None:
    source = copied(world, tmp_path / "world")
    version, listed = registered(source, tmp_path / "version")
    image = source / "training" / "image_2" / "000004.png"
    whole = image.read_bytes()
    cut(image, 100)
    first = copy_shard(listed.frames, source, version, 0, tmp_path / "shard", quiet)
    assert [damage.frame_id for damage in first.damaged] == ["000004"]
    before = {path: path.stat().st_ino for path in (tmp_path / "shard" / "training").rglob("*.*")}
    image.write_bytes(whole)
    second = copy_shard(listed.frames, source, version, 0, tmp_path / "shard", quiet)
    assert not second.damaged and len(second.frames) == FRAMES and second.digest == made(world, tmp_path / "other").digest
    assert all(path.stat().st_ino == number for path, number in before.items())


def test_what_lies_in_the_folder_but_not_as_noted_is_made_again(world: Path, tmp_path: Path) -> None:
    first = made(world, tmp_path)
    shard = tmp_path / "shard"
    for name, damage in (("image_2/000001.png", b"x"), ("velodyne/000002.bin", None)):
        path = shard / "training" / name
        path.unlink()
        if damage is not None:
            path.write_bytes(damage)
    stray = shard / "training" / "label_2" / "000099.txt"
    stray.write_text("")
    (shard / "contents.json").chmod(0o644)
    assert made(world, tmp_path).digest == first.digest
    assert not stray.exists()
    (shard / "contents.json").unlink()
    (shard / "contents.json").write_text('{"frames": [')  # the power failed
    assert made(world, tmp_path).digest == first.digest
    assert len(ShardContents.read(shard).frames) == FRAMES


KILLED = """
import os, signal, sys, time
from pathlib import Path
from mlops_assets.data.dataset import DatasetVersion
from mlops_assets.data.frame_copying import copy_shard
from mlops_assets.data.frame_shards import FrameList

version, source, out = map(Path, sys.argv[1:4])
listed = FrameList.read(version)
known = DatasetVersion.model_validate_json((version / "version.json").read_bytes())
real = Path.replace
def slow(self, target):
    time.sleep(0.03)
    return real(self, target)
Path.replace = slow
copy_shard(listed.frames, source, known, 0, out, lambda fraction, text: None)
"""


def test_a_maker_killed_half_way_is_gone_on_with_and_finished_frames_are_not_made_again(world: Path, tmp_path: Path) -> None:
    version, listed = registered(world, tmp_path / "version")
    out = tmp_path / "shard"
    script = tmp_path / "maker.py"
    script.write_text(textwrap.dedent(KILLED))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen([sys.executable, script, tmp_path / "version", world, out], env=environment)
    notes = out / "finished"
    deadline = time.monotonic() + 30
    while len(list(notes.glob("[!.]*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = {path.stem for path in notes.glob("[!.]*.json")}
    assert 3 <= len(finished) < FRAMES and not (out / "shard.json").exists()
    before = {path: path.stat().st_ino for path in (out / "training").rglob("*.*") if path.stem in finished}
    assert len(before) == 4 * len(finished)
    summary = copy_shard(listed.frames, world, version, 0, out, quiet)
    assert len(summary.frames) == FRAMES and summary.digest == made(world, tmp_path / "other").digest
    assert all(path.stat().st_ino == number for path, number in before.items()), "finished frames were left as they are"
    assert {path.name for path in out.iterdir()} == {"training", "shard.json", "contents.json"}


FULL = """
import resource, signal, sys, json
from pathlib import Path
from mlops_assets.data.dataset import DatasetVersion
from mlops_assets.data.frame_copying import copy_shard
from mlops_assets.data.frame_shards import FrameList
from mlops_assets.errors import MlopsError

version, source, out = map(Path, sys.argv[1:4])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
listed = FrameList.read(version)
known = DatasetVersion.model_validate_json((version / "version.json").read_bytes())
try:
    copy_shard(listed.frames, source, known, 0, out, lambda fraction, text: None)
except MlopsError as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


def test_a_disk_that_takes_no_more_is_told_and_what_is_finished_stays(world: Path, tmp_path: Path) -> None:
    version, listed = registered(world, tmp_path / "version")
    out, script = tmp_path / "shard", tmp_path / "maker.py"
    script.write_text(FULL)
    sizes = [sum(file.bytes for file in frame.files.values()) for frame in listed.frames]
    limit = sorted(max(file.bytes for file in frame.files.values()) for frame in listed.frames)[FRAMES // 2]
    assert limit < max(sizes)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    answer = subprocess.run(
        [sys.executable, script, tmp_path / "version", world, out, str(limit)], env=environment, capture_output=True, check=True
    )
    kind, text = json.loads(answer.stdout)
    assert kind == "MlopsError" and "free space" in text and f"of {FRAMES} frames" in text and "Traceback" not in text
    assert not (out / "shard.json").exists()
    summary = copy_shard(listed.frames, world, version, 0, out, quiet)
    assert len(summary.frames) == FRAMES and not summary.damaged, "a full disk is no damage of the source"


def test_a_copy_that_is_not_mounted_is_not_taken_for_a_damaged_one(world: Path, tmp_path: Path) -> None:
    version, listed = registered(world, tmp_path / "version")
    with pytest.raises(NotFound, match="not there any more") as refused:
        copy_shard(listed.frames, tmp_path / "unmounted", version, 0, tmp_path / "shard", quiet)
    assert "mlops dataset add world" in (refused.value.next_step or "")
    assert issubclass(NotFound, MlopsError) and not (tmp_path / "shard").exists()
