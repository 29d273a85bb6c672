"""The webhook of the demo's shop: verifies each signature, and keeps who is a member."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from aiohttp import web

from segops.destinations.webhook.signing import key_of, sign

#: Of the receiver, which listens on loopback for the time of a run.
SECRET: Final = "whsec_ZGVtby1kZW1vLWRlbW8tZGVtby1kZW1vLWRlbW8t"  # noqa: S105 - nothing is secret about it
_ENTERED: Final = "segops.audience.entered"
_EXITED: Final = "segops.audience.exited"


class _Data(msgspec.Struct):
    email: str


class _Message(msgspec.Struct):
    type: str
    data: _Data


_decode = msgspec.json.Decoder(_Message).decode


class Receiver:
    """Takes each message once, by its id. ``members``: the addresses of those who have entered and stayed."""

    def __init__(self) -> None:
        self.members: set[str] = set()
        self.requests = self.entries = self.exits = self.repeated = self.refused = 0
        self._ids: set[str] = set()
        self._keys = [key_of(SECRET)]

    async def receive(self, request: web.Request) -> web.Response:
        """Answer a request: 401 for a wrong signature, else 204."""
        self.requests += 1
        body, headers = await request.read(), request.headers
        message_id, at_s = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        expected = sign(self._keys, message_id, int(at_s), body) if at_s.isdecimal() else ""
        if not expected or not hmac.compare_digest(expected, headers.get("webhook-signature", "")):
            self.refused += 1
            return web.Response(status=401)
        if message_id in self._ids:
            self.repeated += 1
        else:
            self._ids.add(message_id)
            self._take(_decode(body))
        return web.Response(status=204)

    def _take(self, message: _Message) -> None:
        if message.type == _ENTERED:
            self.entries += 1
            self.members.add(message.data.email)
        elif message.type == _EXITED:
            self.exits += 1
            self.members.discard(message.data.email)


@asynccontextmanager
async def receiving(port: int) -> AsyncIterator[Receiver]:
    """Run a receiver of POST requests to /hook on loopback during the block."""
    receiver, application = Receiver(), web.Application()
    application.router.add_post("/hook", receiver.receive)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield receiver
    finally:
        await runner.cleanup()
