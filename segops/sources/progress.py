"""How far each published source is read."""

from __future__ import annotations

import msgspec
from aiokafka import TopicPartition

from segops.config import Settings
from segops.kafka.clients import running_admin, running_consumer
from segops.kafka.coordinator import once_available
from segops.kafka.topics import existing
from segops.sources.model import Source
from segops.sources.published import topic_of
from segops.sources.service import group_of


class SourceProgress(msgspec.Struct, frozen=True):
    """A published source; ``lag`` is the number of records not read yet, None if its topic does not exist."""

    topic: str
    format: str
    begin: str
    events: list[str]
    partitions: int
    lag: int | None
    since_ms: int


async def progress(settings: Settings) -> list[SourceProgress]:
    """Return the published sources by topic. Raises UserError if their topic is missing."""
    sources = await topic_of(settings).read()
    known = await existing(settings.kafka)
    lags = await _lags(settings, [each for topic, each in sources.items() if topic in known], known)
    return [
        SourceProgress(
            topic,
            source.format,
            source.begin,
            [_named(each.type, each.event.constant if each.event else None) for each in source.mappings],
            known.get(topic, 0),
            lags.get(topic),
            source.since_ms,
        )
        for topic, source in sorted(sources.items())
    ]


def _named(kind: str, name: object) -> str:
    return str(name) if name is not None else kind


async def _lags(settings: Settings, sources: list[Source], known: dict[str, int]) -> dict[str, int]:
    partitions = [TopicPartition(each.topic, n) for each in sources for n in range(known[each.topic])]
    if not partitions:
        return {}
    async with running_consumer(settings.kafka) as consumer:
        ends = await consumer.end_offsets(partitions)
        firsts = await consumer.beginning_offsets(partitions)
    async with running_admin(settings.kafka) as admin:
        group = group_of(settings)
        committed = await once_available(lambda: admin.list_consumer_group_offsets(group))
    lags = {source.topic: 0 for source in sources}
    by_topic = {source.topic: source for source in sources}
    for each in partitions:
        source, at = by_topic[each.topic], committed.get(each)
        position = source.starts.get(each.partition, 0)
        if at is not None and at.offset >= 0 and at.metadata == str(source.since_ms):
            position = at.offset
        lags[each.topic] += max(0, ends[each] - max(position, firsts[each]))
    return lags
