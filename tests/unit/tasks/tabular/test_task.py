"""The plug-in itself: what it offers and what it costs to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mlops_assets.request.vocabulary import ALGORITHMS as KNOWN
from mlops_assets.tasks.interface import LearningTask
from mlops_assets.tasks.tabular import TabularTask

HEAVY = ("numpy", "sklearn", "xgboost", "pandas", "onnx", "onnxruntime", "matplotlib", "skops", "scipy")


def test_importing_the_task_imports_no_learning_library() -> None:
    code = f"import sys, mlops_assets.tasks.tabular; print([m for m in {HEAVY!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_task_is_a_learning_task_that_offers_the_four_algorithms() -> None:
    task = TabularTask()
    assert isinstance(task, LearningTask)
    assert {offered.name for offered in task.algorithms} == {
        "random_forest",
        "xgboost",
        "logistic_regression",
        "linear_regression",
    }


@pytest.mark.parametrize("algorithm", TabularTask().algorithms, ids=lambda algorithm: algorithm.name)
def test_descriptions_are_consistent(algorithm: object) -> None:
    from mlops_assets.tasks.interface import Algorithm

    assert isinstance(algorithm, Algorithm)
    assert KNOWN[algorithm.name] == (algorithm.learning_type, algorithm.task_types)
    names = [name for knob in algorithm.hyperparameters for name in (knob.name, *knob.aliases)]
    assert len(names) == len(set(names))
    types = {"int": int, "float": float, "str": str, "bool": bool}
    for knob in algorithm.hyperparameters:
        if knob.default is None:
            assert knob.nullable
            continue
        assert isinstance(knob.default, types[knob.kind])
        if knob.choices:
            assert knob.default in knob.choices
        if knob.minimum is not None and knob.maximum is not None:
            assert knob.minimum <= float(knob.default) <= knob.maximum
