"""The worker's HTTP server: short responses, and strict limits on connections (``connections``)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

from aiohttp.web import BaseRequest, Response

from segops.api.connections import BoundedServer, last, response
from segops.api.health import Page
from segops.api.profiles import ProfilePages
from segops.api.scans import MAX_BODY, Call
from segops.api.segments import ROUTES, SegmentPages

log = logging.getLogger(__name__)

_PROFILES: Final = "/profiles/"
_METHODS: Final = ("GET", "HEAD")


class SlowPages(Protocol):
    """Answers requests that take time."""

    @property
    def routes(self) -> Sequence[str]:
        """The methods and paths that have a page."""
        ...

    def has(self, path: str) -> bool:
        """Return whether ``path`` is one of these pages."""
        ...

    async def page(self, call: Call) -> Page:
        """Return the page that answers a call."""
        ...


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
        segments: SegmentPages | None = None,
        slow: Sequence[SlowPages] = (),
    ) -> None:
        self._slow = slow
        self._fixed = fixed
        self._profiles = profiles
        self._segments = segments

    @property
    def routes(self) -> list[str]:
        """The methods and paths that have a page."""
        paths = (*self._fixed, f"{_PROFILES}{{id}}", *(() if self._segments is None else ROUTES))
        return [*(f"GET {path}" for path in paths), *(route for each in self._slow for route in each.routes)]

    def slow(self, path: str) -> SlowPages | None:
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


class PageServer(BoundedServer):
    """Serves pages. Bind it to an address with aiohttp's ``ServerRunner``; requires a running loop.

    ``timeout_s`` limits the time to receive a request, to send a response, and between two requests;
    ``connections`` limits the number of open connections.
    """

    def __init__(self, pages: Pages, *, timeout_s: float, connections: int) -> None:
        super().__init__(self._answer, timeout_s=timeout_s, connections=connections)
        self._pages = pages

    async def _answer(self, request: BaseRequest) -> Response:
        headers = request.headers.getall("Authorization", [])
        authorization = headers[0] if len(headers) == 1 else None
        method, path = request.method, request.rel_url.raw_path
        slow = self._pages.slow(path)
        if slow is None:
            query_string = request.rel_url.raw_query_string
            return response(self._pages.page(method, path, authorization, query_string))
        query = dict(request.rel_url.query)
        return last(await slow.page(Call(method, path, query, authorization, partial(self._body, request))))

    async def _body(self, request: BaseRequest) -> bytes | None:
        """Return the body of a request; None if it is too long. Raises TimeoutError."""
        body = bytearray()
        async with asyncio.timeout(self.timeout_s):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY:
                    return None
        return bytes(body)
