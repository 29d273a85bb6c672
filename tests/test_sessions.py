"""A process goes on after an outage, and ends with every other error."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from aiokafka.errors import KafkaConnectionError

from segops.core.errors import UserError
from segops.kafka.outages import Pauses
from segops.kafka.sessions import Sessions


def run_sessions(errors: Sequence[BaseException | None], monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Run sessions that end with these errors, the last being stopped; return how many, and the failures."""
    monkeypatch.setattr(Pauses, "take", lambda _self: 0.0)
    found = {"sessions": 0, "failures": 0}

    async def run() -> None:
        stop, sessions = asyncio.Event(), Sessions()

        async def session() -> None:
            error = errors[found["sessions"]]
            found["sessions"] += 1
            sessions.connected()
            assert sessions.waits_for is None
            if error is not None:
                raise error
            stop.set()

        def failed() -> None:
            found["failures"] += 1
            assert (sessions.waits_for or "").startswith("waiting for Kafka: ")

        await sessions.run(session, stop, failed)

    asyncio.run(run())
    return found["sessions"], found["failures"]


def test_outages_are_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [KafkaConnectionError("gone"), asyncio.CancelledError(), ConnectionResetError(), None]
    assert run_sessions(errors, monkeypatch) == (4, 3)


def test_other_errors_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError):
        run_sessions([UserError("wrong"), None], monkeypatch)


def test_cancelled_process_ends() -> None:
    async def run() -> None:
        async def session() -> None:
            await asyncio.Event().wait()

        task = asyncio.ensure_future(Sessions().run(session, asyncio.Event(), lambda: None))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
