"""Settings: environment before mlops.toml before defaults, and mistakes told by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_assets.errors import UserError
from resources.platform import Platform
from resources.settings import Settings, read_settings


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"MLOPS_{name.upper()}", raising=False)
    return tmp_path


def test_without_anything_the_state_is_below_the_working_directory(here: Path) -> None:
    settings = read_settings()
    assert settings.resolved_home == here / ".mlops"
    assert settings.resolved_store_url == (here / ".mlops" / "store").as_uri()
    assert not (here / ".mlops").exists(), "reading settings writes nothing"


def test_the_environment_comes_before_the_file_and_the_file_before_the_default(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "mlops.toml").write_text('language = "ja"\ntraining_retries = 5\n')
    monkeypatch.setenv("MLOPS_LANGUAGE", "en")
    settings = read_settings()
    assert (settings.language, settings.training_retries, settings.memory_limit) == ("en", 5, "2GB")


def test_a_relative_home_stays_where_it_was_when_the_directory_changes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_HOME", "state")
    settings = read_settings()
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert settings.resolved_home == here / "state"


@pytest.mark.parametrize(
    ("variables", "file", "field", "said"),
    [
        ({"MLOPS_LANGUAGE": "fr"}, "", "MLOPS_LANGUAGE", "'auto', 'ja' or 'en'"),
        ({}, 'language = "fr"\n', "language in mlops.toml", "'auto', 'ja' or 'en'"),
        ({"MLOPS_COST_CAP_USD": "-1"}, "", "MLOPS_COST_CAP_USD", "greater than or equal to 0"),
        ({"MLOPS_TRAINING_RETRIES": "many"}, "", "MLOPS_TRAINING_RETRIES", "integer"),
        ({"MLOPS_HOEM": "x"}, "", "MLOPS_HOEM", "did you mean MLOPS_HOME?"),
        ({}, "langauge = 'ja'\n", "langauge in mlops.toml", "did you mean language?"),
        ({}, "language = \n", "mlops.toml", "not TOML"),
    ],
)
def test_a_mistake_names_the_setting_and_what_to_do(
    here: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], file: str, field: str, said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (here / "mlops.toml").write_text(file)
    with pytest.raises(UserError) as told:
        Platform()
    assert told.value.field == field
    assert said in str(told.value)


def test_variables_of_other_programs_with_the_same_beginning_are_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_SHARED_DATA", "/data")
    monkeypatch.setenv("MLOPS_TEAM", "red")
    assert read_settings().language == "auto"


def test_settings_do_not_change_once_they_are_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_settings().language = "ja"  # type: ignore[misc]
