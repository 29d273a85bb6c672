"""Server-sent events: what a stream yields goes to one browser, with a sign of life in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

from aiohttp.web import Request, StreamResponse

from segops.console.headers import protect

_BEAT_S: Final = 15.0
_BEAT: Final = b"event: beat\ndata: {}\n\n"
_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "X-Accel-Buffering": "no",  # a proxy would hold the events back
}


async def send_events(
    request: Request, events: AsyncGenerator[bytes, None], *, timeout_s: float, lasts_ms: int | None
) -> StreamResponse:
    """Send events until the browser goes, does not read for ``timeout_s``, or ``lasts_ms`` have passed."""
    response = StreamResponse(headers=_HEADERS)
    protect(response, https=False)
    try:
        async with asyncio.timeout(None if lasts_ms is None else max(0, lasts_ms) / 1000) as deadline:
            await response.prepare(request)
            await _pump(response, events, timeout_s)
    except TimeoutError:
        if not deadline.expired() and request.transport is not None:
            request.transport.abort()
    except (ConnectionError, RuntimeError):  # the browser went
        pass
    finally:
        await events.aclose()
    return response


async def _pump(response: StreamResponse, events: AsyncGenerator[bytes, None], timeout_s: float) -> None:
    pending: asyncio.Future[bytes] | None = None
    try:
        while True:
            pending = asyncio.ensure_future(anext(events))
            while not (await asyncio.wait({pending}, timeout=_BEAT_S))[0]:
                await _write(response, _BEAT, timeout_s)
            try:
                event = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            await _write(response, event, timeout_s)
    finally:
        if pending is not None:
            pending.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await pending


async def _write(response: StreamResponse, data: bytes, timeout_s: float) -> None:
    async with asyncio.timeout(timeout_s):
        await response.write(data)
