"""What the stand-ins of services have in common: they are served on loopback, and fail as told."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from .rate_scale import SECOND_S


class StandInServer:
    """A service. ``faults``: of the next requests, each used once; ``refused``: rules that were broken.

    A fault is ``reset`` before, ``lost`` or ``cut`` after the request was carried out; the service itself
    gives the answers of all others.
    """

    #: Path -> requests that are allowed in each of some windows, which last so many seconds of the service.
    rates: Mapping[str, Mapping[int, int]] = {}

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.refused: list[str] = []
        self.calls: list[str] = []
        self.retry_after = "0"
        self._closed_until = 0.0
        self._arrivals: dict[str, list[float]] = defaultdict(list)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on loopback; yield the address. Earlier requests were another client's, and count no more."""
        self._arrivals.clear()
        self._closed_until = 0.0
        application = web.Application(client_max_size=32 << 20)
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def carry_out(self, request: web.Request, fault: str) -> web.Response:
        """Answer a request that arrives."""
        raise NotImplementedError

    def close_for(self, seconds: float) -> None:
        """Let all that arrives within some seconds break a rule."""
        self._closed_until = asyncio.get_running_loop().time() + seconds

    def throttle(self) -> dict[str, str]:
        """Return the headers that ask to wait."""
        self.close_for(float(self.retry_after))
        return {"Retry-After": self.retry_after}

    def is_over(self, path: str) -> bool:
        """Count a request; return whether a window has too many."""
        now, arrivals = asyncio.get_running_loop().time(), self._arrivals[path]
        arrivals.append(now)
        over = any(
            len([at for at in arrivals if at > now - length * SECOND_S]) > allowed
            for length, allowed in self.rates.get(path, {}).items()
        )
        if over:
            self.refused.append(f"over a limit: {path}")
        return over

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(f"{request.method} {request.path}")
        fault = self.faults.pop(0) if self.faults else ""
        if asyncio.get_running_loop().time() < self._closed_until:
            self.refused.append(f"before it may: {request.path}")
        if fault == "reset":
            return _abort(request)
        response = await self.carry_out(request, fault)
        if fault == "lost":
            return _abort(request)
        return await _cut(request, response) if fault == "cut" else response


def _abort(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _cut(request: web.Request, whole: web.Response) -> web.StreamResponse:
    """Send one byte of an answer, and reset the connection."""
    assert isinstance(whole.body, bytes)
    response = web.StreamResponse(headers={"Content-Length": str(len(whole.body) + 1)})
    await response.prepare(request)
    await response.write(whole.body[:1])
    return _abort(request)
