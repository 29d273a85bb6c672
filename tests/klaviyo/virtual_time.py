"""An event loop whose time passes only while nothing can run: sleeping takes no time, sockets are real."""

from __future__ import annotations

import asyncio
import fcntl
import os
import selectors
import socket
import struct
import termios
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

_T = TypeVar("_T")
#: What a packet may take through the loopback interface before the loop counts as idle.
_SETTLE_S = 0.002
#: So often it waits for packets that are on the way: a busy machine delivers them late.
_MOST_SETTLES = 250


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Advances the time of its loop instead of waiting."""

    passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0) or super().select(_SETTLE_S if timeout != 0 else 0)
        for _ in range(_MOST_SETTLES):
            if found or not timeout or not self._in_flight():
                break
            found = super().select(_SETTLE_S)
        if not found and timeout:
            self.passed_s += timeout
        return found

    def _in_flight(self) -> bool:
        """Return whether a socket connects, or has sent bytes that its peer has not received."""
        found = list(self.get_map().values())
        for each in found:
            _acknowledge(each.fd)
        return any(each.events & selectors.EVENT_WRITE or _unsent(each.fd) for each in found)


def _acknowledge(fd: int) -> None:
    """Acknowledge what a socket has received; the kernel would wait 40 ms for data to go with it."""
    with suppress(OSError), socket.socket(fileno=os.dup(fd)) as found:
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _unsent(fd: int) -> int:
    try:
        (found,) = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0" * 4))
    except OSError:  # no connection, as of the pipe that wakes the loop
        return 0
    return int(found)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that begins at time 0."""

    def __init__(self) -> None:
        self._passing = _Selector()
        super().__init__(self._passing)

    def time(self) -> float:
        return self._passing.passed_s


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run ``work`` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
