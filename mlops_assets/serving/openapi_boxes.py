"""The part of a detector's OpenAPI document that says what its images or clouds and its boxes are; the rest is in ``openapi``."""

from __future__ import annotations

from typing import Any, Final

from mlops_assets.serving.limits import MAX_FRAME_BODY_BYTES, MAX_FRAMES, MAX_IMAGE_PIXELS, MAX_POINTS, MAX_WAITING
from mlops_assets.serving.package import Examples, ModelMetadata, input_kind
from mlops_assets.tasks.interface import Signature

#: A grey PNG of 2 x 2 pixels: a real image would be a megabyte of the document.
_SMALL_PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGNsaGhgYGBgYmBgYGBgAAASKgGEzwCOrgAAAABJRU5ErkJggg=="
_FRAME: Final = {
    "image": "base64 of a PNG or JPEG file",
    "points": "base64 of float32 little-endian x, y, z [m] and reflectance of every point (a KITTI .bin file), LiDAR frame: "
    "x forward, y left, z up; or a list of [x, y, z, reflectance]",
}


def invocations(signature: Signature, metadata: ModelMetadata, examples: Examples, refused: dict[str, Any]) -> dict[str, Any]:
    """The operation ``POST /invocations``; ``refused`` is the content of every refusal."""
    kind = input_kind(signature)
    field = signature.inputs[0].name
    row = {field: _SMALL_PNG if kind == "image" else [[12.5, -1.25, -0.75, 0.25], [12.5, -1.25, -0.5, 0.25]]}
    binary = {"schema": {"type": "string", "format": "binary"}}
    bare = {"image/png": binary, "image/jpeg": binary} if kind == "image" else {"application/octet-stream": binary}
    what = "image" if kind == "image" else "cloud"

    def refusal(text: str) -> dict[str, Any]:
        return {**refused, "description": text}

    size = f"{MAX_IMAGE_PIXELS:,} pixels" if kind == "image" else f"{MAX_POINTS:,} points"
    return {
        "operationId": "predict",
        "summary": f"Find {', '.join(signature.classes)} in one {what} or several",
        "description": f"At most {MAX_FRAME_BODY_BYTES // 2**20} MiB in a body, {size} per {what}, {MAX_FRAMES} {what}s in all.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [{"$ref": "#/components/schemas/Rows"}, {"$ref": "#/components/schemas/Row"}]},
                    "examples": {"rows": {"value": {"rows": [row]}}, "one_row": {"value": row}},
                },
                **bare,
            },
        },
        "responses": {
            "200": {
                "description": f"The boxes of each {what}, the surest first, in the order of the rows",
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/Predictions"},
                        "example": {"predictions": [{"boxes": _example(examples)}], "model_version": metadata.version},
                    }
                },
            },
            "400": refusal("The body is not JSON; the position is told"),
            "413": refusal(f"The body is over its size limit, holds more than {MAX_FRAMES} {what}s, or a {what} has over {size}"),
            "415": refusal(f"Another content type than application/json, {', '.join(bare)}"),
            "422": refusal(f"A {what} is damaged, empty or of another format; the problem names field and row"),
            "500": refusal("The model failed on a valid request"),
            "503": refusal(f"No model is loaded, or {MAX_WAITING} requests are waiting already"),
        },
    }


def _example(examples: Examples) -> list[dict[str, Any]]:
    """The surest boxes of an example frame; what an answer looks like, not what the example request gets."""
    return next(([dict(box) for box in boxes[:2]] for boxes in examples.boxes if boxes), [])


def schemas(signature: Signature, metadata: ModelMetadata) -> dict[str, Any]:
    """The schemas of a frame, several frames, and their boxes."""
    kind = input_kind(signature)
    field = signature.inputs[0].name
    row: dict[str, Any] = {"type": "string", "contentEncoding": "base64"}
    if kind == "points":
        point = {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}}
        row = {"oneOf": [row, {"type": "array", "minItems": 1, "maxItems": MAX_POINTS, "items": point}]}
    row |= {"x-kind": kind, "description": _FRAME[kind]}
    box = {"class": {"type": "string", "enum": list(signature.classes)}, "score": {"type": "number", "minimum": 0, "maximum": 1}}
    box |= _image_box() if kind == "image" else _space_box()
    return {
        "Row": {"type": "object", "additionalProperties": False, "required": [field], "properties": {field: row}},
        "Rows": {
            "type": "object",
            "additionalProperties": False,
            "required": ["rows"],
            "properties": {
                "rows": {"type": "array", "minItems": 1, "maxItems": MAX_FRAMES, "items": {"$ref": "#/components/schemas/Row"}}
            },
        },
        "Box": {"type": "object", "required": list(box), "properties": box},
        "Prediction": {
            "type": "object",
            "required": ["boxes"],
            "properties": {"boxes": {"type": "array", "items": {"$ref": "#/components/schemas/Box"}}},
        },
        "Predictions": {
            "type": "object",
            "required": ["predictions", "model_version"],
            "properties": {
                "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}},
                "model_version": {"type": "string", "examples": [metadata.version]},
            },
        },
    }


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
