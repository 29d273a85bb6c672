"""The part of the input that goes through the collector, as Segment's SDK for Python sends it."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import msgspec

from segops.core.errors import SegopsError
from segops.core.values import format_instant
from segops.wall_clock import wall_ms

#: The SDK's own batch size.
BATCH: Final = 100
_ATTEMPTS: Final = 10
_CONTEXT: Final = {"library": {"name": "analytics-python", "version": "2.3.3"}}
_encode = msgspec.json.Encoder().encode


class Sdk:
    """Sends events to a collector in batches, each again until it is accepted; counts requests and events."""

    def __init__(self, session: aiohttp.ClientSession, url: str, write_key: str) -> None:
        self.requests = self.events = self.repeated = 0
        self._session = session
        self._url = f"{url}/v1/batch"
        self._headers = {
            "Authorization": f"Basic {b64encode(f'{write_key}:'.encode()).decode()}",
            "Content-Type": "application/json",
            "User-Agent": "analytics-python/2.3.3",
        }

    async def send(self, lines: Sequence[bytes]) -> None:
        """Send a batch. Raises SegopsError if the collector refuses it, or accepts none of ten attempts."""
        body = batch(lines)
        await self._accepted(body)
        self.requests += 1
        self.events += len(lines)

    async def repeat(self, lines: Sequence[bytes]) -> None:
        """Send a batch again, as an SDK whose answer was lost does. Its events count once."""
        await self._accepted(batch(lines))
        self.requests += 1
        self.repeated += len(lines)

    async def _accepted(self, body: bytes) -> None:
        answer = ""
        for attempt in range(_ATTEMPTS):
            try:
                status, answer = await self._post(body)
            except (aiohttp.ClientError, TimeoutError) as error:
                status, answer = 0, str(error)
            if status == 200:
                return
            if status not in (0, 429) and status < 500:
                break
            await asyncio.sleep(0.1 * 2**attempt)
        raise SegopsError(f"the collector did not accept a batch: {answer}")

    async def _post(self, body: bytes) -> tuple[int, str]:
        async with self._session.post(self._url, data=body, headers=self._headers) as answer:
            return answer.status, await answer.text()


def batch(lines: Sequence[bytes]) -> bytes:
    """Return the body of a request: events with the SDK's context, and when it is sent."""
    events: list[dict[str, Any]] = [msgspec.json.decode(line) for line in lines]
    messages = [
        {"integrations": {}, **each, "context": {**_CONTEXT, **each.get("context", {})}} for each in events
    ]
    return _encode({"batch": messages, "sentAt": format_instant(wall_ms())})
