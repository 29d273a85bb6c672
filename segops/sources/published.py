"""The sources topic: compacted, one partition, a record per topic that is mapped."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Literal

import msgspec
from aiokafka import TopicPartition

from segops.config import Settings
from segops.core.errors import UserError
from segops.kafka import reading
from segops.kafka.clients import running_consumer
from segops.kafka.publication import publisher
from segops.kafka.topics import partition_counts, single_partition
from segops.sources.model import Source
from segops.sources.parsing import decode, encode
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

Action = Literal["added", "changed", "unchanged", "removed"]


class SourceChange(msgspec.Struct, frozen=True):
    """What publishing changes of one source; ``source`` is None if it is removed."""

    topic: str
    action: Action
    source: Source | None = None


class SourceLog:
    """The sources after the records read so far, by topic. An unreadable record leaves the former one."""

    def __init__(self, on_bad: Callable[[str], None] = log.error) -> None:
        self.sources: dict[str, Source] = {}
        self._on_bad = on_bad

    def apply_all(self, records: Iterable[Any]) -> bool:
        """Apply records; return whether they changed anything."""
        return any([self._apply(record) for record in records])

    def _apply(self, record: Any) -> bool:
        try:
            topic = record.key.decode()
            former = self.sources.get(topic)
            if record.value is None:
                return self.sources.pop(topic, None) is not None
            source = decode(record.value)
            if source.topic != topic:
                raise ValueError(f"the value is of the topic {source.topic!r}")
        except Exception as error:  # no record in the topic may stop a process
            self._on_bad(f"skipping source record {record.offset} (key {record.key!r}): {error}")
            return False
        self.sources[topic] = source
        return source != former


async def read(settings: Settings) -> dict[str, Source]:
    """Return the published sources by topic. Raises UserError if their topic is missing."""
    found = SourceLog()
    found.apply_all(await reading.read_all(settings.kafka, await _partition(settings)))
    return found.sources


async def follow(settings: Settings) -> AsyncGenerator[dict[str, Source], None]:
    """Yield the published sources, and again after every change. Runs until closed. Raises like ``read``."""
    found = SourceLog()
    partition = await _partition(settings)
    async with aclosing(reading.follow(settings.kafka, partition, found.apply_all)) as changes:
        async for _ in changes:
            yield dict(found.sources)


async def publish(
    settings: Settings, sources: Iterable[Source], *, prune: bool = False, dry_run: bool = False
) -> list[SourceChange]:
    """Publish sources, all or none, and return the changes. ``prune`` removes all others.

    A source that begins with the latest records begins at the present ends of its topic. A source that is
    published already goes on where it is. Raises UserError if a topic is missing or another publisher commits
    first.
    """
    listed, now_ms = list(sources), wall_ms()
    ends = await _ends(settings, [source.topic for source in listed])

    def decide(known: Mapping[str, Source]) -> list[SourceChange]:
        changes = [
            change_of(known.get(source.topic), source, ends[source.topic], now_ms=now_ms) for source in listed
        ]
        removed = sorted(known.keys() - ends.keys()) if prune else []
        return changes + [SourceChange(topic, "removed") for topic in removed]

    return await _commit(settings, decide, dry_run=dry_run)


async def remove(settings: Settings, topics: Collection[str]) -> list[SourceChange]:
    """Remove the sources of these topics. Raises UserError if one is not published; and like ``publish``."""

    def decide(known: Mapping[str, Source]) -> list[SourceChange]:
        missing = sorted(set(topics) - known.keys())
        if missing:
            published = ", ".join(sorted(known)) or "none"
            raise UserError(f"no source is published for {', '.join(missing)}; published: {published}")
        return [SourceChange(topic, "removed") for topic in sorted(set(topics))]

    return await _commit(settings, decide)


async def _commit(
    settings: Settings, decide: Callable[[Mapping[str, Source]], list[SourceChange]], *, dry_run: bool = False
) -> list[SourceChange]:
    if dry_run:
        return decide(await read(settings))
    await _partition(settings)
    async with publisher(settings.kafka, settings.topics.sources) as publish_all:
        changes = decide(await read(settings))
        written = [each for each in changes if each.action != "unchanged"]
        await publish_all(
            [(each.topic.encode(), None if each.source is None else encode(each.source)) for each in written]
        )
    return changes


def change_of(former: Source | None, source: Source, ends: Mapping[int, int], *, now_ms: int) -> SourceChange:
    """Return what publishing a source changes. ``ends``: the present ends of its topic, by partition."""
    if former is not None:
        kept = msgspec.structs.replace(source, starts=former.starts, since_ms=former.since_ms)
        action: Action = "unchanged" if former.written == source.written else "changed"
        return SourceChange(source.topic, action, kept)
    starts = dict(ends) if source.begin == "latest" else {}
    return SourceChange(
        source.topic, "added", msgspec.structs.replace(source, starts=starts, since_ms=now_ms)
    )


async def _ends(settings: Settings, topics: Collection[str]) -> dict[str, dict[int, int]]:
    counts = await partition_counts(settings.kafka, list(topics))
    partitions = [TopicPartition(topic, n) for topic in topics for n in range(counts[topic])]
    async with running_consumer(settings.kafka) as consumer:
        ends = await consumer.end_offsets(partitions)
    return {topic: {n: ends[TopicPartition(topic, n)] for n in range(counts[topic])} for topic in topics}


async def _partition(settings: Settings) -> TopicPartition:
    return await single_partition(settings.kafka, settings.topics.sources)
