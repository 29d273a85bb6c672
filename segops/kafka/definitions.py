"""The definitions topic: reading, following and publishing segment definitions.

The topic is compacted and has one partition. The next version of a definition replaces its record. A retired
segment leaves ``{"key": …, "version": n, "retired": true}`` behind permanently, so that its key is never
reused. A publisher writes all its records in one transaction. Of two concurrent publishers the first fails,
because it decided by versions that are outdated.
"""

from __future__ import annotations

import asyncio
import graphlib
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced

from segops.config import Settings
from segops.core.errors import DefinitionError, Issue, SegopsError, UserError
from segops.core.segments import Definition, check_references, references
from segops.kafka.clients import running_consumer, running_producer
from segops.kafka.reachability import in_words
from segops.kafka.reading import read_to_end
from segops.kafka.topics import partition_counts
from segops.schemas.owner import OWNER_KEY
from segops.schemas.segments import MAX_VERSION, definition_from_record, definition_to_record

logger = logging.getLogger(__name__)

_POLL_MS: Final = 1_000
_TRANSACTION_TIMEOUT_MS: Final = 15_000

Action = Literal["added", "changed", "described", "unchanged", "retired", "left out"]


class _Retired(msgspec.Struct):
    key: str
    version: Annotated[int, msgspec.Meta(ge=1, le=MAX_VERSION)]
    retired: Literal[True]


class DefinitionLog:
    """The definitions and retired keys after the records read so far.

    An unreadable record is reported to ``on_bad`` and changes nothing: the previous definition of its key
    stays active.
    """

    def __init__(self, on_bad: Callable[[str], None] = logger.error) -> None:
        self.live: dict[str, Definition] = {}
        self.retired: dict[str, int] = {}
        self._on_bad = on_bad

    def definitions(self) -> list[Definition]:
        """Return the active definitions by key, reporting and leaving out those with a broken reference."""
        broken = left_out(self.live)
        for key, reason in broken.items():
            self._on_bad(f"ignoring segment {key}: {reason}")
        return [self.live[key] for key in sorted(self.live) if key not in broken]

    def apply(self, key: bytes | None, value: bytes | None, *, offset: int = -1) -> bool:
        """Apply one record; return whether it may have changed the active definitions."""
        if key == OWNER_KEY:  # in this topic because every worker reads it: see ``streaming.ownership.owner``
            return False
        try:
            return self._apply(_segment_key(key), value)
        except Exception as error:  # no record in the topic may stop a worker
            self._on_bad(f"skipping definition record {offset} (key {key!r}): {error}")
            return False

    def _apply(self, key: str, value: bytes | None) -> bool:
        if value is None:
            return self.live.pop(key, None) is not None
        definition = definition_from_record(value)
        if definition is None:
            retired = msgspec.json.decode(value, type=_Retired)
            _check_key(key, retired.key)
            self.retired[key] = retired.version
            return self.live.pop(key, None) is not None
        _check_key(key, definition.key)
        self.retired.pop(key, None)
        former = self.live.get(key)
        self.live[key] = definition
        return former != definition


def left_out(definitions: Mapping[str, Definition]) -> dict[str, str]:
    """Return the definitions with a missing or circular reference: key -> reason."""
    found = {key: definitions[key] for key in sorted(definitions)}
    reasons: dict[str, str] = {}
    while broken := _broken(found):
        reasons |= broken
        for key in broken:
            del found[key]
    return reasons


def _broken(found: Mapping[str, Definition]) -> dict[str, str]:
    uses = {key: used for key, definition in found.items() if (used := set(references(definition.when)))}
    missing = {key: sorted(used - found.keys()) for key, used in uses.items() if not used <= found.keys()}
    if missing:
        return {key: f"in_segment: unknown segment {', '.join(used)}" for key, used in missing.items()}
    try:
        graphlib.TopologicalSorter(uses).prepare()
    except graphlib.CycleError as error:
        cycle: list[str] = error.args[1]
        return {key: f"in_segment forms a cycle: {' -> '.join(cycle)}" for key in set(cycle)}
    return {}


def _segment_key(key: bytes | None) -> str:
    if key is None:
        raise ValueError("missing key")
    return key.decode()


def _check_key(key: str, found: str) -> None:
    if key != found:
        raise ValueError(f"the value defines segment {found!r}")


async def follow(
    settings: Settings, *, on_bad: Callable[[str], None] = logger.error
) -> AsyncGenerator[list[Definition], None]:
    """Yield all active definitions, and again after every change. Runs until closed.

    Each list is consistent: it never contains a part of one publication. Close the generator
    (``contextlib.aclosing``) to stop its consumer. Raises UserError when no broker is reachable or the topic
    does not exist.
    """
    log = DefinitionLog(on_bad)
    part = await _partition(settings)
    async with running_consumer(settings.kafka) as consumer:
        consumer.assign([part])
        await consumer.seek_to_beginning(part)
        await _read_to_end(consumer, part, log)
        yield log.definitions()
        while True:
            found = await consumer.getmany(part, timeout_ms=_POLL_MS)
            if _apply(log, found.get(part, ())) | await _read_to_end(consumer, part, log):
                yield log.definitions()


async def read(settings: Settings, *, on_bad: Callable[[str], None] = logger.error) -> DefinitionLog:
    """Read the whole topic, including retired segments. Raises like :func:`follow`."""
    log = DefinitionLog(on_bad)
    part = await _partition(settings)
    async with running_consumer(settings.kafka) as consumer:
        consumer.assign([part])
        await consumer.seek_to_beginning(part)
        await _read_to_end(consumer, part, log)
    return log


async def _partition(settings: Settings) -> TopicPartition:
    topic = settings.topics.segments
    (count,) = (await partition_counts(settings.kafka, [topic])).values()
    if count != 1:
        raise UserError(f"the topic {topic} has {count} partitions, expected 1")
    return TopicPartition(topic, 0)


async def _read_to_end(consumer: AIOKafkaConsumer, part: TopicPartition, log: DefinitionLog) -> bool:
    return _apply(log, [record async for record in read_to_end(consumer, [part])])


def _apply(log: DefinitionLog, records: Iterable[Any]) -> bool:
    return any([log.apply(record.key, record.value, offset=record.offset) for record in records])


class DefinitionChange(msgspec.Struct, frozen=True):
    """The effect of publishing on one segment; ``version`` is the active one afterwards.

    ``left out`` is a published segment of another publisher with a broken reference; ``reason`` names it.
    """

    key: str
    action: Action
    version: int
    record: bytes | None = None
    reason: str = ""


def plan(
    log: DefinitionLog, definitions: Iterable[Definition], *, prune: bool, retire: Collection[str] = ()
) -> list[DefinitionChange]:
    """Return what publishing would change, without publishing.

    A change of the rule's meaning increments the version; a change of only the name or description is
    ``described``, with the same version. ``prune`` retires all segments not in ``definitions``, ``retire``
    the given keys. A published segment with a broken reference is ``left out`` and blocks nothing.

    Raises DefinitionError for retired keys and for references that would be broken afterwards; UserError for
    a key to retire that is not published, or is also in ``definitions``.
    """
    listed = list(definitions)
    new = {each.key: each for each in listed}
    reused = [each for each in listed if each.key in log.retired]
    if reused:
        raise DefinitionError([_reused_key(each, log.retired[each.key]) for each in reused])
    retired = sorted(log.live.keys() - new.keys()) if prune else sorted(_to_retire(retire, log, new))
    others = {key: each for key, each in log.live.items() if key not in new and key not in retired}
    known = left_out(log.live).keys() - new.keys()
    broken = {key: why for key, why in sorted(left_out({**others, **new}).items()) if key in known}
    check_references([*listed, *(each for key, each in others.items() if key not in broken)])
    changes = [_change(log.live.get(each.key), each) for each in listed]
    changes += [_retirement(log.live[key]) for key in retired]
    return changes + [
        DefinitionChange(key, "left out", others[key].version, reason=why) for key, why in broken.items()
    ]


def _to_retire(retire: Collection[str], log: DefinitionLog, new: Collection[str]) -> set[str]:
    for key in retire:
        if key in new:
            raise UserError(f"cannot retire {key!r}: it is among the segments to publish")
        if key not in log.live:
            raise UserError(f"cannot retire {key!r}: no such segment is published")
    return set(retire)


def _reused_key(definition: Definition, version: int) -> Issue:
    reason = f"{definition.key!r} was retired at version {version}; a retired key cannot be reused"
    return Issue(definition.source or definition.key, "key", reason)


def _change(former: Definition | None, definition: Definition) -> DefinitionChange:
    if former is None:
        return DefinitionChange(definition.key, "added", 1, _record(definition, 1))
    if former.identity != definition.identity:
        version = former.version + 1
        if version > MAX_VERSION:
            reason = f"{definition.key!r} has reached the highest version: retire it and use another key"
            raise DefinitionError([Issue(definition.source or definition.key, "version", reason)])
        return DefinitionChange(definition.key, "changed", version, _record(definition, version))
    if (former.name, former.description) != (definition.name, definition.description):
        return DefinitionChange(
            definition.key, "described", former.version, _record(definition, former.version)
        )
    return DefinitionChange(definition.key, "unchanged", former.version)


def _record(definition: Definition, version: int) -> bytes:
    return definition_to_record(msgspec.structs.replace(definition, version=version))


def _retirement(former: Definition) -> DefinitionChange:
    record = msgspec.json.encode({"key": former.key, "version": former.version, "retired": True})
    return DefinitionChange(former.key, "retired", former.version, record)


async def publish(
    settings: Settings,
    definitions: Iterable[Definition],
    *,
    prune: bool = False,
    retire: Collection[str] = (),
    dry_run: bool = False,
) -> list[DefinitionChange]:
    """Publish ``definitions`` atomically and return the changes.

    Raises, without writing anything, DefinitionError for a retired key or a broken reference, and UserError
    when no broker is reachable or another publisher commits first.
    """
    if dry_run:
        return plan(await read(settings), definitions, prune=prune, retire=retire)
    await _partition(settings)
    # Opening the transactional id fences earlier publishers. The topic is read only after that, so no
    # publisher writes a decision that is based on outdated definitions.
    options = {
        "transactional_id": f"{settings.topics.segments}-publisher",
        "transaction_timeout_ms": _TRANSACTION_TIMEOUT_MS,
    }
    async with running_producer(settings.kafka, **options) as producer:
        changes = plan(await read(settings), definitions, prune=prune, retire=retire)
        if any(change.record for change in changes):
            await _write(producer, settings.topics.segments, changes)
    return changes


async def _write(producer: AIOKafkaProducer, topic: str, changes: Sequence[DefinitionChange]) -> None:
    try:
        async with producer.transaction():
            await _send(producer, topic, changes)
    except (ProducerFenced, InvalidProducerEpoch):
        raise UserError("another publisher committed first; nothing was written. Retry.") from None
    except KafkaError as error:
        raise SegopsError(f"failed to publish the definitions: {in_words(error)}") from error


async def _send(producer: AIOKafkaProducer, topic: str, changes: Sequence[DefinitionChange]) -> None:
    sent = []
    try:
        for change in changes:
            if change.record is not None:
                sent.append(await producer.send(topic, change.record, key=change.key.encode(), partition=0))
    finally:
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
