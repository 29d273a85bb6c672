"""A strict stand-in of the part of HubSpot's API that delivers: contacts in batches, and static lists.

Sources. HubSpot's OpenAPI documents of version 2026-03 (lists, contacts, account information): paths, fields
of requests (closed objects here), answers, 207 with ``errors``, scopes, at most 250 memberships a page, lists
that are ``MANUAL``, ``SNAPSHOT`` or ``DYNAMIC``, records that are missing. Pages of HubSpot's documentation:
"API usage guidelines" (100 requests in 10 seconds and a daily limit, their headers, the body of 429 with
``policyName``), "Error handling" (401, 403, 423, multi-status errors by ``objectWriteTraceId``), "Contacts"
(batches of at most 100, ``idProperty: email``, unknown properties), "Private apps" (the scopes of a token);
answers with ``OBJECT_NOT_FOUND`` and ``context.ids`` as in HubSpot's community.

Unverified against the service: whether an invalid contact refuses its batch (here both: ``multi_status``),
that other addresses of a contact are found, that an id which is added and removed is refused, ``Retry-After``
of 429, the form of a token's scopes, and that a contact may be missing to lists for a while (``unready``).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from jsonschema import Draft202012Validator

from .rate_scale import SECOND_S

TOKEN = "pat-eu1-stand-in-0123456789"
#: Of each of these the same request succeeds the next time.
FAULTS = ("429", "500", "423", "reset", "lost", "cut", "half")
PER_10_S = 100
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
SCOPES = {
    "crm.lists.read",
    "crm.lists.write",
    "crm.objects.contacts.read",
    "crm.objects.contacts.write",
}
_TEXTS = {"type": "array", "items": {"type": "string"}}
_VALUES = {"type": "object", "additionalProperties": {"type": "string"}}
#: The status and the document of an answer.
Found = tuple[int, Any]


def _closed(required: tuple[str, ...], **fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": [*required], "additionalProperties": False}


def _batch(item: dict[str, Any], **more: Any) -> dict[str, Any]:
    return _closed(("inputs", *more), inputs={"type": "array", "minItems": 1, "items": item}, **more)


_ID = {"type": "string", "minLength": 1}
_INPUT = {"id": _ID, "properties": _VALUES, "objectWriteTraceId": {"type": "string"}}
_READ = _batch(_closed(("id",), id=_ID), properties=_TEXTS, propertiesWithHistory=_TEXTS)
_READ["properties"]["idProperty"] = {"const": "email"}
#: Method and path -> scopes, and the schema of the body.
RULES: dict[tuple[str, str], tuple[set[str], Any]] = {
    ("GET", "/account-info/2026-03/details"): (set(), None),
    ("POST", "/oauth/v2/private-apps/get/access-token-info"): (set(), _closed(("tokenKey",), tokenKey=_ID)),
    ("GET", "/crm/lists/2026-03/{}"): ({"crm.lists.read"}, None),
    ("GET", "/crm/lists/2026-03/{}/memberships"): ({"crm.lists.read"}, None),
    ("PUT", "/crm/lists/2026-03/{}/memberships/add-and-remove"): (
        {"crm.lists.read", "crm.lists.write"},
        _closed(("recordIdsToAdd", "recordIdsToRemove"), recordIdsToAdd=_TEXTS, recordIdsToRemove=_TEXTS),
    ),
    ("POST", "/crm/objects/2026-03/contacts/batch/read"): ({"crm.objects.contacts.read"}, _READ),
    ("POST", "/crm/objects/2026-03/contacts/batch/update"): (
        {"crm.objects.contacts.write"},
        _batch(_closed(("id", "properties"), **_INPUT)),
    ),
    ("POST", "/crm/objects/2026-03/contacts/batch/upsert"): (
        {"crm.objects.contacts.write"},
        _batch(_closed(("id", "properties", "idProperty"), **_INPUT, idProperty={"const": "email"})),
    ),
}


class BadRequest(Exception):
    """A request that is refused as a whole."""

    def __init__(self, status: int, category: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.category = category


class HubSpotStandIn:
    """An account. ``faults``: of the next requests, each used once. ``invalid``: refused addresses."""

    def __init__(self, *lists: str) -> None:
        self.lists: dict[str, dict[str, Any]] = {
            each: {"listId": each, "objectTypeId": "0-1", "processingType": "MANUAL"} for each in lists
        }
        self.members: dict[str, set[str]] = {each: set() for each in lists}
        self.contacts: dict[str, dict[str, str]] = {}
        self.properties = {"aov", "n", "name_first"}
        self.scopes = set(SCOPES)
        self.invalid: set[str] = set()
        #: Whether a batch goes on without an invalid contact; else it is refused.
        self.multi_status = True
        #: Whether errors and results say which input they are of.
        self.names = True
        #: Records that lists do not find the next time.
        self.unready: set[str] = set()
        #: Whether look-ups of invalid addresses are refused, with them in the answer.
        self.strict_look_up = False
        self.daily = 10_000
        self.retry_after = "0"
        #: Whether answers say what is left of the limits.
        self.says = True
        self.page = 250
        self.faults: list[str] = []
        self.refused: list[str] = []
        self.calls: list[tuple[str, Any]] = []
        self._arrivals: list[float] = []
        self._numbers = itertools.count(101)

    def add(self, email: str, *others: str) -> str:
        """Add a contact, and return its record id."""
        record = str(next(self._numbers))
        self.contacts[record] = {"email": email, "hs_additional_emails": ";".join(others)}
        return record

    def addresses(self, list_id: str) -> set[str]:
        """Return the first addresses of the contacts in a list."""
        return {self.contacts[each]["email"] for each in self.members[list_id]}

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
        rule, of = _rule(request)
        fault = self.faults.pop(0) if self.faults else ""
        headers = self._count()
        try:
            if fault in ("500", "423"):
                raise BadRequest(int(fault), "INTERNAL_ERROR", "later")
            self._limit(fault, headers)
            if fault == "reset":
                return _abort(request)
            body = await self._body(request, rule)
            self.calls.append((" ".join(rule), body))
            status, document = self._handlers()[rule](of, body, request.query, fault)
        except BadRequest as error:
            return web.json_response(_error(error), status=error.status, headers=headers)
        if fault == "lost":
            return _abort(request)
        if fault == "cut":
            return await _cut(request, json.dumps(document))
        return web.json_response(document, status=status, headers=headers)

    def use_up(self) -> None:
        """Count as many requests of another process as are left but one."""
        now = asyncio.get_running_loop().time()
        self._arrivals = [each for each in self._arrivals if each > now - 10 * SECOND_S]
        self._arrivals += [now] * (PER_10_S - 1 - len(self._arrivals))

    # -- limits ----------------------------------------------------------------------------------------

    def _count(self) -> dict[str, str]:
        """Count a request; return what is left, in the headers that HubSpot documents."""
        now = asyncio.get_running_loop().time()
        self.daily -= 1
        self._arrivals = [each for each in self._arrivals if each > now - 10 * SECOND_S] + [now]
        if not self.says:
            return {}
        return {
            "X-HubSpot-RateLimit-Max": str(PER_10_S),
            "X-HubSpot-RateLimit-Remaining": str(max(0, PER_10_S - len(self._arrivals))),
            "X-HubSpot-RateLimit-Interval-Milliseconds": str(int(10_000 * SECOND_S)),
            "X-HubSpot-RateLimit-Daily": "10000",
            "X-HubSpot-RateLimit-Daily-Remaining": str(max(0, self.daily)),
        }

    def _limit(self, fault: str, headers: dict[str, str]) -> None:
        if self.daily < 0:
            raise BadRequest(429, "DAILY", "You have reached your daily limit.")
        over = len(self._arrivals) > PER_10_S
        if over:
            self.refused.append("over the limit of 10 seconds")
        if over or fault == "429":
            headers["Retry-After"] = self.retry_after
            raise BadRequest(429, "TEN_SECONDLY_ROLLING", "You have reached your ten_secondly_rolling limit.")

    async def _body(self, request: web.Request, rule: tuple[str, str]) -> Any:
        scopes, schema = RULES[rule]
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            raise BadRequest(401, "INVALID_AUTHENTICATION", f"unknown {request.headers.get('authorization')}")
        if not scopes <= self.scopes:
            raise BadRequest(403, "MISSING_SCOPES", "This app hasn't been granted all required scopes")
        if schema is None:
            return None
        if request.content_type != "application/json":
            raise BadRequest(415, "VALIDATION_ERROR", "expected application/json")
        body = json.loads(await request.read())
        for error in Draft202012Validator(schema).iter_errors(body):
            self.refused.append(f"{rule[1]}: {error.message}")
            raise BadRequest(400, "VALIDATION_ERROR", error.message)
        ids = [each["id"] for each in body.get("inputs", ())]
        if len(ids) > 100 or len({*ids}) < len(ids):
            self.refused.append(f"{rule[1]}: more than 100 inputs, or one twice")
            raise BadRequest(400, "VALIDATION_ERROR", "more than 100 inputs, or one twice")
        return body

    def _handlers(self) -> dict[tuple[str, str], Callable[[str, Any, Any, str], Found]]:
        handlers = (
            lambda _of, _body, _query, _fault: (200, {"portalId": 1, "accountType": "STANDARD"}),
            lambda _of, _body, _query, _fault: (200, {"hubId": 1, "scopes": sorted(self.scopes)}),
            lambda of, _body, _query, _fault: (200, {"list": self._list(of)}),
            lambda of, _body, query, _fault: self._memberships(of, query),
            lambda of, body, _query, _fault: self._change(of, body),
            lambda _of, body, _query, fault: self._read(body, fault),
            lambda _of, body, _query, fault: self._write(body, fault, self._record),
            lambda _of, body, _query, fault: self._write(body, fault, self._upserted),
        )
        return dict(zip(RULES, handlers, strict=True))

    # -- lists -----------------------------------------------------------------------------------------

    def _list(self, list_id: str) -> dict[str, Any]:
        if list_id not in self.lists:
            raise BadRequest(404, "OBJECT_NOT_FOUND", "List does not exist")
        return self.lists[list_id]

    def _memberships(self, list_id: str, query: Any) -> Found:
        self._list(list_id)
        limit, after = min(int(query["limit"]), self.page), query.get("after", "")
        if int(query["limit"]) > 250:
            raise BadRequest(400, "VALIDATION_ERROR", "limit: at most 250")
        rest = [each for each in sorted(self.members[list_id]) if each > after]
        document: dict[str, Any] = {"results": [{"recordId": each} for each in rest[:limit]]}
        if len(rest) > limit:
            document["paging"] = {"next": {"after": rest[limit - 1]}}
        return 200, document

    def _change(self, list_id: str, body: Any) -> Found:
        if self._list(list_id)["processingType"] == "DYNAMIC":
            raise BadRequest(400, "VALIDATION_ERROR", "the list is DYNAMIC")
        added, removed = {*body["recordIdsToAdd"]}, {*body["recordIdsToRemove"]}
        if added & removed:
            self.refused.append("a record is added and removed")
            raise BadRequest(400, "VALIDATION_ERROR", "a record is added and removed")
        missing = {each for each in added | removed if each not in self.contacts} | (self.unready & added)
        self.unready.clear()
        self.members[list_id] |= added - missing
        self.members[list_id] -= removed
        document = {"recordsIdsAdded": sorted(added - missing), "recordIdsRemoved": sorted(removed)}
        return 200, document | {"recordIdsMissing": sorted(missing)}

    # -- contacts --------------------------------------------------------------------------------------

    def _by_email(self, email: str) -> str | None:
        for record, each in self.contacts.items():
            if email in (each["email"], *each.get("hs_additional_emails", "").split(";")):
                return record
        return None

    def _read(self, body: Any, fault: str) -> Found:
        values = [each["id"] for each in body["inputs"]]
        if self.strict_look_up and self.invalid & {*values}:
            raise BadRequest(400, "VALIDATION_ERROR", f"invalid: {', '.join(values)}")
        unclear = values[::2] if fault == "half" else []
        by_email = "idProperty" in body
        records = {each: self._by_email(each) if by_email else each for each in values if each not in unclear}
        found = [each for each in records.values() if each in self.contacts]
        missing = [value for value, record in records.items() if record not in self.contacts]
        results = [
            {"id": each, "properties": self.contacts[each], "archived": False} for each in found if each
        ]
        errors = (
            [_failure("OBJECT_NOT_FOUND", "Could not get some CONTACT objects", missing)] if missing else []
        )
        errors += [_failure("INTERNAL_ERROR", "try again", unclear)] if unclear else []
        return (207 if errors else 200), {"status": "COMPLETE", "results": results, "errors": errors}

    def _write(self, body: Any, fault: str, record_of: Callable[[str], str | None]) -> Found:
        results, errors = [], []
        for number, each in enumerate(body["inputs"]):
            if unknown := sorted(each["properties"].keys() - self.properties):
                detail = [{"isValid": False, "error": "PROPERTY_DOESNT_EXIST", "name": unknown[0]}]
                raise BadRequest(
                    400, "VALIDATION_ERROR", f"Property values were not valid: {json.dumps(detail)}"
                )
            trace = [each["objectWriteTraceId"]] if self.names else []
            if self._is_invalid(each["id"]):
                if not self.multi_status:
                    raise BadRequest(400, "VALIDATION_ERROR", "a contact is invalid")
                errors.append(_failure("VALIDATION_ERROR", "the contact is invalid", trace))
            elif fault == "half" and number % 2 == 0:
                errors.append(_failure("INTERNAL_ERROR", "try again", trace))
            elif (record := record_of(each["id"])) is None:
                errors.append(_failure("OBJECT_NOT_FOUND", "no such contact", trace))
            else:
                self.contacts[record] |= each["properties"]
                trace_of = {"objectWriteTraceId": each["objectWriteTraceId"]} if self.names else {}
                results.append({"id": record, "properties": self.contacts[record], **trace_of})
        return (207 if errors else 200), {"status": "COMPLETE", "results": results, "errors": errors}

    def _is_invalid(self, name: str) -> bool:
        email = self.contacts[name]["email"] if name in self.contacts else name
        return email in self.invalid or ("@" in email and not _EMAIL.fullmatch(email))

    def _record(self, record: str) -> str | None:
        return record if record in self.contacts else None

    def _upserted(self, email: str) -> str:
        return self._by_email(email) or self.add(email)


def _failure(category: str, text: str, names: list[str]) -> dict[str, Any]:
    context = {"ids" if category == "OBJECT_NOT_FOUND" else "objectWriteTraceId": names}
    return {"status": "error", "category": category, "message": text, "context": context, "errors": []}


def _error(error: BadRequest) -> dict[str, Any]:
    if error.status == 429:
        found = {"status": "error", "message": str(error), "errorType": "RATE_LIMIT"}
        return found | {"correlationId": "c033cdaa-2c40-4a64-ae48-b4cec88dad24", "policyName": error.category}
    return {"status": "error", "message": str(error), "correlationId": "c0", "category": error.category}


def _rule(request: web.Request) -> tuple[tuple[str, str], str]:
    path = request.raw_path.partition("?")[0]
    for method, pattern in RULES:
        one = re.fullmatch(pattern.replace("{}", r"(\d+)"), path)
        if one is not None and method == request.method:
            return (method, pattern), one[1] if one.groups() else ""
    raise AssertionError(f"unknown request {request.method} {path}")


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
