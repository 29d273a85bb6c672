"""Tells one destination about a wave of addresses: decided, limited, sent, and what has come of each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec
from aiokafka import TopicPartition

from segops.core.audiences.budgets import rate_of
from segops.core.delivery.deciding import accepted, decide, refused, tried
from segops.core.delivery.messages import Message
from segops.core.delivery.model import DEAD, ERASED, Entry, Told
from segops.delivery.board import Active, Board
from segops.delivery.breaker import Breaker
from segops.delivery.entries import ENTRIES, Address
from segops.delivery.gates import Gate
from segops.delivery.records import Output
from segops.destinations.port import (
    Accepted,
    Batch,
    DestinationAway,
    DestinationRefuses,
    Later,
    Outcome,
)
from segops.metrics import Metrics
from segops.schemas.delivery import encode_entries, encode_key, encode_told
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

#: What is decided beforehand of messages that one wave holds -> the budget that it needs.
_BUDGETS: Final[Mapping[str, Literal["entries", "exits"]]] = {"entered": "entries", "exited": "exits"}
_LEAST_LATER_S: Final = 1.0

ToldMs = dict[tuple[str, str], dict[str, int]]
#: Channel, address, and the entries that a person was told of: change -> instant.
Counts = Sequence[tuple[str, str, dict[str, int]]]


class Wave(NamedTuple):
    """Addresses of one delivery that are told at once."""

    active: Active
    entries: Sequence[tuple[Address, Entry]]


class Planned(NamedTuple):
    """A message that is due. ``reserved``: under a limit, just now."""

    of: Address
    entry: Entry
    message: Message
    reserved: bool = False

    @property
    def published_ms(self) -> int:
        """When the change that it tells of was published."""
        target = self.entry.wanted or self.entry.gone
        return wall_ms() if target is None else target.published_ms


class Outcomes:
    """What has come of a wave.

    ``told``: by address, what was told or is settled. ``later``: ids, each with when to try again. ``again``:
    ids that were not sent. ``entries``: channel, address and change of entries that people were told of.
    """

    def __init__(self) -> None:
        self.told: list[tuple[Address, Told | None]] = []
        self.later: list[tuple[str, int]] = []
        self.again: list[str] = []
        self.entries: list[tuple[str, str, str]] = []

    def add(self, other: Outcomes) -> None:
        """Add what waits of another."""
        self.later += other.later
        self.again += other.again


class Teller:
    """Tells destinations for all partitions of a process."""

    def __init__(self, board: Board, breaker: Breaker, metrics: Metrics) -> None:
        self._board = board
        self._breaker = breaker
        self._metrics = metrics

    async def plan(self, wave: Wave, told_ms: ToldMs) -> tuple[Outcomes, list[Planned]]:
        """Return what is settled of a wave without a message, and the messages that may be sent.

        An audience whose limits do not allow its messages is held.
        """
        found, active = Outcomes(), wave.active
        planned = [*self._planned(wave, told_ms, found)]
        return found, await self._allowed(active, planned, found)

    @staticmethod
    def intents(planned: Sequence[Planned]) -> list[tuple[Address, Told | None]]:
        """Return what must be durable before the messages are sent."""
        now_ms = wall_ms()
        return [
            (each.of, tried(each.message, each.entry, now_ms))
            for each in planned
            if each.reserved or each.entry.told is None or each.entry.told.tried != each.message.action
        ]

    async def send(self, active: Active, planned: Sequence[Planned], gate: Gate) -> Outcomes:
        """Send messages and return what has come of them. Raises no error of the destination."""
        found = Outcomes()
        sent = [*batches(planned, active.adapter.batch)]
        await asyncio.gather(*(self._send(active, batch, gate, found) for batch in sent))
        return found

    def _planned(self, wave: Wave, told_ms: ToldMs, found: Outcomes) -> Iterator[Planned]:
        terms, now_ms = wave.active.terms, wall_ms()
        for of, entry in wave.entries:
            before = told_ms.get((terms.audience.channel, of.address), {})
            decided = decide(entry, of.address, terms, told_ms=before, now_ms=now_ms)
            if isinstance(decided, Told):
                self._count(wave.active, decided.skipped)
                found.told.append((of, decided))
            elif decided is not None:
                yield Planned(of, entry, decided)

    async def _allowed(self, active: Active, planned: Sequence[Planned], found: Outcomes) -> list[Planned]:
        """Return the messages that the limits allow; hold the audience if they do not allow all."""
        groups: dict[str, list[Planned]] = {"released": [], "entered": [], "exited": [], "free": []}
        for each in planned:
            groups[_group(active, each)].append(each)
        allowed = [*groups["free"], *await self._paced(active, groups["released"], found)]
        for action, kind in _BUDGETS.items():
            limited = groups[action]
            if not limited:
                continue
            if await self._breaker.reserve(active.record, str(active.delivery), kind, len(limited)):
                allowed += [each._replace(reserved=True) for each in limited]
            else:
                found.again += [each.of.id for each in limited]
        return allowed

    async def _paced(self, active: Active, released: Sequence[Planned], found: Outcomes) -> Sequence[Planned]:
        """Return the released messages that may be sent now."""
        if not released:
            return released
        now, wait_ms = await self._breaker.pace(active.record, str(active.delivery), len(released))
        found.later += [(each.of.id, wall_ms() + wait_ms) for each in released[now:]]
        return released[:now]

    async def _send(self, active: Active, batch: Sequence[Planned], gate: Gate, found: Outcomes) -> None:
        try:
            outcomes = await active.adapter.send([each.message for each in batch], active.options)
        except (DestinationAway, DestinationRefuses) as error:
            if isinstance(error, DestinationAway):
                gate.away(str(error), error.retry_after_s)
            else:
                gate.refuses(str(error))
            found.again += [each.of.id for each in batch]
            return
        except Exception as error:  # no fault of an adapter may stop a partition
            log.exception("the adapter of %s failed", active.delivery.destination)
            gate.refuses(f"{type(error).__name__}: {error}")
            found.again += [each.of.id for each in batch]
            return
        gate.open()
        for planned, outcome in zip(batch, outcomes, strict=True):
            self._note(active, planned, outcome, found)

    def _note(self, active: Active, planned: Planned, outcome: Outcome, found: Outcomes) -> None:
        now_ms, (of, entry, message, _) = wall_ms(), planned
        if isinstance(outcome, Later):
            found.later.append((of.id, now_ms + int(max(outcome.retry_after_s, _LEAST_LATER_S) * 1000)))
            return
        if isinstance(outcome, Accepted):
            self._count(active, message.action)
            found.told.append((of, accepted(message, entry, now_ms)))
            self._metrics.delivery.seconds.labels(active.delivery.destination).observe(
                max(0, now_ms - planned.published_ms) / 1000
            )
            if message.action == "entered" and not message.quiet and self._board.longest_cap_ms:
                found.entries.append((active.terms.audience.channel, of.address, message.change_id))
            return
        self._count(active, DEAD)
        detail = f"{outcome.reason} ({outcome.request_id})" if outcome.request_id else outcome.reason
        found.told.append((of, refused(message, entry, now_ms, why=DEAD, detail=detail)))

    def _count(self, active: Active, result: str) -> None:
        self._metrics.delivery.told.labels(*active.delivery, result).inc()

    def count(self, found: Outcomes, told_ms: ToldMs) -> list[tuple[str, str, dict[str, int]]]:
        """Count the entries that people were told of; return those that still count, by address."""
        now_ms, longest_ms = wall_ms(), self._board.longest_cap_ms
        for channel, address, change_id in found.entries:
            known = told_ms.get((channel, address), {})
            recent = {each: at for each, at in known.items() if at > now_ms - longest_ms}
            told_ms[channel, address] = recent | {change_id: now_ms}
        places = {(channel, address) for channel, address, _ in found.entries}
        return [(*place, told_ms[place]) for place in sorted(places)]


def _group(active: Active, planned: Planned) -> str:
    """Return what limits a message: its action, the rate of a release, or nothing.

    Updates and erasures are free, and so is a message that is repeated while its reservation counts.
    """
    message, told, record = planned.message, planned.entry.told, active.record
    kind, released = _BUDGETS.get(message.action), record.released
    if kind is None or message.reason == ERASED:
        return "free"
    again = told is not None and told.tried == message.action
    if released is not None and planned.published_ms <= released.at_ms:
        return "free" if again or released.rate is None else "released"
    rate = rate_of(record, kind)
    if rate is None or (again and told is not None and wall_ms() - told.at_ms < rate.per_ms):
        return "free"
    return message.action


def outputs(
    topic: TopicPartition, told: Iterable[tuple[Address, Told | None]], counts: Counts = ()
) -> Iterator[Output]:
    """Yield the records of what was told, and of how often people were."""
    for of, each in told:
        yield Output(topic, encode_key(*of.delivery, of.address), encode_told(each))
    for channel, address, entries in counts:
        yield Output(topic, encode_key(ENTRIES, channel, address), encode_entries(entries))


def batches(planned: Sequence[Planned], limit: Batch) -> Iterator[list[Planned]]:
    """Yield the messages in batches of at most these numbers of messages and bytes."""
    batch: list[Planned] = []
    size = 0
    for each in planned:
        length = len(msgspec.json.encode(each.message))
        if batch and (len(batch) == limit.messages or size + length > limit.bytes):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += length
    if batch:
        yield batch
