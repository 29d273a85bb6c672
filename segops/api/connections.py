"""Connections of an HTTP server with strict limits on number and time.

A connection that sends no request, or does not read its response, is closed after a timeout. Beyond the limit
a new connection closes the oldest: descriptors remain for Kafka and the store, and probes are still answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp.http_exceptions import LineTooLong
from aiohttp.web import BaseRequest, RequestHandler, Response, Server, StreamResponse

from segops.api.health import Page

#: aiohttp's log of malformed requests and broken connections, silenced because any client can fill it.
_SILENT: Final = logging.getLogger(f"{__name__}.protocol")
_SILENT.setLevel(logging.CRITICAL + 1)
_MAX_HEADERS: Final = 64


class BoundedServer(Server):
    """Serves ``answer``. Bind it to an address with aiohttp's ``ServerRunner``; requires a running loop.

    ``timeout_s`` limits the time to receive a request's head, to send a response, and between two requests;
    ``connections`` limits the number of open connections; ``linger_s`` is how long an unread body is read
    and discarded after the response, so that the client sees the response.
    """

    def __init__(
        self,
        answer: Callable[[BaseRequest], Awaitable[StreamResponse]],
        *,
        timeout_s: float,
        connections: int,
        linger_s: float = 0,
    ) -> None:
        super().__init__(answer)
        self.timeout_s = timeout_s
        self.linger_s = linger_s
        self._limit = connections
        self._open: dict[RequestHandler, asyncio.Transport] = {}

    def __call__(self) -> RequestHandler:
        """Return the handler of a new connection."""
        return _Connection(self)

    @property
    def open_connections(self) -> int:
        """The number of open connections."""
        return len(self._open)

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


class _Connection(RequestHandler):
    """A connection whose responses reveal neither the server software nor details of errors."""

    __slots__ = ("_timeout_s",)

    def __init__(self, server: BoundedServer) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=server.timeout_s,  # also until the first request has arrived
            lingering_time=server.linger_s,
            logger=_SILENT,
            access_log=None,  # type: ignore[arg-type]
            max_headers=_MAX_HEADERS,
            auto_decompress=False,
        )
        self._timeout_s = server.timeout_s

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> StreamResponse:
        """Return a one-line response to a malformed request."""
        if isinstance(exc, LineTooLong):
            return last(Page(431, b"too long\n"))
        return last(Page(status, b"malformed\n" if status < 500 else b"failed\n"))

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


def response(page: Page) -> Response:
    """Return the response with the contents of ``page``."""
    headers: dict[str, Any] = {"Content-Type": page.content_type, **page.headers}
    return Response(body=page.body, status=page.status, headers=headers)


def last(page: Page) -> Response:
    """Return a response after which the connection is closed."""
    found = response(page)
    found.force_close()
    return found
