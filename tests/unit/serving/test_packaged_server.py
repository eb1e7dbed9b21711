"""The server inside a package, alone: its own code, and only the distributions that its requirements list."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from mlops_assets.serving.package import verify

sys.path.insert(0, str(Path(__file__).parent))
import fabricated
import fabricated_detectors as detectors

_ALONE = """
import runpy, sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
listed, server = set(sys.argv.pop(1).split(",")), sys.argv.pop(1)
class OnlyListed:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top == "mlops_assets" or top.startswith("_sysconfigdata") or top in sys.stdlib_module_names or top in listed:
            return PathFinder.find_spec(name, path, target)
        return None
# Alone: an installed checkout would lend its modules through a finder of its own.
sys.meta_path[:] = [BuiltinImporter, FrozenImporter, OnlyListed()]
import mlops_assets
assert mlops_assets.__file__.startswith(server), mlops_assets.__file__
runpy.run_module("mlops_assets.serving", run_name="__main__", alter_sys=True)
"""

#: Kind of package -> content type and body of a request, and the distributions that only this kind needs.
KINDS = {
    "people": ("application/json", json.dumps(fabricated.ROWS[0]).encode(), set()),
    "street": ("image/png", detectors.png(detectors.picture(128)), {"pillow"}),
    "scan": ("application/octet-stream", detectors.cloud((6.0, 2.0)).tobytes(), set()),
}


@pytest.mark.service
@pytest.mark.parametrize("which", KINDS)
def test_the_packaged_server_answers_with_its_own_code_and_only_what_requirements_list(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    package: Path = request.getfixturevalue(which)
    kind, body, own = KINDS[which]
    pins = {line.partition("==")[0] for line in (package / "requirements.txt").read_text().split()}
    assert pins & {"pillow", "torch", "numba", "onnx", "matplotlib", "faster-coco-eval"} == own
    modules = [name for name, owners in packages_distributions().items() if {o.lower().replace("_", "-") for o in owners} & pins]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = shutil.copytree(package / "server", tmp_path / "server")
    # Not measured: the copied code would be counted beside the code it is a copy of.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    arguments = [",".join(modules), str(server), "--package", str(package), "--port", str(port), "serve"]
    with (tmp_path / "log").open("wb") as output:
        environment = {**inherited, "PYTHONPATH": str(server)}
        process = subprocess.Popen(
            [sys.executable, "-c", _ALONE, *arguments], cwd=tmp_path, env=environment, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 15
        while True:
            try:
                asked = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", data=body, headers={"content-type": kind})
                with urllib.request.urlopen(asked, timeout=5) as reply:
                    answer = json.load(reply)
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.05)
        assert answer["model_version"] == "v1.0.0"
        assert answer["predictions"][0].get("boxes", [answer["predictions"][0].get("label")])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/docs", timeout=5) as reply:
            assert "Try it" in reply.read().decode()
        verify(package)  # serving writes nothing into the package
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0, (tmp_path / "log").read_text()
