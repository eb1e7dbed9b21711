"""The same loop with its objects in S3, over real HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import unmeasured

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
pytestmark = [pytest.mark.slow, pytest.mark.service]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import boto3
    from moto.server import ThreadedMotoServer

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="mlops")
    yield endpoint
    server.stop()


def test_an_issue_becomes_an_endpoint_with_every_object_in_s3(bucket: str, tmp_path: Path) -> None:
    import boto3

    environment = {
        **unmeasured(),
        "MLOPS_HOME": str(tmp_path / "home"),
        "MLOPS_STORE_URL": "s3://mlops/team",
        "MLOPS_S3_ENDPOINT": bucket,
        "PYTHONPATH": str(ROOT),
    }

    def mlops(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "jobs", *words], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        shown = json.loads(mlops("demo", "--json"))
        assert shown["record"]["outcome"] == "deployed"
        assert shown["record"]["model"]["uri"].startswith("s3://mlops/team/models/")
        assert '"predictions"' in shown["prediction"]
        assert "equal to the last digit" in mlops("reproduce", shown["record"]["training_id"])
        client = boto3.client("s3", endpoint_url=bucket, region_name="us-east-1")
        keys = [o["Key"] for page in client.get_paginator("list_objects_v2").paginate(Bucket="mlops") for o in page["Contents"]]
        for room in ("datasets", "trainings", "evaluations", "models", "lines", "requests", "reports", "logs"):
            assert any(key.startswith(f"team/{room}/") for key in keys), room
        assert not (tmp_path / "home" / "store").exists()
    finally:
        mlops("stop", "breast-cancer-random-forest")
