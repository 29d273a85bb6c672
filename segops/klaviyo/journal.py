"""What a pull has made durable: records and the position behind them, in one Kafka transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final, Protocol

from segops.config import Settings
from segops.kafka import journal
from segops.kafka.journal import PositionJournal, Written
from segops.klaviyo.records import Outgoing
from segops.klaviyo.state import PullState, decode_state, encode_state

#: The key of the pull in the pulls topic.
KEY: Final = b"klaviyo"
_FENCED: Final = "another process has begun to pull from Klaviyo; this one stops"


class Journal(Protocol):
    """Where a pull keeps its records and its position, together."""

    async def read(self) -> PullState | None:
        """Return the latest position, or None before the first."""
        ...

    async def commit(self, records: Iterable[Outgoing], state: PullState) -> None:
        """Make all of the records and the position durable, or none."""
        ...


class KafkaJournal:
    """The journal of a pull in Kafka."""

    def __init__(self, settings: Settings, positions: PositionJournal) -> None:
        self._topics = settings.topics
        self._positions = positions

    async def read(self) -> PullState | None:
        """See ``Journal``. Raises SegopsError for a position of another version."""
        found = await self._positions.read()
        return None if found is None else decode_state(found)

    async def commit(self, records: Iterable[Outgoing], state: PullState) -> None:
        """See ``Journal``. Raises UserError if another process has begun to pull."""
        topics = self._topics
        written = (
            Written(
                topics.events if each.reason is None else topics.dead_letters,
                each.key,
                each.value,
                each.headers,
            )
            for each in records
        )
        await self._positions.commit(written, encode_state(state))


@asynccontextmanager
async def open_journal(settings: Settings, *, passed: Callable[[str], None]) -> AsyncIterator[KafkaJournal]:
    """Open the journal, which ends the transaction of any other process that pulls.

    Raises UserError if a topic is missing, Unreachable if no broker answers.
    """
    opening = journal.open_journal(settings, "pull-klaviyo", key=KEY, fenced=_FENCED, passed=passed)
    async with opening as positions:
        yield KafkaJournal(settings, positions)
