"""Holds every exchange of a test to GitHub's own API description: what a client sends as well as what is answered.

    recorder = Recorder(Contract(shared / "data/github/github-openapi-subset.json"))
    github.observe(recorder)
    ...
    assert recorder.problems() == []

Where the description's schemas are narrower than its own prose, or than what GitHub does, ``READINGS`` says so; nothing else is
let through. Only the description is known here, nothing of the stand-in's state.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from tests.standins.github.exchange import Exchange

_HERE = "urn:github-api"
_METHODS = ("get", "post", "put", "patch", "delete")
#: How the description is read where its words and its schemas differ.
READINGS = (
    "alternatives of a oneOf overlap (any object is a basic-error): one or more must hold",
    "null is a value of a nullable enum, and of nullable alternatives",
    "labels of an issue may be sent as a bare array: the prose of the field says so, the schema does not",
    "any operation may answer 401, 403, 404, 429 and 5xx with a basic-error: most do not list them",
    "an unchanged answer to If-None-Match is 304 wherever a GET answers 200",
)
#: Documented by GitHub, but not in this cut of its description: not checked.
NOT_IN_THE_CUT = (
    ("GET", r"/app"),
    ("GET", r"/app/installations/\d+"),
    ("POST", r"/app/installations/\d+/access_tokens"),
    ("GET", r"/repos/[^/]+/[^/]+/installation"),
)
_ALWAYS_POSSIBLE = {401, 403, 404, 429, 500, 502, 503, 504}
_LABEL_WRITES = {"issues/add-labels", "issues/set-labels"}


@dataclass(frozen=True)
class Described:
    """One operation of the description."""

    id: str
    method: str
    path: str
    pattern: re.Pattern[str]
    content: Mapping[str, Any]


@dataclass
class Contract:
    """The description, ready to judge exchanges."""

    description: Path
    _validators: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The description as it is read here."""
        return dict(_read(json.loads(self.description.read_text(encoding="utf-8"))))

    @cached_property
    def operations(self) -> list[Described]:
        """Every described operation; literal paths before those with parameters."""
        found = [
            Described(content["operationId"], method.upper(), path, _pattern(path), content)
            for path, item in self.document["paths"].items()
            for method, content in item.items()
            if method in _METHODS
        ]
        return sorted(found, key=lambda each: (each.path.count("{"), -len(each.path)))

    def operation(self, exchange: Exchange) -> Described | None:
        """The operation that a request means."""
        request = exchange.request
        return next((o for o in self.operations if o.method == request.method and o.pattern.fullmatch(request.path)), None)

    def problems(self, exchange: Exchange) -> list[str]:
        """Everything in which an exchange is not as described; empty if nothing."""
        request = exchange.request
        where = f"{request.method} {request.path}"
        if any(request.method == method and re.fullmatch(path, request.path) for method, path in NOT_IN_THE_CUT):
            return []
        found = self.operation(exchange)
        if found is None:
            return [] if exchange.status == 404 and not request.writes else [f"{where}: no such operation is described"]
        problems = [*self._query(found, exchange), *self._request_body(found, exchange), *self._response(found, exchange)]
        return [f"{where} ({found.id}): {problem}" for problem in problems]

    def request_problems(self, exchange: Exchange) -> list[str]:
        """Everything in which a request is not as described, whatever it was answered; empty if nothing."""
        request = exchange.request
        where = f"{request.method} {request.path}"
        if any(request.method == method and re.fullmatch(path, request.path) for method, path in NOT_IN_THE_CUT):
            return []
        found = self.operation(exchange)
        if found is None:
            return [f"{where}: no such operation is described"]
        return [f"{where} ({found.id}): {each}" for each in (*self._query(found, exchange), *self._request_body(found, exchange))]

    def _query(self, found: Described, exchange: Exchange) -> Iterable[str]:
        described = map(self._resolved, found.content.get("parameters", ()))
        known = {each["name"]: each["schema"] for each in described if each["in"] == "query"}
        for name, value in parse_qsl(exchange.request.query, keep_blank_values=True):
            if name not in known:
                yield f"query parameter {name} is not described"
                continue
            kind = known[name].get("type")
            typed: Any = int(value) if kind == "integer" and re.fullmatch(r"-?\d+", value) else value
            yield from (f"query parameter {name}: {each}" for each in self._errors(known[name], typed))
            if name == "per_page" and isinstance(typed, int) and not 1 <= typed <= 100:
                yield f"query parameter per_page: {typed} is more than a page holds (100)"

    def _request_body(self, found: Described, exchange: Exchange) -> Iterable[str]:
        described = found.content.get("requestBody")
        raw = exchange.request.body
        if exchange.status in (400, 422) or not raw.strip():
            if described is not None and described.get("required") and exchange.status < 400:
                yield "a body is required"
            return
        if described is None:
            if raw.strip() not in (b"{}", b"null"):
                yield "a body is sent where none is described"
            return
        try:
            value = json.loads(raw)
        except ValueError:
            yield "the request's body is not JSON"
            return
        if found.id in _LABEL_WRITES and isinstance(value, list):
            value = {"labels": value}
        schema = described["content"]["application/json"]["schema"]
        yield from (f"request body: {each}" for each in self._errors(schema, value))
        known = self._properties(schema)
        if isinstance(value, dict) and known:
            yield from (f"request body: {name} is not described" for name in value if name not in known)

    def _response(self, found: Described, exchange: Exchange) -> Iterable[str]:
        status = exchange.status
        if status == 0:
            return
        responses = found.content["responses"]
        if status == 304:
            if not (exchange.request.conditional and found.method == "GET" and "200" in responses) or exchange.body:
                yield "304 without a condition, or with a body"
            return
        schema = self._response_schema(found, status)
        if schema is None:
            if str(status) not in responses and status not in _ALWAYS_POSSIBLE:
                yield f"status {status} is not described; described are {', '.join(responses)}"
            elif exchange.body and str(status) in responses:
                yield f"a body comes with status {status}, for which none is described"
            return
        if not exchange.headers.get("Content-Type", "").startswith("application/json"):
            if status >= 400 or "raw" not in exchange.request.headers.get("accept", ""):
                yield f"the answer's type is {exchange.headers.get('Content-Type')}"
            return
        yield from (f"answer {status}: {each}" for each in self._errors(schema, json.loads(exchange.body)))

    def _response_schema(self, found: Described, status: int) -> dict[str, Any] | None:
        described = found.content["responses"].get(str(status))
        if described is None:
            return {"$ref": "#/components/schemas/basic-error"} if status in _ALWAYS_POSSIBLE else None
        content = self._resolved(described).get("content", {}).get("application/json")
        return None if content is None else dict(content["schema"])

    def inventions(self, exchange: Exchange) -> list[str]:
        """Fields of a successful answer that the description does not know: nothing may rely on those."""
        found = self.operation(exchange)
        if found is None or exchange.status >= 300 or not exchange.headers.get("Content-Type", "").startswith("application/json"):
            return []
        schema = self._response_schema(found, exchange.status)
        if schema is None:
            return []
        return sorted({f"{found.id}: {name}" for name in self._unknown(schema, json.loads(exchange.body))})

    def _unknown(self, schema: Mapping[str, Any], value: Any, at: str = "") -> Iterable[str]:
        schema = self._resolved(schema)
        if isinstance(value, list):
            for each in value:
                yield from self._unknown(schema.get("items", {}), each, f"{at}[]")
        elif isinstance(value, dict):
            known = self._properties(schema)
            for name, inner in value.items():
                if known and name not in known and not self._is_open(schema):
                    yield f"{at}.{name}"
                elif name in known:
                    yield from self._unknown(known[name], inner, f"{at}.{name}")

    def _is_open(self, schema: Mapping[str, Any]) -> bool:
        return bool(schema.get("additionalProperties"))

    def _properties(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        schema = self._resolved(schema)
        known = dict(schema.get("properties", {}))
        for name in ("allOf", "anyOf", "oneOf"):
            for each in schema.get(name, ()):
                known = self._properties(each) | known
        return known

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in schema:
            target: Any = self.document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                target = target[unquote(part).replace("~1", "/").replace("~0", "~")]
            schema = target
        return schema

    def _errors(self, schema: Mapping[str, Any], value: Any) -> Iterable[str]:
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            self._validators[key] = self._validator(schema)
        for error in self._validators[key].iter_errors(value):
            place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
            yield f"{place or 'value'}: {error.message[:300]}"

    def _validator(self, schema: Mapping[str, Any]) -> Any:
        from openapi_schema_validator import OAS30Validator, oas30_format_checker
        from referencing import Registry
        from referencing.jsonschema import DRAFT4

        registry = Registry().with_resource(_HERE, DRAFT4.create_resource(self.document))
        return OAS30Validator(_absolute(schema), registry=registry, format_checker=oas30_format_checker)


@dataclass
class Recorder:
    """Every exchange of a session; give it to ``GitHubStandIn.observe``."""

    contract: Contract
    exchanges: list[Exchange] = field(default_factory=list)

    def __call__(self, exchange: Exchange) -> None:
        """Keep an exchange."""
        self.exchanges.append(exchange)

    def problems(self) -> list[str]:
        """What is not as described, each once."""
        return list(dict.fromkeys(problem for exchange in self.exchanges for problem in self.contract.problems(exchange)))

    @property
    def operations(self) -> set[str]:
        """Which described operations succeeded at least once."""
        found = (self.contract.operation(exchange) for exchange in self.exchanges if exchange.status < 400)
        return {operation.id for operation in found if operation is not None}


def _pattern(path: str) -> re.Pattern[str]:
    def part(match: re.Match[str]) -> str:
        name = match.group(1)
        if name.endswith("_number") or (name.endswith("_id") and name != "gist_id"):
            return r"\d+"
        return ".+" if name in ("path", "ref", "commit_sha") else "[^/]+"

    pattern = re.sub(r"\{(\w+)\}", part, path)
    # a folder's root is listed without a path
    return re.compile(pattern.removesuffix("/.+") + "(?:/.*)?" if path.endswith("/contents/{path}") else pattern)


def _read(node: Any) -> Any:
    """The description with the first two readings applied."""
    if isinstance(node, list):
        return [_read(each) for each in node]
    if not isinstance(node, dict):
        return node
    read = {("anyOf" if name == "oneOf" and isinstance(value, list) else name): _read(value) for name, value in node.items()}
    if isinstance(read.get("discriminator"), dict):  # names the alternative, which anyOf finds without it
        del read["discriminator"]
    if read.get("nullable") and isinstance(read.get("enum"), list) and None not in read["enum"]:
        read["enum"] = [*read["enum"], None]
    if read.get("nullable") and "type" not in read and isinstance(read.get("anyOf"), list):
        read["anyOf"] = [*read["anyOf"], {"enum": [None]}]
    return read


def _absolute(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_absolute(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {name: f"{_HERE}{value}" if name == "$ref" else _absolute(value) for name, value in schema.items()}
