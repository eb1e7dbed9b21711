"""Features folders as fixtures: of what a test gives, and of the tables that ship with scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prepared_features import Prepared, write_prepared


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., Prepared]:
    """``write_prepared`` into this test's folder."""

    def write(x: np.ndarray, y: np.ndarray, **options: Any) -> Prepared:
        return write_prepared(tmp_path / f"prepared-{len(list(tmp_path.iterdir()))}", x, y, **options)

    return write


@pytest.fixture(scope="session")
def breast_cancer(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """569 real tumours that ship with scikit-learn; the positive class is malignant."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    names = [name.replace(" ", "_") for name in bunch.feature_names]
    folder = tmp_path_factory.mktemp("breast_cancer")
    return write_prepared(folder, bunch.data, 1 - bunch.target, classes=("benign", "malignant"), names=names)


@pytest.fixture(scope="session")
def three_classes(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """178 real wines of three cultivars."""
    from sklearn.datasets import load_wine

    bunch = load_wine()
    return write_prepared(tmp_path_factory.mktemp("wine"), bunch.data, bunch.target, classes=("barolo", "grignolino", "barbera"))


@pytest.fixture(scope="session")
def diabetes(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """442 real patients; the value is the disease's progression after a year."""
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes()
    return write_prepared(tmp_path_factory.mktemp("diabetes"), bunch.data, bunch.target)
