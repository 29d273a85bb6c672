"""A strict stand-in of the part of Customer.io's Track API that delivers: batches, and manual segments.

Sources, docs.customer.io: Track API (basic authentication by site id and key; ``/api/v2/batch`` of at most
500 KB, each operation at most 32 KB; ``add_customers`` and ``remove_customers`` of at most 1,000 people by
``id_type``, people who are not identified are left out, segments that are not manual are refused; the region
of an account), "Invalid API requests" (names of events of at most 100 bytes, of attributes of at most 150,
values of at most 1,000), events (an ``id`` that is a ULID drops repeated ones), "API limits" (100 requests a
second). Answers of batches, 207 and 400 with ``errors`` by ``batch_index``, are those that Segment's
integration reads. Unverified against the service: 404 for a segment that is gone, and that people are
identified before a segment takes them.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from jsonschema import Draft202012Validator

from .rate_scale import SECOND_S

KEY = "customerio-stand-in-0123456789"
FAULTS = ("429", "500", "reset", "lost", "lost-batch")
RATE = 100
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_TEXT = {"type": "string", "minLength": 1}
_WHO = {
    "type": "object",
    "properties": {"id": _TEXT, "email": _TEXT},
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}
_ATTRIBUTES = {
    "type": "object",
    "propertyNames": {
        "maxLength": 150,
        "pattern": "^[^_]",
        "not": {"enum": ["id", "email", "cio_id", "unsubscribed", "cio_subscription_preferences"]},
    },
}


def _operation(action: str, **more: Any) -> dict[str, Any]:
    properties = {
        "type": {"const": "person"},
        "action": {"const": action},
        "identifiers": _WHO,
        "attributes": _ATTRIBUTES,
        **more,
    }
    required = [*properties]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_EVENT = _operation("event", id=_TEXT, name={**_TEXT, "maxLength": 100}, timestamp={"type": "integer"})
BODY = {
    "type": "object",
    "properties": {
        "batch": {"type": "array", "minItems": 1, "items": {"oneOf": [_operation("identify"), _EVENT]}}
    },
    "required": ["batch"],
    "additionalProperties": False,
}
PEOPLE = {
    "type": "object",
    "properties": {"ids": {"type": "array", "minItems": 1, "maxItems": 1_000, "items": _TEXT}},
    "required": ["ids"],
    "additionalProperties": False,
}


class CustomerIoStandIn:
    """A workspace with manual segments. ``faults``: of the next requests, each used once.

    ``broken``: the people who are refused: ``named`` by their place, ``elsewhere`` by another one, ``whole``
    with all others.
    """

    def __init__(self, *segments: int) -> None:
        self.segments: dict[int, set[str]] = {each: set() for each in segments}
        self.people: dict[str, dict[str, Any]] = {}
        self.events: dict[str, dict[str, Any]] = {}
        self.broken: dict[str, str] = {}
        self.faults: list[str] = []
        self.retry_after = "0"
        self.refused: list[str] = []
        self.calls: list[str] = []
        self._arrivals: list[float] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on loopback; yield the address."""
        application = web.Application(client_max_size=2 << 20)
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(request.path)
        fault = self.faults.pop(0) if self.faults else ""
        if fault in ("429", "500") or self._is_over():
            headers = {"Retry-After": self.retry_after}
            return web.json_response({"meta": {"error": "later"}}, status=int(fault or 429), headers=headers)
        if fault == "reset":
            return _abort(request)
        if request.headers.get("authorization") != f"Basic {_CREDENTIALS}":
            got = request.headers.get("authorization")
            return web.json_response({"meta": {"error": f"Unauthorized: {got}"}}, status=401)
        status, document = self._carry_out(request, await request.read())
        if fault == "lost" or (fault == "lost-batch" and request.path == "/api/v2/batch"):
            return _abort(request)
        return web.json_response(document, status=status)

    def _is_over(self) -> bool:
        now = asyncio.get_running_loop().time()
        self._arrivals.append(now)
        over = len([at for at in self._arrivals if at > now - SECOND_S]) > RATE
        if over:
            self.refused.append("over the rate")
        return over

    def _carry_out(self, request: web.Request, content: bytes) -> tuple[int, Any]:
        if request.path == "/api/v1/accounts/region" and request.method == "GET":
            return 200, {"region": "eu", "environment_id": 1}
        if request.path == "/api/v2/batch":
            return self._batch(self._body(content, BODY, 500_000))
        path = re.fullmatch(r"/api/v1/segments/(\d+)/(add|remove)_customers", request.path)
        if path is None:
            self.refused.append(f"unknown path {request.path}")
            return 404, {"meta": {"error": "not found"}}
        if int(path[1]) not in self.segments:
            return 404, {"meta": {"error": "segment not found"}}
        ids = self._body(content, PEOPLE, 500_000)["ids"]
        field = request.query.get("id_type", "id")
        known = {each for each in ids if self.people.get(each, {}).get("known_by") == field}
        members = self.segments[int(path[1])]
        self.segments[int(path[1])] = members | known if path[2] == "add" else members - known
        return 200, {}

    def _body(self, content: bytes, schema: Any, most: int) -> Any:
        body = json.loads(content)
        problems = [each.message for each in Draft202012Validator(schema).iter_errors(body)]
        problems += ["too large"] if len(content) > most else []
        self.refused += problems
        return body

    def _batch(self, body: Any) -> tuple[int, Any]:
        operations = body["batch"]
        if any(self.broken.get(_who(each)) == "whole" for each in operations):
            return 400, {"errors": [{"reason": "invalid", "message": "the batch is invalid"}]}
        errors = []
        for index, each in enumerate(operations):
            if (how := self.broken.get(_who(each))) is not None:
                error = {"reason": "invalid", "field": "attributes", "message": "too long"}
                errors.append({"batch_index": index if how == "named" else 99, **error})
            else:
                self._take(each)
        return (207, {"errors": errors}) if errors else (200, {})

    def _take(self, operation: dict[str, Any]) -> None:
        ((field, who),) = operation["identifiers"].items()
        if operation["action"] == "identify":
            self.people.setdefault(who, {"known_by": field}).update(operation["attributes"])
        elif _ULID.fullmatch(operation["id"]) is None:
            self.refused.append(f"no ULID: {operation['id']}")
        else:
            self.events.setdefault(operation["id"], operation)


_CREDENTIALS = base64.b64encode(f"{KEY}:{KEY}".encode()).decode()


def _who(operation: dict[str, Any]) -> str:
    return str(next(iter(operation["identifiers"].values())))


def _abort(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
