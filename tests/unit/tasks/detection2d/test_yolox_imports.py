"""Torch is imported where a network is needed and nowhere before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize(
    "statement",
    [
        "import mlops_assets.tasks.interface",
        "import jobs.command_line, jobs.commands",
        "from mlops_assets.tasks.detection2d import settings, dataset, decoding, augmentation, loading",
    ],
)
def test_the_interface_the_command_line_and_serving_need_no_torch(statement: str) -> None:
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"torch", "torchvision", "onnxscript"} & set(json.loads(done.stdout.splitlines()[-1]))


def test_no_module_asks_for_torchvision() -> None:
    folder = ROOT / "mlops_assets" / "tasks" / "detection2d"
    assert not [path.name for path in folder.glob("*.py") if "import torchvision" in path.read_text(encoding="utf-8")]
