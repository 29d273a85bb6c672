"""The worker's HTTP server: short responses, and strict limits on connections.

A connection that sends no request, or does not read its response, is closed after a timeout. Beyond the limit
a new connection closes the oldest: descriptors remain for Kafka and the store, and probes are still answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from aiohttp.http_exceptions import LineTooLong
from aiohttp.web import BaseRequest, RequestHandler, Response, Server, StreamResponse

from segops.api.health import Page
from segops.api.profiles import ProfilePages
from segops.api.scans import MAX_BODY, Call, ScanPages
from segops.api.segments import ROUTES, SegmentPages
from segops.api.timeline import TimelinePages

log = logging.getLogger(__name__)

_PROFILES: Final = "/profiles/"
_METHODS: Final = ("GET", "HEAD")
#: aiohttp's log of malformed requests and broken connections, silenced because any client can fill it.
_SILENT: Final = logging.getLogger(f"{__name__}.protocol")
_SILENT.setLevel(logging.CRITICAL + 1)
_MAX_HEADERS: Final = 64


class Pages:
    """The page for each request.

    >>> pages = Pages({"/healthz": lambda: Page(200, b"ok")}, profiles=None)
    >>> [pages.page(*each).status for each in (("GET", "/healthz"), ("PUT", "/healthz"), ("GET", "/"))]
    [200, 405, 404]
    """

    def __init__(
        self,
        fixed: Mapping[str, Callable[[], Page]],
        profiles: ProfilePages | None,
        scans: ScanPages | None = None,
        segments: SegmentPages | None = None,
        timelines: TimelinePages | None = None,
    ) -> None:
        self._slow = [each for each in (scans, timelines) if each is not None]
        self._fixed = fixed
        self._profiles = profiles
        self._segments = segments

    @property
    def routes(self) -> list[str]:
        """The methods and paths that have a page."""
        paths = (*self._fixed, f"{_PROFILES}{{id}}", *(() if self._segments is None else ROUTES))
        return [*(f"GET {path}" for path in paths), *(route for each in self._slow for route in each.routes)]

    def slow(self, path: str) -> ScanPages | TimelinePages | None:
        """Return what answers requests for ``path`` that take time; None for any other path."""
        return next((each for each in self._slow if each.has(path)), None)

    def page(self, method: str, path: str, authorization: str | None = None, query: str = "") -> Page:
        """Return the response to a request for ``path`` and ``query``, both percent-encoded."""
        make = self._fixed.get(path) or self._profile(path, authorization)
        if make is None and self._segments is not None:
            make = self._segments.find(path, query, authorization)
        if make is None:
            return Page(404, b"no such page\n")
        if method not in _METHODS:
            return Page(405, b"read only\n", headers={"Allow": ", ".join(_METHODS)})
        try:
            return make()
        except Exception:
            log.exception("cannot render a page")
            return Page(500, b"failed\n")

    def _profile(self, path: str, authorization: str | None) -> Callable[[], Page] | None:
        part = path.removeprefix(_PROFILES)
        pages = self._profiles
        if pages is None or part in ("", path) or "/" in part:
            return None
        try:
            identifier = unquote_to_bytes(part).decode()
        except UnicodeError:
            return lambda: Page(400, b"expected a percent-encoded UTF-8 identifier\n")
        return lambda: pages.page(identifier, authorization)


class PageServer(Server):
    """Serves pages. Bind it to an address with aiohttp's ``ServerRunner``; requires a running loop.

    ``timeout_s`` limits the time to receive a request, to send a response, and between two requests;
    ``connections`` limits the number of open connections.
    """

    def __init__(self, pages: Pages, *, timeout_s: float, connections: int) -> None:
        super().__init__(self._answer)
        self._pages = pages
        self._timeout_s = timeout_s
        self._limit = connections
        self._open: dict[RequestHandler, asyncio.Transport] = {}

    def __call__(self) -> RequestHandler:
        """Return the handler of a new connection."""
        return _Connection(self, self._timeout_s)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Add a connection; close the oldest when there are too many."""
        super().connection_made(handler, transport)
        self._open[handler] = transport
        while len(self._open) > self._limit:
            self._open.pop(next(iter(self._open))).abort()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Remove a connection."""
        self._open.pop(handler, None)
        super().connection_lost(handler, exc)

    async def _answer(self, request: BaseRequest) -> Response:
        headers = request.headers.getall("Authorization", [])
        authorization = headers[0] if len(headers) == 1 else None
        method, path = request.method, request.rel_url.raw_path
        slow = self._pages.slow(path)
        if slow is None:
            query_string = request.rel_url.raw_query_string
            return _response(self._pages.page(method, path, authorization, query_string))
        query = dict(request.rel_url.query)
        return _last(await slow.page(Call(method, path, query, authorization, partial(self._body, request))))

    async def _body(self, request: BaseRequest) -> bytes | None:
        """Return the body of a request; None if it is too long. Raises TimeoutError."""
        body = bytearray()
        async with asyncio.timeout(self._timeout_s):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY:
                    return None
        return bytes(body)


class _Connection(RequestHandler):
    """A connection whose responses reveal neither the server software nor details of errors."""

    __slots__ = ("_timeout_s",)

    def __init__(self, server: PageServer, timeout_s: float) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=timeout_s,  # also until the first request has arrived
            lingering_time=0,
            logger=_SILENT,
            access_log=None,  # type: ignore[arg-type]
            max_headers=_MAX_HEADERS,
            auto_decompress=False,
        )
        self._timeout_s = timeout_s

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> StreamResponse:
        """Return a one-line response to a malformed request."""
        if isinstance(exc, LineTooLong):
            return _last(Page(431, b"too long\n"))
        return _last(Page(status, b"malformed\n" if status < 500 else b"failed\n"))

    async def finish_response(
        self, request: BaseRequest, resp: StreamResponse, start_time: float | None
    ) -> tuple[StreamResponse, bool]:
        """Send a response; abort the connection if the client does not read it in time."""
        resp.headers.setdefault("Server", "segops")
        transport = self.transport
        try:
            async with asyncio.timeout(self._timeout_s):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            if transport is not None:
                transport.abort()
            return resp, True


def _response(page: Page) -> Response:
    headers: dict[str, Any] = {"Content-Type": page.content_type, **page.headers}
    return Response(body=page.body, status=page.status, headers=headers)


def _last(page: Page) -> Response:
    response = _response(page)
    response.force_close()
    return response
