"""The sources topic: a record per topic that is mapped."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from operator import attrgetter
from typing import Final

import msgspec
from aiokafka import TopicPartition

from segops.config import Settings
from segops.kafka.clients import running_consumer
from segops.kafka.resources import Action, Change, Kind, ResourceTopic, removed
from segops.kafka.topics import partition_counts
from segops.sources.model import Source
from segops.sources.parsing import decode, encode
from segops.wall_clock import wall_ms

SOURCE: Final = Kind("source", attrgetter("topic"), encode, decode)


def topic_of(settings: Settings) -> ResourceTopic[Source]:
    """Return the topic of the published sources, by the topic that each maps."""
    return ResourceTopic(SOURCE, settings.kafka, settings.topics.sources)


async def publish(
    settings: Settings, sources: Iterable[Source], *, prune: bool = False, dry_run: bool = False
) -> list[Change[Source]]:
    """Publish sources, all or none, and return the changes. ``prune`` removes all others.

    A source that begins with the latest records begins at the present ends of its topic. A source that is
    published already goes on where it is. Raises UserError if a topic is missing or another publisher commits
    first.
    """
    listed, now_ms = list(sources), wall_ms()
    ends = await _ends(settings, [source.topic for source in listed])

    def decide(known: Mapping[str, Source]) -> list[Change[Source]]:
        changes = [
            change_of(known.get(source.topic), source, ends[source.topic], now_ms=now_ms) for source in listed
        ]
        return changes + (removed(known, ends) if prune else [])

    return await topic_of(settings).publish(decide, dry_run=dry_run)


def change_of(
    former: Source | None, source: Source, ends: Mapping[int, int], *, now_ms: int
) -> Change[Source]:
    """Return what publishing a source changes. ``ends``: the present ends of its topic, by partition."""
    if former is not None:
        kept = msgspec.structs.replace(source, starts=former.starts, since_ms=former.since_ms)
        action: Action = "unchanged" if former.written == source.written else "changed"
        return Change(source.topic, action, kept)
    starts = dict(ends) if source.begin == "latest" else {}
    return Change(source.topic, "added", msgspec.structs.replace(source, starts=starts, since_ms=now_ms))


async def _ends(settings: Settings, topics: Collection[str]) -> dict[str, dict[int, int]]:
    counts = await partition_counts(settings.kafka, list(topics))
    partitions = [TopicPartition(topic, n) for topic in topics for n in range(counts[topic])]
    async with running_consumer(settings.kafka) as consumer:
        ends = await consumer.end_offsets(partitions)
    return {topic: {n: ends[TopicPartition(topic, n)] for n in range(counts[topic])} for topic in topics}
