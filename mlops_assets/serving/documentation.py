"""The ``/docs`` page: one self-contained HTML page rendered from a package's OpenAPI document.

The templates are ``documentation.html`` for tables and ``documentation_boxes.html`` for detectors. Everything in the document is data from an issue or a data set, and is escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

_SHOWN_CHARACTERS = 60


def documentation_page(document: Mapping[str, Any]) -> str:
    """The page for an OpenAPI document made by ``openapi.openapi_document``."""
    info = document["info"]
    predict = document["paths"]["/invocations"]["post"]
    told = {
        "title": escape(info["title"]),
        "version": escape(info["version"]),
        "summary": _prose(info["summary"]),
        "description": _prose(info["description"]),
    }
    fields = document["components"]["schemas"]["Row"]["properties"]
    kind = next(iter(fields.values()))["x-kind"] if fields else ""
    if kind in _FILES:
        return _template("documentation_boxes.html").substitute(told, **_of_a_detector(predict, fields, kind))
    return _template("documentation.html").substitute(told, **_of_a_table(document, predict))


def _template(name: str) -> Template:
    return Template((Path(__file__).parent / name).read_text(encoding="utf-8"))


def _of_a_table(document: Mapping[str, Any], predict: Mapping[str, Any]) -> dict[str, str]:
    request = predict["requestBody"]["content"]["application/json"]["examples"]["rows"]["value"]
    response = predict["responses"]["200"]["content"]["application/json"]["example"]
    row_schema = document["components"]["schemas"]["Row"]
    required = frozenset(row_schema["required"])
    fields = "\n".join(_field_row(name, schema, name in required) for name, schema in row_schema["properties"].items())
    one_line = json.dumps(request, ensure_ascii=False).replace("'", "\\u0027")
    curl = f"curl -s {{origin}}/invocations \\\n  -H 'content-type: application/json' \\\n  -d '{one_line}'"
    return {
        "body": escape(json.dumps(request, ensure_ascii=False, indent=2)),
        "answer": escape(json.dumps(response, ensure_ascii=False, indent=2)),
        "curl": escape(curl),
        "fields": fields,
        "max_rows": f"{document['components']['schemas']['Rows']['properties']['rows']['maxItems']:,}",
    }


#: Kind of a detector's input -> a file of it: how a person calls it, its name in the example, what a browser offers, content type.
_FILES = {
    "image": ("a PNG or JPEG file", "image.png", "image/png,image/jpeg", "image/png"),
    "points": (
        "a .bin file of float32 x, y, z, reflectance",
        "cloud.bin",
        ".bin,application/octet-stream",
        "application/octet-stream",
    ),
}


def _of_a_detector(predict: Mapping[str, Any], fields: Mapping[str, Any], kind: str) -> dict[str, str]:
    response = predict["responses"]["200"]["content"]["application/json"]["example"]
    what, example, accept, media_type = _FILES[kind]
    name = next(iter(fields))
    plain = f"curl -s {{origin}}/invocations -H 'content-type: {media_type}' --data-binary @{example}"
    several = (
        f'printf \'{{"rows": [{{"{name}": "%s"}}]}}\' "$(base64 -w0 {example})" |\n'
        "  curl -s {origin}/invocations -H 'content-type: application/json' --data-binary @-"
    )
    return {
        "kind": escape(kind),
        "file": escape(what),
        "accept": escape(accept),
        "media_type": escape(media_type),
        "answer": escape(json.dumps(response, ensure_ascii=False, indent=2)),
        "curl": escape(f"{plain}\n{several}"),
        "field": escape(name),
        "field_note": escape(fields[name]["description"]),
        "limits": escape(predict["description"]),
    }


def _prose(text: str) -> str:
    """Escaped text in which Markdown's backticks mark code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _field_row(name: str, schema: Mapping[str, Any], required: bool) -> str:
    examples = schema.get("examples", ())
    example = json.dumps(examples[0], ensure_ascii=False) if examples else ""
    if len(example) > _SHOWN_CHARACTERS:
        example = example[:_SHOWN_CHARACTERS] + "…"
    cells = (name, schema["x-kind"], "yes" if required else "no", example, schema.get("description", ""))
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
