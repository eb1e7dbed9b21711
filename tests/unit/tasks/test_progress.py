"""Progress lines survive the way through a log."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.tasks.progress import parse_progress, progress_line

names = st.text(st.characters(exclude_characters="=", exclude_categories=("Z", "C")), min_size=1, max_size=12)


@settings(max_examples=100)
@given(st.floats(0, 1), st.text(max_size=60), st.dictionaries(names, st.floats(width=16), max_size=4))
def test_what_is_reported_is_what_is_read(fraction: float, text: str, metrics: dict[str, float]) -> None:
    line = progress_line(fraction, text, metrics)
    assert "\n" not in line
    read = parse_progress(line + "\n")
    assert read is not None
    assert read.fraction == pytest.approx(fraction, abs=1e-4)
    assert read.text == " ".join(text.replace("=", ":").split())
    assert list(read.metrics) == list(metrics)
    for name, value in metrics.items():
        assert (math.isnan(value) and math.isnan(read.metrics[name])) or read.metrics[name] == pytest.approx(value, rel=1e-5)


@given(st.text(max_size=80))
def test_no_line_of_a_log_breaks_the_reader(line: str) -> None:
    read = parse_progress(line)
    assert read is None or 0.0 <= read.fraction <= 1.0


@pytest.mark.parametrize(
    "line", ["progress", "progress is slow", "progress 1.5 x", "progress nan", "in progress 0.5", "progress 1.2.3"]
)
def test_other_lines_are_not_progress(line: str) -> None:
    assert parse_progress(line) is None


def test_a_fraction_out_of_range_is_clamped() -> None:
    assert progress_line(7.0, "", {}) == "progress 1.0000"
    assert progress_line(math.nan, "", {}) == "progress 0.0000"
