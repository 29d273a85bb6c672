"""A strict stand-in of Segment's HTTP tracking API.

Sources: Segment's documentation, "HTTP Tracking API" (Basic auth with the write key, POST /v1/batch, 500 KB a
request, 32 KB a call, 400 for invalid requests) and "Spec: Common" (userId or anonymousId; messageId of at
most 100 characters, by which repeated calls are dropped). That a wrong key is 401 is what RudderStack and
``segops collect`` do; of Segment it is unverified.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

WRITE_KEY = "wk-test"


class SegmentStandIn:
    """Keeps the traits of users, and the events; ``behave`` as that of the receiver of webhooks."""

    def __init__(self) -> None:
        self.behave: Callable[[list[dict[str, Any]]], str] = lambda _calls: "ok"
        self.traits: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.requests = 0
        self._seen: set[str] = set()

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        self.requests += 1
        wanted = base64.b64encode(f"{WRITE_KEY}:".encode()).decode()
        if request.headers.get("authorization") != f"Basic {wanted}":
            return web.json_response({"success": False}, status=401)
        body = await request.read()
        if (problem := _problem(body)) is not None:
            return web.json_response({"success": False, "message": problem}, status=400)
        calls = json.loads(body)["batch"]
        action = self.behave(calls)
        if action.isdecimal():
            return web.json_response({}, status=int(action))
        if action != "reset":
            for call in calls:
                self._take(call)
        if action in ("reset", "lost"):
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"success": True})

    def _take(self, call: dict[str, Any]) -> None:
        if call["messageId"] in self._seen:
            return
        self._seen.add(call["messageId"])
        who = call.get("userId") or call["anonymousId"]
        if call["type"] == "identify":
            self.traits.setdefault(who, {}).update(call["traits"])
        else:
            self.events.append(call)


def _problem(body: bytes) -> str | None:
    if len(body) > 500_000:
        return "the request has more than 500 KB"
    for call in json.loads(body)["batch"]:
        if len(json.dumps(call)) > 32 << 10:
            return "a call has more than 32 KB"
        if call.get("type") not in ("identify", "track"):
            return f"unknown type {call.get('type')!r}"
        if not (call.get("userId") or call.get("anonymousId")):
            return "expected userId or anonymousId"
        if not 0 < len(call.get("messageId", "")) <= 100:
            return "expected a messageId of 1 to 100 characters"
        if call["type"] == "track" and not isinstance(call.get("event"), str):
            return "expected event"
    return None
