"""Statistics of the training split: values apart, ties decided, caps kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.request.schema import Preprocessing
from mlops_assets.tasks.tabular import statistics
from mlops_assets.tasks.tabular.statistics import entity_table, fit_categories, fit_imputation, one_hot_table, target_table


def texts(*values: str) -> np.ndarray:
    return np.array(values, dtype=object)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(max_size=3), min_size=1, max_size=20), st.booleans())
def test_categories_count_every_text_and_code_every_row(values: list[str], impute: bool) -> None:
    found = fit_categories("c", texts(*values), impute_mode=impute)
    if found is None:
        assert not any(values)
        return
    present = [v for v in values if v or not impute]
    assert found.values == tuple(sorted(set(present)))
    assert found.counts.tolist() == [present.count(v) for v in found.values]
    most = max(found.values, key=lambda v: (present.count(v), [-ord(c) for c in v], -len(v)))
    lookup = dict(zip(found.keys, found.rows, strict=True))
    assert [lookup[v] for v in values] == found.codes.tolist()
    if impute:
        assert present.count(found.values[lookup[""]]) == present.count(most)


def test_texts_that_differ_after_a_nul_are_different_categories() -> None:
    found = fit_categories("c", texts("a", "a\0b", "\0", ""), impute_mode=False)
    assert found is not None
    assert found.values == ("", "\0", "a", "a\0b")


def test_only_the_most_frequent_keys_are_kept_and_the_rest_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MAX_KEYS", 2)
    found = fit_categories("c", texts("z", "z", "b", "a", "y", "y"), impute_mode=False)
    assert found is not None
    assert found.values == ("y", "z")
    assert found.codes.tolist() == [1, 1, 2, 2, 0, 0]
    table = entity_table(found, ["n"], lambda _: np.arange(6, dtype=np.float32))
    np.testing.assert_allclose(table.table, [[2, 4.5], [2, 0.5], [2, 2.5]])
    encoded = target_table(found, np.array([[1.0], [1], [0], [1], [0], [0]]), [""])
    np.testing.assert_allclose(encoded.table.ravel(), [5 / 12, 7 / 12, 0.5], rtol=1e-6)


def test_the_smallest_of_equally_frequent_values_is_the_mode() -> None:
    matrix = np.array([[3], [1], [3], [1], [np.nan]], dtype=np.float32)
    assert fit_imputation(matrix, Preprocessing(handle_missing="mode")).fill.tolist() == [1.0]
    found = fit_categories("c", texts("b", "a", "", "b", "a"), impute_mode=True)
    assert found is not None
    assert found.values[found.missing_as] == "a"


def test_imputed_missing_category_above_the_cap_follows_its_value() -> None:
    values = [f"v{i:03d}" for i in range(60)] + ["v059"] * 3 + [""]
    found = fit_categories("c", texts(*values), impute_mode=True)
    assert found is not None
    table = one_hot_table(found)
    lookup = dict(zip(table.keys, table.rows, strict=True))
    assert lookup[""] == lookup["v059"]
    assert len(table.entries) == 51
    assert "v058" not in lookup  # the rarest share the last row


def test_an_entity_without_a_value_reads_the_overall_mean() -> None:
    found = fit_categories("u", texts("a", "a", "b", ""), impute_mode=False)
    assert found is not None
    numbers = np.array([1, 3, np.nan, 8], dtype=np.float32)
    table = entity_table(found, ["n", "none"], lambda name: numbers if name == "n" else np.full(4, np.nan, dtype=np.float32))
    assert table.keys == ("a", "b")
    np.testing.assert_allclose(table.table, [[2, 2], [1, 4], [1.5, 4]])
    assert [entry.name for entry in table.entries] == ["u_count", "n_mean_by_u"]
