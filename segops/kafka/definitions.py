"""The definitions topic: read whole, followed, and published to all at once.

The topic is compacted and has one partition. A definition's record is replaced by its next version; a
segment that is given up leaves ``{"key": …, "version": n, "retired": true}`` behind for good, so that its
key is never used again. What one publisher wrote becomes visible together, in one transaction, and of two
publishers at the same time the first one fails: it has decided by versions that are no longer true.
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
    """What the records read so far amount to.

    A record that cannot be read is told to ``on_bad`` and changes nothing: the former definition of its
    key stays in force.
    """

    def __init__(self, on_bad: Callable[[str], None] = logger.error) -> None:
        self.live: dict[str, Definition] = {}
        self.retired: dict[str, int] = {}
        self._on_bad = on_bad

    def definitions(self) -> list[Definition]:
        """Those in force, by key; one that refers to no segment, or to itself, is reported and left out."""
        broken = left_out(self.live)
        for key, reason in broken.items():
            self._on_bad(f"the segment {key} is left out: {reason}")
        return [self.live[key] for key in sorted(self.live) if key not in broken]

    def apply(self, key: bytes | None, value: bytes | None, *, offset: int = -1) -> bool:
        """Take one record in; whether the definitions in force may be others now."""
        if key == OWNER_KEY:  # it stands here because everybody reads this topic: see ``owning``
            return False
        try:
            return self._take(_name(key), value)
        except Exception as error:  # whatever stands in a topic: it must not stop a worker
            self._on_bad(f"record {offset} of the definitions (key {key!r}) is skipped: {error}")
            return False

    def _take(self, key: str, value: bytes | None) -> bool:
        if value is None:
            return self.live.pop(key, None) is not None
        definition = definition_from_record(value)
        if definition is None:
            retired = msgspec.json.decode(value, type=_Retired)
            _same(key, retired.key)
            self.retired[key] = retired.version
            return self.live.pop(key, None) is not None
        _same(key, definition.key)
        self.retired.pop(key, None)
        former = self.live.get(key)
        self.live[key] = definition
        return former != definition


def left_out(definitions: Mapping[str, Definition]) -> dict[str, str]:
    """The keys of the definitions that refer to no segment, or to themselves, each with the reason."""
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


def _name(key: bytes | None) -> str:
    if key is None:
        raise ValueError("it has no key")
    return key.decode()


def _same(key: str, inside: str) -> None:
    if key != inside:
        raise ValueError(f"its value is of the segment {inside!r}")


async def follow(
    settings: Settings, *, on_bad: Callable[[str], None] = logger.error
) -> AsyncGenerator[list[Definition], None]:
    """The definitions in force: first all of them, then again whenever they changed, without end.

    Each list is whole: nothing that was published together is ever seen in part. Close the generator
    (``contextlib.aclosing``) to let go of its consumer. Raises UserError when no broker can be reached
    or the topic does not exist.
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
            if _apply(log, found) | await _read_to_end(consumer, part, log):
                yield log.definitions()


async def read(settings: Settings, *, on_bad: Callable[[str], None] = logger.error) -> DefinitionLog:
    """Everything that the topic says now, retired segments included. Raises like :func:`follow`."""
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
    # By position, not by a record with a given offset: compaction and transaction marks leave gaps.
    end: int = (await consumer.end_offsets([part]))[part]
    changed = False
    while await consumer.position(part) < end:
        changed |= _apply(log, await consumer.getmany(part, timeout_ms=_POLL_MS))
    return changed


def _apply(log: DefinitionLog, found: Mapping[TopicPartition, Sequence[Any]]) -> bool:
    records = [record for records in found.values() for record in records]
    return any([log.apply(record.key, record.value, offset=record.offset) for record in records])


class DefinitionChange(msgspec.Struct, frozen=True):
    """What publishing means for one segment; ``version`` is the one in force afterwards.

    ``left out`` is one that was published by somebody else and fits nowhere, for this ``reason``.
    """

    key: str
    action: Action
    version: int
    record: bytes | None = None
    reason: str = ""


def plan(
    log: DefinitionLog, definitions: Iterable[Definition], *, prune: bool, retire: Collection[str] = ()
) -> list[DefinitionChange]:
    """What publishing would do, without doing it.

    A version rises by one when the rule's meaning changed; another name or description is
    ``described`` anew under the same version. ``prune`` retires what is not among ``definitions``, ``retire``
    single keys. What is published already and fits nowhere is ``left out``, and in nobody's way.

    Raises DefinitionError for every key that was retired before, and when the segments in force afterwards
    would not fit together; UserError for a key to retire that is not published, or also wanted.
    """
    wanted = list(definitions)
    used = [d for d in wanted if d.key in log.retired]
    if used:
        raise DefinitionError([_used_again(d, log.retired[d.key]) for d in used])
    keys = {d.key for d in wanted}
    gone = sorted(set(log.live) - keys) if prune else sorted(_to_retire(retire, log, keys))
    others = {key: d for key, d in log.live.items() if key not in keys and key not in gone}
    ours = {each.key: each for each in wanted}
    known = left_out(log.live).keys() - keys
    broken = {key: why for key, why in sorted(left_out({**others, **ours}).items()) if key in known}
    check_references([*wanted, *(d for key, d in others.items() if key not in broken)])
    steps = [_step(log.live.get(d.key), d) for d in wanted]
    steps += [_retirement(log.live[key]) for key in gone]
    return steps + [
        DefinitionChange(key, "left out", others[key].version, reason=why) for key, why in broken.items()
    ]


def _to_retire(retire: Collection[str], log: DefinitionLog, wanted: Collection[str]) -> set[str]:
    for key in retire:
        if key in wanted:
            raise UserError(f"{key!r} is to be retired, and is among the segments to be published")
        if key not in log.live:
            raise UserError(f"{key!r} is to be retired, but no such segment is published")
    return set(retire)


def _used_again(definition: Definition, version: int) -> Issue:
    reason = f"{definition.key!r} was retired at version {version}, and a key is never used again"
    return Issue(definition.source or definition.key, "key", reason)


def _step(former: Definition | None, definition: Definition) -> DefinitionChange:
    if former is None:
        return DefinitionChange(definition.key, "added", 1, _record(definition, 1))
    if former.identity != definition.identity:
        version = former.version + 1
        if version > MAX_VERSION:
            reason = (
                f"{definition.key!r} has the greatest version that there is: retire it, and use another key"
            )
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
    """Make ``definitions`` the ones in force, all or none of them, and return what that meant.

    Raises DefinitionError for a retired key used again, UserError when no broker can be reached or
    somebody else published at the same time; nothing is written then.
    """
    if dry_run:
        return plan(await read(settings), definitions, prune=prune, retire=retire)
    await _partition(settings)
    # Whoever opens the transactional id last shuts out those before, so no publisher writes from what
    # it read before another one wrote. The log is read only once the id is ours.
    options = {
        "transactional_id": f"{settings.topics.segments}-publisher",
        "transaction_timeout_ms": _TRANSACTION_TIMEOUT_MS,
    }
    async with running_producer(settings.kafka, **options) as producer:
        steps = plan(await read(settings), definitions, prune=prune, retire=retire)
        if any(step.record for step in steps):
            await _write(producer, settings.topics.segments, steps)
    return steps


async def _write(producer: AIOKafkaProducer, topic: str, steps: Sequence[DefinitionChange]) -> None:
    try:
        async with producer.transaction():
            await _send(producer, topic, steps)
    except (ProducerFenced, InvalidProducerEpoch):
        raise UserError(
            "somebody else published definitions at the same moment: nothing was written, try again"
        ) from None
    except KafkaError as error:
        raise SegopsError(f"the definitions were not published: {in_words(error)}") from error


async def _send(producer: AIOKafkaProducer, topic: str, steps: Sequence[DefinitionChange]) -> None:
    sent = []
    try:
        for step in steps:
            if step.record is not None:
                sent.append(await producer.send(topic, step.record, key=step.key.encode(), partition=0))
    finally:
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
