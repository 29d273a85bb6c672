"""A strict stand-in of the part of Iterable's API that delivers: lists, users and events.

Sources. Iterable's own client ``Iterable/api-client``: the header ``Api-Key``, the fields of requests (closed
objects here), answers with ``successCount``, ``failCount``, ``failedUpdates`` and the deprecated
``invalidEmails``, the codes of errors, ``getUsers`` as lines of text, the types of lists, an event's ``id``
of at most 512 characters by which a repeated event is the same one. Iterable's API reference: rates, and that
``channelUnsubscribe`` is a global unsubscribe. RudderStack's and Segment's integrations: 4 MB and 1,001 users
a request, further lists of ``failedUpdates``, and that ``channelUnsubscribe`` is on unless it is said to be
off; here it must be said.

Unverified against the service: that a list that is gone is 400 ``BadParams``, that a list of another type
takes users, the rates of lists/subscribe and lists/unsubscribe, ``Retry-After``, and that a removal names
unknown users as not found instead of creating them.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from jsonschema import Draft202012Validator

from segops.destinations.iterable.api import ENDPOINTS, Endpoint

from .rate_scale import SECOND_S

KEY = "stand-in-0123456789abcdef"
#: Of each of these the same request succeeds the next time; ``unnamed`` is for tests of its own.
FAULTS = ("429", "500", "reset", "lost", "cut", "half")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
#: Data fields that would change an address, or which messages a user gets.
_CONSENT = ("email", "userId", "phoneNumber", "emailListIds", "unsubscribedChannelIds", "devices")
#: Requests that Iterable's reference allows in a second and in a minute.
RATES = {
    "/api/lists": (100, 6_000),
    "/api/lists/getUsers": (5, 5),
    "/api/lists/subscribe": (5, 300),
    "/api/lists/unsubscribe": (5, 300),
    "/api/users/bulkUpdate": (5, 300),
    "/api/events/trackBulk": (10, 600),
}


def _closed(required: tuple[str, ...], **fields: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": fields,
        "required": [*required],
        "additionalProperties": False,
    }


def _of(items: dict[str, Any]) -> dict[str, Any]:
    either = {"oneOf": [{"required": ["email"]}, {"required": ["userId"]}]}
    return {"type": "array", "minItems": 1, "items": items | either}


_TEXT = {"type": "string", "minLength": 1}
_DATA = {"type": "object", "propertyNames": {"pattern": r"^[^.]+$", "not": {"enum": [*_CONSENT]}}}
_WHO = {"email": _TEXT, "userId": _TEXT}
_SUBSCRIBER = _closed((), **_WHO, dataFields=_DATA, preferUserId={"type": "boolean"})
_EVENT = _closed(
    ("eventName",),
    **_WHO,
    eventName=_TEXT,
    id={"type": "string", "maxLength": 512},
    createdAt={"type": "integer", "maximum": 1 << 33},
    dataFields=_DATA,
)
_LIST = {"type": "integer"}
BODIES = {
    "/api/lists/subscribe": _closed(("listId", "subscribers"), listId=_LIST, subscribers=_of(_SUBSCRIBER)),
    "/api/lists/unsubscribe": _closed(
        ("listId", "subscribers", "channelUnsubscribe"),
        listId=_LIST,
        subscribers=_of(_closed((), **_WHO)),
        channelUnsubscribe={"const": False},
    ),
    "/api/users/bulkUpdate": _closed(("users",), users=_of(_closed((), **_WHO, dataFields=_DATA))),
    "/api/events/trackBulk": _closed(("events",), events=_of(_EVENT)),
}


class BadRequest(Exception):
    """A request that is refused as a whole."""

    def __init__(self, code: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


class IterableStandIn:
    """A project. ``faults``: of the next requests, each used once. ``broken``: who is refused, and how."""

    def __init__(self, *lists: int) -> None:
        self.lists: dict[int, set[str]] = {each: set() for each in lists}
        self.types: dict[int, str] = dict.fromkeys(lists, "Standard")
        self.users: dict[str, dict[str, Any]] = {}
        self.events: dict[str, dict[str, Any]] = {}
        self.broken: dict[str, str] = {}
        self.disallowed: set[str] = set()
        self.faults: list[str] = []
        self.retry_after = "0"
        self.refused: list[str] = []
        self.calls: list[str] = []
        self.queries: list[dict[str, str]] = []
        self._arrivals: dict[str, list[float]] = defaultdict(list)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on loopback; yield the address."""
        application = web.Application(client_max_size=6 << 20)
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        endpoint = _endpoint(request)
        self.calls.append(request.path)
        self.queries.append(dict(request.query))
        fault = self.faults.pop(0) if self.faults else ""
        if fault in ("429", "500") or self._is_over(request.path):
            found = {"code": "RateLimitExceeded", "msg": "too many", "params": None}
            return web.json_response(
                found, status=int(fault or 429), headers={"Retry-After": self.retry_after}
            )
        if fault == "reset":
            return _abort(request)
        try:
            document = self._carry_out(endpoint, await self._body(request), fault, request.query)
        except BadRequest as error:
            found = {"code": error.code, "msg": str(error), "params": None}
            return web.json_response(found, status=error.status)
        content = document if isinstance(document, str) else json.dumps(document)
        if fault == "lost":
            return _abort(request)
        if fault == "cut":
            return await _cut(request, content)
        kind = "text/plain" if isinstance(document, str) else "application/json"
        return web.Response(text=content, content_type=kind)

    def _is_over(self, path: str) -> bool:
        """Count a request; return whether a window of a second or a minute has too many."""
        now, arrivals = asyncio.get_running_loop().time(), self._arrivals[path]
        arrivals.append(now)
        over = any(
            len([at for at in arrivals if at > now - length * SECOND_S]) > allowed
            for length, allowed in zip((1, 60), RATES[path], strict=True)
        )
        if over:
            self.refused.append(f"over a limit: {path}")
        return over

    async def _body(self, request: web.Request) -> Any:
        if request.headers.get("api-key") != KEY:
            raise BadRequest("BadApiKey", f"unknown key {request.headers.get('api-key')}", 401)
        if request.method == "GET":
            return None
        if request.content_type != "application/json":
            raise BadRequest("BadJsonBody", "expected application/json")
        content = await request.read()
        if len(content) > 4_000_000:
            raise BadRequest("BatchTooLarge", "more than 4 MB", 413)
        body = json.loads(content)
        for error in Draft202012Validator(BODIES[request.path]).iter_errors(body):
            self.refused.append(f"{request.path}: {error.message}")
            raise BadRequest("BadJsonBody", error.message)
        if any(len(each) > 1_001 for each in body.values() if isinstance(each, list)):
            raise BadRequest("BatchTooLarge", "more than 1,001 users")
        return body

    def _carry_out(self, endpoint: Endpoint, body: Any, fault: str, query: Any) -> Any:
        if endpoint.path == "/api/lists":
            types = self.types.items()
            return {"lists": [{"id": each, "name": "x", "listType": kind} for each, kind in types]}
        if endpoint.path == "/api/lists/getUsers":
            return "".join(f"{each}\n" for each in sorted(self._list(int(query["listId"]))))
        if "listId" in body:
            self._list(body["listId"])
        names = {each["eventName"] for each in body.get("events", ())} & self.disallowed
        if names:
            counts = {"successCount": 0, "failCount": len(body["events"])}
            return counts | {"disallowedEventNames": sorted(names)}
        take = {
            "/api/lists/subscribe": self._subscribe,
            "/api/lists/unsubscribe": self._unsubscribe,
            "/api/users/bulkUpdate": lambda _body, user: self._update(user),
            "/api/events/trackBulk": lambda _body, event: self._track(event),
        }[endpoint.path]
        failed = self._failed(_rows(body), fault)
        for number, each in enumerate(_rows(body)):
            if number not in failed and (name := take(body, each)):
                failed[number] = name
        return _summary(_rows(body), failed)

    def _list(self, list_id: int) -> set[str]:
        if list_id not in self.lists:
            raise BadRequest("BadParams", f"list {list_id} does not exist")
        return self.lists[list_id]

    def _failed(self, rows: list[dict[str, Any]], fault: str) -> dict[int, str]:
        """Return which rows fail, and in which list of the answer; an empty name is said of none."""
        failed: dict[int, str] = {}
        for number, each in enumerate(rows):
            address = _address(each)
            if (name := self.broken.get(address)) == "whole":
                raise BadRequest("RequestFieldsTypesMismatched", "a field has another type")
            if name is not None:
                failed[number] = name
            elif "email" in each and not _EMAIL.fullmatch(address):
                failed[number] = "invalidEmails"
            elif fault == "half" and number % 2 == 0:
                failed[number] = "failedEmails"
            elif fault == "unnamed" and number % 2 == 0:
                failed[number] = ""
        return failed

    def _subscribe(self, body: Any, user: dict[str, Any]) -> str:
        if "userId" in user and not user.get("preferUserId") and user["userId"] not in self.users:
            return "notFoundUserIds"
        self._update(user)
        self._list(body["listId"]).add(_address(user))
        return ""

    def _unsubscribe(self, body: Any, user: dict[str, Any]) -> str:
        if _address(user) not in self.users:
            return "notFoundEmails" if "email" in user else "notFoundUserIds"
        self._list(body["listId"]).discard(_address(user))
        return ""

    def _update(self, user: dict[str, Any]) -> str:
        self.users.setdefault(_address(user), {}).update(user.get("dataFields", {}))
        return ""

    def _track(self, event: dict[str, Any]) -> str:
        self.users.setdefault(_address(event), {})
        self.events[event["id"]] = event
        return ""


def _summary(rows: list[dict[str, Any]], failed: dict[int, str]) -> dict[str, Any]:
    names: dict[str, list[str]] = defaultdict(list)
    for number, name in failed.items():
        if name:
            names[name].append(_address(rows[number]))
    old = {name: names.pop(name) for name in ("invalidEmails",) if name in names}
    found = {"successCount": len(rows) - len(failed), "failCount": len(failed), "createdFields": []}
    return found | old | {"failedUpdates": dict(names)}


def _rows(body: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = body.get("subscribers") or body.get("users") or body["events"]
    return rows


def _address(row: dict[str, Any]) -> str:
    return str(row.get("email") or row["userId"])


def _endpoint(request: web.Request) -> Endpoint:
    for endpoint in ENDPOINTS:
        if (endpoint.method, endpoint.path) == (request.method, request.path):
            return endpoint
    raise AssertionError(f"unknown request {request.method} {request.path}")


def _abort(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _cut(request: web.Request, content: str) -> web.StreamResponse:
    """Send one byte of the answer, and reset the connection."""
    response = web.StreamResponse(headers={"Content-Length": str(len(content) + 1)})
    await response.prepare(request)
    await response.write(content[:1].encode())
    assert request.transport is not None
    request.transport.abort()
    return response
