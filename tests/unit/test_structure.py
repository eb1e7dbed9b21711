"""House rules of the code as a whole: who imports whom, what stays light, which files the tools accept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "torch", "mlflow", "sklearn", "xgboost", "boto3", "evidently", "open3d", "matplotlib", "duckdb", "pandas", "pyarrow",
    "onnx", "onnxruntime", "skl2onnx", "onnxmltools", "scipy", "moto",
)  # fmt: skip


def modules_after(statement: str) -> set[str]:
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_rooms_import_only_what_they_may() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_loading_the_definitions_imports_nothing_heavy() -> None:
    assert modules_after("import mlops_assets.definitions") & set(HEAVY) == set()


def test_help_imports_neither_dagster_nor_anything_heavy() -> None:
    found = modules_after(
        "from click.testing import CliRunner\nimport jobs.commands\nfrom jobs.command_line import cli\n"
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0"
    )
    assert found & {*HEAVY, "dagster", "pydantic", "rich"} == set()


def test_the_model_server_never_imports_dagster_or_training_libraries() -> None:
    found = modules_after("import mlops_assets.serving.__main__")
    assert found & {"dagster", "mlflow", "sklearn", "pandas", "xgboost", "duckdb"} == set()


def test_listing_and_rolling_back_endpoints_need_no_dagster() -> None:
    found = modules_after(
        "import tempfile, pathlib\nfrom resources.platform import Platform\nfrom resources.settings import Settings\n"
        "platform = Platform(Settings(home=pathlib.Path(tempfile.mkdtemp())))\n"
        "import jobs.commands.servers\nfrom mlops_assets.serving.deployment import rollback\n"
        "assert platform.endpoints.list() == [] and platform.tracker.current_actor()"
    )
    assert found & {"dagster", "mlflow", "sklearn", "pandas"} == set()


def test_dagster_cloud_yaml_is_accepted_by_dagsters_own_loader() -> None:
    from dagster_cloud_cli.config.loader import load_dagster_cloud_yaml

    assert "mlops_assets.definitions" in load_dagster_cloud_yaml((ROOT / "dagster_cloud.yaml").read_text()).model_dump_json()


def test_workspace_yaml_loads_with_every_asset_job_and_sensor() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", ["mlops_assets", "resources", "sensors", "jobs", "sim"])
def test_modules_say_what_belongs_in_them_and_stay_short(folder: str) -> None:
    import ast

    for path in (ROOT / folder).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if not text.strip():
            continue
        assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
        assert text.count("\n") <= 450, f"{path} has {text.count(chr(10))} lines"


def test_no_path_of_a_machine_is_in_the_repository() -> None:
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=False, cwd=ROOT)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    here = str(ROOT.parent) + "/"
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and path.suffix in {".py", ".md", ".toml", ".yaml", ".json", ".txt", ""}:
            assert here not in path.read_text(encoding="utf-8", errors="ignore"), name
