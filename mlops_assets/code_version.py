"""Which code decides the numbers: a version that changes exactly when that code changes.

A git commit is not enough (a wheel has none, an edited checkout has the wrong one), so the sources are digested.
"""

from __future__ import annotations

import hashlib
import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: Rooms whose code changes data, features, models or metrics.
DECIDING_ROOMS = ("data", "request", "tasks")
#: Libraries whose release may change a metric.
DECIDING_LIBRARIES = (
    "numpy",
    "pandas",
    "pyarrow",
    "duckdb",
    "scikit-learn",
    "xgboost-cpu",
    "onnx",
    "onnxruntime",
)


@lru_cache(maxsize=1)
def code_version() -> str:
    """``<release>+src.<12 hexadecimal digits>`` over the sources of the deciding rooms."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for room in DECIDING_ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{_installed('issue-mlops')}+src.{digest.hexdigest()[:12]}"


def environment_versions() -> dict[str, str]:
    """Interpreter, processor family and library versions that decide the numbers."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        **{library: _installed(library) for library in DECIDING_LIBRARIES},
    }


def _installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
