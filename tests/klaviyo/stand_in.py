"""A strict stand-in of Klaviyo's API: it refuses what the contract does not allow, and fails on demand.

Parameters, filters, sorting, page sizes, scopes and rates are those of the OpenAPI document (``contract``).
Fixed windows, ``Retry-After`` and the ``RateLimit-*`` headers: developers.klaviyo.com, "Rate limits, status
codes, and errors". Unverified against the service: what an expired cursor is answered with, and that
``updated`` changes with each change of consent.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from yarl import URL

from segops.klaviyo.client import REVISION
from tests.klaviyo.contract import Refused, answers, check_filter, check_query, operation, rates

KEY = "pk_stand_in_0123456789"
#: Longer than a client waits for data.
SLOW_S = 300.0
FAULTS = ("429", "500", "503", "slow", "reset", "expire", "html")
_TYPE = "application/vnd.api+json"
_SORTED = {"/api/events": "datetime", "/api/profiles": "updated"}


def iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1_000, UTC).isoformat()


@dataclass
class StandIn:
    """An account. Objects are in the form of the contract; ``visible_from``: id -> second of the loop."""

    profiles: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, str] = field(default_factory=dict)
    visible_from: dict[str, float] = field(default_factory=dict)
    scopes: tuple[str, ...] = ("accounts:read", "events:read", "profiles:read")
    #: The most items of a page, whatever was asked for; of one path in ``sizes``.
    page_cap: int = 1_000
    sizes: dict[str, int] = field(default_factory=dict)
    latency_s: float = 0.05
    #: The length of the window of the steady rate.
    minute_s: float = 60.0
    validate: bool = True
    #: Faults of the next requests; each is used once.
    faults: list[str | None] = field(default_factory=list)
    #: Path -> the times at which requests arrived.
    arrivals: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: list[str] = field(default_factory=list)
    _cursors: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on loopback; yield the address."""
        app = web.Application()
        app.router.add_get("/api/{name}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path, now = request.path, asyncio.get_running_loop().time()
        self.arrivals[path].append(now)
        if _used(self.arrivals[path], now, 1.0) > rates(path)[0]:
            return self._limited(f"{path}: burst", retry_after_s=1)
        if _used(self.arrivals[path], now, self.minute_s) > rates(path)[1]:
            return self._limited(f"{path}: steady", retry_after_s=math.ceil(self.minute_s))
        await asyncio.sleep(self.latency_s)
        fault = self.faults.pop(0) if self.faults and path != "/api/accounts" else None
        if fault is not None:
            return await self._fail(fault, request)
        try:
            self._check_access(request)
            document = self._documents[path](request)
        except Refused as error:
            return self._problem(400, error.parameter, str(error))
        except PermissionError as error:
            return self._problem(int(str(error)), "", "refused")
        if self.validate:
            answers(path).validate(document)
        left = rates(path)[1] - _used(self.arrivals[path], now, self.minute_s)
        reset_s = math.ceil(self.minute_s - now % self.minute_s)
        headers = {"RateLimit-Remaining": str(left), "RateLimit-Reset": str(reset_s)}
        return web.Response(body=json.dumps(document).encode(), content_type=_TYPE, headers=headers)

    def _limited(self, what: str, *, retry_after_s: int) -> web.Response:
        self.refused.append(f"over a limit: {what}")
        return web.Response(status=429, headers={"Retry-After": str(retry_after_s)})

    async def _fail(self, fault: str, request: web.Request) -> web.StreamResponse:
        if fault == "429":
            return web.Response(status=429, headers={"Retry-After": "7"})
        if fault in ("500", "503"):
            return web.Response(status=int(fault), text="<html>no JSON</html>")
        if fault == "html":
            return web.Response(status=502, text="<html>bad gateway</html>")
        if fault == "expire":
            self._cursors.clear()
            return web.Response(status=503)
        if fault == "slow":
            await asyncio.sleep(SLOW_S)
        response = web.StreamResponse(headers={"Content-Length": "1000000"})
        await response.prepare(request)
        await response.write(b'{"data": [')
        if request.transport is not None:
            request.transport.abort()
        return response

    def _check_access(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Klaviyo-API-Key {KEY}":
            raise PermissionError("401")
        if not set(operation(request.path)["x-klaviyo-scopes"]) <= set(self.scopes):
            raise PermissionError("403")
        if request.headers.get("revision") != REVISION:
            raise Refused("revision", "unknown revision")

    def _problem(self, status: int, parameter: str, detail: str) -> web.Response:
        if parameter != "page[cursor]":
            self.refused.append(f"{status} {parameter}: {detail}")
        error = {"id": "1", "code": "x", "title": "x", "detail": detail, "source": {"parameter": parameter}}
        return web.json_response({"errors": [error]}, status=status, content_type=_TYPE)

    @property
    def _documents(self) -> dict[str, Callable[[web.Request], dict[str, Any]]]:
        return {"/api/accounts": self._account, "/api/events": self._page, "/api/profiles": self._page}

    def _account(self, request: web.Request) -> dict[str, Any]:
        check_query(request.path, request.query)
        contact = {
            "default_sender_name": "Shop",
            "default_sender_email": "shop@example.com",
            "organization_name": "Shop",
            "street_address": {},
        }
        attributes = {
            "test_account": True,
            "contact_information": contact,
            "timezone": "UTC",
            "preferred_currency": "EUR",
            "public_api_key": "AbC123",
            "locale": "en",
        }
        links = {"self": "https://a.klaviyo.com/api/accounts/AbC123"}
        return {"data": [{"type": "account", "id": "AbC123", "attributes": attributes, "links": links}]}

    def _page(self, request: web.Request) -> dict[str, Any]:
        query, path = check_query(request.path, request.query), request.path
        default = {"/api/events": 200, "/api/profiles": 20}[path]
        size = min(query.get("page[size]", default), self.sizes.get(path, self.page_cap))
        by = _SORTED[path]
        if query.get("sort") != by:
            raise Refused("sort", f"expected {by}")
        begin, cursor = 0, query.get("page[cursor]")
        if cursor is not None:
            if cursor not in self._cursors:
                raise Refused("page[cursor]", "the cursor has expired")
            begin = int(cursor.rpartition("-")[2])
        found = list(self._selected(path, query.get("filter"), by))[begin:]
        links = {"self": str(URL("https://a.klaviyo.com") / path[1:])}
        if len(found) > size:
            after = f"c{len(self._cursors)}-{begin + size}"
            self._cursors.add(after)
            links["next"] = f"https://a.klaviyo.com{path}?page%5Bcursor%5D={after}"
        document = {"data": [_sparse(each, query) for each in found[:size]], "links": links}
        if "include" in query:
            document["included"] = list(self._included(found[:size], query))
        return document

    def _selected(self, path: str, text: str | None, by: str) -> Iterator[dict[str, Any]]:
        now, comparisons = asyncio.get_running_loop().time(), check_filter(path, text)
        items = self.events if path == "/api/events" else self.profiles
        for item in sorted(items, key=lambda each: each["attributes"][by]):
            time = datetime.fromisoformat(item["attributes"][by])
            if self.visible_from.get(item["id"], 0) <= now and all(
                _HOLDS[operator](time, value) for operator, _, value in comparisons
            ):
                yield item

    def _included(self, found: list[dict[str, Any]], query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        related = [each["relationships"] for each in found]
        for name in sorted({each["metric"]["data"]["id"] for each in related}):
            links = {"self": f"https://a.klaviyo.com/api/metrics/{name}"}
            yield {"type": "metric", "id": name, "attributes": {"name": self.metrics[name]}, "links": links}
        wanted = {each["profile"]["data"]["id"] for each in related}
        for profile in self.profiles:
            if profile["id"] in wanted:
                yield _sparse(profile, query)


def _used(arrivals: list[float], now: float, length_s: float) -> int:
    """Count the requests of the last window, wherever it begins: stricter than fixed windows."""
    count = 0
    for time in reversed(arrivals):
        if time <= now - length_s:
            break
        count += 1
    return count


def _sparse(item: dict[str, Any], query: dict[str, Any]) -> dict[str, Any]:
    fields = query.get(f"fields[{item['type']}]")
    extra = query.get(f"additional-fields[{item['type']}]", ())
    attributes = item["attributes"]
    if fields is not None:
        attributes = {name: value for name, value in attributes.items() if name in fields or name in extra}
    return {**item, "attributes": attributes}


_HOLDS: dict[str, Callable[[datetime, datetime], bool]] = {
    "greater-or-equal": lambda time, bound: time >= bound,
    "greater-than": lambda time, bound: time > bound,
    "less-than": lambda time, bound: time < bound,
    "less-or-equal": lambda time, bound: time <= bound,
}
