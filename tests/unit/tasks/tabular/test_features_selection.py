"""Choosing features: against NumPy's correlation, and forests that find the signal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.tasks.tabular import selection
from mlops_assets.tasks.tabular.selection import MAX_CORRELATION, correlated_features, importances, most_important
from mlops_assets.tasks.tabular.statistics import cross_fitting_folds


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 60), st.integers(1, 8), st.sampled_from([1e-20, 1.0, 1e20]))
def test_no_two_kept_features_correlate_and_every_dropped_one_has_its_reason(
    seed: int, rows: int, width: int, size: float
) -> None:
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(rows, width))
    mixed = base @ np.where(rng.random((width, width)) < 0.3, 1, 0) + rng.normal(0, 0.05, (rows, width))
    matrix = (np.hstack([base, mixed]) * size).astype(np.float32)
    dropped = correlated_features(matrix)
    r = np.corrcoef((matrix / np.float64(size)).T)
    kept = [i for i in range(matrix.shape[1]) if i not in dropped]
    close = np.abs(r[np.ix_(kept, kept)] - np.eye(len(kept)))
    assert close.max() <= MAX_CORRELATION + 1e-6
    for later, (earlier, value) in dropped.items():
        assert earlier < later
        assert earlier in kept
        assert value == pytest.approx(r[earlier, later], abs=1e-6)


def test_constant_features_and_single_rows_correlate_with_nothing() -> None:
    matrix = np.column_stack([np.full(50, 0.1), np.full(50, 0.1), np.arange(50.0), -np.arange(50.0)]).astype(np.float32)
    assert list(correlated_features(matrix)) == [3]
    assert correlated_features(matrix[:1]) == {}


def test_correlation_is_the_same_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    matrix = np.repeat(rng.normal(size=(101, 4)), 2, axis=1).astype(np.float32)
    whole = correlated_features(matrix)
    monkeypatch.setattr(selection, "_BATCH", 10)
    assert correlated_features(matrix).keys() == whole.keys() == {1, 3, 5, 7}


def test_importance_finds_the_signal_and_repeats_itself() -> None:
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(500, 6)).astype(np.float32)
    y = (matrix[:, 4] > 0).astype(np.int64)
    first, second = (importances(matrix, y, classification=True, seed=1) for _ in range(2))
    assert first.argmax() == 4
    assert first.tobytes() == second.tobytes()
    assert importances(matrix, matrix[:, 2] * 3.0, classification=False, seed=1).argmax() == 2


def test_a_large_matrix_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "FOREST_ROWS", 100)
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(5000, 3)).astype(np.float32)
    assert importances(matrix, (matrix[:, 1] > 0).astype(np.int64), classification=True, seed=1).argmax() == 1


def test_the_most_important_are_a_number_or_those_at_the_mean() -> None:
    values = np.array([0.1, 0.4, 0.1, 0.4, 0.0])
    assert most_important(values, 3) == [0, 1, 3]
    assert most_important(values, 99) == [0, 1, 2, 3, 4]
    assert most_important(values, None) == [1, 3]
    assert most_important(np.full(7, 1 / 7), None) == list(range(7))
    assert most_important(np.zeros(3), None) == [0, 1, 2]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(0, 100))
def test_folds_are_even_and_spread_every_class(rows: int, seed: int) -> None:
    y = np.random.default_rng(seed).integers(0, 3, rows)
    fold = cross_fitting_folds(y, 5, seed, stratified=True)
    sizes = np.bincount(fold, minlength=5)
    assert sizes.max() - sizes.min() <= 1
    for label in range(3):
        spread = np.bincount(fold[y == label], minlength=5)
        assert spread.max() - spread.min() <= 1
