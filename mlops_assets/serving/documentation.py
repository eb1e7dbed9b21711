"""The ``/docs`` page: one self-contained HTML page rendered from a package's OpenAPI document.

``documentation.html`` is the page of every model; what is tried in it, and the script that does so, are ``documentation_rows.*``
for tables and ``documentation_boxes.*`` for detectors. Everything in the document is data from an issue or a data set, and is
escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from mlops_assets.serving.limits import MAX_FRAME_BODY_BYTES

_SHOWN_CHARACTERS = 60
#: Kind of input -> a file of it: how a person calls it, its name in the example, what a browser offers, its content type.
_FILES = {
    "image": ("a PNG or JPEG file", "image.png", "image/png,image/jpeg", "image/png"),
    "points": ("a .bin file of float32 x, y, z, reflectance", "cloud.bin", ".bin", "application/octet-stream"),
}


def documentation_page(document: Mapping[str, Any]) -> str:
    """The page for an OpenAPI document made by ``openapi.openapi_document``."""
    info = document["info"]
    predict = document["paths"]["/invocations"]["post"]
    fields = document["components"]["schemas"]["Row"]["properties"]
    kind = next(iter(fields.values()))["x-kind"] if fields else ""
    told = _of_a_detector(predict, fields, kind) if kind in _FILES else _of_a_table(document, predict)
    response = predict["responses"]["200"]["content"]["application/json"]["example"]
    name = "documentation_boxes" if kind in _FILES else "documentation_rows"
    trial = Template(_content(f"{name}.html")).substitute(told, answer=_shown(response)).rstrip("\n")
    return Template(_content("documentation.html")).substitute(
        told,
        title=escape(info["title"]),
        version=escape(info["version"]),
        summary=_prose(info["summary"]),
        description=_prose(info["description"]),
        trial=trial,
        script=_content(f"{name}.js"),
    )


def _content(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _of_a_table(document: Mapping[str, Any], predict: Mapping[str, Any]) -> dict[str, str]:
    request = predict["requestBody"]["content"]["application/json"]["examples"]["rows"]["value"]
    schemas = document["components"]["schemas"]
    required = frozenset(schemas["Row"]["required"])
    rows = []
    for name, schema in schemas["Row"]["properties"].items():
        examples = schema.get("examples", ())
        example = json.dumps(examples[0], ensure_ascii=False) if examples else ""
        if len(example) > _SHOWN_CHARACTERS:
            example = example[:_SHOWN_CHARACTERS] + "…"
        rows.append((name, schema["x-kind"], "yes" if name in required else "no", example, schema.get("description", "")))
    one_line = json.dumps(request, ensure_ascii=False).replace("'", "\\u0027")
    most = schemas["Rows"]["properties"]["rows"]["maxItems"]
    return {
        "body": _shown(request),
        "curl": escape(f"curl -s {{origin}}/invocations \\\n  -H 'content-type: application/json' \\\n  -d '{one_line}'"),
        "inputs": "Inputs",
        "fields": _table(("Field", "Type", "Required", "Example", "Notes"), rows),
        "limits": _prose(f"CSV with a header line is accepted too (`content-type: text/csv`). At most {most:,} rows a request."),
    }


def _of_a_detector(predict: Mapping[str, Any], fields: Mapping[str, Any], kind: str) -> dict[str, str]:
    what, example, accept, media_type = _FILES[kind]
    name = next(iter(fields))
    plain = f"curl -s {{origin}}/invocations \\\n  -H 'content-type: {media_type}' --data-binary @{example}"
    several = (
        f'printf \'{{"rows": [{{"{name}": "%s"}}]}}\' "$(base64 -w0 {example})" |\n'
        "  curl -s {origin}/invocations \\\n  -H 'content-type: application/json' --data-binary @-"
    )
    return {
        "kind": escape(kind),
        "file": escape(what),
        "accept": escape(accept),
        "media_type": escape(media_type),
        "limit": str(MAX_FRAME_BODY_BYTES),
        "curl": escape(f"{plain}\n{several}"),
        "inputs": "Input",
        "fields": _table(("Field", "Type", "Notes"), [(name, kind, fields[name]["description"])]),
        "limits": _prose(predict["description"]),
    }


def _prose(text: str) -> str:
    """Escaped text in which Markdown's backticks mark code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _shown(content: Any) -> str:
    return escape(json.dumps(content, ensure_ascii=False, indent=2))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Head and body of a table; the last column holds sentences."""
    lines = ["<tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"]
    for *cells, notes in rows:
        plain = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr>{plain}<td class="notes">{escape(notes)}</td></tr>')
    return "<thead>{}</thead>\n<tbody>\n{}\n</tbody>".format(lines[0], "\n".join(lines[1:]))
