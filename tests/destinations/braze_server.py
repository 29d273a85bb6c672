"""A strict stand-in of Braze's ``/users/track``.

Sources, braze.com/docs: "Create and update users" (bearer key, the permission, 75 objects over all arrays,
``attributes`` and ``events``), "User attributes object" (one of ``external_id``, ``email``;
``_update_existing_only``), "Event object" (``name``, ISO 8601 ``time``, ``properties``), "API errors" (2xx
with ``errors``; 400 for a fatal error; 401), "Rate limits" (3,000 requests in three seconds; 429 with
``X-RateLimit-Reset`` in seconds of Unix time, without ``Retry-After``). The place of an error, by
``input_array`` and ``index``, is that of Segment's integration. Unverified against the service: 400 for a
request without objects, and a size of at most 2 MB.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from jsonschema import Draft202012Validator

from .rate_scale import SECOND_S

KEY = "braze-stand-in-0123456789"
FAULTS = ("429", "500", "reset", "lost", "half")
RATE = 1_000
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_TEXT = {"type": "string", "minLength": 1, "maxLength": 255}
_WHO = {"oneOf": [{"required": ["external_id"]}, {"required": ["email"]}]}
_CONSENT = ("email_subscribe", "push_subscribe", "subscription_groups", "phone", "braze_id", "user_alias")
_ATTRIBUTES = {
    "type": "object",
    "properties": {"external_id": _TEXT, "email": _TEXT, "_update_existing_only": {"const": True}},
    "propertyNames": {"pattern": r"^(_update_existing_only|[^_$].*)$", "not": {"enum": [*_CONSENT]}},
    **_WHO,
}
_EVENT = {
    "type": "object",
    "properties": {
        "external_id": _TEXT,
        "email": _TEXT,
        "name": _TEXT,
        "time": {"type": "string"},
        "properties": {"type": "object"},
    },
    "required": ["name", "time", "properties"],
    "additionalProperties": False,
    **_WHO,
}
BODY = {
    "type": "object",
    "properties": {
        "attributes": {"type": "array", "items": _ATTRIBUTES},
        "events": {"type": "array", "items": _EVENT, "minItems": 1},
    },
    "additionalProperties": False,
}


class BrazeStandIn:
    """A workspace. ``faults``: of the next requests, each used once. ``broken``: who is refused, and how.

    ``broken`` by address: ``whole`` refuses the request, ``unnamed`` tells an error without a place, anything
    else is the error at its place.
    """

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.broken: dict[str, str] = {}
        self.faults: list[str] = []
        self.reset_in_s = 0
        self.refused: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self._arrivals: list[float] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on loopback; yield the address."""
        application = web.Application(client_max_size=4 << 20)
        application.router.add_post("/users/track", self._answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "429" or self._is_over():
            reset = {"X-RateLimit-Reset": str(int(time.time()) + self.reset_in_s)}
            return web.json_response({"message": "rate limited"}, status=429, headers=reset)
        if fault == "500":
            return web.json_response({"message": "try again"}, status=500)
        if fault == "404":
            return web.Response(text="not here", status=404)
        if fault == "reset":
            return _abort(request)
        if request.headers.get("authorization") != f"Bearer {KEY}":
            got = request.headers.get("authorization")
            return web.json_response({"message": f"Invalid API key: {got}"}, status=401)
        content = await request.read()
        if (problem := self._problem(request, content)) is not None:
            return web.json_response({"message": problem}, status=400)
        status, found = self._track(json.loads(content), fault)
        return _abort(request) if fault == "lost" else web.json_response(found, status=status)

    def _is_over(self) -> bool:
        now = asyncio.get_running_loop().time()
        self._arrivals.append(now)
        over = len([at for at in self._arrivals if at > now - SECOND_S]) > RATE
        if over:
            self.refused.append("over the rate")
        return over

    def _problem(self, request: web.Request, content: bytes) -> str | None:
        """Return what makes a request invalid as a whole."""
        if request.content_type != "application/json" or len(content) > 2_000_000:
            self.refused.append("not JSON, or more than 2 MB")
            return self.refused[-1]
        body = json.loads(content)
        objects = len(body.get("attributes", ())) + len(body.get("events", ()))
        if not objects:
            return "Must provide attributes, events or purchases"
        errors = [each.message for each in Draft202012Validator(BODY).iter_errors(body)]
        errors += ["more than 75 objects"] if objects > 75 else []
        errors += [each["time"] for each in body.get("events", ()) if not _INSTANT.fullmatch(each["time"])]
        self.refused += errors
        return errors[0] if errors else None

    def _track(self, body: dict[str, Any], fault: str) -> tuple[int, dict[str, Any]]:
        self.requests.append(body)
        if "whole" in [self.broken.get(_who(each)) for name in body for each in body[name]]:
            return 400, {"message": "fatal error"}
        errors: list[Any] = []
        taken = {"attributes": 0, "events": 0}
        for array, take in (("attributes", self._write), ("events", self.events.append)):
            for index, each in enumerate(body.get(array, ())):
                kind = self.broken.get(_who(each))
                if kind is None and not (fault == "half" and index % 2):
                    take(each)
                    taken[array] += 1
                elif kind is None or kind == "unnamed":
                    errors.append("an object was not processed")
                else:
                    errors.append({"type": kind, "input_array": array, "index": index})
        counts = {f"{array}_processed": number for array, number in taken.items()}
        return 201, {"message": "success", **counts, **({"errors": errors} if errors else {})}

    def _write(self, attributes: dict[str, Any]) -> None:
        found = dict(attributes)
        if found.pop("_update_existing_only", False) and _who(attributes) not in self.users:
            return
        self.users.setdefault(_who(attributes), {}).update(
            {name: value for name, value in found.items() if name not in ("external_id", "email")}
        )


def _who(each: dict[str, Any]) -> str:
    return str(each.get("external_id") or each.get("email"))


def _abort(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
