"""The part of a table model's OpenAPI document that says what its rows and predictions are; the rest is in ``openapi``."""

from __future__ import annotations

from typing import Any

from mlops_assets.serving.limits import BODY_SECONDS, MAX_ROWS, MAX_STRING_CHARACTERS
from mlops_assets.serving.openapi_invocations import Invocations
from mlops_assets.serving.package import Examples
from mlops_assets.tasks.interface import InputField, Signature

_JSON_TYPES = {"number": ["number"], "string": ["string"], "timestamp": ["string", "number"]}


def invocations(signature: Signature, examples: Examples) -> Invocations:
    """What a table model's rows and predictions are."""
    row: dict[str, Any] = dict(examples.rows[0]) if examples.rows else {field.name: field.example for field in signature.inputs}
    header = ",".join(_cell(field.name) for field in signature.inputs)
    cells = ",".join(_cell(row.get(field.name)) for field in signature.inputs)
    return Invocations(
        summary=f"Predict {signature.target} for one row or many",
        description=None,
        row=row,
        row_schema={
            "type": "object",
            "additionalProperties": False,
            "required": [field.name for field in signature.inputs if field.required],
            "properties": {field.name: _property(field) for field in signature.inputs},
        },
        most_rows=MAX_ROWS,
        other_bodies={"text/csv": {"schema": {"type": "string"}, "examples": {"one_row": {"value": f"{header}\n{cells}\n"}}}},
        answered="One prediction a row, in the order of the rows",
        prediction=_example_prediction(signature, examples),
        prediction_schema=_prediction_schema(signature),
        more_schemas={},
        refusals={
            400: "The body is not JSON or CSV; the position is told",
            408: f"The body did not arrive within {BODY_SECONDS:.0f} s",
            413: f"The body is over its size limit, or holds more than {MAX_ROWS:,} rows",
            415: "Another content type than application/json or text/csv",
            422: "A field is unknown, missing, of the wrong type or out of range; every problem names field and row",
            500: "The model failed on a valid request",
            503: "No model is loaded, or the requests under way hold all the memory there is for them",
        },
    )


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


def _prediction_schema(signature: Signature) -> dict[str, Any]:
    if not signature.classes:
        return {
            "type": "object",
            "required": ["value"],
            "properties": {"value": {"type": "number", "description": f"predicted {signature.target}"}},
        }
    chances = {name: {"type": "number", "minimum": 0, "maximum": 1} for name in signature.classes}
    return {
        "type": "object",
        "required": ["label", "probabilities"],
        "properties": {
            "label": {"type": "string", "enum": list(signature.classes)},
            "probabilities": {"type": "object", "required": list(signature.classes), "properties": chances},
        },
    }


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
