"""The journal of a pull: events and dead letters to their topics, the position beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from segops.config import load
from segops.kafka.journal import Written
from segops.klaviyo.journal import KafkaJournal
from segops.klaviyo.records import Outgoing
from segops.klaviyo.state import new_state


class Positions:
    """A position journal in memory."""

    def __init__(self) -> None:
        self.records: list[Written] = []
        self.position: bytes | None = None

    async def read(self) -> bytes | None:
        return self.position

    async def commit(self, records: Iterable[Written], position: bytes) -> None:
        self.records += records
        self.position = position


def test_records_go_to_their_topics_and_the_position_is_read_again() -> None:
    async def steps() -> None:
        journal, state = KafkaJournal(load(), positions), new_state("A1", 400_000_000, 160_000_000)
        assert await journal.read() is None
        dead = Outgoing(b"", b"raw", [("segops-reason", b"klaviyo_schema")], "klaviyo_schema")
        await journal.commit([Outgoing(b"P1", b"event"), dead], state)
        assert await journal.read() == state

    positions = Positions()
    asyncio.run(steps())
    assert positions.records == [
        Written("segops.events", b"P1", b"event"),
        Written("segops.dead-letters", b"", b"raw", [("segops-reason", b"klaviyo_schema")]),
    ]
