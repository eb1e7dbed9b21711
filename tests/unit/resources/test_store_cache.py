"""Local copies of folders in S3: fetched once, read once, and fetched again where they were damaged."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_assets.errors import IntegrityError
from resources import known_digests
from resources.store import ObjectStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    import boto3
    from moto.server import ThreadedMotoServer

    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="bucket")
        store = ObjectStore("s3://bucket/mlops", tmp_path / "cache", endpoint)
        folder = tmp_path / "staged"
        (folder / "frames").mkdir(parents=True)
        (folder / "frames" / "000000.bin").write_bytes(b"points")
        store.publish("shard", folder)
        yield store
    finally:
        server.stop()


def test_a_copy_is_not_read_anew_at_every_step(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    real = known_digests.sha256_of_file
    monkeypatch.setattr(known_digests, "sha256_of_file", lambda path: reads.append(path.name) or real(path))  # type: ignore[func-returns-value]
    cloud = store.checkout("shard") / "frames" / "000000.bin"
    os.utime(cloud, (time.time() - 60,) * 2)
    for _ in range(3):
        assert store.checkout("shard") == cloud.parents[1]
    assert reads == ["000000.bin"]


def test_a_damaged_copy_is_fetched_again_and_a_killed_download_is_cleared_away(store: ObjectStore, tmp_path: Path) -> None:
    cloud = store.checkout("shard") / "frames" / "000000.bin"
    digest = cloud.parents[1].name
    for damage in (cloud.unlink, lambda: (cloud.chmod(0o644), cloud.write_bytes(b"zeros!"))):
        damage()
        left = tmp_path / "cache" / f".{digest}.partial"
        left.mkdir()
        (left / "000000.bin").write_bytes(b"half")
        assert store.checkout("shard") == cloud.parents[1] and cloud.read_bytes() == b"points"
        assert not left.exists()


def test_what_was_altered_in_the_bucket_is_refused_and_takes_no_room(store: ObjectStore, tmp_path: Path) -> None:
    store.put("shard/frames/000000.bin", b"altered")
    for _ in range(2):
        with pytest.raises(IntegrityError, match=r"000000\.bin"):
            store.checkout("shard")
    assert not list((tmp_path / "cache").rglob("*.bin"))
