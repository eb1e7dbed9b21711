"""A package of each kind of model, made once; nobody changes them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlops_assets.serving.model import LoadedModel

sys.path.insert(0, str(Path(__file__).parent))
import fabricated
import fabricated_detectors as detectors


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fabricated.package(tmp_path_factory.mktemp("table") / "package")


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return detectors.image_package(tmp_path_factory.mktemp("image") / "package")


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return detectors.cloud_package(tmp_path_factory.mktemp("cloud") / "package")


@pytest.fixture(scope="session")
def eye(street: Path) -> LoadedModel:
    return LoadedModel(street)


@pytest.fixture(scope="session")
def lidar(scan: Path) -> LoadedModel:
    return LoadedModel(scan)
