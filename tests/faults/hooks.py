"""``segops worker`` with fault hooks: run as ``python -m tests.faults.hooks worker``.

FAULTS_SABOTAGE    the name of a deliberate error (see ``broken_workers``)
FAULTS_REDIRECT    ``port=port,…``: connect to the second loopback port (a proxy's) instead of the first
FAULTS_CLOCK       a file with the offset of this process's wall clock in ms
FAULTS_DIE         ``sent:claim:3`` or ``taken:handover:2``: die when the third claim is sent, or when the
                   second hand-over is applied, before either is durable; ``backfill:switch:1``: when the
                   first partition has switched (or ``read``, ``move``, ``announce``, ``fold``)
FAULTS_BLOCK_S     on SIGUSR1, block the event loop for this many seconds
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from segops import wall_clock


def shift_clock(file: Path) -> None:
    """Shift the wall clock by the offset in ``file``, which is read at each call."""

    def shifted() -> float:
        try:
            return time.time() + int(file.read_text() or "0") / 1000
        except (OSError, ValueError):
            return time.time()

    wall_clock.time = SimpleNamespace(time=shifted)  # type: ignore[assignment,attr-defined]


def redirect(ports: dict[int, int]) -> None:
    """Redirect connections from the first port of each pair to the second."""
    import asyncio

    import uvloop

    class Redirected:
        async def create_connection(
            self, factory: Any, host: Any = None, port: Any = None, **more: Any
        ) -> Any:
            return await super().create_connection(factory, host, ports.get(port, port), **more)  # type: ignore[misc]

    class Loop(Redirected, uvloop.Loop):  # type: ignore[misc]
        """The event loop of the worker."""

    class Plain(Redirected, asyncio.SelectorEventLoop):
        """The event loop of the other commands."""

    uvloop.new_event_loop = Loop
    asyncio.DefaultEventLoopPolicy._loop_factory = Plain  # type: ignore[attr-defined]


def block(seconds: float) -> None:
    """Make SIGUSR1 block this process for ``seconds``, as a long computation would."""
    signal.signal(signal.SIGUSR1, lambda number, frame: time.sleep(seconds))


def die(when: str, kind: str, count: int) -> None:
    """Make this process kill itself with SIGKILL in the middle of a merge or of a backfill."""
    left = [count]
    for owner, act, number_of in _steps(when, kind):
        setattr(owner, act.__name__, _counted(act, number_of, left))
    if when == "sent":
        _send_by_python()


#: Returns how many steps a call was, of its arguments and its result.
_NumberOf = Callable[[tuple[Any, ...], Any], int]


def _counted(act: Callable[..., Any], number_of: _NumberOf, left: list[int]) -> Callable[..., Any]:
    def counted(*args: Any, **more: Any) -> Any:
        result = act(*args, **more)
        left[0] -= number_of(args, result)
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return counted


def _send_by_python() -> None:
    """Let the messages of the kernel pass through Python, where each is counted."""
    from segops.streaming.native_outputs import NativeKafkaOutput

    def send_from(self: Any, native: Any) -> None:
        for to, kind, value, arrived_ms in native.take_messages():
            self.send_encoded(to, kind, value, arrived_ms=arrived_ms)

    NativeKafkaOutput.send_from = send_from  # type: ignore[method-assign]


def _steps(when: str, kind: str) -> list[tuple[type, Callable[..., Any], _NumberOf]]:
    """Return the methods that do a step of a merge or a backfill, with their classes."""
    from segops.schemas.messages import name_of
    from segops.streaming.partition.applier import RecordApplier
    from segops.streaming.partition.backfill.backfill import Backfill
    from segops.streaming.partition.backfill.rounds import Rounds
    from segops.streaming.partition.native_segment import NativeSegmentProcessor
    from segops.streaming.publishers import MessageSender

    def fed(args: tuple[Any, ...], result: Any) -> int:
        """Return the number of messages of this kind that the kernel has applied."""
        _, records, at = args
        header = ("segops-type", kind.encode())
        return sum(header in [*record.headers] for record in records[at : result[0]])

    # The methods stand here by name, so that the type checker finds one that has moved.
    steps: dict[str, list[tuple[type, Callable[..., Any], _NumberOf]]] = {
        "sent": [(MessageSender, MessageSender.send_encoded, lambda args, _: args[2] == kind)],
        "taken": [
            (RecordApplier, RecordApplier._apply_message, lambda args, _: name_of(args[3]) == kind),
            (NativeSegmentProcessor, NativeSegmentProcessor._feed, fed),
        ],
        "read": [(Backfill, Backfill.read, lambda *_: 1)],
        "move": [(Backfill, Backfill._move, lambda *_: 1)],
        "announce": [(Rounds, Rounds.announce, lambda *_: 1)],
        "switch": [(Backfill, Backfill.switch, lambda *_: 1)],
        "fold": [(Backfill, Backfill.fold, lambda args, _: args[0].switched)],
    }
    return steps[kind if when == "backfill" else when]


def main() -> None:
    """Install the hooks that the environment names, then run the segops command line."""
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
