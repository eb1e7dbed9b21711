"""What this installation has beside the base: distributions that an algorithm needs, and a GPU; found without importing."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from mlops_assets.tasks.interface import Algorithm

#: This project, as an installer calls it.
DISTRIBUTION = "issue-mlops"


def missing_extras(algorithm: Algorithm) -> tuple[str, ...]:
    """Extras of this package that have to be installed before ``algorithm`` can run, in the order of ``requires``."""
    return tuple(dict.fromkeys(extra for name, extra in algorithm.requires if not _is_installed(name)))


def install_command(extras: tuple[str, ...]) -> str:
    """What installs them: ``pip install "issue-mlops[deep,perception]"``."""
    return f'pip install "{DISTRIBUTION}[{",".join(extras)}]"'


def _is_installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def gpu_is_there() -> bool:
    """Whether the driver of an NVIDIA GPU answers on this machine; whether torch can use it shows in training."""
    return Path("/dev/nvidiactl").exists()
