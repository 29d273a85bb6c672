"""When a partition publishes its figures, and what of a former state counts in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import pytest

from segops.core.activity import DAY_MS
from segops.core.engine import Engine
from segops.core.events import Change
from segops.core.profile import Member, Profile
from segops.core.rules.model import KnownFor
from segops.core.segments import Definition, SegmentSet
from segops.schemas.origin import Origin
from segops.schemas.sizes import (
    MINUTE_MS,
    EndedRecord,
    PopulationRecord,
    Progress,
    Published,
    RecordKey,
    SizeRecord,
    TrendRecord,
)
from segops.schemas.state import body_of, encode_profile
from segops.schemas.tallies import (
    BUCKET_KEYS,
    Bucket,
    bucket_name,
    bucket_of,
    cut_of,
    decode_bucket,
    encode_bucket,
    encode_moves,
)
from segops.stores.base import ProfileStore, Write
from segops.stores.memory import MemoryStores
from segops.streaming.durability.restorer import StoreRestorer
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.population import Population, take_census
from segops.streaming.partition.profile_cache import ProfileCache
from segops.streaming.partition.sizes import Figures, Pace
from segops.streaming.partition.snapshot import MOVES_META, POPULATION_META
from segops.streaming.partition.start import Start
from segops.streaming.partition.tallies import Tallies, emptied_buckets
from segops.testing import FakeClock, RecordingOutput

from .helpers import START_MS

ORIGIN = Origin("app", "segops.", 4, "lineage", generation=7)


def segments(*keys: str, version: int = 1, paused: Collection[str] = ()) -> SegmentSet:
    return SegmentSet(
        Definition(key, key, KnownFor(DAY_MS), version=version, paused=key in paused) for key in keys
    )


def change(key: str, *, member: bool = True) -> Change:
    action = "entered" if member else "exited"
    return Change("u", key, 1, action, member, "event", 0, 0, 1, "id", None, None, None, None, None, "{}")


class FiguresHarness:
    """The figures of partition 2 of 4, with a clock and a monotonic clock that tests set."""

    def __init__(self, store: ProfileStore | None = None, *, now_ms: int = START_MS, **sizes: int) -> None:
        self.store = store or MemoryStores().open(0)
        self.clock = PartitionClock(sources=1, by_events=False)
        self.clock.advance(now_ms)
        self.monotonic, self.output = FakeClock(), RecordingOutput()
        self.sizes = Counter(sizes)
        self.tallies = Tallies(self.store, self.clock, self.sizes)
        self.profiles = ProfileCache(
            self.store, Engine(segments("vip")), lambda *_: pytest.fail("unreadable"), bound=100
        )
        self.figures = Figures(
            self.store,
            Start(0, self.clock, origin=ORIGIN, number=2, partitions=4),
            self.output,
            tallies=self.tallies,
            sizes=self.sizes,
            interval_ms=1_000,
            monotonic=self.monotonic.seconds,
        )

    def change(self, key: str, *, member: bool = True) -> None:
        self.sizes[key] += 1 if member else -1
        self.tallies.note([change(key, member=member)])

    def cut(self, known: SegmentSet, *, after_s: float = 0) -> list[Published]:
        """Take a cut and return what it publishes, apart from which minutes have ended."""
        self.monotonic.advance(round(after_s * 1_000))
        self.output.figures.clear()
        cut = self.figures.cut(self.profiles, known)
        self.store.write([], cut.meta)
        published = list(self.output.figures)
        self.ended = [each for each in published if isinstance(each, EndedRecord)]
        return [each for each in published if not isinstance(each, EndedRecord)]


def keys(records: list[Published]) -> list[str]:
    return [each.segment_key for each in records if not isinstance(each, PopulationRecord | EndedRecord)]


def test_an_opened_partition_publishes_every_size_and_its_population() -> None:
    harness = FiguresHarness(vip=3)
    *sizes, population = harness.cut(segments("new", "vip"))
    assert keys(sizes) == ["new", "vip"]
    assert sizes[1] == SizeRecord("vip", 1, 2, 4, 7, "live", 3, {"unknown": 3}, {}, START_MS)
    assert isinstance(population, PopulationRecord)
    assert (population.partition, population.generation, population.figures.known) == (2, 7, 0)
    assert harness.cut(segments("new", "vip"), after_s=59) == []


def test_many_sizes_are_published_in_slices() -> None:
    harness = FiguresHarness()
    known = segments(*(f"s{number}" for number in range(1_200)))
    published = [harness.cut(known, after_s=1) for _ in range(4)]
    assert [len(keys(records)) for records in published] == [500, 500, 200, 0]
    populations = [isinstance(each, PopulationRecord) for records in published for each in records]
    assert populations.index(True) == len(populations) - 1 == 1_200  # all sizes are true at its clock


def test_changes_are_published_together_and_not_more_often_than_every_interval() -> None:
    harness, known = FiguresHarness(), segments("a", "b", "vip")
    harness.cut(known)
    harness.change("vip")
    harness.change("a")
    assert harness.cut(known, after_s=0.9) == []
    harness.change("vip", member=False)
    *sizes, _ = harness.cut(known, after_s=0.2)
    assert keys(sizes) == ["a", "vip"]
    assert isinstance(sizes[1], SizeRecord)
    assert (sizes[1].members, sizes[1].entered, sizes[1].left) == (0, {"event": 1}, {"event": 1})


def test_the_population_shows_once_a_minute_that_the_clock_moved() -> None:
    harness, known = FiguresHarness(), segments("vip")
    harness.cut(known)
    assert harness.cut(known, after_s=100) == []
    harness.clock.advance(START_MS + 1)
    (population,) = harness.cut(known)
    assert isinstance(population, PopulationRecord) and population.clock_ms == START_MS + 1
    harness.clock.advance(START_MS + 2)
    assert harness.cut(known, after_s=59) == []


def test_nothing_is_published_before_the_clock_is_known() -> None:
    harness, known = FiguresHarness(now_ms=0), segments("vip")
    harness.change("vip")
    assert harness.cut(known, after_s=100) == []
    harness.clock.advance(START_MS)
    assert keys(harness.cut(known)) == ["vip"]
    harness.clock.advance(START_MS + MINUTE_MS)
    harness.cut(known)
    (trend,) = harness.cut(known)
    assert isinstance(trend, TrendRecord) and trend.minute_ms == START_MS // MINUTE_MS * MINUTE_MS


def test_a_minute_is_published_at_the_cut_after_the_one_that_ended_it() -> None:
    harness, known = FiguresHarness(vip=5), segments("vip")
    minute_ms = START_MS // MINUTE_MS * MINUTE_MS
    harness.change("vip")
    harness.cut(known)
    harness.clock.advance(START_MS + MINUTE_MS)
    harness.change("vip", member=False)
    assert harness.cut(known) == []
    harness.change("vip", member=False)
    (trend,) = harness.cut(known)
    assert trend == TrendRecord("vip", minute_ms, 2, 4, 7, 6, {"event": 1}, {}, harness.clock.now_ms)


def test_a_partition_says_up_to_when_its_minutes_are_published() -> None:
    harness, known = FiguresHarness(vip=5), segments("vip")
    minute_ms = START_MS // MINUTE_MS * MINUTE_MS
    harness.cut(known)
    assert harness.ended == [EndedRecord(2, 4, 7, minute_ms, START_MS)]
    harness.clock.advance(START_MS + MINUTE_MS)
    harness.change("vip")
    harness.cut(known)
    assert harness.ended == []  # the cut that ended the minute is not durable yet
    harness.cut(known)
    assert harness.ended == [EndedRecord(2, 4, 7, minute_ms + MINUTE_MS, harness.clock.now_ms)]
    assert isinstance(harness.output.figures[0], EndedRecord)  # the minute in progress is not published


def test_versions_pauses_and_the_end_of_a_segment_are_published() -> None:
    harness = FiguresHarness(vip=1, gone=1)
    harness.cut(segments("vip", "gone"))
    sizes = harness.cut(segments("vip", "gone", version=2, paused=["vip"]), after_s=1)
    assert [(each.version, each.state) for each in sizes if isinstance(each, SizeRecord)] == [
        (2, "live"),
        (2, "paused"),
    ]
    sizes = harness.cut(segments("vip", version=2, paused=["vip"]), after_s=1)
    assert [(each.version, each.state, each.members) for each in sizes if isinstance(each, SizeRecord)] == [
        (2, "retired", 1)
    ]
    harness.change("gone", member=False)
    known = segments("vip", version=2, paused=["vip"])
    harness.cut(known, after_s=1)
    assert harness.output.deleted_sizes == []  # its last minute is not published yet
    harness.clock.advance(START_MS + MINUTE_MS)
    for _ in range(2):
        harness.cut(known, after_s=1)
    assert harness.output.deleted_sizes == [RecordKey("gone", 7, 2)]
    assert list(harness.tallies.segments()) == ["vip"]
    again = FiguresHarness(harness.store, vip=1)
    assert keys(again.cut(known)) == ["vip"]


def test_moves_of_an_incomplete_checkpoint_are_written_before_the_next_profiles() -> None:
    store, name = MemoryStores().open(0), bucket_name(bucket_of("vip"))
    key = next(key for key, known in BUCKET_KEYS.items() if known == name)
    restorer = StoreRestorer(store, expected=1)
    moves = encode_moves(4, [(START_MS, "vip", "event", True)])
    member = encode_profile(Profile("u", members={"vip": Member(0, 1)}), moves)
    restorer.apply({b"u": member, key: encode_bucket(Bucket(3))}, 2)
    restorer.apply({b"u": member}, 3)  # written twice by a producer that retried
    assert store.meta(MOVES_META) == moves
    harness = FiguresHarness(store, vip=1)
    cut = harness.figures.cut(harness.profiles, segments("vip"))
    (leading,) = cut.leading
    assert leading.profile_id.encode() == key
    assert leading.state is not None and decode_bucket(leading.state).cut == 4
    assert decode_bucket(leading.state).tallies["vip"].entered == {"event": 1}
    assert (decode_bucket(cut.meta[name]).cut, cut.meta[MOVES_META]) == (5, b"")
    assert harness.figures.cut(harness.profiles, segments("vip")).leading == []


def test_moves_that_the_bucket_includes_are_not_counted_again() -> None:
    store, name = MemoryStores().open(0), bucket_name(bucket_of("vip"))
    key = next(key for key, known in BUCKET_KEYS.items() if known == name)
    restorer = StoreRestorer(store, expected=1)
    moves = encode_moves(4, [(START_MS, "vip", "event", True)])
    restorer.apply({b"u": encode_profile(Profile("u", members={"vip": Member(0, 1)}), moves)}, 1)
    assert store.meta(MOVES_META) == moves
    restorer.apply({key: encode_bucket(Bucket(4))}, 2)
    assert store.meta(MOVES_META) == b""
    restorer.apply({key: b"\xc1"}, 3)
    assert store.meta(name) == encode_bucket(Bucket(4))


def test_a_fresh_start_discards_tallies_and_moves() -> None:
    store = MemoryStores().open(0)
    assert emptied_buckets(store) == {}
    harness = FiguresHarness(store, vip=2)
    harness.cut(segments("vip"))
    store.write([], {MOVES_META: encode_moves(9, [(0, "other", "event", True)])})
    emptied = emptied_buckets(store)
    assert emptied.keys() == {bucket_name(bucket_of("vip")), bucket_name(bucket_of("other"))}
    assert {data for data in emptied.values()} == {encode_bucket(Bucket(10))}
    fresh = MemoryStores().open(0)
    fresh.write([], emptied)
    assert list(Tallies(fresh, harness.clock, {}).segments()) == []
    assert {cut_of(moves) for moves in noted(fresh).values()} == {11}


def noted(store: ProfileStore) -> dict[str, bytes]:
    tallies = Tallies(store, PartitionClock(sources=1, by_events=False), {})
    tallies.note([change("vip")])
    return tallies.cut()


def test_the_profiles_of_a_former_store_are_counted_once() -> None:
    store = MemoryStores().open(0)
    known = encode_profile(Profile("a", first_ms=0, latest_ms=5 * DAY_MS))
    former = b"\x03" + known[1:9] + bytes(4) + body_of(known)
    blank = encode_profile(Profile("b"))
    store.write([Write("a", former), Write("b", blank), Write("c", b"\x09"), Write("d", known)], {})
    take_census(store)
    counted = Population(store, 0).figures(5 * DAY_MS)
    assert (counted.known, counted.daily, counted.returning, counted.dormant) == (2, 2, 2, 0)
    data = store.meta(POPULATION_META)
    store.write([Write("d", None)], {})
    take_census(store)
    assert store.meta(POPULATION_META) == data


def test_the_population_of_long_ago_is_added_up() -> None:
    harness, known = FiguresHarness(now_ms=500 * DAY_MS), segments("vip")
    for number in range(100):
        entry = harness.profiles.get(f"u{number}")
        entry.profile.first_ms = entry.profile.latest_ms = number * DAY_MS
        harness.profiles.touch(entry)
    harness.cut(known)
    figures = harness.figures.population()
    assert (figures.known, figures.dormant, figures.monthly) == (100, 100, 0)
    assert len(harness.store.meta(POPULATION_META) or b"") < 10
    entry = harness.profiles.get("u7")
    entry.profile.latest_ms, entry.profile.former_day = 500 * DAY_MS, 7
    harness.cut(known)
    figures = harness.figures.population()
    assert (figures.known, figures.dormant, figures.daily, figures.resurrected) == (100, 99, 1, 1)


def test_the_rate_of_a_backfill_is_that_since_this_process_began_it() -> None:
    clock = FakeClock()
    pace = Pace(clock.seconds)
    assert pace.measure(None) is None
    assert pace.measure(Progress(40, 100)) == Progress(40, 100, 0.0)
    clock.advance(4_000)
    assert pace.measure(Progress(60, 100)) == Progress(60, 100, 5.0)
    clock.advance(6_000)
    assert pace.measure(Progress(60, 100)) == Progress(60, 100, 2.0)  # another partition was read
    assert pace.measure(Progress(0, 80)) == Progress(0, 80, 0.0)  # of the next definitions
    pace.measure(None)
    clock.advance(1_000)
    assert pace.measure(Progress(10, 10)) == Progress(10, 10, 0.0)
