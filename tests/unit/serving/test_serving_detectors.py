"""Detectors in memory: what they answer to images and clouds, and what they refuse."""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mlops_assets.serving import clouds, images
from mlops_assets.serving.limits import MAX_FRAMES, MAX_IMAGE_PIXELS, MAX_JPEG_SCANS, MAX_POINTS
from mlops_assets.serving.model import LoadedModel
from mlops_assets.serving.refusal import InputRefused

sys.path.insert(0, str(Path(__file__).parent))
import fabricated_detectors as detectors


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


def many_scans(scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: a few bytes each, and each a pass over the whole image."""
    content = detectors.encoded(picture_of("RGB"), "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * (scans - content.count(b"\xff\xda")) + content[-2:]


PNG = detectors.png(detectors.street(1))
JPEG = detectors.encoded(Image.fromarray(detectors.street(1)), "JPEG")
GIF = detectors.encoded(picture_of("P"), "GIF")


NOT_A_NUMBER = detectors.cloud((6.0, 2.0))
NOT_A_NUMBER[1, 2] = np.nan
JSON, BARE = "application/json", "a file of its own"
BARE_TYPES = {"eye": "image/png", "lidar": "application/octet-stream"}


@pytest.mark.parametrize(
    ("reader", "sent", "body", "status", "code", "told"),
    [
        ("eye", BARE, b"", 422, "empty", "empty"),
        ("eye", BARE, PNG[: len(PNG) // 2], 422, "image", "damaged"),
        ("eye", BARE, JPEG[: len(JPEG) // 2], 422, "image", "damaged"),
        ("eye", BARE, many_scans(MAX_JPEG_SCANS + 1), 422, "too_many_scans", "101 scans"),
        ("eye", BARE, b"hello", 422, "image", "neither PNG nor JPEG"),
        ("eye", BARE, GIF, 422, "image", "neither PNG nor JPEG"),
        ("eye", BARE, huge_png(), 413, "too_many_pixels", "pixels"),
        ("eye", BARE, detectors.png(detectors.picture(1, (4097, 4096))), 413, "too_many_pixels", "16,781,312"),
        ("eye", JSON, b"{", 400, "json", "not JSON"),
        ("eye", JSON, b'{"image": NaN}', 400, "json", "strict"),
        ("eye", JSON, b"[]", 422, "shape", "array"),
        ("eye", JSON, b'{"rows": []}', 422, "empty", "0 rows"),
        ("eye", JSON, b'{"rows": [3]}', 422, "shape", "not an object"),
        ("eye", JSON, b'{"rows": [{}]}', 422, "required", "no 'image'"),
        ("eye", JSON, b'{"img": "AAAA"}', 422, "unknown_field", "did you mean 'image'"),
        ("eye", JSON, b'{"image": 3}', 422, "type", "not a string"),
        ("eye", JSON, b'{"image": "data:image/png;base64,AAAA"}', 422, "base64", "up to the comma"),
        ("eye", JSON, b'{"image": ""}', 422, "empty", "is empty"),
        ("eye", JSON, rows_of("image", "AAAA", "A"), 422, "image", "row 0"),
        ("eye", JSON, rows_of("image", *["AAAA"] * (MAX_FRAMES + 1)), 413, "too_many_rows", "17 rows"),
        ("lidar", BARE, b"", 422, "empty", "empty"),
        ("lidar", BARE, bytes(4 * 7), 422, "cloud", "28 bytes"),
        ("lidar", BARE, NOT_A_NUMBER.tobytes(), 422, "not_finite", "z of point 1"),
        ("lidar", BARE, bytes(16 * (MAX_POINTS + 1)), 413, "too_many_points", "1,000,001"),
        ("eye", JSON, b'{"rows": [' + b'{"a": 1}, ' * 2000 + b"{}]}", 413, "too_many_rows", "more than 1,000 objects"),
        ("lidar", JSON, b'{"points": []}', 422, "empty", "no points"),
        ("lidar", JSON, b'{"points": [[1, 2, 3]]}', 422, "cloud", "length 4"),
        ("lidar", JSON, b'{"points": [[1, 2, 3, "4"]]}', 422, "cloud", "[0][3]"),
        ("lidar", JSON, b'{"points": [[1, 2, 3, 1e39]]}', 422, "not_finite", "reflectance of point 0"),
        ("lidar", JSON, b'{"points": {"x": 1}}', 422, "type", "no cloud"),
        ("lidar", JSON, b'{"points": "AA=="}', 422, "cloud", "1 bytes"),
        ("lidar", JSON, b'{"point": "AA=="}', 422, "unknown_field", "did you mean 'points'"),
    ],
)
def test_what_is_no_frame_is_refused_by_name(
    reader: str, sent: str, body: bytes, status: int, code: str, told: str, request: pytest.FixtureRequest
) -> None:
    model: LoadedModel = request.getfixturevalue(reader)
    answered, found = problem(model, BARE_TYPES[reader] if sent == BARE else JSON, body)
    assert (answered, found.code) == (status, code)
    assert told in found.message
    assert found.allowed
    if code == "too_many_pixels":
        assert f"{MAX_IMAGE_PIXELS:,}" in found.allowed


def test_as_many_scans_as_are_decoded_give_the_picture() -> None:
    pixels = images.decode_image(many_scans(MAX_JPEG_SCANS), 0, "image")
    assert np.abs(pixels.astype(int) - 120).max() <= 3


def test_a_far_too_large_image_is_told_the_limit_of_this_server_only(eye: LoadedModel) -> None:
    found = problem(eye, "image/png", huge_png())[1]
    assert not re.search("[0-9]{6}", found.message), "Pillow names another limit"


def test_too_long_a_list_is_refused_before_its_points_are_numbers(lidar: LoadedModel) -> None:
    body = json.dumps({"points": [["not", "a", "point"]] * (MAX_POINTS + 1)}).encode()
    assert problem(lidar, JSON, body)[1].code == "too_many_points"


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


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_cloud_or_refused(content: bytes) -> None:
    try:
        points = clouds.decode_cloud(content, 0, "points")
        assert points.shape == (len(content) // 16, 4)
        assert np.isfinite(points).all()
    except InputRefused as refusal:
        assert refusal.status == 422
