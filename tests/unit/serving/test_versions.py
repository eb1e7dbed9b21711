"""Versions of a line only ever grow."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.errors import UserError
from mlops_assets.serving.versions import Change, SemanticVersion, VersionChoice, next_version

versions = st.builds(SemanticVersion, *[st.integers(0, 999_999)] * 3)
changes = st.sampled_from(["major", "minor", "patch"])


@given(versions)
def test_a_version_reads_back_as_written(version: SemanticVersion) -> None:
    assert SemanticVersion.parse(str(version)) == version


@given(st.text(max_size=20))
def test_anything_else_is_refused_or_read_exactly(text: str) -> None:
    try:
        assert str(SemanticVersion.parse(text)) == text
    except UserError as error:
        assert error.allowed


@pytest.mark.parametrize("text", ["1.0.0", "v1.0", "v01.0.0", "v1.0.0\n", "v1.0.0-rc1", "v1.0.1000000", "v１.0.0", ""])
def test_near_misses_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="no model version"):
        SemanticVersion.parse(text)


def test_order_is_by_number_not_by_text() -> None:
    assert SemanticVersion.parse("v1.10.0") > SemanticVersion.parse("v1.9.9")


@settings(max_examples=200)
@given(st.lists(versions, min_size=1, max_size=8), st.none() | versions, changes)
def test_the_next_version_is_free_and_newer_and_explained(
    existing: list[SemanticVersion], requested: SemanticVersion | None, change: Change
) -> None:
    written = [str(version) for version in existing]
    if max(existing).major == 999_999:
        return
    choice = next_version(written, None if requested is None else str(requested), change)
    assert choice.version not in written
    assert SemanticVersion.parse(choice.version) > max(existing)
    if requested is not None:
        assert (choice.version == str(requested)) == (choice.note is None)
        assert (choice.note == "version_taken") == (requested in existing)
    else:
        assert choice.note is None


@pytest.mark.parametrize(
    ("existing", "requested", "change", "expected"),
    [
        ([], None, "minor", VersionChoice("v1.0.0")),
        ([], "v0.3.0", "major", VersionChoice("v0.3.0")),
        (["v1.0.0"], None, "minor", VersionChoice("v1.1.0")),
        (["v1.10.0", "v1.9.0"], None, "minor", VersionChoice("v1.11.0")),
        (["v1.4.2"], None, "major", VersionChoice("v2.0.0")),
        (["v1.4.2"], None, "patch", VersionChoice("v1.4.3")),
        (["v1.0.0"], "v3.0.0", "minor", VersionChoice("v3.0.0")),
        (["v1.0.0", "v2.0.0"], "v1.0.0", "minor", VersionChoice("v2.1.0", "version_taken")),
        (["v2.0.0"], "v1.5.0", "minor", VersionChoice("v2.1.0", "version_not_newer")),
        (["v1.0.999999"], None, "patch", VersionChoice("v1.1.0")),
        (["v1.999999.999999"], None, "minor", VersionChoice("v2.0.0")),
    ],
)
def test_the_rule_by_example(existing: list[str], requested: str | None, change: Change, expected: VersionChoice) -> None:
    assert next_version(existing, requested, change) == expected


def test_when_no_version_is_left_it_says_so() -> None:
    with pytest.raises(UserError, match="new model line"):
        next_version(["v999999.999999.999999"], None, "patch")
