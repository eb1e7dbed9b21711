"""What ``POST /invocations`` looks like whatever a model reads; rows are in ``openapi_rows``, frames in ``openapi_boxes``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Invocations:
    """What one model's requests and answers are.

    Attributes:
        summary: the operation in a sentence.
        description: its limits, where they are not in the schemas.
        row: an example of one row.
        row_schema: the schema of a row.
        most_rows: rows of one request.
        other_bodies: content type -> body, besides JSON.
        answered: what an answer holds.
        prediction: an example of one prediction.
        prediction_schema: its schema.
        more_schemas: what that schema refers to.
        refusals: status -> when it is answered.
    """

    summary: str
    description: str | None
    row: Mapping[str, Any]
    row_schema: Mapping[str, Any]
    most_rows: int
    other_bodies: Mapping[str, Any]
    answered: str
    prediction: Mapping[str, Any]
    prediction_schema: Mapping[str, Any]
    more_schemas: Mapping[str, Any]
    refusals: Mapping[int, str]

    def operation(self, version: str, refused: Mapping[str, Any]) -> dict[str, Any]:
        """The operation of a model of ``version``; ``refused`` is the content of every refusal."""
        told = {"description": self.description} if self.description else {}
        return {
            "operationId": "predict",
            "summary": self.summary,
            **told,
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"oneOf": [{"$ref": "#/components/schemas/Rows"}, {"$ref": "#/components/schemas/Row"}]},
                        "examples": {"rows": {"value": {"rows": [self.row]}}, "one_row": {"value": self.row}},
                    },
                    **self.other_bodies,
                },
            },
            "responses": {
                "200": {
                    "description": self.answered,
                    "content": {
                        "application/json": {
                            "schema": {"$ref": "#/components/schemas/Predictions"},
                            "example": {"predictions": [self.prediction], "model_version": version},
                        }
                    },
                },
                **{str(status): {**refused, "description": text} for status, text in self.refusals.items()},
            },
        }

    def schemas(self, version: str) -> dict[str, Any]:
        """The schemas of a row, several rows, and their predictions."""
        return {
            "Row": self.row_schema,
            "Rows": {
                "type": "object",
                "additionalProperties": False,
                "required": ["rows"],
                "properties": {
                    "rows": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": self.most_rows,
                        "items": {"$ref": "#/components/schemas/Row"},
                    }
                },
            },
            **self.more_schemas,
            "Prediction": self.prediction_schema,
            "Predictions": {
                "type": "object",
                "required": ["predictions", "model_version"],
                "properties": {
                    "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}},
                    "model_version": {"type": "string", "examples": [version]},
                },
            },
        }
