"""What a result file says of the machine and the libraries that were measured; what was measured is each benchmark's own."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


def cpu_model() -> str:
    """The processor's name as the operating system tells it."""
    for line in CPU_INFO.read_text(encoding="utf-8").splitlines() if CPU_INFO.is_file() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def installed(name: str) -> str | None:
    """The version of an installed distribution; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
