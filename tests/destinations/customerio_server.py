"""A strict stand-in of the parts of Customer.io's APIs that deliver: people, events and manual segments.

Sources. Customer.io's OpenAPI documents. Track API: basic authentication with site id and key;
``/api/v2/batch`` of less than 500 KB and 32 KB a call, 207 with ``batch_index``, ``_update``, ULIDs by which
a repeated event counts once; segments of at least one and at most 1,000 ``ids``, all of ``id_type``, an empty
object as answer, ``meta.errors``; the region of an account. App API: bearer authentication, segments with
``type``, membership and search in pages with ``next``. Earlier versions of these documents: an id that
belongs to no one is ignored. "APIs": 100 requests a second to the Track API as fair use, 10 to the App API.
"Invalid Track API Requests": limits of attributes and names. "Reserved attributes", "Track a customer event":
what changes consent and addresses; that it is never sent is this stand-in's own rule, as are closed objects.

Unverified against the service: that the search finds people by ``id`` and ``email``, the most conditions of a
search (100 here), the answers to a segment that is gone or is not manual, that people without an ``id`` can
be removed, the length of an event's name, ``Retry-After``, and the order of requests that follow each other.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from aiohttp import web
from jsonschema import Draft202012Validator

from segops.destinations.customerio import segments

from .stand_in import StandInServer

SITE, KEY, APP_KEY = "site-0123", "track-0123456789", "app-0123456789"
#: Of each of these the same request succeeds the next time; ``unplaced`` takes every second call, and does
#: not say which.
FAULTS = ("429", "500", "reset", "lost", "cut", "unplaced")
_ROUTES = {
    ("GET", "/api/v1/accounts/region"): "region",
    ("POST", "/api/v2/batch"): "batch",
    ("GET", "/v1/segments"): "segments",
    ("POST", "/v1/customers"): "search",
}
_CONSENT = ["id", "email", "phone", "anonymous_id", "unsubscribed"]
_NAME = {"pattern": "^(?!cio_)(?!_(?!update$)).{1,150}$", "not": {"enum": _CONSENT}}
_TEXT = {"type": "string", "minLength": 1, "maxLength": 150}


def _closed(required: str, **fields: Any) -> dict[str, Any]:
    names = required.split()
    return {"type": "object", "properties": fields, "required": names, "additionalProperties": False}


_WHO = {"oneOf": [_closed("id", id=_TEXT), _closed("email", email=_TEXT)]}
_CALL = {
    "oneOf": [
        _closed(
            "type identifiers action attributes",
            type={"const": "person"},
            identifiers=_WHO,
            action={"const": "identify"},
            attributes={"type": "object", "propertyNames": _NAME, "maxProperties": 300},
        ),
        _closed(
            "type identifiers action name id timestamp attributes",
            type={"const": "person"},
            identifiers=_WHO,
            action={"const": "event"},
            name={"type": "string", "pattern": r"\S", "maxLength": 100},
            id={"type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"},
            timestamp={"type": "integer", "maximum": 1 << 33},
            attributes={
                "type": "object",
                "propertyNames": {"not": {"enum": ["recipient", "from_address", "reply_to"]}},
            },
        ),
    ]
}
_IDS = _closed("ids", ids={"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 1_000})
_EQUAL = _closed(
    "field operator value",
    field={"enum": ["id", "email"]},
    operator={"const": "eq"},
    value={"type": "string"},
)
_ANY = {"type": "array", "minItems": 1, "maxItems": 100, "items": _closed("attribute", attribute=_EQUAL)}
_SEARCH = _closed(
    "filter",
    filter=_closed(
        "and",
        **{
            "and": {
                "prefixItems": [
                    _closed("segment", segment=_closed("id", id={"type": "integer"})),
                    _closed("or", **{"or": _ANY}),
                ],
                "items": False,
                "minItems": 2,
            }
        },
    ),
)
BODIES = {
    "batch": _closed("batch", batch={"type": "array", "minItems": 1, "items": {"type": "object"}}),
    "add_customers": _IDS,
    "remove_customers": _IDS,
    "search": _SEARCH,
}


@pytest.fixture(autouse=True, scope="module")
def no_pauses() -> Iterator[None]:
    """Look for people at once, and four times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "POLLS_S", (0.0,) * 4)
        yield


class BadRequest(Exception):
    """A request that is refused as a whole."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class CustomerIoStandIn(StandInServer):
    """A workspace. ``broken``: people whose calls are invalid; ``ignored``: whom no segment takes.

    ``late``: how many requests arrive until a person is created or changed.
    """

    def __init__(self, *manual: int, region: str = "us", late: int = 0) -> None:
        super().__init__()
        self.types: dict[int, str] = dict.fromkeys(manual, "manual")
        self.people: dict[str, dict[str, Any]] = {}
        self.segments: dict[int, set[str]] = {each: set() for each in manual}
        self.events: dict[str, dict[str, Any]] = {}
        self.broken: dict[str, str] = {}
        self.ignored: set[str] = set()
        #: Whether searches are answered; else they are refused, with what was searched in the answer.
        self.searches = True
        self.region = region
        self.late = late
        self.page = 30_000
        self.sizes: list[int] = []
        self.queries: list[dict[str, str]] = []
        self.rates = {"track": {1: 100}, "app": {1: 10}}
        self._pending: list[tuple[int, dict[str, Any]]] = []

    async def carry_out(self, request: web.Request, fault: str) -> web.Response:
        """Answer a request that arrives."""
        api = "track" if request.path.startswith("/api/") else "app"
        if fault in ("429", "500") or self.is_over(api):
            return web.json_response({}, status=int(fault or 429), headers=self.throttle())
        self._identify_late()
        try:
            status, document = self._answered(request, await self._body(request, api), fault)
        except BadRequest as error:
            meta = {"meta": {"errors": [str(error)]}}
            return web.json_response(meta, status=error.status)
        return web.json_response(document, status=status)

    async def _body(self, request: web.Request, api: str) -> Any:
        basic = base64.b64encode(f"{SITE}:{KEY}".encode()).decode()
        found = request.headers.get("authorization")
        if found != {"track": f"Basic {basic}", "app": f"Bearer {APP_KEY}"}[api]:
            raise BadRequest(401, f"unauthorized: {found}")
        if request.method == "GET":
            return None
        content = await request.read()
        if request.content_type != "application/json" or len(content) >= 500_000:
            raise self._broken_rule("expected application/json of less than 500 KB")
        body = json.loads(content)
        for error in Draft202012Validator(BODIES[self._route(request)]).iter_errors(body):
            raise self._broken_rule(f"{request.path}: {error.message}")
        return body

    def _broken_rule(self, text: str) -> BadRequest:
        self.refused.append(text)
        return BadRequest(400, text)

    def _route(self, request: web.Request) -> str:
        if (found := _ROUTES.get((request.method, request.path))) is not None:
            return found
        last = request.path.rpartition("/")[2]
        if last not in ("add_customers", "remove_customers", "membership"):
            raise BadRequest(404, "not found")
        return last

    def _answered(self, request: web.Request, body: Any, fault: str) -> tuple[int, Any]:
        route = self._route(request)
        self.queries.append(dict(request.query))
        if route == "batch":
            return self._batch(body["batch"], fault)
        if route in ("add_customers", "remove_customers"):
            return self._change(int(request.path.split("/")[4]), route, body["ids"], request.query)
        if route == "membership":
            return 200, self._membership(int(request.path.split("/")[3]), request.query)
        if route == "search":
            return 200, self._found(body["filter"]["and"], request.query)
        listed = [{"id": number, "type": kind, "name": "x"} for number, kind in self.types.items()]
        region = {"url": "x", "region": self.region, "environment_id": 3}
        return 200, {"segments": listed} if route == "segments" else region

    # -- people ----------------------------------------------------------------------------------------

    def _batch(self, calls: list[dict[str, Any]], fault: str) -> tuple[int, Any]:
        self.sizes.append(len(calls))
        errors: list[Any] = []
        half = fault == "unplaced" and len(calls) > 1
        reasons = [self._error(each) for each in calls]
        if "whole" in reasons:
            raise BadRequest(400, "malformed")
        for index, (each, reason) in enumerate(zip(calls, reasons, strict=True)):
            if reason == "unplaced":
                errors.append({"reason": "a call failed"})
            elif reason:
                errors.append({"batch_index": index, "reason": "invalid", "field": "name", "message": reason})
            elif not half or index % 2:
                self._take(each)
        if half:
            errors.append({"reason": "a call failed"})
        return (207, {"errors": errors}) if errors else (200, {})

    def _error(self, call: dict[str, Any]) -> str:
        if len(json.dumps(call)) > 32_768:
            self.refused.append("a call of more than 32 KB")
            return "more than 32 KB"
        for error in Draft202012Validator(_CALL).iter_errors(call):
            self.refused.append(f"{call}: {error.message}")
            return error.message
        return self.broken.get(_address(call["identifiers"]), "")

    def _take(self, call: dict[str, Any]) -> None:
        if call["action"] == "event":
            self.events.setdefault(call["id"], call)
        else:
            self._pending.append((self.late, call))
            self._identify_late(0)

    def settle(self) -> None:
        """Carry out all that is waiting."""
        self._identify_late(self.late)

    def _identify_late(self, requests: int = 1) -> None:
        """Carry out the calls about people that are due; ``requests``: those that have arrived since."""
        waiting = [(left - requests, call) for left, call in self._pending]
        self._pending = [each for each in waiting if each[0] > 0]
        for call in (call for left, call in waiting if left <= 0):
            address, attributes = _address(call["identifiers"]), dict(call["attributes"])
            if not attributes.pop("_update", False) or address in self.people:
                self.people.setdefault(address, {}).update(attributes)

    # -- segments --------------------------------------------------------------------------------------

    def _change(self, segment: int, route: str, ids: list[str], query: Mapping[str, str]) -> tuple[int, Any]:
        if query.get("id_type") not in ("id", "email"):
            raise self._broken_rule("expected an id_type")
        if self.types.get(segment) != "manual":
            raise BadRequest(400, f"no manual segment {segment}")
        known = {each for each in ids if each in self.people} - self.ignored
        people = self.segments[segment]
        self.segments[segment] = people | known if route == "add_customers" else people - known
        return 200, {}

    def _membership(self, segment: int, query: Mapping[str, str]) -> dict[str, Any]:
        if segment not in self.segments:
            raise BadRequest(404, "no such segment")
        return self._paged(sorted(self.segments[segment]), query, 30_000)

    def _found(self, conditions: list[Any], query: Mapping[str, str]) -> dict[str, Any]:
        if not self.searches:
            raise BadRequest(400, f"invalid filter {conditions}")
        members = self.segments.get(conditions[0]["segment"]["id"], set())
        values = {each["attribute"]["value"] for each in conditions[1]["or"]}
        return self._paged(sorted(members & values), query, 1_000)

    def _paged(self, found: list[str], query: Mapping[str, str], most: int) -> dict[str, Any]:
        if int(query["limit"]) > most:
            raise self._broken_rule(f"expected a limit of at most {most}")
        first = int(query.get("start", "0"))
        end = first + min(int(query["limit"]), self.page)
        people = [
            {"email": each if "@" in each else None, "id": None if "@" in each else each, "cio_id": "a3"}
            for each in found[first:end]
        ]
        return {
            "identifiers": people,
            "ids": [each["id"] or "" for each in people],
            "next": str(end) if end < len(found) else "",
        }


def _address(identifiers: Mapping[str, str]) -> str:
    return next(iter(identifiers.values()))
