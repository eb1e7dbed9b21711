"""The OpenAPI 3.1 document of one packaged model, generated from its signature.

Describes what ``application`` answers; requests and predictions are in ``openapi_invocations``, the page that
shows it all in ``documentation``.
Source: https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from typing import Any

from mlops_assets.serving import openapi_boxes, openapi_rows
from mlops_assets.serving.package import Examples, ModelMetadata, input_kind
from mlops_assets.tasks.interface import Signature


def openapi_document(signature: Signature, metadata: ModelMetadata, examples: Examples) -> dict[str, Any]:
    """The OpenAPI document as JSON-ready data; equal inputs give equal documents."""
    described = openapi_rows if input_kind(signature) == "rows" else openapi_boxes
    invocations = described.invocations(signature, examples)
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
            "/invocations": {"post": invocations.operation(metadata.version, refused)},
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
            "/drift": {
                "get": {
                    "operationId": "drift",
                    "summary": "How far the latest requests are from the data that the model was trained on",
                    "responses": {
                        "200": {
                            "description": "The index of every watched quantity",
                            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Drift"}}},
                        },
                        "503": unavailable,
                    },
                }
            },
        },
        "components": {
            "schemas": {
                **invocations.schemas(metadata.version),
                "Health": _object("status", "model_id", "version", "environment", "digest"),
                "Drift": _drift_schema(),
                "Refusal": _refusal_schema(),
            }
        },
    }


def _description(metadata: ModelMetadata) -> str:
    measured = ", ".join(f"{name} {value:.4g}" for name, value in sorted(metadata.metrics.items()))
    return (
        f"Training `{metadata.training_id}` on data `{metadata.dataset_id}` version `{metadata.dataset_version}`, "
        f"code `{metadata.code_version}`." + (f" Test split: {measured}." if measured else "")
    )


def _object(*names: str) -> dict[str, Any]:
    return {"type": "object", "required": list(names), "properties": {name: {"type": "string"} for name in names}}


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


def _drift_schema() -> dict[str, Any]:
    words = ["no_reference", "unmeasured", "too_few", "stable", "moderate", "major"]
    quantity = {
        "type": "object",
        "required": ["name", "meaning", "values", "psi", "chance", "verdict", "edges", "reference", "counts"],
        "properties": {
            "name": {"type": "string"},
            "meaning": {"type": "string"},
            "values": {"type": "integer", "description": "values in the window"},
            "psi": {"type": ["number", "null"], "description": "population stability index"},
            "chance": {"type": ["number", "null"], "description": "what the index exceeds by chance once in twenty times"},
            "verdict": {"type": "string", "enum": words[1:]},
            "edges": {"type": "array", "items": {"type": "number"}},
            "reference": {"type": "array", "items": {"type": "integer"}, "description": "counts in training"},
            "counts": {"type": "array", "items": {"type": "integer"}, "description": "counts in the window"},
        },
    }
    return {
        "type": "object",
        "required": ["model_id", "version", "environment", "verdict", "quantities"],
        "properties": {
            "model_id": {"type": "string"},
            "version": {"type": "string"},
            "environment": {"type": "string"},
            "verdict": {"type": "string", "enum": words, "description": "the worst of the quantities"},
            "reason": {"type": "string", "description": "why nothing is measured"},
            "since": {"type": "string", "description": "when the version became active, UTC"},
            "frames": {"type": "integer", "description": "frames since then"},
            "window": {
                "type": "object",
                "properties": {"size": {"type": "integer"}, "frames": {"type": "integer"}},
                "description": "the latest frames, which are compared",
            },
            "limits": {"type": "object"},
            "quantities": {"type": "array", "items": quantity},
        },
    }
