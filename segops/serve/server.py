"""The HTTP server of the read API: memberships of a person for browsers, members of a segment for servers."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from math import ceil
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from aiohttp.web import BaseRequest, Response

from segops.api.connections import BoundedServer, response
from segops.api.health import Page
from segops.api.refusals import RequestRefused, refused_page
from segops.config import ServeSettings
from segops.serve.keys import ReadKey, ReadKeys
from segops.serve.metrics import ServeMetrics
from segops.serve.view import Member, Stay, View

log = logging.getLogger(__name__)

MEMBERSHIPS: Final = "/v1/memberships/{identifier}"
MEMBERS: Final = "/v1/segments/{key}/members"
_PATHS: Final = (
    (MEMBERSHIPS, re.compile(r"/v1/memberships/([^/]+)")),
    (MEMBERS, re.compile(r"/v1/segments/([^/]+)/members")),
)
_METHODS: Final = ("GET", "HEAD")
_MAX_MEMBERS: Final = 1_000
_MEMBERS: Final = 100
_JSON: Final = "application/json"
#: What is true of a person changes at any moment, and no cache may keep it.
_HEADERS: Final = {"Cache-Control": "no-store"}
_MAX_AGE_S: Final = "7200"


class _Memberships(msgspec.Struct, omit_defaults=True):
    segments: Mapping[str, object]
    indicators: Mapping[str, msgspec.Raw]
    as_of: int
    #: For servers only.
    profile: str | None = None


class _Stay(msgspec.Struct):
    since: int
    until: int | None


class _Member(msgspec.Struct):
    profile: str
    since: int
    until: int | None


class _Members(msgspec.Struct):
    segment: str
    members: list[_Member]
    next: str | None
    as_of: int


class _Call(NamedTuple):
    """A request whose key may make it; ``argument``: what its path names."""

    route: str
    argument: str
    query: Mapping[str, str]
    key: ReadKey


class ReadServer(BoundedServer):
    """Serves a view. ``as_of_ms`` returns as of when it is true, None while it must not be shown."""

    def __init__(
        self,
        view: View,
        keys: ReadKeys,
        settings: ServeSettings,
        metrics: ServeMetrics,
        *,
        as_of_ms: Callable[[], int | None],
        now_s: Callable[[], float],
    ) -> None:
        super().__init__(
            self._respond, timeout_s=settings.read_timeout_ms / 1000, connections=settings.connections
        )
        self._view = view
        self._keys = keys
        self._metrics = metrics
        self._as_of_ms = as_of_ms
        self._now_s = now_s
        self._pages: Mapping[str, Callable[[_Call, int], Page]] = {
            MEMBERSHIPS: self._memberships,
            MEMBERS: self._members,
        }

    async def _respond(self, request: BaseRequest) -> Response:
        started = asyncio.get_running_loop().time()
        target, _, query_string = request.raw_path.partition("?")
        origin = request.headers.get("Origin")
        query = dict(parse_qsl(query_string))
        if request.method == "OPTIONS":
            return self._preflight(origin, query.get("key"))
        route, argument = _route_of(target)
        key = self._key_of(request, query)
        try:
            page = self._page(request.method, _checked(route, argument, query, key=key, origin=origin))
        except RequestRefused as refused:
            page = refused_page(refused)
        except Exception:
            log.exception("cannot answer a request to %s", route)
            page = refused_page(RequestRefused(500, "internal", "failed"))
        client = "unknown" if key is None else key.client
        self._metrics.requests.labels(route or "unknown", client, str(page.status)).inc()
        self._metrics.seconds.observe(asyncio.get_running_loop().time() - started)
        found = response(page)
        found.headers.update(_HEADERS)
        if origin is not None and origin in (self._keys if key is None else key).origins:
            found.headers.update(_cors(origin))
        return found

    def _preflight(self, origin: str | None, key: str | None) -> Response:
        """Answer what a browser asks before a request: it cannot present a key in a header yet."""
        known = None if key is None else self._keys.public(key)
        allowed = self._keys.origins if known is None else known.origins
        if origin is None or origin not in allowed:
            return response(refused_page(RequestRefused(403, "origin", "origin not allowed")))
        found = response(Page(204, b""))
        found.headers.update(_cors(origin))
        found.headers["Access-Control-Allow-Methods"] = ", ".join(_METHODS)
        found.headers["Access-Control-Allow-Headers"] = "Authorization"
        found.headers["Access-Control-Max-Age"] = _MAX_AGE_S
        return found

    def _key_of(self, request: BaseRequest, query: Mapping[str, str]) -> ReadKey | None:
        """Return the key of a request: of its header, else the public one in its address.

        Addresses are written to logs, where no secret key belongs.
        """
        headers = request.headers.getall("Authorization", [])
        if not headers:
            return self._keys.public(query.get("key", ""))
        scheme, _, key = headers[0].partition(" ")
        return self._keys.get(key.strip(" ")) if scheme.lower() == "bearer" and len(headers) == 1 else None

    def _page(self, method: str, call: _Call) -> Page:
        if method not in _METHODS:
            allow = {"Allow": f"{', '.join(_METHODS)}, OPTIONS"}
            return refused_page(RequestRefused(405, "method", "expected GET"))._replace(headers=allow)
        wait_s = call.key.bucket.take(1, now_s=self._now_s())
        if wait_s > 0:
            raise RequestRefused(429, "rate", "too many requests", retry_after_s=ceil(wait_s))
        as_of_ms = self._as_of_ms()
        if as_of_ms is None:
            raise RequestRefused(503, "not_ready", "the memberships are not read yet", retry_after_s=1)
        return self._pages[call.route](call, as_of_ms)

    def _memberships(self, call: _Call, as_of_ms: int) -> Page:
        identifier, secret = _text(call.argument), call.key.secret
        if ":" not in identifier:
            raise RequestRefused(400, "identifier", "expected an identifier <type>:<value>")
        if not call.key.allows(identifier):
            raise RequestRefused(403, "identifier_type", "this key may not ask for identifiers of this type")
        found = self._view.find(identifier)
        if found is None:
            if secret:
                raise RequestRefused(404, "unknown", "unknown identifier")
            return _json(_Memberships({}, {}, as_of_ms))
        stays = {key: _shown(stay) for key, stay in found.memberships.items()}
        profile_id = found.profile_id if secret else None
        return _json(_Memberships(stays, found.indicators, as_of_ms, profile_id))

    def _members(self, call: _Call, as_of_ms: int) -> Page:
        if not call.key.secret:
            raise RequestRefused(403, "secret_key", "expected a secret key")
        segment = _text(call.argument)
        if segment not in self._view.shown.segments:
            raise RequestRefused(404, "unknown", "unknown segment")
        limit = _limit_in(call.query)
        page = self._view.members(segment, call.query.get("after", ""), limit)
        return _json(_Members(segment, [*map(_member, page.members)], page.after, as_of_ms))


def _route_of(target: str) -> tuple[str, str]:
    """Return the route of a path, empty if there is none, and what the path names, percent-encoded."""
    for route, pattern in _PATHS:
        if (match := pattern.fullmatch(target)) is not None:
            return route, match[1]
    return "", ""


def _checked(
    route: str, argument: str, query: Mapping[str, str], *, key: ReadKey | None, origin: str | None
) -> _Call:
    """Return a request that its key allows. Raises RequestRefused, by what the request says alone."""
    if not route:
        raise RequestRefused(404, "no_such_path", "no such path")
    if key is None:
        raise RequestRefused(401, "key", "missing or unknown key")
    if key.secret and origin is not None:
        raise RequestRefused(403, "browser", "a secret key must not be in a page: revoke it")
    if not key.allows_origin(origin):
        raise RequestRefused(403, "origin", "origin not allowed")
    return _Call(route, argument, query, key)


def _cors(origin: str) -> Mapping[str, str]:
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "Retry-After",
        "Vary": "Origin",
    }


def _text(encoded: str) -> str:
    try:
        return unquote_to_bytes(encoded).decode()
    except UnicodeError:
        raise RequestRefused(400, "encoding", "expected percent-encoded UTF-8") from None


def _limit_in(query: Mapping[str, str]) -> int:
    text = query.get("limit", str(_MEMBERS))
    limit = int(text) if text.isdecimal() and len(text) < 8 else 0
    if not 1 <= limit <= _MAX_MEMBERS:
        raise RequestRefused(400, "limit", f"limit: expected a number from 1 to {_MAX_MEMBERS}")
    return limit


def _shown(stay: Stay) -> _Stay:
    return _Stay(stay.since, stay.until)


def _member(member: Member) -> _Member:
    return _Member(member.profile_id, member.stay.since, member.stay.until)


def _json(found: _Memberships | _Members) -> Page:
    return Page(200, msgspec.json.encode(found), _JSON)
