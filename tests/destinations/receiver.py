"""A strict receiver of webhooks (Standard Webhooks): verifies signatures and times, and fails as told."""

from __future__ import annotations

import asyncio
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import web

from segops.destinations.webhook.signing import key_of, sign

SECRET: Final = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#: The specification asks receivers to refuse older and later messages; its libraries allow five minutes.
_TOLERANCE_S: Final = 300
#: What the receiver does with a request: ``ok``; a status; ``reset`` before, or ``lost`` after it took it.
Behave = Callable[[dict[str, Any]], str]


class Receiver:
    """Takes messages by their ids, in the order of their arrival. ``behave`` decides about each request."""

    def __init__(self) -> None:
        self.behave: Behave = lambda _message: "ok"
        self.messages: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.refused: list[str] = []
        self.url = ""
        self._lock = threading.Lock()

    def members(self, audience: str) -> set[str]:
        """Return the profiles that the receiver takes for members."""
        found: set[str] = set()
        with self._lock:
            for message in self.messages:
                if message["data"].get("audience") != audience:
                    continue
                profile = message["data"]["profile_id"]
                if message["type"].endswith(".exited"):
                    found.discard(profile)
                else:
                    found.add(profile)
        return found

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        body = await request.read()
        if (problem := self._problem(request, body)) is not None:
            self.refused.append(problem)
            return web.json_response({"error": problem}, status=401)
        message = json.loads(body)
        action = self.behave(message)
        if action.isdecimal():
            return web.json_response({"error": action}, status=int(action), headers={"Retry-After": "0"})
        if action == "reset":
            return self._cut(request)
        with self._lock:
            self.messages.append(message)
            self.ids.append(request.headers["webhook-id"])
        return self._cut(request) if action == "lost" else web.json_response({})

    @staticmethod
    def _cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    @staticmethod
    def _problem(request: web.Request, body: bytes) -> str | None:
        headers = request.headers
        missing = [each for each in ("id", "timestamp", "signature") if f"webhook-{each}" not in headers]
        if missing:
            return f"missing headers: {missing}"
        timestamp_s = int(headers["webhook-timestamp"])
        if abs(time.time() - timestamp_s) > _TOLERANCE_S:
            return "the timestamp is too old, or in the future"
        wanted = sign([key_of(SECRET)], headers["webhook-id"], timestamp_s, body)
        if not any(hmac.compare_digest(wanted, each) for each in headers["webhook-signature"].split(" ")):
            return "invalid signature"
        return None


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver in a thread of its own during the block."""
    receiver, ready, loop = Receiver(), threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        application = web.Application()
        application.router.add_post("/hook", receiver.receive)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        receiver.url = f"http://127.0.0.1:{port}/hook"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield receiver
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
