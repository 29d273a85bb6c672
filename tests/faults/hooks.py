"""``segops worker`` with a test's hands on it: run as ``python -m tests.faults.hooks worker``.

FAULTS_SABOTAGE    a named way to be wrong (see ``broken_workers``)
FAULTS_REDIRECT    ``port=port,…``: connections to one loopback port go to another (a proxy's)
FAULTS_CLOCK       a file with the milliseconds by which this process's wall clock is off
FAULTS_DIE         ``sent:claim:3`` or ``taken:handover:2``: die at the third claim sent, or once the second
                   hand-over was taken in, before any of it is durable
FAULTS_BLOCK_S     on SIGUSR1, block the loop for as many seconds
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from segops.streaming.partition import clock


def shift_clock(file: Path) -> None:
    """Let the wall clock be off by what ``file`` says now, read at every look."""

    def shifted() -> float:
        try:
            return time.time() + int(file.read_text() or "0") / 1000
        except (OSError, ValueError):
            return time.time()

    clock.time = SimpleNamespace(time=shifted)  # type: ignore[assignment]


def redirect(ports: dict[int, int]) -> None:
    """Connect to the second port of each pair where the first is asked for."""
    import asyncio

    import uvloop

    class Redirected:
        async def create_connection(
            self, factory: Any, host: Any = None, port: Any = None, **more: Any
        ) -> Any:
            return await super().create_connection(factory, host, ports.get(port, port), **more)  # type: ignore[misc]

    class Loop(Redirected, uvloop.Loop):  # type: ignore[misc]
        """The worker's."""

    class Plain(Redirected, asyncio.SelectorEventLoop):
        """The other commands'."""

    uvloop.new_event_loop = Loop
    asyncio.DefaultEventLoopPolicy._loop_factory = Plain


def block(seconds: float) -> None:
    """Make SIGUSR1 stop everything in this process for a while, as a long computation would."""
    signal.signal(signal.SIGUSR1, lambda number, frame: time.sleep(seconds))


def die(when: str, kind: str, count: int) -> None:
    """Die in the middle of a merge, as of kill -9."""
    from segops.schemas.messages import name_of
    from segops.streaming.partition.segment import SegmentProcessor
    from segops.streaming.publishers import MessageSender

    owner, name, at = (
        (MessageSender, "send", 1) if when == "sent" else (SegmentProcessor, "_apply_message", 3)
    )
    act, left = getattr(owner, name), [count]

    def counted(*args: Any, **more: Any) -> None:
        act(*args, **more)
        left[0] -= name_of(args[at]) == kind
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, counted)


def main() -> None:
    """Put the hooks in, then be the command line."""
    environment = {
        name: os.environ.get(f"FAULTS_{name}", "")
        for name in ("SABOTAGE", "REDIRECT", "CLOCK", "DIE", "BLOCK_S")
    }
    if environment["SABOTAGE"]:
        from .broken_workers import KINDS

        KINDS[environment["SABOTAGE"]]()
    if environment["REDIRECT"]:
        pairs = (pair.split("=") for pair in environment["REDIRECT"].split(","))
        redirect({int(real): int(proxy) for real, proxy in pairs})
    if environment["CLOCK"]:
        shift_clock(Path(environment["CLOCK"]))
    if environment["DIE"]:
        when, kind, count = environment["DIE"].split(":")
        die(when, kind, int(count))
    if environment["BLOCK_S"]:
        block(float(environment["BLOCK_S"]))
    from segops.cli import main as command

    command()


if __name__ == "__main__":
    main()
