"""Detector packages: what they hold, what they refuse, and that their graphs are held to the native model's boxes."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from PIL import Image

from mlops_assets.errors import IntegrityError
from mlops_assets.serving import clouds, example_boxes, images
from mlops_assets.serving.documentation import documentation_page
from mlops_assets.serving.limits import MAX_FRAMES, MAX_IMAGE_PIXELS, MAX_POINTS
from mlops_assets.serving.model import LoadedModel
from mlops_assets.serving.package import Examples, graph_names, verify
from mlops_assets.serving.packaging import build_package
from mlops_assets.serving.refusal import InputRefused
from mlops_assets.tasks.detection.overlap import axis_aligned_iou

sys.path.insert(0, str(Path(__file__).parent))
import fabricated
import fabricated_detectors as detectors


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return detectors.image_package(tmp_path_factory.mktemp("image") / "package")


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return detectors.cloud_package(tmp_path_factory.mktemp("cloud") / "package")


@pytest.fixture(scope="module")
def eye(street: Path) -> LoadedModel:
    return LoadedModel(street)


@pytest.fixture(scope="module")
def lidar(scan: Path) -> LoadedModel:
    return LoadedModel(scan)


def boxes(model: LoadedModel, media_type: str, body: bytes) -> Any:
    return json.loads(model.answer(media_type, body).body)["predictions"]


def problem(model: LoadedModel, media_type: str, body: bytes) -> tuple[int, Any]:
    with pytest.raises(InputRefused) as caught:
        model.answer(media_type, body)
    return caught.value.status, caught.value.problems[0]


def rows_of(field: str, *values: Any) -> bytes:
    return json.dumps({"rows": [{field: value} for value in values]}).encode()


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.parametrize(("size", "ratio"), [((128, 256), 0.5), ((64, 128), 1.0), ((256, 512), 0.25)])
def test_boxes_are_in_pixels_of_the_image_as_sent(eye: LoadedModel, size: tuple[int, int], ratio: float) -> None:
    (found,) = boxes(eye, "image/png", detectors.png(detectors.picture(200, size)))
    wanted = detectors.image_boxes(200, ratio=ratio)
    assert [box["class"] for box in found["boxes"]] == [box["class"] for box in wanted] == ["Car", "Pedestrian"]
    for box, expected in zip(found["boxes"], wanted, strict=True):
        assert box["box"] == pytest.approx(expected["box"])
        assert box["score"] == pytest.approx(expected["score"], abs=1e-4)


def test_boxes_end_at_the_borders_of_the_image(eye: LoadedModel) -> None:
    (found,) = boxes(eye, "image/png", detectors.png(detectors.picture(255, (20, 128))))
    assert [box["box"] for box in found["boxes"] if box["class"] == "Car"] == [[8.0, 16.0, 40.0, 20.0]]


def test_several_images_are_answered_in_their_order(eye: LoadedModel) -> None:
    rows = [base64_of(detectors.png(detectors.picture(level))) for level in (250, 10)]
    first, second = boxes(eye, "application/json", rows_of("image", *rows))
    assert [len(one["boxes"]) for one in (first, second)] == [2, 1]
    one = json.dumps({"image": rows[0]}).encode()
    assert boxes(eye, "application/json", one) == [first]


def picture_of(mode: str) -> Image.Image:
    return Image.fromarray(detectors.picture(120)).convert(mode)


SIXTEEN_BITS = Image.fromarray(np.full((128, 256), 120 * 256 + 17, np.uint16))
TURNED = Image.Exif()
TURNED[0x0112] = 6


@pytest.mark.parametrize(
    ("content", "level"),
    [
        (detectors.encoded(picture_of("RGB"), "JPEG", quality=95), 120),
        (detectors.encoded(picture_of("L"), "JPEG", quality=95), 120),
        (detectors.encoded(picture_of("CMYK"), "JPEG", quality=95), 120),
        (detectors.encoded(picture_of("RGB"), "JPEG", progressive=True), 120),
        (detectors.encoded(picture_of("RGB"), "JPEG", exif=TURNED), 120),
        (detectors.encoded(picture_of("RGBA"), "PNG"), 120),
        (detectors.encoded(picture_of("LA"), "PNG"), 120),
        (detectors.encoded(picture_of("P"), "PNG"), None),
        (detectors.encoded(picture_of("L"), "PNG"), 120),
        (detectors.encoded(picture_of("1"), "PNG"), None),
        (detectors.encoded(SIXTEEN_BITS, "PNG"), 120),
    ],
)
def test_every_kind_of_png_and_jpeg_is_seen_as_rgb_as_it_is_stored(content: bytes, level: int | None) -> None:
    pixels = images.decode_image(content, 0, "image")
    assert (pixels.shape, pixels.dtype) == ((128, 256, 3), np.uint8)
    if level is not None:
        assert np.abs(pixels.astype(int) - level).max() <= 3


def test_an_image_of_one_pixel_is_answered(eye: LoadedModel) -> None:
    (found,) = boxes(eye, "image/png", detectors.png(detectors.picture(255, (1, 1))))
    assert all(0 <= side <= 1 for box in found["boxes"] for side in box["box"])


def huge_png() -> bytes:
    """A file of a few bytes that says it is 60,000 x 60,000 pixels."""
    import struct
    import zlib

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    data = zlib.compress(b"\0" * 1000)
    chunk += struct.pack(">I", len(data)) + b"IDAT" + data + struct.pack(">I", zlib.crc32(b"IDAT" + data))
    return b"\x89PNG\r\n\x1a\n" + chunk


PNG = detectors.png(detectors.street(1))
GIF = detectors.encoded(picture_of("P"), "GIF")


@pytest.mark.parametrize(
    ("media_type", "body", "status", "code", "told"),
    [
        ("image/png", b"", 422, "empty", "empty"),
        ("image/png", PNG[: len(PNG) // 2], 422, "image", "damaged"),
        ("image/png", b"hello", 422, "image", "neither PNG nor JPEG"),
        ("image/png", GIF, 422, "image", "neither PNG nor JPEG"),
        ("image/png", huge_png(), 413, "too_many_pixels", "pixels"),
        ("image/png", detectors.png(detectors.picture(1, (4097, 4096))), 413, "too_many_pixels", "16,781,312"),
        ("application/json", b"{", 400, "json", "not JSON"),
        ("application/json", b'{"image": NaN}', 400, "json", "strict"),
        ("application/json", b"[]", 422, "shape", "array"),
        ("application/json", b'{"rows": []}', 422, "empty", "0 rows"),
        ("application/json", b'{"rows": [3]}', 422, "shape", "not an object"),
        ("application/json", b'{"rows": [{}]}', 422, "required", "no 'image'"),
        ("application/json", b'{"img": "AAAA"}', 422, "unknown_field", "did you mean 'image'"),
        ("application/json", b'{"image": 3}', 422, "type", "not a string"),
        ("application/json", b'{"image": "data:image/png;base64,AAAA"}', 422, "base64", "up to the comma"),
        ("application/json", b'{"image": ""}', 422, "empty", "is empty"),
        ("application/json", rows_of("image", "AAAA", "A"), 422, "image", "row 0"),
        ("application/json", rows_of("image", *["AAAA"] * (MAX_FRAMES + 1)), 413, "too_many_rows", "17 rows"),
    ],
)
def test_what_is_no_image_is_refused_by_name(
    eye: LoadedModel, media_type: str, body: bytes, status: int, code: str, told: str
) -> None:
    answered, found = problem(eye, media_type, body)
    assert (answered, found.code) == (status, code)
    assert told in found.message
    assert found.allowed
    if code == "too_many_pixels":
        assert f"{MAX_IMAGE_PIXELS:,}" in found.allowed


def test_the_refusal_says_which_format_it_was_given(eye: LoadedModel) -> None:
    assert "GIF" in problem(eye, "image/png", GIF)[1].given


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(PNG) - 1), st.binary(min_size=1, max_size=8), st.booleans())
def test_a_damaged_file_is_refused_or_read_but_never_a_failure_of_the_server(place: int, noise: bytes, as_jpeg: bool) -> None:
    content = bytearray(detectors.encoded(Image.fromarray(detectors.street(2)), "JPEG") if as_jpeg else PNG)
    place %= len(content)
    content[place : place + len(noise)] = noise
    try:
        assert images.decode_image(bytes(content), 0, "image").ndim == 3
    except InputRefused as refusal:
        assert refusal.status in (413, 422)


def test_a_cloud_is_answered_as_bytes_base64_and_a_list(lidar: LoadedModel) -> None:
    points = detectors.cloud((6.0, 2.0), (14.0, -6.5))
    (bare,) = boxes(lidar, "application/octet-stream", points.tobytes())
    assert sorted(box["center"][0] for box in bare["boxes"]) == [6.0, 14.0]
    found = sorted(bare["boxes"], key=lambda box: str(box["center"]), reverse=True)
    for box, wanted in zip(found, detectors.cloud_boxes((6, 2), (14, -6)), strict=True):
        assert (box["class"], box["center"], box["size"], box["yaw"]) == ("Car", wanted["center"], wanted["size"], 0.0)
        assert box["score"] == pytest.approx(wanted["score"], abs=1e-4)
    both = boxes(lidar, "application/json", rows_of("points", base64_of(points.tobytes()), points.tolist()))
    assert both == [bare, bare]


NOT_A_NUMBER = detectors.cloud((6.0, 2.0))
NOT_A_NUMBER[1, 2] = np.nan


@pytest.mark.parametrize(
    ("media_type", "body", "status", "code", "told"),
    [
        ("application/octet-stream", b"", 422, "empty", "empty"),
        ("application/octet-stream", bytes(4 * 7), 422, "cloud", "28 bytes"),
        ("application/octet-stream", NOT_A_NUMBER.tobytes(), 422, "not_finite", "z of point 1"),
        ("application/octet-stream", bytes(16 * (MAX_POINTS + 1)), 413, "too_many_points", "1,000,001"),
        ("application/json", b'{"points": []}', 422, "empty", "no points"),
        ("application/json", b'{"points": [[1, 2, 3]]}', 422, "cloud", "length 4"),
        ("application/json", b'{"points": [[1, 2, 3, "4"]]}', 422, "cloud", "[0][3]"),
        ("application/json", b'{"points": [[1, 2, 3, 1e39]]}', 422, "not_finite", "reflectance of point 0"),
        ("application/json", b'{"points": {"x": 1}}', 422, "type", "no cloud"),
        ("application/json", b'{"points": "AA=="}', 422, "cloud", "1 bytes"),
        ("application/json", b'{"point": "AA=="}', 422, "unknown_field", "did you mean 'points'"),
    ],
)
def test_what_is_no_cloud_is_refused_by_name(
    lidar: LoadedModel, media_type: str, body: bytes, status: int, code: str, told: str
) -> None:
    answered, found = problem(lidar, media_type, body)
    assert (answered, found.code) == (status, code)
    assert told in found.message
    assert found.allowed


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_cloud_or_refused(content: bytes) -> None:
    try:
        points = clouds.decode_cloud(content, 0, "points")
        assert points.shape == (len(content) // 16, 4)
        assert np.isfinite(points).all()
    except InputRefused as refusal:
        assert refusal.status == 422


@pytest.mark.parametrize("which", ["street", "scan"])
def test_the_package_is_complete_and_describes_itself(which: str, request: pytest.FixtureRequest) -> None:
    package: Path = request.getfixturevalue(which)
    verify(package)
    assert graph_names(package) == graph_names(package.with_name("package-export"))
    document = json.loads((package / "openapi.json").read_text(encoding="utf-8"))
    OpenAPIV31SpecValidator(document).validate()
    assert len(json.dumps(document)) < 20_000, "frames do not belong into the document"
    from jsonschema import Draft202012Validator

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
    build_package(export, detectors.metadata("street", "v1.0.0", "detection_2d"), tmp_path / "package")
    page = LoadedModel(tmp_path / "package").documentation.decode()
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
    build_package(export, detectors.metadata("street", "v1.0.0", "detection_2d"), tmp_path / "package")
    with pytest.raises(IntegrityError, match=told):
        LoadedModel(tmp_path / "package")


def test_a_difference_within_tolerance_and_a_score_at_the_threshold_are_accepted(tmp_path: Path) -> None:
    near = {**CAR, "score": CAR["score"] + 5e-4, "box": [side + 0.3 for side in CAR["box"]]}
    doubtful = {"class": "Car", "score": 0.3005, "box": [160.0, 32.0, 200.0, 64.0]}
    export = detectors.image_export(tmp_path / "export", boxes=[PEDESTRIAN, near, doubtful])
    build_package(export, detectors.metadata("street", "v1.0.0", "detection_2d"), tmp_path / "package")
    assert LoadedModel(tmp_path / "package").version == "v1.0.0"


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


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "pillars.onnx").unlink(), r"no pillars\.onnx"),
        (lambda folder: (folder / "pillars.onnx").write_bytes(b"junk"), "cannot be loaded"),
        (lambda folder: (folder / "model.onnx").write_bytes(detectors.canvas_graph(0.5)), "native model found Car"),
        (lambda folder: detectors.changed(folder, "signature.json", settings={}), "not those of a detector of clouds"),
        (lambda folder: detectors.changed(folder, "signature.json", classes=["Van"]), "the signature says"),
        (lambda folder: detectors.changed(folder, "examples.json", boxes=[]), "0 native predictions"),
    ],
)
def test_a_wrong_cloud_package_is_not_loaded(scan: Path, tmp_path: Path, spoil: Any, told: str) -> None:
    folder = Path(shutil.copytree(scan, tmp_path / "spoiled"))
    spoil(folder)
    fabricated.resealed(folder)
    with pytest.raises(IntegrityError, match=told):
        LoadedModel(folder)


def test_a_graph_of_another_size_or_other_classes_is_not_loaded(street: Path, tmp_path: Path) -> None:
    smaller = {"input_size": [32, 32], "score_threshold": 0.3, "nms_threshold": 0.5, "max_detections": 9}
    for number, change in enumerate(({"classes": ["Car"]}, {"settings": smaller})):
        folder = Path(shutil.copytree(street, tmp_path / str(number)))
        detectors.changed(folder, "signature.json", **change)
        fabricated.resealed(folder)
        with pytest.raises(IntegrityError, match="signature says"):
            LoadedModel(folder)


_ALONE = """
import runpy, sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
listed, server = set(sys.argv.pop(1).split(",")), sys.argv.pop(1)
class OnlyListed:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top == "mlops_assets" or top.startswith("_sysconfigdata") or top in sys.stdlib_module_names or top in listed:
            return PathFinder.find_spec(name, path, target)
        return None
# Alone: an installed checkout would lend its modules through a finder of its own.
sys.meta_path[:] = [BuiltinImporter, FrozenImporter, OnlyListed()]
import mlops_assets
assert mlops_assets.__file__.startswith(server), mlops_assets.__file__
runpy.run_module("mlops_assets.serving", run_name="__main__", alter_sys=True)
"""


@pytest.mark.service
@pytest.mark.parametrize("which", ["street", "scan"])
def test_the_packaged_server_detects_with_its_own_code_and_only_what_requirements_list(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    package: Path = request.getfixturevalue(which)
    pins = {line.partition("==")[0] for line in (package / "requirements.txt").read_text().split()}
    assert ("pillow" in pins) == (which == "street")
    assert not pins & {"torch", "numba", "onnx", "matplotlib", "faster-coco-eval"}
    modules = [name for name, owners in packages_distributions().items() if {o.lower().replace("_", "-") for o in owners} & pins]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = shutil.copytree(package / "server", tmp_path / "server")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-c", _ALONE, ",".join(modules), str(server), "--package", str(package), "--port", str(port)]
    with (tmp_path / "log").open("wb") as output:
        environment = {**inherited, "PYTHONPATH": str(server)}
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
    kind, body = (
        ("image/png", detectors.png(detectors.picture(128)))
        if which == "street"
        else ("application/octet-stream", detectors.cloud((6.0, 2.0)).tobytes())
    )
    try:
        deadline = time.monotonic() + 15
        while True:
            try:
                asked = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", data=body, headers={"content-type": kind})
                with urllib.request.urlopen(asked, timeout=5) as reply:
                    assert json.load(io.BytesIO(reply.read()))["predictions"][0]["boxes"]
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0, (tmp_path / "log").read_text()
