"""What a package needs to run in a container: the serving code, its exact requirements, and the Dockerfile.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html (``/ping``, ``/invocations``,
port 8080, model in ``/opt/ml/model``, started with the argument ``serve``).
"""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import mlops_assets
from mlops_assets.serving.package import InputKind

#: Where the serving code lies in a package folder.
SERVER = "server"
#: Distributions that the serving code itself imports; what they need is found from their own metadata.
SERVING_DISTRIBUTIONS = ("granian", "msgspec", "numpy", "onnxruntime", "prometheus-client", "pydantic")
#: Those that only one kind of input needs. Without numba clouds become voxels in numpy, with the same bits.
KIND_DISTRIBUTIONS: Final[dict[InputKind, tuple[str, ...]]] = {"rows": (), "image": ("pillow",), "points": ()}
#: Every module outside ``serving`` that the server imports; a test starts it with nothing else to be had.
_SHARED_MODULES = (
    "__init__.py",
    "errors.py",
    "whole_files.py",
    "request/__init__.py",
    "request/schema.py",
    "request/vocabulary.py",
    "tasks/__init__.py",
    "tasks/interface.py",
    "tasks/detection/__init__.py",
    "tasks/detection/drift.py",
    "serving/__init__.py",
)
_DETECTION = (
    "tasks/detection/overlap.py", "tasks/detection/suppression.py", "serving/frames.py", "serving/detectors.py",
    "serving/example_boxes.py", "serving/documentation_boxes.html", "serving/documentation_boxes.js",
)  # fmt: skip
#: What only one kind of input needs, in ``serving`` and outside.
_KIND_MODULES: Final[dict[InputKind, tuple[str, ...]]] = {
    "rows": ("serving/tables.py", "serving/documentation_rows.html", "serving/documentation_rows.js"),
    "image": (
        *_DETECTION,
        "serving/images.py",
        "tasks/detection/image_boxes.py",
        "tasks/detection2d/__init__.py",
        "tasks/detection2d/decoding.py",
        "tasks/detection2d/letterbox.py",
    ),
    "points": (
        *_DETECTION,
        "serving/clouds.py",
        "data/__init__.py",
        "data/kitti/__init__.py",
        "data/kitti/boxes.py",
        "data/kitti/calibration.py",
        "data/kitti/labels.py",
        "data/reasons.py",
        "tasks/detection3d/__init__.py",
        "tasks/detection3d/anchors.py",
        "tasks/detection3d/pillar_decoding.py",
        "tasks/detection3d/pillar_inference.py",
        "tasks/detection3d/pillar_samples.py",
        "tasks/detection3d/pillar_settings.py",
        "tasks/detection3d/training_frame.py",
        "tasks/detection3d/voxel_sorting.py",
        "tasks/detection3d/voxels.py",
    ),
}
_SERVED_SUFFIXES: Final = (".py", ".html", ".js")
#: Modules of ``serving`` that make packages and endpoints, and have no place in a container.
_NOT_SERVED = frozenset(
    {
        "client.py", "container.py", "deployment.py", "inventory.py", "launch.py", "openapi.py", "openapi_boxes.py",
        "openapi_invocations.py", "openapi_rows.py", "packaging.py", "switching.py", "versions.py",
    }
)  # fmt: skip


def requirements(kind: InputKind) -> dict[str, str]:
    """Distribution name -> installed version of everything that serving this kind needs, transitively, in name order."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    waiting = [*SERVING_DISTRIBUTIONS, *KIND_DISTRIBUTIONS[kind]]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        installed = distribution(name)
        found[name] = installed.version
        needed = (Requirement(line) for line in installed.requires or ())
        waiting.extend(need.name for need in needed if need.marker is None or need.marker.evaluate({"extra": ""}))
    return dict(sorted(found.items()))


def requirements_text(kind: InputKind) -> str:
    """The content of ``requirements.txt``: one exact pin a line."""
    return "".join(f"{name}=={version}\n" for name, version in requirements(kind).items())


def copy_server(package: Path, kind: InputKind) -> None:
    """Copy the code that serves this kind into ``package/server``, importable as ``mlops_assets.serving``."""
    source = Path(mlops_assets.__file__).parent
    serving = [p.relative_to(source).as_posix() for p in sorted((source / "serving").iterdir()) if p.suffix in _SERVED_SUFFIXES]
    special = {name for names in _KIND_MODULES.values() for name in names}
    chosen = [name for name in serving if name.rpartition("/")[2] not in _NOT_SERVED and name not in special]
    for name in sorted({*_SHARED_MODULES, *_KIND_MODULES[kind], *chosen}):
        target = package / SERVER / "mlops_assets" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)


def dockerfile() -> str:
    """The content of ``Dockerfile``; the build context is the package folder."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"""\
# syntax=docker/dockerfile:1
# Build and run in the package folder:
#   docker build -t model .
#   docker run --rm -p 8080:8080 model
# It keeps SageMaker's inference contract: port 8080, GET /ping, POST /invocations, model in /opt/ml/model.

FROM python:{python}-slim AS build
COPY requirements.txt /tmp/requirements.txt
# --no-deps: the file is the whole closure, so nothing unpinned can slip in.
RUN pip install --no-cache-dir --no-deps --only-binary=:all: --target=/opt/server -r /tmp/requirements.txt
COPY {SERVER}/ /opt/server/

FROM python:{python}-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin model
COPY --from=build /opt/server /opt/server
# The whole folder: the server verifies every file of the manifest before it loads the model.
COPY . /opt/ml/model
ENV PYTHONPATH=/opt/server PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s --retries=3 \\
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/ping', timeout=2)"]
# SageMaker appends the word "serve"; the server accepts it.
ENTRYPOINT ["python", "-m", "mlops_assets.serving", "--package", "/opt/ml/model", "--host", "0.0.0.0", "--port", "8080"]
"""
