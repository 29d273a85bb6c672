"""Klaviyo's contract, its OpenAPI document (MIT, ``openapi.LICENSE``), read strictly: objects are closed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from segops.core.values import parse_datetime

DOCUMENT: dict[str, Any] = json.loads(Path(__file__).with_name("openapi.json").read_text("utf-8"))
#: One comparison of a filter. Several are separated by commas, and all must hold.
_COMPARISON = re.compile(r"(?P<operator>[a-z-]+)\((?P<field>[\w.]+),(?P<value>[^(),]+)\)(?:,|$)")


class Refused(Exception):
    """A request that the contract does not allow; ``parameter`` is the culprit."""

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(detail)
        self.parameter = parameter


def operation(path: str, method: str = "get") -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][path][method]
    return found


def rates(path: str, method: str = "get") -> tuple[int, int]:
    """Return the requests allowed in a second, and in a minute."""
    limits = operation(path, method)["x-klaviyo-ratelimit"]
    return int(limits["burst"].removesuffix("/s")), int(limits["steady"].removesuffix("/m"))


def check_query(path: str, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters as their types. Raises Refused."""
    known = {each["name"]: each["schema"] for each in operation(path)["parameters"] if each["in"] == "query"}
    found: dict[str, Any] = {}
    for name, text in query.items():
        if name not in known:
            raise Refused(name, f"unknown parameter {name}")
        found[name] = _value(name, text, known[name])
    return found


def _value(name: str, text: str, schema: dict[str, Any]) -> Any:
    if schema["type"] == "integer":
        if not text.isdecimal() or not schema["minimum"] <= int(text) <= schema["maximum"]:
            raise Refused(name, f"expected {schema['minimum']} to {schema['maximum']}, got {text}")
        return int(text)
    values = text.split(",") if schema["type"] == "array" else [text]
    allowed = schema.get("items", schema).get("enum")
    if allowed is not None and not set(values) <= set(allowed):
        raise Refused(name, f"unknown value in {text}")
    return values if schema["type"] == "array" else text


def check_filter(path: str, text: str | None) -> list[tuple[str, str, Any]]:
    """Return (operator, field, value) of each comparison. Raises Refused."""
    allowed, found, at = operation(path)["x-klaviyo-filters"], [], 0
    while text is not None and at < len(text):
        one = _COMPARISON.match(text, at)
        if one is None:
            raise Refused("filter", f"expected operator(field,value), got {text[at:]}")
        operator, field, value = one["operator"], one["field"], one["value"]
        if operator not in allowed.get(field, {}).get("operators", {}).get("single", ()):
            raise Refused("filter", f"{operator} is not allowed for {field}")
        time = parse_datetime(value)
        if allowed[field]["value"].get("format") == "date-time" and time is None:
            raise Refused("filter", f"expected a date-time, got {value}")
        found.append((operator, field, time if time is not None else value))
        at = one.end()
    return found


@cache
def answers(path: str, method: str = "get", status: str = "200") -> Draft202012Validator:
    """Return the validator of successful answers; it refuses unknown properties."""
    content = operation(path, method)["responses"][status]["content"]
    return Draft202012Validator(_closed(content["application/vnd.api+json"]["schema"]))


@cache
def requests(path: str, method: str) -> Draft202012Validator:
    """Return the validator of the bodies of requests; it refuses unknown properties."""
    content = operation(path, method)["requestBody"]["content"]
    return Draft202012Validator(_closed(content["application/vnd.api+json"]["schema"]))


def _closed(schema: Any) -> Any:
    """Return a schema without references, with closed objects, and with null where it is allowed."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    nullable = schema.get("nullable", False)
    if "$ref" in schema:
        found = _closed(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    elif "allOf" in schema:
        found = _merged([_closed(each) for each in schema["allOf"]])
    else:
        found = {name: _closed(value) for name, value in schema.items() if name != "nullable"}
        if "properties" in schema:
            found["properties"] = {name: _closed(each) for name, each in schema["properties"].items()}
            found["additionalProperties"] = False
    return {"anyOf": [found, {"type": "null"}]} if nullable else found


def _merged(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for schema in schemas:
        for name, value in schema.items():
            former = merged.get(name)
            both = isinstance(former, dict) and isinstance(value, dict)
            merged[name] = _merged([former, value]) if both else value
    return merged
