"""A strict stand-in of the part of Braze's API that delivers: ``/users/track``.

Sources. Braze's documentation, "Track users": a bearer key, arrays of attributes and events, 75 objects a
request in all, 50 for contracts by monthly active users; attributes are processed before events; each event
counts, also a repeated one; a user who is not known is created, unless ``_update_existing_only`` says not to.
"User attributes object": the fields of profiles, null removes an attribute, an object with ``inc`` is a
command. "Event object": ``name`` and ``time`` are required; names have at most 255 characters and no leading
dollar sign. "API errors": 201 with ``message`` and ``errors``, 202 with ``queued``, and the codes of fatal
errors, after which nothing was taken. "Rate limits": 3,000 requests in three seconds, ``X-RateLimit-Reset``
in epoch seconds. Answers that public clients of Braze quote: an error has ``type``, ``input_array`` and
``index`` in that array; 400 if no object is valid; 401 repeats the key.

Unverified against the service: that ``_update_existing_only`` holds for users who are known by e-mail and is
answered without an error, the answer to an empty array, and the size of 4 MB. That consent and addresses are
no attributes, and that objects have exactly one identifier, are this stand-in's own rules.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

from aiohttp import web

from .stand_in import StandInServer

KEY = "braze-stand-in-0123456789"
#: Of each of these the same request succeeds the next time.
FAULTS = ("429", "500", "reset", "lost", "cut", "queued")
#: Faults after which the request was carried out, although there was no answer.
APPLIED = ("lost", "cut")
_TRACK = "/users/track"
_IDENTIFIERS = ("external_id", "email")
_CONSENT = frozenset(
    (
        "phone",
        "braze_id",
        "user_alias",
        "push_tokens",
        "push_token_import",
        "email_subscribe",
        "push_subscribe",
        "subscription_groups",
    )
)
_EVENT_FIELDS = {*_IDENTIFIERS, "name", "time", "properties"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Fatal(Exception):
    """A request of which nothing is taken."""

    def __init__(self, status: int, message: str, errors: Any = ()) -> None:
        super().__init__(message)
        self.status = status
        self.errors = [*errors]


class BrazeStandIn(StandInServer):
    """A workspace: attributes by identifier and value. ``broken``: users who are refused, and why."""

    def __init__(self, *, objects: int = 50) -> None:
        super().__init__()
        self.users: dict[tuple[str, str], dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        #: What the attributes of a user were when an event of theirs was processed.
        self.at_event: list[dict[str, Any]] = []
        self.broken: dict[str, str] = {}
        #: Users whose events are refused -> the error, in a form that the stand-in would not give it.
        self.unplaced: dict[str, Any] = {}
        self.rates = {_TRACK: {1: 1_000, 3: 3_000}}
        self.objects = objects
        self.reset_in_s = 0
        self.sizes: list[int] = []

    async def carry_out(self, request: web.Request, fault: str) -> web.Response:
        """Answer a request that arrives."""
        limits = {"X-RateLimit-Limit": "3000", "X-RateLimit-Remaining": "7"}
        if fault in ("429", "500") or self.is_over(request.path):
            reset = {"X-RateLimit-Reset": str(int(time.time()) + self.reset_in_s)}
            found = {"message": "try again"}
            return web.json_response(found, status=int(fault or 429), headers=limits | reset)
        try:
            document = self._track(await self._body(request))
        except Fatal as error:
            found = {"message": str(error), "errors": error.errors}
            return web.json_response(found, status=error.status, headers=limits)
        if fault == "queued":
            return web.json_response({"message": "queued"}, status=202, headers=limits)
        return web.json_response(document, status=201, headers=limits)

    async def _body(self, request: web.Request) -> dict[str, Any]:
        if (request.method, request.path) != ("POST", _TRACK):
            raise Fatal(404, "Not Found")
        authorization = request.headers.get("authorization", "")
        if authorization != f"Bearer {KEY}":
            raise Fatal(401, f"Invalid API key: {authorization.removeprefix('Bearer ')}")
        content = await request.read()
        if request.content_type != "application/json" or len(content) > 4_000_000:
            raise self._broken_rule(400, "expected application/json of at most 4 MB")
        body: dict[str, Any] = json.loads(content)
        if not body.keys() <= {"attributes", "events"}:
            raise self._broken_rule(400, f"unknown fields {body.keys()}")
        self.sizes.append(sum(map(len, body.values())))
        if self.sizes[-1] > self.objects:
            raise self._broken_rule(400, "Max Input Length Exceeded")
        return body

    def _broken_rule(self, status: int, message: str) -> Fatal:
        self.refused.append(message)
        return Fatal(status, message)

    def _track(self, body: dict[str, Any]) -> dict[str, Any]:
        errors: list[Any] = []
        taken: dict[str, list[dict[str, Any]]] = {}
        for array, check in (("attributes", self._attributes_error), ("events", self._event_error)):
            for index, each in enumerate(body.get(array, ())):
                if reason := self._who_error(each) or check(each):
                    placed = {"type": reason, "input_array": array, "index": index}
                    errors.append(self.unplaced.get(_who(each)[1], placed))
                else:
                    taken.setdefault(array, []).append(each)
        if not taken:
            text = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
            raise Fatal(400, text, errors)
        for each in taken.get("attributes", ()):
            self._set(each)
        for each in taken.get("events", ()):
            self.at_event.append(dict(self.users.setdefault(_who(each), {})))
            self.events.append(each)
        counts = {f"{array}_processed": len(objects) for array, objects in taken.items()}
        return {"message": "success", **counts} | ({"errors": errors} if errors else {})

    def _who_error(self, each: dict[str, Any]) -> str:
        found = [name for name in _IDENTIFIERS if name in each]
        if len(found) != 1 or not isinstance(each[found[0]], str) or not each[found[0]]:
            self.refused.append(f"expected one identifier, got {found}")
            return "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"
        if (reason := self.broken.get(each[found[0]], "")) == "whole":
            raise Fatal(400, "Bad Request")
        return reason

    def _attributes_error(self, each: dict[str, Any]) -> str:
        names = each.keys() - {*_IDENTIFIERS, "_update_existing_only"}
        for name in names:
            command = isinstance(each[name], dict) and {"inc", "add", "remove"} & each[name].keys()
            if name in _CONSENT or name.startswith(("$", "_")) or not 0 < len(name) <= 255 or command:
                self.refused.append(f"not an attribute: {name}")
                return f"'{name}' is invalid"
        return ""

    def _event_error(self, each: dict[str, Any]) -> str:
        if _who(each)[1] in self.unplaced:
            return "unplaced"
        text = [each.get("name"), each.get("time")]
        properties = each.get("properties", {})
        if (
            not each.keys() <= _EVENT_FIELDS
            or not all(isinstance(value, str) and value for value in text)
            or len(each["name"]) > 255
            or not _TIME.fullmatch(each["time"])
            or any(name.startswith("$") or value is None for name, value in properties.items())
        ):
            self.refused.append(f"not an event: {each}")
            return "event is invalid"
        return ""

    def _set(self, each: dict[str, Any]) -> None:
        only_known = each.get("_update_existing_only", False)
        if only_known and _who(each) not in self.users:
            return
        user = self.users.setdefault(_who(each), {})
        for name in each.keys() - {*_IDENTIFIERS, "_update_existing_only"}:
            user[name] = each[name]
            if each[name] is None:
                del user[name]


def _who(each: dict[str, Any]) -> tuple[str, str]:
    return next((name, each[name]) for name in _IDENTIFIERS if name in each)
