"""Sizes, trends, population of partitions without Kafka: exact after any crash, merge, erasure and split."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

from segops.core.activity import DAY_MS
from segops.core.messages import Erase, Handover, Split
from segops.core.profile import Erasing, Profile
from segops.core.segments import Definition
from segops.core.values import format_instant
from segops.schemas.messages import decode_message, encode_message, name_of
from segops.schemas.records import partition_of
from segops.schemas.segments import load
from segops.schemas.sizes import (
    MINUTE_MS,
    EndedRecord,
    PopulationFigures,
    PopulationRecord,
    Published,
    SizeRecord,
    TrendRecord,
    key_of,
    minute_of,
)
from segops.schemas.state import decode_profile
from segops.schemas.ticks import TYPE_HEADER
from segops.stores.base import ProfileStore
from segops.streaming.durability.restorer import StoreRestorer
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.population import take_census
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.snapshot import CHANGELOG_META
from segops.streaming.partition.start import Start
from tests.rest import few_of

from .helpers import START_MS
from .snapshots import logged_of
from .test_processors_together import SEGMENTS, ProcessorNetwork

HOUR = 3_600_000


@pytest.fixture
def wanted(tmp_path: Path) -> list[Definition]:
    file = tmp_path / "segments.yaml"
    file.write_text(SEGMENTS)
    return load([file])


class FiguresNetwork(ProcessorNetwork):
    """Partitions with changelogs, whose processes die at any moment and lose their disks.

    ``atomic``: a checkpoint is a transaction. Else it may end between any two records of the changelog, and
    there are no erasures: the sequences of changes that are repeated after one may differ.
    """

    def __init__(self, wanted: list[Definition], number: int, rng: random.Random) -> None:
        self.rng = rng
        self.changelogs: list[list[tuple[bytes, bytes | None]]] = [[] for _ in range(number)]
        self.handovers: list[Handover] = []
        self.atomic = rng.random() < 0.5
        super().__init__(wanted, number, figures_interval_ms=0)

    def _open(self, partition: int) -> SegmentProcessor:
        offset, metadata = self._committed[partition]
        clock = PartitionClock(sources=1, processors=self.number, by_events=True)
        assert clock.load(metadata) or not metadata
        store = self.stores.open(partition)
        self._restore(store, self.changelogs[partition])
        take_census(store)
        return SegmentProcessor(
            store,
            self._engine,
            start=Start(offset, clock, since_ms=0, number=partition, partitions=self.number),
            output=self._outputs[partition],
            **self.bounds,
        )

    def _restore(self, store: ProfileStore, log: list[tuple[bytes, bytes | None]]) -> None:
        restorer = StoreRestorer(store, expected=9)
        at = int(store.meta(CHANGELOG_META) or b"-1") + 1
        while at < len(log):
            end = min(len(log), at + self.rng.choice([1, 5, 1_000]))
            restorer.apply(dict(log[at:end]), end)  # of a key, the latest record counts
            at = end

    def append(
        self, partition: int, key: bytes | None, value: bytes, headers: list[tuple[str, bytes]]
    ) -> None:
        super().append(partition, key, value, headers)
        if headers == [(TYPE_HEADER, b"handover")]:
            message = decode_message(value)
            assert isinstance(message, Handover)
            self.handovers.append(message)

    def request(self, message: Erase | Split) -> None:
        key = message.to.encode()
        headers = [(TYPE_HEADER, name_of(message).encode())]
        self.append(partition_of(key, self.number), key, encode_message(message), headers)

    def checkpoint(self, number: int) -> None:
        processor, log = self.processors[number], self.changelogs[number]
        snapshot = processor.snapshot()
        log += [(each.profile_id.encode(), each.state) for each in logged_of(snapshot)]
        processor.write(snapshot, len(log) - 1 if log else None)
        processor.committed()
        self._committed[number] = snapshot.offset, snapshot.metadata

    def die_in_checkpoint(self, number: int) -> None:
        """Die before the whole changelog is written, before the store is, or before offsets are committed."""
        processor, log = self.processors[number], self.changelogs[number]
        snapshot = processor.snapshot()
        logged = [(each.profile_id.encode(), each.state) for each in logged_of(snapshot)]
        written = self.rng.choice([0, len(logged)] if self.atomic else range(len(logged) + 1))
        log += logged[:written]
        if written == len(logged) and self.atomic:
            self._committed[number] = snapshot.offset, snapshot.metadata
        elif written == len(logged) and self.rng.random() < 0.5:
            processor.write(snapshot, len(log) - 1 if log else None)
        self.crash(number)

    def lose_store(self, number: int) -> None:
        self.processors[number]._store.destroy()
        self.crash(number)

    def figures(self) -> dict[bytes, Published]:
        """Return the latest record of each key, as compaction leaves them."""
        return {key_of(record): record for output in self._outputs for record in output.figures}

    def records(self, kind: type[Any]) -> list[Any]:
        return [record for record in self.figures().values() if isinstance(record, kind)]


def lines(rng: random.Random, count: int) -> list[tuple[int, bytes]]:
    """Return events of people with devices over about 100 days, a few of them late."""
    found, now = [], START_MS
    for number in range(count):
        now += rng.choice([0, 1_000, MINUTE_MS, HOUR, DAY_MS, 3 * DAY_MS, rng.choice([1, 33]) * DAY_MS])
        person = rng.randrange(6)
        ids = {"anonymousId": f"a{person}-{rng.randrange(2)}"}
        if rng.random() < 0.3:
            ids["userId"] = f"u{person}"
        form = {
            "type": "track",
            "event": rng.choice(["Viewed", "Viewed", "Bought"]),
            "messageId": f"m{number}",
            "timestamp": format_instant(now - rng.choice([0, 0, 0, 5 * HOUR, 40 * DAY_MS])),
            "properties": {"total": rng.randrange(200)},
            **ids,
        }
        found.append((now, json.dumps(form).encode()))
    return found


def run(network: FiguresNetwork, rng: random.Random) -> None:
    for number, (now, line) in enumerate(lines(rng, 80)):
        network.post(line, number)
        if rng.random() < 0.3:
            network.tick(now)
        ask(network, rng, number)
        for partition in range(network.number):
            if rng.random() < 0.7:
                network.read(partition, rng.randrange(6))
            if rng.random() < 0.3:
                step = rng.choice(["checkpoint"] * 3 + ["die_in_checkpoint"] * 2 + ["crash", "lose_store"])
                getattr(network, step)(partition)
                assert_stored_figures(network, partition)
    network.drain()
    for end_ms in (now + 5 * DAY_MS, now + 5 * DAY_MS + 2 * MINUTE_MS):  # the last minute ends, too
        network.tick(end_ms)
        network.drain()


def ask(network: FiguresNetwork, rng: random.Random, number: int) -> None:
    if network.atomic and rng.random() < 0.05:
        network.request(Erase(f"user_id:u{rng.randrange(6)}", Erasing(f"r{number}")))
    if rng.random() < 0.05 and network.handovers:
        undone = rng.choice(network.handovers)
        network.request(Split(undone.to, undone.source, undone.sequence, undone.state))


def assert_stored_figures(network: FiguresNetwork, number: int) -> None:
    """Assert that the figures as of the last cut are those of the store."""
    processor, profiles = network.processors[number], profiles_of(network, number)
    assert +processor.sizes == Counter(key for profile in profiles for key in profile.members)
    assert processor.population == recounted(profiles, processor.clock.now_ms)
    for key in processor.sizes:
        assert processor._figures._tallies.flow(key).net == processor.sizes[key]


def settle(network: FiguresNetwork) -> None:
    """Take checkpoints until every minute that is over is published."""
    for number in range(network.number):
        for _ in range(3):
            network.checkpoint(number)


def profiles_of(network: FiguresNetwork, number: int) -> list[Profile]:
    store = network.processors[number]._store
    return [decode_profile(state) for state in store.get_many(store.profile_ids(None, 9_999)) if state]


def true_flows(network: FiguresNetwork) -> dict[tuple[int, str, bool], Counter[str]]:
    """Return how often each change was published once, by partition, segment, side and reason."""
    found: dict[tuple[int, str, bool], Counter[str]] = defaultdict(Counter)
    for change in network.published.values():
        partition = partition_of(change["profile_id"].encode(), network.number)
        found[partition, change["segment_key"], change["member"]][change["reason"]] += 1
    return found


@pytest.mark.parametrize("seed", few_of(range(100)))
def test_figures_equal_a_recount_after_any_crash(wanted: list[Definition], seed: int) -> None:
    rng = random.Random(seed)
    network = FiguresNetwork(wanted, rng.choice([1, 2, 3]), rng)
    run(network, rng)
    settle(network)
    assert_figures(network)
    for number in range(network.number):
        network.lose_store(number)
    settle(network)
    assert_figures(network)


def assert_figures(network: FiguresNetwork) -> None:
    flows = true_flows(network)
    sizes: list[SizeRecord] = network.records(SizeRecord)
    assert {record.segment_key for record in sizes} == {"viewers", "keen", "spenders", "quiet"}
    for record in sizes:
        number, key = record.partition, record.segment_key
        members = sum(key in profile.members for profile in profiles_of(network, number))
        assert (record.members, record.state, record.version) == (members, "live", 1)
        assert record.entered == flows[number, key, True]
        assert record.left == flows[number, key, False]
        assert record.clock_ms <= network.processors[number].clock.now_ms
    assert_trends(network, flows)
    assert_ended_minutes_are_final(network)
    for number in range(network.number):
        assert_population(network, number)


def assert_trends(network: FiguresNetwork, flows: dict[tuple[int, str, bool], Counter[str]]) -> None:
    """Assert that the minutes add up to all changes, and that each one's members are those of the sum."""
    total: dict[tuple[int, str, bool], Counter[str]] = defaultdict(Counter)
    members: Counter[tuple[int, str]] = Counter()
    trends: list[TrendRecord] = network.records(TrendRecord)
    for record in sorted(trends, key=lambda each: each.minute_ms):
        number, key = record.partition, record.segment_key
        total[number, key, True].update(record.entered)
        total[number, key, False].update(record.left)
        members[number, key] += sum(record.entered.values()) - sum(record.left.values())
        assert record.members == members[number, key]
    assert {where: flow for where, flow in total.items() if flow} == {p: f for p, f in flows.items() if f}


def assert_ended_minutes_are_final(network: FiguresNetwork) -> None:
    """Assert that a partition repeats, but never changes or adds, a minute that it has called ended."""
    for output in network._outputs:
        latest, until_ms = {}, 0
        for record in output.figures:
            if isinstance(record, EndedRecord):
                until_ms = max(until_ms, record.until_ms)
            elif isinstance(record, TrendRecord):
                again = msgspec.structs.replace(record, clock_ms=0)
                assert record.minute_ms >= until_ms or latest[key_of(record)] == again
                latest[key_of(record)] = again
        assert until_ms


def assert_population(network: FiguresNetwork, number: int) -> None:
    figures = recounted(profiles_of(network, number), network.processors[number].clock.now_ms)
    published = [record for record in network.records(PopulationRecord) if minute_of(record) is None]
    assert [each.figures for each in published if each.partition == number] == [figures]


def recounted(profiles: list[Profile], clock_ms: int) -> PopulationFigures:
    today = clock_ms // DAY_MS
    known = [profile for profile in profiles if profile.first_ms is not None]
    last = [profile.latest_ms // DAY_MS for profile in known]
    gaps = [
        None if profile.former_day is None else profile.latest_ms // DAY_MS - profile.former_day
        for profile in known
        if profile.latest_ms // DAY_MS >= today
    ]
    return PopulationFigures(
        day_ms=today * DAY_MS,
        known=len(known),
        daily=len(gaps),
        weekly=sum(day > today - 7 for day in last),
        monthly=sum(day > today - 30 for day in last),
        new=gaps.count(None),
        returning=sum(gap is not None and gap <= 30 for gap in gaps),
        resurrected=sum(gap is not None and gap > 30 for gap in gaps),
        dormant=sum(day <= today - 30 for day in last),
    )
