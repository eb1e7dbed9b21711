"""Detector packages: what they hold, and that their graphs are held to the native model's boxes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from mlops_assets.errors import IntegrityError
from mlops_assets.serving import example_boxes
from mlops_assets.serving.documentation import documentation_page
from mlops_assets.serving.model import LoadedModel
from mlops_assets.serving.package import Examples, graph_names, verify
from mlops_assets.serving.packaging import build_package
from mlops_assets.tasks.detection.overlap import axis_aligned_iou

sys.path.insert(0, str(Path(__file__).parent))
import fabricated
import fabricated_detectors as detectors


def image_model(export: Path, out: Path) -> LoadedModel:
    build_package(export, detectors.metadata("street", "v1.0.0", "detection_2d"), out)
    return LoadedModel(out)


@pytest.mark.parametrize("which", ["street", "scan"])
def test_the_package_is_complete_and_describes_itself(which: str, request: pytest.FixtureRequest) -> None:
    package: Path = request.getfixturevalue(which)
    verify(package)
    assert graph_names(package) == graph_names(package.with_name("package-export"))
    document = json.loads((package / "openapi.json").read_text(encoding="utf-8"))
    OpenAPIV31SpecValidator(document).validate()
    assert len(json.dumps(document)) < 20_000, "frames do not belong into the document"
    schemas = json.loads(json.dumps(document["components"]["schemas"]).replace("#/components/schemas/", "#/$defs/"))
    answered = Draft202012Validator({"$ref": "#/$defs/Predictions", "$defs": schemas})
    content = document["paths"]["/invocations"]["post"]["requestBody"]["content"]
    model = LoadedModel(package)
    assert tuple(content) == model.reader.media_types
    for example in content["application/json"]["examples"].values():
        answered.validate(json.loads(model.answer("application/json", json.dumps(example["value"]).encode()).body))
    response = document["paths"]["/invocations"]["post"]["responses"]["200"]["content"]["application/json"]["example"]
    answered.validate(response)
    assert response["predictions"][0]["boxes"]
    page = documentation_page(document)
    assert 'type="file"' in page
    assert "$" not in page.replace("${", "").replace("$(base64", "")


def test_a_class_that_is_markup_runs_nowhere(tmp_path: Path) -> None:
    export = detectors.image_export(tmp_path / "export")
    evil = "<script>alert(1)</script>"
    boxes_ = [{**box, "class": evil if box["class"] == "Car" else box["class"]} for box in detectors.image_boxes(128)]
    detectors.changed(export, "signature.json", classes=[evil, "Pedestrian"])
    detectors.changed(export, "examples.json", boxes=[boxes_])
    page = image_model(export, tmp_path / "package").documentation.decode()
    assert page.count("<script>") == 1
    assert "&lt;script&gt;" in page


CAR, PEDESTRIAN = sorted(detectors.image_boxes(128), key=lambda box: str(box["class"]))


@pytest.mark.parametrize(
    ("native", "told"),
    [
        ([PEDESTRIAN, {**CAR, "box": [16.0, 32.0, 80.0, 66.0]}], "2 have no counterpart"),
        ([PEDESTRIAN, {**CAR, "score": 0.6}], "native model found Car"),
        ([PEDESTRIAN, {**CAR, "class": "Pedestrian"}], "native model found Pedestrian"),
        ([PEDESTRIAN], "graph found Car"),
        ([PEDESTRIAN, CAR, {**CAR, "box": [160.0, 32.0, 200.0, 64.0]}], "the graph did not"),
        ([{"class": "Car", "score": 0.5}], "are not boxes"),
    ],
)
def test_a_graph_that_finds_something_else_is_not_loaded(tmp_path: Path, native: list[dict[str, Any]], told: str) -> None:
    export = detectors.image_export(tmp_path / "export", boxes=native)
    with pytest.raises(IntegrityError, match=told):
        image_model(export, tmp_path / "package")


def test_a_difference_within_tolerance_and_a_score_at_the_threshold_are_accepted(tmp_path: Path) -> None:
    near = {**CAR, "score": CAR["score"] + 5e-4, "box": [side + 0.3 for side in CAR["box"]]}
    doubtful = {"class": "Car", "score": 0.3005, "box": [160.0, 32.0, 200.0, 64.0]}
    export = detectors.image_export(tmp_path / "export", boxes=[PEDESTRIAN, near, doubtful])
    assert image_model(export, tmp_path / "package").version == "v1.0.0"


#: Twelve cars side by side; and of the last one the neighbour that suppression would have left of two equally sure ones.
ROW: list[dict[str, Any]] = [
    {"class": "Car", "score": 0.9 - n / 50, "box": [100.0 * n, 0.0, 100.0 * n + 60, 40.0]} for n in range(12)
]
RIVAL = {**ROW[-1], "score": ROW[-1]["score"] + 1e-4, "box": [1104.0, 0.0, 1164.0, 40.0]}


def held(native: list[dict[str, Any]], own: list[dict[str, Any]], limit: int = 100) -> None:
    example_boxes.hold_to_examples(
        Examples(rows=({"image": ""},), boxes=(tuple(native),)),
        lambda row, number: own,
        example_boxes.Comparison(
            numbers=lambda box: list(box["box"]),
            tolerances=lambda boxes: np.full(boxes.shape, 0.5),
            overlap=axis_aligned_iou,
            score_threshold=0.3,
            overlap_threshold=0.5,
            limit=limit,
            within_class=True,
        ),
    )


def test_only_few_differences_may_hang_on_a_hair() -> None:
    held(ROW, [*ROW[:-1], RIVAL])
    held([*ROW[:-1], RIVAL], ROW)
    held(ROW, [*ROW[:-1], {**ROW[-1], "box": [1300.0, 0.0, 1360.0, 40.0]}], limit=12)
    with pytest.raises(IntegrityError, match="the graph did not"):
        held(ROW, [*ROW[:-1], {**RIVAL, "class": "Pedestrian"}])
    with pytest.raises(IntegrityError, match="the graph did not"):
        held(ROW, [*ROW[:-1], {**RIVAL, "score": 0.4}])
    moved = [{**box, "box": [box["box"][0] + 4, 0.0, box["box"][2] + 4, 40.0]} for box in ROW]
    with pytest.raises(IntegrityError, match="24 have no counterpart"):
        held(ROW, moved)
    held([], [])
    with pytest.raises(IntegrityError, match="the native model did not"):
        held([], ROW)


SMALLER = {"input_size": [32, 32], "score_threshold": 0.3, "nms_threshold": 0.5, "max_detections": 9}


@pytest.mark.parametrize(
    ("which", "spoil", "told"),
    [
        ("scan", lambda folder: (folder / "pillars.onnx").unlink(), r"no pillars\.onnx"),
        ("scan", lambda folder: (folder / "pillars.onnx").write_bytes(b"junk"), "cannot be loaded"),
        ("scan", lambda folder: (folder / "model.onnx").write_bytes(detectors.canvas_graph(0.5)), "native model found Car"),
        ("scan", lambda folder: detectors.changed(folder, "signature.json", settings={}), "not those of a detector of clouds"),
        ("scan", lambda folder: detectors.changed(folder, "signature.json", classes=["Van"]), "the signature says"),
        ("scan", lambda folder: detectors.changed(folder, "examples.json", boxes=[]), "0 native predictions"),
        ("street", lambda folder: detectors.changed(folder, "signature.json", settings={}), "not those of a detector of images"),
        ("street", lambda folder: detectors.changed(folder, "signature.json", classes=["Car"]), "signature says"),
        ("street", lambda folder: detectors.changed(folder, "signature.json", settings=SMALLER), "signature says"),
        ("street", lambda folder: detectors.changed(folder, "examples.json", rows=[{"picture": ""}]), "cannot be predicted"),
    ],
)
def test_a_wrong_package_is_not_loaded(which: str, spoil: Any, told: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = Path(shutil.copytree(request.getfixturevalue(which), tmp_path / "spoiled"))
    spoil(folder)
    fabricated.resealed(folder)
    with pytest.raises(IntegrityError, match=told):
        LoadedModel(folder)
