"""The live stream: what changed, once a second, encoded once for all browsers that look at the same.

A channel is what a page looks at. Its source says what there is (a snapshot) and what has changed since it
was asked last (a delta); both hold figures as they are now, so that a browser which gets one twice is right.
A browser that reads slowly has a short queue; beyond it, the queue is dropped, and it gets the latest
snapshot next. One that comes back with the id of its last message gets the messages since, or a snapshot.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

#: Messages that wait for one browser, and those kept for browsers that come back.
MOST_WAITING: Final = 4
MOST_KEPT: Final = 60
#: Channels; a browser that asks for one more gets none.
MOST_CHANNELS: Final = 2_000
#: Ticks for which a channel is kept without browsers.
_IDLE: Final = 30
_RETRY: Final = b"retry: 3000\n\n"
_encode = msgspec.json.Encoder().encode


class Source(Protocol):
    """What a channel is about."""

    def snapshot(self) -> Mapping[str, Any]:
        """Return all of it."""

    def delta(self) -> Mapping[str, Any] | None:
        """Return what has changed since the last call, None if nothing has."""

    def close(self) -> None:
        """Forget what it listens to."""


class _Client:
    """One browser. ``behind``: it gets a snapshot next."""

    __slots__ = ("behind", "waiting", "wake")

    def __init__(self, *, behind: bool, waiting: list[bytes]) -> None:
        self.behind = behind
        self.waiting = waiting
        self.wake: asyncio.Future[None] | None = None

    def put(self, message: bytes) -> None:
        """Let a message wait, or all that wait be replaced by a snapshot."""
        if not self.behind:
            self.waiting.append(message)
            if len(self.waiting) > MOST_WAITING:
                self.waiting.clear()
                self.behind = True
        self.notify()

    def notify(self) -> None:
        """Let it take what waits."""
        if self.wake is not None and not self.wake.done():
            self.wake.set_result(None)

    async def wait(self) -> None:
        """Return once something waits."""
        self.wake = asyncio.get_running_loop().create_future()
        await self.wake
        self.wake = None


class _Channel:
    """One source with its browsers. Ids of messages begin with a text that no other channel has."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._id = secrets.token_hex(4)
        self._number = 0
        self._latest: deque[bytes] = deque(maxlen=MOST_KEPT)
        self._snapshot: bytes | None = None
        self.clients: set[_Client] = set()
        self.idle = 0

    def tick(self) -> None:
        """Ask the source, and give what changed to all browsers."""
        self.idle = 0 if self.clients else self.idle + 1
        found = self._source.delta()
        self._snapshot = None
        if found is None:
            return
        self._number += 1
        message = self._message("delta", found)
        self._latest.append(message)
        for client in self.clients:
            client.put(message)

    def close(self) -> None:
        """End the source."""
        self._source.close()

    def snapshot(self) -> bytes:
        """Return all as of the latest tick or later, encoded once per tick."""
        if self._snapshot is None:
            self._snapshot = self._message("snapshot", self._source.snapshot())
        return self._snapshot

    def since(self, last: str) -> list[bytes] | None:
        """Return the messages after the one with an id, None if they are not known."""
        name, _, number = last.partition(".")
        if name != self._id or not number.isdecimal() or len(number) > 18:
            return None
        missed = self._number - int(number)
        if not 0 <= missed <= min(len(self._latest), MOST_WAITING):
            return None
        return [*self._latest][len(self._latest) - missed :]

    def _message(self, event: str, data: Mapping[str, Any]) -> bytes:
        head = f"id: {self._id}.{self._number}\nevent: {event}\ndata: ".encode()
        return b"".join((head, _encode(data), b"\n\n"))


class Hub:
    """All channels. Call ``tick`` once a second."""

    def __init__(self) -> None:
        self._channels: dict[str, _Channel] = {}

    @property
    def clients(self) -> int:
        """The number of browsers."""
        return sum(len(each.clients) for each in self._channels.values())

    async def tick(self) -> None:
        """Give what changed to all browsers; other tasks run between two channels."""
        for name, channel in [*self._channels.items()]:
            channel.tick()
            if channel.idle > _IDLE:
                self._channels.pop(name).close()
            await asyncio.sleep(0)

    async def listen(
        self, name: str, make: Callable[[], Source], last: str = ""
    ) -> AsyncGenerator[bytes, None]:
        """Yield the messages of a channel until closed; ``make`` makes its source if it is not there yet.

        ``last``: the id of the last message that the browser had.
        """
        channel = self._channels.get(name)
        if channel is None:
            if len(self._channels) >= MOST_CHANNELS:
                return
            channel = self._channels[name] = _Channel(make())
        del make  # it may hold much, and this goes on for hours
        missed = channel.since(last) if last else None
        client = _Client(behind=missed is None, waiting=missed or [])
        channel.clients.add(client)
        try:
            yield _RETRY
            while True:
                if client.behind:
                    client.behind = False
                    yield channel.snapshot()
                elif client.waiting:
                    yield client.waiting.pop(0)
                else:
                    await client.wait()
        finally:
            channel.clients.discard(client)
