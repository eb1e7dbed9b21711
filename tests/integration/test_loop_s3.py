"""The same loop with its objects in S3, over real HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from installation import ROOT, unmeasured

pytestmark = [pytest.mark.slow, pytest.mark.service]


def test_an_issue_becomes_an_endpoint_with_every_object_in_s3(s3: str, tmp_path: Path) -> None:
    import boto3

    environment = {
        **unmeasured(),
        "MLOPS_HOME": str(tmp_path / "home"),
        "MLOPS_STORE_URL": "s3://mlops/team",
        "MLOPS_S3_ENDPOINT": s3,
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
        client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1")
        keys = [o["Key"] for page in client.get_paginator("list_objects_v2").paginate(Bucket="mlops") for o in page["Contents"]]
        for room in ("datasets", "trainings", "evaluations", "models", "lines", "requests", "reports", "logs"):
            assert any(key.startswith(f"team/{room}/") for key in keys), room
        assert not (tmp_path / "home" / "store").exists()
    finally:
        mlops("stop", "breast-cancer-random-forest")
