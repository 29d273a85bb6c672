"""The latest record of each alert, folded from ``segops.alerts``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import msgspec
from aiokafka import TopicPartition

from segops.analytics.reader import TopicReader
from segops.config import Settings
from segops.kafka.clients import running_consumer
from segops.kafka.topics import partition_counts
from segops.schemas.alerts import EVALUATED_KEY, AlertRecord, Evaluated, decode_alert, decode_evaluated


class AlertsView(msgspec.Struct, frozen=True):
    """One page of alerts by key; ``next`` is the key after which the next page begins, null on the last.

    ``evaluated_ms``: up to when all alerts are evaluated, null before that.
    """

    evaluated_ms: int | None
    alerts: list[AlertRecord]
    next: str | None = None


class AlertLog:
    """The latest record of each alert by its key."""

    def __init__(self) -> None:
        self.latest: dict[str, AlertRecord] = {}
        self.evaluated: Evaluated | None = None
        #: Records that could not be read.
        self.unreadable = 0

    def apply(self, key: bytes | None, value: bytes | None) -> str | None:
        """Apply a record of the topic; return the key of the alert that it changes, if any."""
        try:
            if key == EVALUATED_KEY:
                self.evaluated = None if value is None else decode_evaluated(value)
                return None
            name = (key or b"").decode()
            if value is None:
                self.latest.pop(name, None)
            else:
                self.latest[name] = decode_alert(value)
            return name
        except (UnicodeDecodeError, msgspec.MsgspecError):
            self.unreadable += 1
            return None

    def view(self, *, firing: bool) -> AlertsView:
        """Return the firing alerts, or all, by key."""
        return AlertsView(self._evaluated_ms, [self.latest[key] for key in self._keys(firing=firing)])

    def firing(self, after: str, limit: int) -> AlertsView:
        """Return at most ``limit`` firing alerts by key, those whose keys are greater than ``after``."""
        keys = [key for key in self._keys(firing=True) if key > after]
        shown = keys[:limit]
        is_last = len(shown) == len(keys)
        found = [self.latest[key] for key in shown]
        return AlertsView(self._evaluated_ms, found, None if is_last else shown[-1])

    @property
    def _evaluated_ms(self) -> int | None:
        return None if self.evaluated is None else self.evaluated.until_ms

    def _keys(self, *, firing: bool) -> list[str]:
        found = self.latest.items()
        return sorted(key for key, record in found if record.state == "firing" or not firing)


@asynccontextmanager
async def reading_alerts(settings: Settings) -> AsyncIterator[TopicReader[AlertLog]]:
    """Provide a reader that has read the topic to its end.

    Raises UserError when the topic is missing, Unreachable when no broker answers.
    """
    topic = settings.topics.alerts
    await partition_counts(settings.kafka, [topic])
    part = TopicPartition(topic, 0)
    async with running_consumer(settings.kafka, auto_offset_reset="earliest") as consumer:
        consumer.assign([part])
        reader = TopicReader(consumer, AlertLog())
        await reader.catch_up([part])
        yield reader


async def follow_alerts(settings: Settings) -> AsyncGenerator[AlertLog, None]:
    """Yield the log whenever it may have changed. Raises as ``reading_alerts``."""
    async with reading_alerts(settings) as reader:
        yield reader.folded
        async with aclosing(reader.changes()) as changes:
            async for _ in changes:
                yield reader.folded
