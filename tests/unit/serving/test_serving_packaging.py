"""A package is complete, deterministic, describes itself truthfully, and runs with nothing but what it lists."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from mlops_assets.errors import IntegrityError, UserError
from mlops_assets.serving.container import SERVING_DISTRIBUTIONS
from mlops_assets.serving.model import LoadedModel
from mlops_assets.serving.package import MANIFEST, verify
from mlops_assets.serving.packaging import build_package
from mlops_assets.tasks.interface import InputField

sys.path.insert(0, str(Path(__file__).parent))
import fabricated


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fabricated.package(tmp_path_factory.mktemp("packages") / "package")


def test_the_same_export_gives_the_same_digest_and_verifies(package: Path, tmp_path: Path) -> None:
    again = build_package(package.with_name("package-export"), fabricated.metadata("v1.0.0"), tmp_path / "again")
    assert again == verify(package)
    assert {path.name for path in package.iterdir()} == {
        "model.onnx", "signature.json", "examples.json", "openapi.json", "Dockerfile",
        "requirements.txt", "model_metadata.json", "server", MANIFEST,
    }  # fmt: skip
    other = build_package(package.with_name("package-export"), fabricated.metadata("v1.0.1"), tmp_path / "other")
    assert other.digest != again.digest


def test_a_package_is_never_built_over_another_and_a_failed_one_leaves_nothing(package: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        build_package(package.with_name("package-export"), fabricated.metadata("v1.0.0"), package)
    broken = Path(shutil.copytree(package.with_name("package-export"), tmp_path / "broken"))
    (broken / "examples.json").write_text('{"rows": 3}')
    with pytest.raises(IntegrityError, match="not readable"):
        build_package(broken, fabricated.metadata("v1.0.0"), tmp_path / "out")
    (broken / "model.onnx").unlink()
    with pytest.raises(IntegrityError, match=r"has no model\.onnx"):
        build_package(broken, fabricated.metadata("v1.0.0"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_the_openapi_document_is_valid_and_its_examples_are_answered_as_it_says(package: Path) -> None:
    from jsonschema import Draft202012Validator

    document = json.loads((package / "openapi.json").read_text(encoding="utf-8"))
    OpenAPIV31SpecValidator(document).validate()
    predict = document["paths"]["/invocations"]["post"]
    model = LoadedModel(package)
    schemas = json.loads(json.dumps(document["components"]["schemas"]).replace("#/components/schemas/", "#/$defs/"))
    answered = Draft202012Validator({"$ref": "#/$defs/Predictions", "$defs": schemas})
    for example in predict["requestBody"]["content"]["application/json"]["examples"].values():
        answer = json.loads(model.answer("application/json", json.dumps(example["value"]).encode()).body)
        answered.validate(answer)
        shown = predict["responses"]["200"]["content"]["application/json"]["example"]
        assert answer["predictions"][0]["label"] == shown["predictions"][0]["label"]
        assert answer["predictions"][0]["probabilities"] == pytest.approx(shown["predictions"][0]["probabilities"], abs=1e-5)
    csv_example = predict["requestBody"]["content"]["text/csv"]["examples"]["one_row"]["value"]
    assert json.loads(model.answer("text/csv", csv_example.encode()).body)["predictions"] == answer["predictions"]
    row = document["components"]["schemas"]["Row"]
    assert (row["required"], row["additionalProperties"]) == (["年齢"], False)
    assert row["properties"]["joined"]["type"] == ["string", "number", "null"]
    assert "18 to 90" in row["properties"]["年齢"]["description"]


def test_a_regression_package_describes_and_answers_values(tmp_path: Path) -> None:
    package = fabricated.regression_package(tmp_path / "package")
    OpenAPIV31SpecValidator(json.loads((package / "openapi.json").read_text())).validate()
    answer = LoadedModel(package).answer("application/json", b'{"rows": [{"x": 1.5}, {"x": -2}]}')
    assert json.loads(answer.body)["predictions"] == [{"value": 3.0}, {"value": -4.0}]


def test_the_page_shows_every_field_and_runs_no_markup_of_the_data(tmp_path: Path) -> None:
    export = fabricated.export_folder(tmp_path / "export")
    evil = InputField(
        name="<script>alert(1)</script>", kind="number", required=False, example="</textarea><img src=x onerror=alert(1)>"
    )
    inputs = (*fabricated.SIGNATURE.inputs, evil)
    signature = fabricated.SIGNATURE.model_copy(update={"inputs": inputs, "target": "<b>$body</b>"})
    (export / "signature.json").write_text(signature.model_dump_json(), encoding="utf-8")
    build_package(export, fabricated.metadata("v1.0.0"), tmp_path / "package")
    from mlops_assets.serving.documentation import documentation_page

    page = documentation_page(json.loads((tmp_path / "package" / "openapi.json").read_text(encoding="utf-8")))
    assert page.count("<script>") == 1
    assert "<img" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    for field in fabricated.SIGNATURE.inputs:
        assert f"<td>{field.name}</td>" in page
    assert not re.search(r"(src|href)=.?(https?:)?//", page), "the page must not reach for anything outside"
    assert "prefers-color-scheme: dark" in page


def test_requirements_are_exact_installed_and_only_of_the_serving_side(package: Path) -> None:
    lines = (package / "requirements.txt").read_text().split()
    pins = dict(line.split("==") for line in lines)
    assert set(SERVING_DISTRIBUTIONS) <= pins.keys()
    assert not pins.keys() & {"dagster", "pandas", "scikit-learn", "mlflow", "xgboost-cpu", "filelock", "duckdb"}
    assert len(pins) < 20
    for name, pinned in pins.items():
        assert version(name) == pinned


def test_the_dockerfile_copies_what_is_there_and_keeps_the_contract(package: Path) -> None:
    text = (package / "Dockerfile").read_text()
    for source in re.findall(r"^COPY (?!--from)(\S+) ", text, flags=re.M):
        assert (package / source).exists(), source
    assert text.count("\nFROM ") == 2
    assert "USER 10001" in text
    assert "EXPOSE 8080" in text
    (command,) = re.findall(r"^ENTRYPOINT (.*)$", text, flags=re.M)
    entry = ast.literal_eval(command)
    assert entry[1:] == ["-m", "mlops_assets.serving", "--package", "/opt/ml/model", "--host", "0.0.0.0", "--port", "8080"]
    assert "HEALTHCHECK" in text


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda folder: (folder / "model.onnx").write_bytes(b"junk"), "cannot be loaded"),
        (
            lambda folder: (folder / "model.onnx").write_bytes(fabricated.regressor()),
            "graph's inputs are not those of the signature",
        ),
        (lambda folder: (folder / "model.onnx").write_bytes(fabricated.classifier(1.2)), "differs from the native model by"),
        (lambda folder: (folder / "model.onnx").write_bytes(fabricated.classifier(-50.0)), "another label"),
        (lambda folder: (folder / "examples.json").write_text('{"rows": []}'), "no examples"),
        (
            lambda folder: (folder / "examples.json").write_text('{"rows": [{"年齢": "x"}]}', encoding="utf-8"),
            "cannot be predicted",
        ),
        (lambda folder: (folder / "signature.json").write_text("{}"), "not a model package"),
        (lambda folder: (folder / "openapi.json").unlink(), "not a model package"),
    ],
)
def test_a_package_consistent_in_itself_but_wrong_is_not_loaded(package: Path, tmp_path: Path, spoil, text: str) -> None:  # type: ignore[no-untyped-def]
    folder = Path(shutil.copytree(package, tmp_path / "spoiled"))
    spoil(folder)
    fabricated.resealed(folder)
    with pytest.raises(IntegrityError, match=text):
        LoadedModel(folder)


def test_an_added_file_or_a_missing_manifest_is_not_loaded(package: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(package, tmp_path / "copy"))
    (folder / "extra.py").write_text("")
    with pytest.raises(IntegrityError, match=r"extra\.py"):
        LoadedModel(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(IntegrityError, match="not a complete package"):
        LoadedModel(folder)
