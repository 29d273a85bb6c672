"""Resources as code: a compacted topic with one partition, and a record of each that people published."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from aiokafka import TopicPartition

from segops.config import KafkaSettings
from segops.core.errors import UserError
from segops.kafka import reading
from segops.kafka.publication import publisher
from segops.kafka.topics import single_partition

log = logging.getLogger(__name__)

R = TypeVar("R")
#: ``described``: what people read of it changed, and nothing that it does.
Action = Literal["added", "changed", "described", "unchanged", "removed"]


@dataclass(frozen=True)
class Kind(Generic[R]):
    """A kind of resource, called ``name`` in messages. ``decode`` may raise any error."""

    name: str
    key: Callable[[R], str]
    encode: Callable[[R], bytes]
    decode: Callable[[bytes], R]


@dataclass(frozen=True)
class Change(Generic[R]):
    """What publishing changes of one resource; ``resource`` is None if it is removed."""

    key: str
    action: Action
    resource: R | None = None


#: From the published resources by key to what is changed.
Decide = Callable[[Mapping[str, R]], Sequence[Change[R]]]


class ResourceLog(Generic[R]):
    """The resources after the records read so far, by key. An unreadable record leaves the former one."""

    def __init__(self, kind: Kind[R], on_bad: Callable[[str], None] = log.error) -> None:
        self.found: dict[str, R] = {}
        self._kind = kind
        self._on_bad = on_bad

    def apply_all(self, records: Iterable[Any]) -> bool:
        """Apply records; return whether they changed anything."""
        return any([self._apply(record) for record in records])

    def _apply(self, record: Any) -> bool:
        kind = self._kind
        try:
            key = record.key.decode()
            former = self.found.get(key)
            if record.value is None:
                return self.found.pop(key, None) is not None
            resource = kind.decode(record.value)
            if kind.key(resource) != key:
                raise ValueError(f"the value is of {kind.key(resource)!r}")
        except Exception as error:  # no record in the topic may stop a process
            self._on_bad(f"skipping {kind.name} record {record.offset} (key {record.key!r}): {error}")
            return False
        self.found[key] = resource
        return resource != former


@dataclass(frozen=True)
class ResourceTopic(Generic[R]):
    """The topic of a kind. Every method raises UserError if it is missing."""

    kind: Kind[R]
    kafka: KafkaSettings
    topic: str

    async def read(self) -> dict[str, R]:
        """Return the published resources by key."""
        found = ResourceLog(self.kind)
        found.apply_all(await reading.read_all(self.kafka, await self._partition()))
        return found.found

    async def follow(self) -> AsyncGenerator[dict[str, R], None]:
        """Yield the published resources, and again after every change. Runs until closed."""
        found = ResourceLog(self.kind)
        partition = await self._partition()
        async with aclosing(reading.follow(self.kafka, partition, found.apply_all)) as changes:
            async for _ in changes:
                yield dict(found.found)

    async def publish(self, decide: Decide[R], *, dry_run: bool = False) -> list[Change[R]]:
        """Publish what ``decide`` changes, all or nothing, and return it. ``dry_run`` publishes nothing.

        Raises UserError if another publisher commits first.
        """
        if dry_run:
            return list(decide(await self.read()))
        await self._partition()
        async with publisher(self.kafka, self.topic) as publish_all:
            changes = list(decide(await self.read()))
            written = [each for each in changes if each.action != "unchanged"]
            await publish_all([(each.key.encode(), self._value(each)) for each in written])
        return changes

    async def remove(self, keys: Collection[str]) -> list[Change[R]]:
        """Remove the resources with these keys. Raises UserError if one is not published."""
        return await self.publish(lambda known: self._removals(known, set(keys)))

    def _removals(self, known: Mapping[str, R], keys: set[str]) -> list[Change[R]]:
        if missing := sorted(keys - known.keys()):
            published = ", ".join(sorted(known)) or "none"
            raise UserError(
                f"no {self.kind.name} is published for {', '.join(missing)}; published: {published}"
            )
        return [Change(key, "removed") for key in sorted(keys)]

    def _value(self, change: Change[R]) -> bytes | None:
        return None if change.resource is None else self.kind.encode(change.resource)

    async def _partition(self) -> TopicPartition:
        return await single_partition(self.kafka, self.topic)


def removed(known: Collection[str], listed: Collection[str]) -> list[Change[R]]:
    """Return the removal of all known resources that are not listed."""
    return [Change(key, "removed") for key in sorted(set(known) - set(listed))]
