"""Open connections of the console, in bounded number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp.web import Request, RequestHandler, Server


class Connections:
    """Knows which connections are answering a request; beyond ``limit`` a new one closes another.

    That is the oldest one which waits for a request, and only if none does the oldest of all: open streams
    survive clients that connect and say nothing.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._busy: set[RequestHandler] = set()

    @contextmanager
    def answering(self, request: Request) -> Iterator[None]:
        """Mark the connection of a request while it is answered."""
        handler = request.protocol
        self._busy.add(handler)
        try:
            yield
        finally:
            self._busy.discard(handler)

    def accepting(self, server: Server) -> Callable[[], RequestHandler]:
        """Return what makes the handler of a new connection."""

        def accept() -> RequestHandler:
            known = server.connections
            if len(known) >= self._limit:
                idle = next((each for each in known if each not in self._busy), known[0])
                if idle.transport is not None:
                    idle.transport.abort()
            handler: RequestHandler = server()
            return handler

        return accept
