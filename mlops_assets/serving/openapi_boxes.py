"""The part of a detector's OpenAPI document that says what its images or clouds and its boxes are; the rest is in ``openapi``."""

from __future__ import annotations

from typing import Any, Final

from mlops_assets.serving.limits import BODY_SECONDS, MAX_FRAME_BODY_BYTES, MAX_FRAMES, MAX_IMAGE_PIXELS, MAX_POINTS, MAX_WAITING
from mlops_assets.serving.openapi_invocations import Invocations
from mlops_assets.serving.package import Examples, InputKind, input_kind
from mlops_assets.tasks.interface import Signature

#: A grey PNG of 2 x 2 pixels: a real image would be a megabyte of the document.
_SMALL_PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGNsaGhgYGBgYmBgYGBgAAASKgGEzwCOrgAAAABJRU5ErkJggg=="
_FRAME: Final = {
    "image": "base64 of a PNG or JPEG file",
    "points": "base64 of float32 little-endian x, y, z [m] and reflectance of every point (a KITTI .bin file), LiDAR frame: "
    "x forward, y left, z up; or a list of [x, y, z, reflectance]",
}


def invocations(signature: Signature, examples: Examples) -> Invocations:
    """What a detector's images or clouds and its boxes are."""
    kind = input_kind(signature)
    field = signature.inputs[0].name
    row = {field: _SMALL_PNG if kind == "image" else [[12.5, -1.25, -0.75, 0.25], [12.5, -1.25, -0.5, 0.25]]}
    binary = {"schema": {"type": "string", "format": "binary"}}
    bare = {"image/png": binary, "image/jpeg": binary} if kind == "image" else {"application/octet-stream": binary}
    what = "image" if kind == "image" else "cloud"
    size = f"{MAX_IMAGE_PIXELS:,} pixels" if kind == "image" else f"{MAX_POINTS:,} points"
    box = {"class": {"type": "string", "enum": list(signature.classes)}, "score": {"type": "number", "minimum": 0, "maximum": 1}}
    box |= _image_box() if kind == "image" else _space_box()
    return Invocations(
        summary=f"Find {', '.join(signature.classes)} in one {what} or several",
        description=f"At most {MAX_FRAME_BODY_BYTES // 2**20} MiB in a body, {size} per {what}, {MAX_FRAMES} {what}s in all.",
        row=row,
        row_schema={
            "type": "object",
            "additionalProperties": False,
            "required": [field],
            "properties": {field: _frame_schema(kind)},
        },
        most_rows=MAX_FRAMES,
        other_bodies=bare,
        answered=f"The boxes of each {what}, the surest first, in the order of the rows",
        prediction={"boxes": _example(examples)},
        prediction_schema={
            "type": "object",
            "required": ["boxes"],
            "properties": {"boxes": {"type": "array", "items": {"$ref": "#/components/schemas/Box"}}},
        },
        more_schemas={"Box": {"type": "object", "required": list(box), "properties": box}},
        refusals={
            400: "The body is not JSON; the position is told",
            408: f"The body did not arrive within {BODY_SECONDS:.0f} s",
            413: f"The body is over its size limit, holds more than {MAX_FRAMES} {what}s, or a {what} has over {size}",
            415: f"Another content type than application/json, {', '.join(bare)}",
            422: f"A {what} is damaged, empty or of another format; the problem names field and row",
            500: "The model failed on a valid request",
            503: f"No model is loaded, {MAX_WAITING} requests are waiting already, or they hold all the memory there is for them",
        },
    )


def _example(examples: Examples) -> list[dict[str, Any]]:
    """The surest boxes of an example frame; what an answer looks like, not what the example request gets."""
    return next(([dict(box) for box in boxes[:2]] for boxes in examples.boxes if boxes), [])


def _frame_schema(kind: InputKind) -> dict[str, Any]:
    frame: dict[str, Any] = {"type": "string", "contentEncoding": "base64"}
    if kind == "points":
        point = {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}}
        frame = {"oneOf": [frame, {"type": "array", "minItems": 1, "maxItems": MAX_POINTS, "items": point}]}
    return {**frame, "x-kind": kind, "description": _FRAME[kind]}


def _image_box() -> dict[str, Any]:
    text = "left, top, right, bottom in pixels of the image as it was sent; EXIF's turning is not applied"
    return {"box": {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}, "description": text}}


def _space_box() -> dict[str, Any]:
    three = {"type": "array", "minItems": 3, "maxItems": 3, "items": {"type": "number"}}
    return {
        "center": {**three, "description": "x, y, z [m] of the box's centre, LiDAR frame"},
        "size": {**three, "description": "length, width, height [m]"},
        "yaw": {"type": "number", "description": "heading [rad] about z, counter-clockwise from x"},
    }
