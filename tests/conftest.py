"""What every test shares: the real data where it is at hand, and installations in temporary folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from resources.platform import Platform
from resources.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the real data sets and examples, which are not part of the project."""
    folder = Path(os.environ.get("MLOPS_SHARED_DATA", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"real data is not at hand: {folder} does not exist (set MLOPS_SHARED_DATA)")
    return folder


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """An empty installation of its own; commands and sensors started by the test use it too."""
    home = tmp_path / "home"
    monkeypatch.setenv("MLOPS_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return Platform(Settings(home=home))
