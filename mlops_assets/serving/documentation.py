"""The ``/docs`` page: one self-contained HTML page rendered from a package's OpenAPI document.

The template is ``documentation.html``. Everything in the document is data from an issue or a data set, and is escaped.
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
    template = Template((Path(__file__).parent / "documentation.html").read_text(encoding="utf-8"))
    info = document["info"]
    predict = document["paths"]["/invocations"]["post"]
    request = predict["requestBody"]["content"]["application/json"]["examples"]["rows"]["value"]
    response = predict["responses"]["200"]["content"]["application/json"]["example"]
    row_schema = document["components"]["schemas"]["Row"]
    required = frozenset(row_schema["required"])
    fields = "\n".join(_field_row(name, schema, name in required) for name, schema in row_schema["properties"].items())
    one_line = json.dumps(request, ensure_ascii=False).replace("'", "\\u0027")
    curl = f"curl -s {{origin}}/invocations \\\n  -H 'content-type: application/json' \\\n  -d '{one_line}'"
    return template.substitute(
        title=escape(info["title"]),
        version=escape(info["version"]),
        summary=_prose(info["summary"]),
        description=_prose(info["description"]),
        body=escape(json.dumps(request, ensure_ascii=False, indent=2)),
        answer=escape(json.dumps(response, ensure_ascii=False, indent=2)),
        curl=escape(curl),
        fields=fields,
        max_rows=f"{document['components']['schemas']['Rows']['properties']['rows']['maxItems']:,}",
    )


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
