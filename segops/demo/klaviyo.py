"""A stand-in of the part of Klaviyo's API that keeps a list: strict, and within Klaviyo's limits.

The rules are those of Klaviyo's OpenAPI document (revision 2026-07-15) and of its pages on rate limits and
bulk imports: key, revision and content type; bodies without unknown fields; 10,000 profiles an import, 1,000
a removal, 100 values a filter; a burst and a steady rate of each operation; imports end after their answer.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, Final, Literal
from urllib.parse import unquote

import msgspec
from aiohttp import web

from segops.destinations.klaviyo import api
from segops.destinations.klaviyo.api import Endpoint

#: Of the account, which exists on loopback for the time of a run.
KEY: Final = "pk_demo_0123456789"
LIST: Final = "VIP001"
_TYPE: Final = "application/vnd.api+json"
_IMPORT_S: Final = 0.2
_MOST: Final = {"import": 10_000, "removal": 1_000, "filter": 100}
_FILTER: Final = re.compile(r"any\((email|id),(\[.*\])\)", re.DOTALL)


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _Reference(_Strict):
    type: Literal["profile", "list"]
    id: str


class _References(_Strict):
    data: list[_Reference]


class _Attributes(_Strict):
    email: str
    properties: dict[str, Any] = {}


class _Profile(_Strict):
    type: Literal["profile"]
    attributes: _Attributes


class _Profiles(_Strict):
    data: list[_Profile]


class _JobAttributes(_Strict):
    profiles: _Profiles


class _JobRelationships(_Strict):
    lists: _References


class _Job(_Strict):
    type: Literal["profile-bulk-import-job"]
    attributes: _JobAttributes
    relationships: _JobRelationships | None = None


class _JobBody(_Strict):
    data: _Job


class _ProfileBody(_Strict):
    data: _Profile


class _Import(msgspec.Struct):
    emails: list[str]
    lists: list[str]
    ends_at_s: float
    done: bool = False


class KlaviyoAccount:
    """An account with one list. ``members``: the addresses in it; ``refused``: requests that broke a rule."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.requests = 0
        self._list: set[str] = set()
        self._emails: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self._imports: dict[str, _Import] = {}
        self._arrivals: dict[Endpoint, deque[float]] = defaultdict(deque)
        self._numbers = itertools.count(1)

    @property
    def members(self) -> set[str]:
        """The addresses in the list."""
        self._end_imports()
        return {self._emails[each] for each in self._list}

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        self.requests += 1
        self._end_imports()
        try:
            endpoint, of = _endpoint(request)
            if self._is_over(endpoint):
                self.refused.append(f"over the rate of {endpoint.method} {endpoint.path}")
                return web.Response(status=429, headers={"Retry-After": "1"})
            _check_headers(request)
            status, document = self._handlers[endpoint](self, of, request.query, await request.read())
        except (msgspec.DecodeError, LookupError, ValueError) as error:
            self.refused.append(f"{request.method} {request.path}: {error}")
            status = 404 if isinstance(error, LookupError) else 400
            document = {"errors": [{"id": "1", "code": "invalid", "title": "Invalid", "detail": str(error)}]}
        return web.json_response(document, status=status, content_type=_TYPE)

    def _is_over(self, endpoint: Endpoint) -> bool:
        now, arrivals = monotonic(), self._arrivals[endpoint]
        arrivals.append(now)
        while arrivals[0] <= now - 60:
            arrivals.popleft()
        rate = endpoint.rate
        return len(arrivals) > rate.steady or sum(each > now - 1 for each in arrivals) > rate.burst

    # -- profiles and the list -------------------------------------------------------------------------

    def _profile_id(self, email: str) -> str:
        found = self._ids.setdefault(email, f"01DEMO{len(self._ids):08}")
        self._emails[found] = email
        return found

    def _import_one(self, _of: str, _query: Any, body: bytes) -> tuple[int, Any]:
        found = msgspec.json.decode(body, type=_ProfileBody).data.attributes.email
        return 201, {"data": _profile(self._profile_id(found), found)}

    def _found(self, _of: str, query: Any, _body: bytes) -> tuple[int, Any]:
        match = _FILTER.fullmatch(query.get("filter", ""))
        values = json.loads(match[2]) if match else []
        _check("filter", len(values))
        by_id = match is not None and match[1] == "id"
        ids = values if by_id else [self._ids[each] for each in values if each in self._ids]
        return 200, _page([_profile(each, self._emails[each]) for each in ids if each in self._emails])

    def _listed(self, of: str, _query: Any, _body: bytes) -> tuple[int, Any]:
        _check_list(of)
        return 200, _page([{"type": "profile", "id": each} for each in sorted(self._list)])

    def _accounts(self, _of: str, _query: Any, _body: bytes) -> tuple[int, Any]:
        return 200, _page([{"type": "account", "id": "DEMO01"}])

    def _found_list(self, of: str, _query: Any, _body: bytes) -> tuple[int, Any]:
        _check_list(of)
        return 200, {"data": {"type": "list", "id": of, "attributes": {"name": "VIPs"}}}

    def _add(self, of: str, _query: Any, body: bytes) -> tuple[int, Any]:
        self._list |= self._references(of, body)
        return 204, None

    def _remove(self, of: str, _query: Any, body: bytes) -> tuple[int, Any]:
        self._list -= self._references(of, body)
        return 204, None

    def _references(self, of: str, body: bytes) -> set[str]:
        _check_list(of)
        found = {each.id for each in msgspec.json.decode(body, type=_References).data}
        _check("removal", len(found))
        return found

    # -- imports ---------------------------------------------------------------------------------------

    def _import(self, _of: str, _query: Any, body: bytes) -> tuple[int, Any]:
        job = msgspec.json.decode(body, type=_JobBody).data
        emails = [each.attributes.email for each in job.attributes.profiles.data]
        lists = [] if job.relationships is None else [each.id for each in job.relationships.lists.data]
        _check("import", len(emails))
        for each in lists:
            _check_list(each)
        key = f"job-{next(self._numbers)}"
        self._imports[key] = _Import(emails, lists, monotonic() + _IMPORT_S)
        return 202, {"data": self._job(key)}

    def _end_imports(self) -> None:
        for each in self._imports.values():
            if not each.done and monotonic() >= each.ends_at_s:
                each.done = True
                ids = {self._profile_id(email) for email in each.emails}
                self._list |= ids if each.lists else set()

    def _job(self, key: str) -> dict[str, Any]:
        found = self._imports[key]
        status = "complete" if found.done else "processing"
        attributes = {"status": status, "total_count": len(found.emails), "failed_count": 0}
        return {"type": "profile-bulk-import-job", "id": key, "attributes": attributes}

    def _open_jobs(self, _of: str, _query: Any, _body: bytes) -> tuple[int, Any]:
        return 200, _page([self._job(key) for key, each in self._imports.items() if not each.done])

    def _one_job(self, of: str, _query: Any, _body: bytes) -> tuple[int, Any]:
        return 200, {"data": self._job(of)}

    _handlers: Final[dict[Endpoint, Callable[..., tuple[int, Any]]]] = {
        api.ACCOUNTS: _accounts,
        api.LIST: _found_list,
        api.MEMBERS: _listed,
        api.PROFILE: _import_one,
        api.ADD: _add,
        api.REMOVE: _remove,
        api.PROFILES: _found,
        api.IMPORT: _import,
        api.JOBS: _open_jobs,
        api.JOB: _one_job,
    }


def _endpoint(request: web.Request) -> tuple[Endpoint, str]:
    for endpoint in api.ENDPOINTS:
        path = re.fullmatch(endpoint.path.replace("{}", "([^/]+)"), request.raw_path.partition("?")[0])
        if path is not None and endpoint.method == request.method:
            return endpoint, unquote(path[1]) if path.groups() else ""
    raise LookupError("unknown operation")


def _check_headers(request: web.Request) -> None:
    expected = {"authorization": f"Klaviyo-API-Key {KEY}", "revision": api.REVISION, "content-type": _TYPE}
    for name, value in expected.items():
        if request.headers.get(name) != value:
            raise ValueError(f"invalid header {name}")


def _check_list(list_id: str) -> None:
    if list_id != LIST:
        raise LookupError(f"unknown list {list_id}")


def _check(what: str, count: int) -> None:
    if not 0 < count <= _MOST[what]:
        raise ValueError(f"expected 1 to {_MOST[what]:,} for each {what}, got {count:,}")


def _profile(key: str, email: str) -> dict[str, Any]:
    return {"type": "profile", "id": key, "attributes": {"email": email}}


def _page(data: list[Any]) -> dict[str, Any]:
    return {"data": data, "links": {"next": None}}


@asynccontextmanager
async def serving(port: int) -> AsyncIterator[KlaviyoAccount]:
    """Serve an account on loopback during the block."""
    account, application = KlaviyoAccount(), web.Application(client_max_size=6 << 20)
    application.router.add_route("*", "/{path:.*}", account.receive)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield account
    finally:
        await runner.cleanup()
