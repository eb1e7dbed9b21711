"""The catalogue of datasets: immutable versions, one current, and names that lead nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_assets.data.dataset import CatalogueEntry
from mlops_assets.data.ingest import read_version
from mlops_assets.errors import NotFound, UserError
from resources.platform import Platform


def entry(path: Path, name: str = "churn", **declared: object) -> CatalogueEntry:
    return CatalogueEntry.model_validate({"dataset_id": name, "source": str(path), "target": "Churn", **declared})


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "churn.csv"
    path.write_text("tenure,Churn\n1,Yes\n2,No\n3,Yes\n4,No\n")
    return path


def test_the_same_content_twice_is_one_version_and_changed_content_another(platform: Platform, table: Path) -> None:
    first = platform.catalogue.add(entry(table))
    assert platform.catalogue.add(entry(table)).version == first.version
    table.write_text(table.read_text() + "5,No\n")
    second = platform.catalogue.add(entry(table))
    assert (first.rows, second.rows) == (4, 5)
    assert sorted(platform.catalogue.versions("churn")) == sorted([first.version, second.version])
    assert platform.catalogue.current("churn") == second
    assert (platform.catalogue.folder("churn", first.version) / "data.parquet").is_file(), "the old version stays readable"


def test_the_same_content_declared_otherwise_is_a_version_of_its_own(platform: Platform, table: Path) -> None:
    first = platform.catalogue.add(entry(table, target="tenure"))
    second = platform.catalogue.add(entry(table, target="Churn", positive_class="Yes"))
    assert (first.raw_sha256, first.version != second.version) == (second.raw_sha256, True)
    assert platform.catalogue.current("churn") == second
    for version in (first, second):
        assert read_version(platform.catalogue.folder("churn", version.version)).entry == version.entry
    assert platform.catalogue.add(entry(table, target="Churn", positive_class="Yes")).version == second.version
    assert platform.catalogue.add(entry(table, target="tenure", description="other words")).version == first.version


def test_a_refused_registration_leaves_the_dataset_as_it_was_and_no_scratch(platform: Platform, table: Path) -> None:
    before = platform.catalogue.add(entry(table))
    for wrong in (entry(table, target="Chrun"), entry(table.with_name("absent.csv")), entry(table, positive_class="Maybe")):
        with pytest.raises(UserError):
            platform.catalogue.add(wrong)
    assert platform.catalogue.current("churn") == before
    assert list(platform.scratch.iterdir()) == []


def test_the_copy_of_a_killed_registration_is_removed_by_the_next_and_that_of_a_living_one_is_not(
    platform: Platform, table: Path
) -> None:
    gone, alive = platform.scratch / "ingest-999999999-abc", platform.scratch / "ingest-1-abc"
    for folder in (gone, alive):
        folder.mkdir(parents=True)
        (folder / "raw.csv").write_text("x")
    platform.catalogue.add(entry(table))
    assert [path.name for path in platform.scratch.iterdir()] == [alive.name]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a..b", "-x", "x" * 129, "ä", "a b", "a\n"])
def test_a_name_that_could_lead_elsewhere_is_refused(platform: Platform, table: Path, name: str) -> None:
    with pytest.raises(UserError):
        platform.catalogue.add(entry(table, name))
    with pytest.raises(NotFound):
        platform.catalogue.current(name)


def test_a_bundled_dataset_is_registered_when_it_is_first_asked_for(platform: Platform) -> None:
    assert platform.catalogue.versions("breast-cancer") == []
    assert platform.catalogue.current("breast-cancer").rows == 569
    assert len(platform.catalogue.versions("breast-cancer")) == 1


def test_an_unknown_name_is_answered_with_the_nearest_one(platform: Platform, table: Path) -> None:
    platform.catalogue.add(entry(table, "telco-churn"))
    with pytest.raises(NotFound) as near:
        platform.catalogue.current("telco-chrn")
    assert near.value.allowed == ("telco-churn",)
    with pytest.raises(NotFound) as far:
        platform.catalogue.current("zzz")
    assert far.value.allowed == ("breast-cancer", "telco-churn")
