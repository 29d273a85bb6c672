"""What destinations were told and what waits, as people look at it, and what they ask for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from aiokafka import TopicPartition

from segops.config import Settings
from segops.core.delivery.deciding import Ask, decide, terms_of
from segops.core.delivery.messages import Message
from segops.core.delivery.model import DEAD, Delivery, Entry
from segops.core.errors import UserError
from segops.delivery.board import Board
from segops.delivery.entries import REQUEST, Address, Entries, address_of
from segops.delivery.records import from_beginning
from segops.delivery.router import shard_of
from segops.destinations.port import Request
from segops.kafka.clients import running_consumer, running_producer
from segops.kafka.partition_tasks import cancel_all
from segops.kafka.topics import partition_counts
from segops.metrics import Metrics
from segops.schemas.delivery import encode_key
from segops.stores.memory import MemoryStores
from segops.wall_clock import wall_ms

#: What people ask for of a message that a destination refused.
ACTIONS: Final[tuple[Ask, ...]] = ("retry", "drop")
_SLICE: Final = 1_000


class Tally(NamedTuple):
    """A delivery in numbers of addresses. ``skipped``: why members are not told -> how many."""

    delivery: Delivery
    wanted: int
    told: int
    skipped: Mapping[str, int]

    @property
    def dead(self) -> int:
        """The addresses whose message the destination refused."""
        return self.skipped.get(DEAD, 0)


class Letter(NamedTuple):
    """A message that a destination refused."""

    delivery: Delivery
    address: str
    profile_id: str
    at_ms: int
    reason: str


class Preview(NamedTuple):
    """What a delivery would send: how many messages, the first requests, and its audience's state."""

    delivery: Delivery
    state: str
    messages: int
    requests: Sequence[Request]


async def read_entries(settings: Settings) -> dict[Address, Entry]:
    """Return every address that has a target or was told something. Raises UserError without the topics."""
    topics = settings.topics
    counts = await partition_counts(settings.kafka, [topics.told, topics.targets])
    told, targets = (
        [TopicPartition(name, number) for number in range(count)] for name, count in counts.items()
    )
    found = Entries(MemoryStores().open(0))
    async with running_consumer(settings.kafka) as consumer:
        consumer.assign([*told, *targets])
        found.take_targets([record async for record in from_beginning(consumer, targets)])
        async for record in from_beginning(consumer, told):
            found.take_told(record)
    entries, after = dict[Address, Entry](), None
    while ids := found.ids(after, _SLICE):
        after, left = ids[-1], found.forget_over(ids)
        entries.update(zip(map(address_of, left), found.read(left), strict=True))
    return entries


def tallies(entries: Mapping[Address, Entry]) -> list[Tally]:
    """Return each delivery in numbers, in order."""
    wanted, told, skipped = Counter[Delivery](), Counter[Delivery](), dict[Delivery, Counter[str]]()
    for of, entry in entries.items():
        wanted[of.delivery] += bool(entry.targets)
        told[of.delivery] += entry.told is not None and entry.told.member
        if entry.told is not None and entry.told.skipped:
            skipped.setdefault(of.delivery, Counter())[entry.told.skipped] += 1
    return [
        Tally(each, wanted[each], told[each], skipped.get(each, {}))
        for each in sorted({of.delivery for of in entries}, key=lambda of: (of.audience, of.destination))
    ]


def letters(entries: Mapping[Address, Entry]) -> list[Letter]:
    """Return what destinations refused, the oldest first."""
    found = [
        Letter(of.delivery, of.address, entry.told.profile_id, entry.told.at_ms, entry.told.detail)
        for of, entry in entries.items()
        if entry.told is not None and entry.told.skipped == DEAD
    ]
    return sorted(found, key=lambda each: each.at_ms)


async def ask(settings: Settings, action: Ask, found: Iterable[Address]) -> None:
    """Ask the running delivery for something about addresses. Returns once Kafka has the requests."""
    count = settings.topics.partitions
    async with running_producer(settings.kafka) as producer:
        sent = [
            await producer.send(
                settings.topics.told,
                b"{}",
                key=encode_key(REQUEST, action, *each.delivery, each.address),
                partition=shard_of(each.address, count),
            )
            for each in found
        ]
        await asyncio.gather(*sent)


async def answer_dead(settings: Settings, action: Ask, chosen: Callable[[Letter], bool]) -> int:
    """Ask for ``action`` about the refused messages that are chosen; return how many there are.

    Raises UserError if there is none.
    """
    found = [each for each in letters(await read_entries(settings)) if chosen(each)]
    if not found:
        raise UserError("no destination has refused such a message")
    await ask(settings, action, [Address(each.delivery, each.address) for each in found])
    return len(found)


class Reconciled(NamedTuple):
    """What a destination holds beside what it was told: the addresses that it lost, and others in number."""

    told: int
    missing: Sequence[Address]
    others: int


async def reconcile(settings: Settings, metrics: Metrics, delivery: Delivery, *, dry_run: bool) -> Reconciled:
    """Compare what a destination holds with what it was told; tell it again what it has lost.

    What it holds besides is left alone: others may have added it. Raises UserError for an unknown delivery,
    and if the destination has no list that can be read.
    """
    entries = await read_entries(settings)
    async with _read_board(settings, metrics) as board:
        if str(delivery) not in board.deliverings:
            raise UserError(f"the audience {delivery.audience} does not deliver to {delivery.destination}")
        _, adapter, options = board.described(delivery)
        members = adapter.members(options)
        if members is None:
            raise UserError(f"{delivery.destination} has no list of {delivery.audience} that can be read")
        held = {each async for each in members}
    told = {of.address: of for of, entry in entries.items() if of.delivery == delivery and _is_told(entry)}
    missing = [of for address, of in sorted(told.items()) if address not in held]
    if not dry_run:
        await ask(settings, "again", missing)
    return Reconciled(len(told), missing, len(held - told.keys()))


def _is_told(entry: Entry) -> bool:
    return entry.told is not None and entry.told.member


@asynccontextmanager
async def _read_board(settings: Settings, metrics: Metrics) -> AsyncIterator[Board]:
    """Provide what is published, once it was read."""
    board = Board(settings, metrics)
    following = asyncio.ensure_future(board.follow())
    try:
        waiting = asyncio.ensure_future(board.changed(0))
        done, _ = await asyncio.wait((waiting, following), return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
        yield board
    finally:
        await cancel_all([following])
        await board.close()


async def preview(settings: Settings, metrics: Metrics, *, audience: str | None, most: int) -> list[Preview]:
    """Return what would be sent now, if each audience were active. Sends nothing.

    Raises UserError for an unknown audience, and where no process has routed targets yet.
    """
    entries = await read_entries(settings)
    async with _read_board(settings, metrics) as board:
        return [*_previews(board, entries, audience, most)]


def _previews(
    board: Board, entries: Mapping[Address, Entry], audience: str | None, most: int
) -> Iterable[Preview]:
    known = {each.id: each for each in board.deliverings.values()}
    if audience is not None and audience not in {each.audience for each in known}:
        raise UserError(f"the audience {audience!r} is not published, or none of its destinations is")
    for delivery in known:
        if audience is not None and delivery.audience != audience:
            continue
        record, adapter, options = board.described(delivery)
        terms, now_ms = terms_of(record), wall_ms()
        due = (
            decide(entry, of.address, terms, now_ms=now_ms)
            for of, entry in entries.items()
            if of.delivery == delivery
        )
        messages = [each for each in due if isinstance(each, Message)]
        requests = adapter.preview(messages[:most], options) if messages else []
        yield Preview(delivery, board.state(delivery), len(messages), requests)
