"""A strict stand-in of the part of Klaviyo's API that delivers: lists, imports and events.

Schemas of requests and answers (closed objects), parameters, scopes and rates are those of Klaviyo's OpenAPI
document (``tests.klaviyo.contract``). Sources of the other rules, developers.klaviyo.com: "Bulk import
profiles" (at most 10,000 profiles and 5 MB a job; jobs end asynchronously; import errors per record), "Remove
profiles from list" (at most 1,000 profiles), "Bulk create events" (at most 1,000 events), "Create event"
(``unique_id``: of events with the same one only the first counts; ``backfill`` triggers no flows), "Rate
limits" (429 with ``Retry-After``). Unverified against the service: that an import into a list that is gone is
404, and that a bulk request with a ``unique_id`` that is known is refused as a whole.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from segops.destinations.klaviyo.api import ENDPOINTS, REVISION, Endpoint
from tests.klaviyo.contract import Refused, answers, check_query, operation, rates, requests

KEY = "pk_stand_in_0123456789"
FAULTS = ("429", "500", "reset", "lost")
SCOPES = (
    "accounts:read",
    "events:write",
    "lists:read",
    "lists:write",
    "profiles:read",
    "profiles:write",
)
_TYPE = "application/vnd.api+json"
_ANY = re.compile(r"any\((email|id),(\[.*\])\)", re.DOTALL)
PATHS = {
    "/api/lists/{}": "/api/lists/{id}",
    "/api/lists/{}/relationships/profiles": "/api/lists/{id}/relationships/profiles",
    "/api/profile-bulk-import-jobs/{}": "/api/profile-bulk-import-jobs/{job_id}",
    "/api/profile-bulk-import-jobs/{}/import-errors": "/api/profile-bulk-import-jobs/{id}/import-errors",
}


class KlaviyoLists:
    """An account with lists. ``faults``: of the next requests, each used once."""

    def __init__(self, *lists: str) -> None:
        self.lists: dict[str, set[str]] = {each: set() for each in lists}
        self.profiles: dict[str, dict[str, Any]] = {}
        self.events: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.scopes = SCOPES
        #: Whether look-ups are answered; else they are refused, with their filter in the answer.
        self.looks_up = True
        self.faults: list[str] = []
        self.refused: list[str] = []
        self.calls: list[str] = []
        self._arrivals: dict[Endpoint, list[float]] = defaultdict(list)
        self._numbers = itertools.count(1)

    def members(self, list_id: str) -> set[str]:
        """Return the addresses in a list."""
        return {self.profiles[each]["email"] for each in self.lists[list_id]}

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
        endpoint, of = _endpoint(request)
        path, method = PATHS.get(endpoint.path, endpoint.path), endpoint.method.lower()
        self.calls.append(f"{endpoint.method} {endpoint.path}")
        fault = self.faults.pop(0) if self.faults else ""
        if fault in ("429", "500") or self._is_over(endpoint, path, method):
            return web.Response(status=int(fault or 429), headers={"Retry-After": "0" if fault else "1"})
        if fault == "reset":
            return _cut(request)
        try:
            status, document = self._carry_out(request, endpoint, of, await self._body(request, path, method))
        except (Refused, PermissionError, KeyError) as error:
            return self._problem(error)
        if status == 200:
            answers(path).validate(document)
        if fault == "lost":
            return _cut(request)
        return web.json_response(document, status=status, content_type=_TYPE)

    def _is_over(self, endpoint: Endpoint, path: str, method: str) -> bool:
        """Count a request; return whether any window of a second or a minute has too many."""
        now, arrivals = asyncio.get_running_loop().time(), self._arrivals[endpoint]
        arrivals.append(now)
        over = any(
            len([at for at in arrivals if at > now - length_s]) > allowed
            for length_s, allowed in zip((1.0, 60.0), rates(path, method), strict=True)
        )
        if over:
            self.refused.append(f"over a limit: {endpoint.path}")
        return over

    async def _body(self, request: web.Request, path: str, method: str) -> Any:
        if request.headers.get("authorization") != f"Klaviyo-API-Key {KEY}":
            raise PermissionError("401")
        if not set(operation(path, method)["x-klaviyo-scopes"]) <= set(self.scopes):
            raise PermissionError("403")
        if request.headers.get("revision") != REVISION:
            raise Refused("revision", "unknown revision")
        if method == "get":
            check_query(path, request.query)
            return None
        content = await request.read()
        if len(content) > 5_000_000:
            raise Refused("", "more than 5 MB")
        body = json.loads(content)
        for error in requests(path, method).iter_errors(body):
            raise Refused("", error.message)
        return body

    def _carry_out(self, request: web.Request, endpoint: Endpoint, of: str, body: Any) -> tuple[int, Any]:
        handlers = {
            "GET /api/accounts": lambda: (200, _ACCOUNT),
            "GET /api/lists/{}": lambda: (200, self._list(of)),
            "GET /api/lists/{}/relationships/profiles": lambda: (200, self._ids_of(of)),
            "DELETE /api/lists/{}/relationships/profiles": lambda: self._remove(of, body),
            "GET /api/profiles": lambda: (200, self._found(request.query["filter"])),
            "POST /api/profile-bulk-import-jobs": lambda: self._import(body),
            "GET /api/profile-bulk-import-jobs": lambda: (200, self._open_jobs(request.query["filter"])),
            "GET /api/profile-bulk-import-jobs/{}": lambda: (200, {"data": self._job(of)}),
            "GET /api/profile-bulk-import-jobs/{}/import-errors": lambda: (200, self._errors(of)),
            "POST /api/events": lambda: self._event(body["data"]["attributes"]),
            "POST /api/event-bulk-create-jobs": lambda: self._events(body),
        }
        return handlers[f"{endpoint.method} {endpoint.path}"]()

    # -- lists -----------------------------------------------------------------------------------------

    def _list(self, list_id: str) -> dict[str, Any]:
        assert self.lists[list_id] is not None
        attributes = {"name": "Win-back", "created": None, "updated": None}
        links = {"self": f"https://a.klaviyo.com/api/lists/{list_id}"}
        return {"data": {"type": "list", "id": list_id, "attributes": attributes, "links": links}}

    def _ids_of(self, list_id: str) -> dict[str, Any]:
        data = [{"type": "profile", "id": each} for each in sorted(self.lists[list_id])]
        return {"data": data, "links": {"self": "https://a.klaviyo.com/api/lists"}}

    def _remove(self, list_id: str, body: Any) -> tuple[int, Any]:
        if len(body["data"]) > 1_000:
            raise Refused("", "more than 1,000 profiles")
        self.lists[list_id].difference_update(each["id"] for each in body["data"])
        return 204, None

    def _found(self, text: str) -> dict[str, Any]:
        one = _ANY.fullmatch(text)
        if one is None or not self.looks_up:
            raise Refused("filter", f"expected any(field,[…]), got {text}")
        values = set(json.loads(one[2]))
        if len(values) > 100:
            raise Refused("filter", "more than 100 values")
        found = [
            _profile(key, each["email"])
            for key, each in self.profiles.items()
            if (key if one[1] == "id" else each["email"]) in values
        ]
        return {"data": found, "links": {"self": "https://a.klaviyo.com/api/profiles"}}

    # -- imports ---------------------------------------------------------------------------------------

    def _import(self, body: Any) -> tuple[int, Any]:
        profiles = body["data"]["attributes"]["profiles"]["data"]
        if not 0 < len(profiles) <= 10_000:
            raise Refused("", "expected 1 to 10,000 profiles")
        lists = body["data"].get("relationships", {}).get("lists", {}).get("data", [])
        for each in lists:
            assert self.lists[each["id"]] is not None
        job = f"job-{next(self._numbers)}"
        failed, joining = [], list[str]()
        for each in profiles:
            attributes = each["attributes"]
            if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", attributes["email"]):
                failed.append(each)
                continue
            key = self._upsert(attributes["email"])
            self.profiles[key]["properties"] |= attributes.get("properties", {})
            joining.append(key)
        ids = [each["id"] for each in lists]
        self.jobs[job] = {
            "failed": failed,
            "polls": 0,
            "count": len(profiles),
            "ids": ids,
            "joining": joining,
        }
        return 202, {"data": self._job(job)}

    def _upsert(self, email: str) -> str:
        known = (key for key, each in self.profiles.items() if each["email"] == email)
        key = next(known, None) or f"01P{next(self._numbers)}"
        self.profiles.setdefault(key, {"email": email, "properties": {}})
        return key

    def end_imports(self) -> None:
        """Let all imports end, as late as they may."""
        for job in self.jobs:
            while self._job(job)["attributes"]["status"] != "complete":
                pass

    def _open_jobs(self, text: str) -> dict[str, Any]:
        if text != 'any(status,["queued","processing"])':
            raise Refused("filter", f"unknown filter {text}")
        found = [self._job(job) for job, each in self.jobs.items() if each["polls"] < 3]
        return {"data": found, "links": {"self": "https://a.klaviyo.com/api/profile-bulk-import-jobs"}}

    def _job(self, job: str) -> dict[str, Any]:
        """Look at a job: at the third look it ends, and adds its profiles to the lists."""
        found = self.jobs[job]
        found["polls"] += 1
        if found["polls"] == 3:
            for each in found["ids"]:
                self.lists[each].update(found["joining"])
        status = ["queued", "processing", "complete"][min(found["polls"], 3) - 1]
        attributes = {
            "status": status,
            "created_at": "2026-11-27T00:00:00+00:00",
            "total_count": found["count"],
            "failed_count": len(found["failed"]) if status == "complete" else 0,
        }
        links = {"self": f"https://a.klaviyo.com/api/profile-bulk-import-jobs/{job}"}
        return {"type": "profile-bulk-import-job", "id": job, "attributes": attributes, "links": links}

    def _errors(self, job: str) -> dict[str, Any]:
        data = []
        for number, each in enumerate(self.jobs[job]["failed"]):
            attributes = {
                "code": "invalid",
                "title": "Invalid input.",
                "detail": "Invalid email address",
                "source": {"pointer": "/data/attributes/email"},
                "original_payload": each["attributes"],
            }
            data.append({"type": "import-error", "id": str(number), "attributes": attributes})
        return {"data": data, "links": {"self": "https://a.klaviyo.com/api/import-errors"}}

    # -- events ----------------------------------------------------------------------------------------

    def _event(self, attributes: Any) -> tuple[int, Any]:
        self.events.setdefault(attributes["unique_id"], attributes)
        return 202, None

    def _events(self, body: Any) -> tuple[int, Any]:
        entries = body["data"]["attributes"]["events-bulk-create"]["data"]
        events = [
            (one["attributes"], event) for one in entries for event in one["attributes"]["events"]["data"]
        ]
        if len(events) > 1_000:
            raise Refused("", "more than 1,000 events")
        if any(event["attributes"]["unique_id"] in self.events for _, event in events):
            raise Refused("unique_id", "is known already")
        for of, event in events:
            self._event({**event["attributes"], "profile": of["profile"]})
        return 202, None

    @staticmethod
    def _problem(refusal: Exception) -> web.Response:
        status, detail = 400, str(refusal)
        if isinstance(refusal, PermissionError):
            status, detail = int(detail), "refused"
        elif isinstance(refusal, KeyError):
            status, detail = 404, f"{detail} does not exist"
        error = {"id": "1", "code": "x", "title": "x", "detail": detail, "source": {"pointer": "/data"}}
        return web.json_response({"errors": [error]}, status=status, content_type=_TYPE)


def _endpoint(request: web.Request) -> tuple[Endpoint, str]:
    for endpoint in ENDPOINTS:
        one = re.fullmatch(endpoint.path.replace("{}", "([^/]+)"), request.raw_path.partition("?")[0])
        if one is not None and endpoint.method == request.method:
            return endpoint, unquote(one[1]) if one.groups() else ""
    raise AssertionError(f"unknown request {request.method} {request.path}")


def _cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def _profile(key: str, email: str) -> dict[str, Any]:
    links = {"self": f"https://a.klaviyo.com/api/profiles/{key}"}
    return {"type": "profile", "id": key, "attributes": {"email": email}, "links": links}


_ACCOUNT = {
    "data": [
        {
            "type": "account",
            "id": "AbC123",
            "attributes": {
                "test_account": True,
                "contact_information": {
                    "default_sender_name": "Shop",
                    "default_sender_email": "shop@example.com",
                    "organization_name": "Shop",
                    "street_address": {},
                },
                "timezone": "UTC",
                "preferred_currency": "EUR",
                "public_api_key": "AbC123",
                "locale": "en",
            },
            "links": {"self": "https://a.klaviyo.com/api/accounts/AbC123"},
        }
    ]
}
