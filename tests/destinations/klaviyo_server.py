"""A strict stand-in of the part of Klaviyo's API that delivers: lists, imports and events.

Schemas of requests and answers (closed objects), parameters, scopes and rates are those of Klaviyo's OpenAPI
document (``tests.klaviyo.contract``). Sources of the other rules, developers.klaviyo.com: "Bulk import
profiles" (at most 10,000 profiles and 5 MB a job; jobs end asynchronously; import errors per record), "Remove
profiles from list" (at most 1,000 profiles), "Bulk create events" (at most 1,000 events; one whose
``unique_id`` is known fails the request), "Create event" (``unique_id``: of events with the same one only the
first counts; ``backfill`` triggers no flows), "Rate limits" (429 with ``Retry-After``). That an import with
one wrong record may be refused as a whole, with a pointer to the record: rudderlabs/rudder-server, pull
request 7107. Unverified against the service: the status for a list that is gone (404 and 400 are tested),
that scopes are verified before the body, that flows need ``flows:read``, import errors without their record.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from segops.destinations.klaviyo.api import ENDPOINTS, REVISION, Endpoint
from tests.klaviyo.contract import Refused, answers, check_query, operation, rates, requests

from .klaviyo_account import Gone, KlaviyoAccount

KEY = "pk_stand_in_0123456789"
#: Longer than a client waits for an answer.
SLOW_S = 60.0
FAULTS = ("429", "500", "reset", "lost", "slow")
SCOPES = (
    "accounts:read",
    "events:write",
    "flows:read",
    "lists:read",
    "lists:write",
    "profiles:read",
    "profiles:write",
)
_TYPE = "application/vnd.api+json"
PATHS = {
    "/api/lists/{}": "/api/lists/{id}",
    "/api/lists/{}/relationships/profiles": "/api/lists/{id}/relationships/profiles",
    "/api/profile-bulk-import-jobs/{}": "/api/profile-bulk-import-jobs/{job_id}",
    "/api/profile-bulk-import-jobs/{}/import-errors": "/api/profile-bulk-import-jobs/{id}/import-errors",
}


class KlaviyoLists(KlaviyoAccount):
    """An account that is served. ``faults``: of the next requests, each used once."""

    def __init__(self, *lists: str) -> None:
        super().__init__({each: set() for each in lists})
        self.scopes: tuple[str, ...] = SCOPES
        self.faults: list[str] = []
        self.refused: list[str] = []
        self.calls: list[str] = []
        self.latency_s = 0.0
        #: What faults ask to wait.
        self.retry_after_s = 0
        #: Whether forms are verified: that of 10,000 profiles takes seconds.
        self.validates = True
        self._arrivals: dict[Endpoint, deque[float]] = defaultdict(deque)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on loopback; yield the address. Each loop has a clock of its own."""
        self._arrivals.clear()
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
        wait_s = self.retry_after_s if fault else 1
        if fault in ("429", "500") or self._is_over(endpoint, path, method):
            return web.Response(status=int(fault or 429), headers={"Retry-After": str(wait_s)})
        if fault == "reset":
            return _cut(request)
        try:
            status, document = self._carry_out(request, endpoint, of, await self._body(request, path, method))
        except (Refused, PermissionError, Gone) as error:
            return self._problem(error)
        if status in (200, 201) and self.validates:
            answers(path, method, str(status)).validate(document)
        if fault == "lost":
            return _cut(request)
        await asyncio.sleep(SLOW_S if fault == "slow" else self.latency_s)
        return web.json_response(document, status=status, content_type=_TYPE)

    def _is_over(self, endpoint: Endpoint, path: str, method: str) -> bool:
        """Count a request; return whether any window of a second or a minute has too many."""
        now, arrivals = asyncio.get_running_loop().time(), self._arrivals[endpoint]
        arrivals.append(now)
        while arrivals[0] <= now - 60.0:
            arrivals.popleft()
        burst, steady = rates(path, method)
        over = len(arrivals) > steady or sum(at > now - 1.0 for at in reversed(arrivals)) > burst
        if over:
            self.refused.append(f"over a limit: {endpoint.path}")
        return over

    async def _body(self, request: web.Request, path: str, method: str) -> Any:
        if request.headers.get("authorization") != f"Klaviyo-API-Key {KEY}":
            raise PermissionError("401")
        self._require_scopes(set(operation(path, method)["x-klaviyo-scopes"]))
        if request.headers.get("revision") != REVISION:
            raise Refused("revision", "unknown revision")
        if method == "get":
            check_query(path, request.query)
            if "include" in request.query and "flow-triggers" in request.query["include"]:
                self._require_scopes({"flows:read"})
            return None
        content = await request.read()
        if len(content) > 5_000_000:
            raise Refused("", "more than 5 MB")
        body = json.loads(content)
        for error in requests(path, method).iter_errors(body) if self.validates else ():
            raise Refused("", error.message)
        return body

    def _require_scopes(self, scopes: set[str]) -> None:
        if not scopes <= set(self.scopes):
            raise PermissionError("403")

    def _carry_out(self, request: web.Request, endpoint: Endpoint, of: str, body: Any) -> tuple[int, Any]:
        query = request.query
        handlers = {
            "GET /api/accounts": lambda: (200, _ACCOUNT),
            "GET /api/lists/{}": lambda: (200, self.list_of(of, query)),
            "GET /api/lists/{}/relationships/profiles": lambda: (200, self.ids_of(of, query)),
            "POST /api/lists/{}/relationships/profiles": lambda: self.add(of, _ids(body)),
            "DELETE /api/lists/{}/relationships/profiles": lambda: self.remove(of, _ids(body)),
            "GET /api/profiles": lambda: (200, self.found(query)),
            "POST /api/profile-import": lambda: self.upsert(body["data"]["attributes"]),
            "POST /api/profile-bulk-import-jobs": lambda: self.start_import(body),
            "GET /api/profile-bulk-import-jobs": lambda: (200, self.open_jobs(query)),
            "GET /api/profile-bulk-import-jobs/{}": lambda: (200, self.job_of(of, query)),
            "GET /api/profile-bulk-import-jobs/{}/import-errors": lambda: (200, self.errors_of(of, query)),
            "POST /api/events": lambda: self.record(body["data"]["attributes"]),
            "POST /api/event-bulk-create-jobs": lambda: self.record_many(body),
        }
        return handlers[f"{endpoint.method} {endpoint.path}"]()

    def _problem(self, refusal: Exception) -> web.Response:
        status, detail, pointer = 400, str(refusal), "/data"
        if isinstance(refusal, PermissionError):
            status, detail = int(detail), "refused"
        elif isinstance(refusal, Gone):
            status = self.gone
        elif isinstance(refusal, Refused):
            pointer = refusal.parameter or pointer
        error = {"id": "1", "code": "x", "title": "x", "detail": detail, "source": {"pointer": pointer}}
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


def _ids(body: Any) -> list[str]:
    return [each["id"] for each in body["data"]]


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
