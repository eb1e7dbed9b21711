"""The OpenAPI 3.1 document of one packaged model, generated from its signature.

Describes what ``application`` answers; the page that shows it is in ``documentation``.
Source: https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from typing import Any

from mlops_assets.serving.limits import MAX_ROWS, MAX_STRING_CHARACTERS
from mlops_assets.serving.package import Examples, ModelMetadata
from mlops_assets.tasks.interface import InputField, Signature

_JSON_TYPES = {"number": ["number"], "string": ["string"], "timestamp": ["string", "number"]}


def openapi_document(signature: Signature, metadata: ModelMetadata, examples: Examples) -> dict[str, Any]:
    """The OpenAPI document as JSON-ready data; equal inputs give equal documents."""
    row = examples.rows[0] if examples.rows else {field.name: field.example for field in signature.inputs}
    refused = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}}
    unavailable = {**refused, "description": "No model is loaded"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": metadata.model_id,
            "version": metadata.version,
            "summary": f"{metadata.algorithm} {metadata.task_type} model that predicts `{signature.target}`",
            "description": _description(metadata),
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/invocations": {"post": _invocations(signature, metadata, examples, row, refused)},
            "/ping": {
                "get": {
                    "operationId": "ping",
                    "summary": "Healthy only while a model is loaded and verified",
                    "responses": {
                        "200": {
                            "description": "Healthy",
                            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Health"}}},
                        },
                        "503": unavailable,
                    },
                }
            },
            "/metrics": {
                "get": {
                    "operationId": "metrics",
                    "summary": "Prometheus metrics",
                    "responses": {
                        "200": {"description": "Text exposition", "content": {"text/plain": {"schema": {"type": "string"}}}}
                    },
                }
            },
        },
        "components": {"schemas": _schemas(signature, metadata)},
    }


def _description(metadata: ModelMetadata) -> str:
    measured = ", ".join(f"{name} {value:.4g}" for name, value in sorted(metadata.metrics.items()))
    return (
        f"Training `{metadata.training_id}` on data `{metadata.dataset_id}` version `{metadata.dataset_version}`, "
        f"code `{metadata.code_version}`." + (f" Test split: {measured}." if measured else "")
    )


def _invocations(
    signature: Signature, metadata: ModelMetadata, examples: Examples, row: dict[str, Any], refused: dict[str, Any]
) -> dict[str, Any]:
    def refusal(text: str) -> dict[str, Any]:
        return {**refused, "description": text}

    header = ",".join(_cell(field.name) for field in signature.inputs)
    cells = ",".join(_cell(row.get(field.name)) for field in signature.inputs)
    return {
        "operationId": "predict",
        "summary": f"Predict {signature.target} for one row or many",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [{"$ref": "#/components/schemas/Rows"}, {"$ref": "#/components/schemas/Row"}]},
                    "examples": {"rows": {"value": {"rows": [row]}}, "one_row": {"value": row}},
                },
                "text/csv": {"schema": {"type": "string"}, "examples": {"one_row": {"value": f"{header}\n{cells}\n"}}},
            },
        },
        "responses": {
            "200": {
                "description": "One prediction a row, in the order of the rows",
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/Predictions"},
                        "example": {"predictions": [_example_prediction(signature, examples)], "model_version": metadata.version},
                    }
                },
            },
            "400": refusal("The body is not JSON or CSV; the position is told"),
            "413": refusal(f"The body is over its size limit, or holds more than {MAX_ROWS:,} rows"),
            "415": refusal("Another content type than application/json or text/csv"),
            "422": refusal("A field is unknown, missing, of the wrong type or out of range; every problem names field and row"),
            "500": refusal("The model failed on a valid request"),
            "503": refusal("No model is loaded"),
        },
    }


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text


def _example_prediction(signature: Signature, examples: Examples) -> dict[str, Any]:
    if not signature.classes:
        return {"value": examples.values[0] if examples.values else 0.0}
    if not examples.labels:
        share = 1 / len(signature.classes)
        return {"label": signature.classes[0], "probabilities": dict.fromkeys(signature.classes, share)}
    return {"label": examples.labels[0], "probabilities": dict(zip(signature.classes, examples.probabilities[0], strict=True))}


def _schemas(signature: Signature, metadata: ModelMetadata) -> dict[str, Any]:
    if signature.classes:
        prediction: dict[str, Any] = {
            "type": "object",
            "required": ["label", "probabilities"],
            "properties": {
                "label": {"type": "string", "enum": list(signature.classes)},
                "probabilities": {
                    "type": "object",
                    "required": list(signature.classes),
                    "properties": {name: {"type": "number", "minimum": 0, "maximum": 1} for name in signature.classes},
                },
            },
        }
    else:
        prediction = {
            "type": "object",
            "required": ["value"],
            "properties": {"value": {"type": "number", "description": f"predicted {signature.target}"}},
        }
    return {
        "Row": {
            "type": "object",
            "additionalProperties": False,
            "required": [field.name for field in signature.inputs if field.required],
            "properties": {field.name: _property(field) for field in signature.inputs},
        },
        "Rows": {
            "type": "object",
            "additionalProperties": False,
            "required": ["rows"],
            "properties": {
                "rows": {"type": "array", "minItems": 1, "maxItems": MAX_ROWS, "items": {"$ref": "#/components/schemas/Row"}}
            },
        },
        "Prediction": prediction,
        "Predictions": {
            "type": "object",
            "required": ["predictions", "model_version"],
            "properties": {
                "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}},
                "model_version": {"type": "string", "examples": [metadata.version]},
            },
        },
        "Health": _object("status", "model_id", "version", "environment", "digest"),
        "Refusal": _refusal_schema(),
    }


def _object(*names: str) -> dict[str, Any]:
    return {"type": "object", "required": list(names), "properties": {name: {"type": "string"} for name in names}}


def _property(field: InputField) -> dict[str, Any]:
    """The JSON Schema of one field; what training saw is description, because other values are accepted too."""
    kinds = _JSON_TYPES[field.kind] + ([] if field.required else ["null"])
    schema: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds, "x-kind": field.kind}
    notes = []
    if field.kind == "timestamp":
        notes.append("ISO 8601, without a zone UTC; or seconds since 1970-01-01 UTC")
    if field.kind == "string":
        schema["maxLength"] = MAX_STRING_CHARACTERS
    if field.minimum is not None and field.maximum is not None:
        notes.append(f"seen in training: {field.minimum:,.10g} to {field.maximum:,.10g}")
    if field.categories:
        schema["x-categories"] = list(field.categories)
        shown = ", ".join(field.categories[:12]) + (" …" if len(field.categories) > 12 else "")
        notes.append(f"seen in training: {shown}; any other value counts as unknown")
    if not field.required:
        notes.append("null or absent: imputed")
    if notes:
        schema["description"] = "; ".join(notes)
    if field.example is not None:
        schema["examples"] = [field.example]
    return schema


def _refusal_schema() -> dict[str, Any]:
    problem = {
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": {"type": "string"},
            "message": {"type": "string"},
            "field": {"type": "string"},
            "row": {"type": "integer", "minimum": 0},
            "given": {"description": "the value as it was sent, shortened"},
            "allowed": {"type": "string"},
            "did_you_mean": {"type": "string"},
        },
    }
    error = {
        "type": "object",
        "required": ["message", "problems", "total"],
        "properties": {
            "message": {"type": "string"},
            "problems": {"type": "array", "items": problem},
            "total": {"type": "integer"},
        },
    }
    return {"type": "object", "required": ["error"], "properties": {"error": error}}
