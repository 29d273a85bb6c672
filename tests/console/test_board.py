"""The read model: what it folds from records, and what it says of the workers."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from types import SimpleNamespace

import msgspec
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import RawTestServer
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from segops import config
from segops.analytics.intervals import DAY_MS
from segops.console.board.answers import AnswerCache
from segops.console.board.board import Board
from segops.console.board.changes import MOST
from segops.console.board.deliveries import Deliveries
from segops.console.board.exposition import buckets, growth, quantile, scraped, total
from segops.console.board.polling import DELIVERY, WORKER, Polled, _poll_delivery, is_address
from segops.console.board.reasons import ReasonMinutes
from segops.console.board.vitals import VitalsWatch
from segops.core.delivery.messages import Person
from segops.core.delivery.model import Delivery, Entry, Target, Told
from segops.delivery.entries import Address
from segops.delivery.gates import CLOSED
from segops.delivery.views import tallies
from segops.metrics import Metrics
from segops.schemas.delivery import encode_key, encode_target, encode_told
from segops.schemas.sizes import TrendRecord

from .board import MINUTE_MS, FilledBoard, full

# -- definitions, sizes, changes ---------------------------------------------------------------------------


def test_published_definitions_are_shown_with_their_earlier_versions() -> None:
    board = FilledBoard()
    board.define({"key": "a", "when": {"did": "A"}}, at_ms=1_000)
    board.define({"key": "a", "when": {"did": "B"}}, at_ms=2_000, version=2)
    board.define({"key": "a", "when": {"did": "B"}}, at_ms=3_000, version=2, paused=True)
    board.define({"key": "b", "when": {"in_segment": "gone"}})
    asyncio.run(board.tick())
    assert [(key, each.version, each.paused) for key, each in board.definitions.items()] == [
        ("a", 2, True),
        ("b", 1, False),
    ]
    assert [(each.at_ms, each.version, each.paused) for each in board.editions("a")] == [
        (3_000, 2, True),
        (2_000, 2, False),
        (1_000, 1, False),
    ]
    assert board.left_out == {"b": "in_segment: unknown segment gone"}
    board.retire(board.definitions["a"])
    asyncio.run(board.tick())
    assert [*board.definitions] == ["b"]
    assert board.log.retired == {"a": 2}


def test_rows_follow_sizes_and_subscribers_hear_of_them() -> None:
    board = full()
    asyncio.run(board.tick())
    mine, all_ = board.subscribe(frozenset(("vip",))), board.subscribe()
    row = board.rows["vip"]
    assert (row.members, row.state, row.version, row.complete) == (1_001, "live", 1, True)
    board.size("vip", 1_400)
    board.size("calm", 3)
    asyncio.run(board.tick())
    assert board.rows["vip"].members == 1_400
    assert mine.take(10) == ["vip"]
    assert all_.take(1) + all_.take(10) == ["vip", "calm"]
    assert mine.take(10) == all_.take(10) == []
    board.size("vip", 1_400)
    asyncio.run(board.tick())
    assert mine.take(10) == []  # it was told again, and nothing moved
    board.unsubscribe(mine)
    board.size("vip", 1_500)
    asyncio.run(board.tick())
    assert mine.take(10) == []


def test_a_row_has_what_moved_in_a_day() -> None:
    board = FilledBoard()
    board.minute("vip", 2_000, 90, {"event": 50}, {})
    board.minute("vip", 30, 100, {"event": 14, "time": 1}, {"merge": 5})
    board.size("vip", 100)
    asyncio.run(board.tick())
    row = board.rows["vip"]
    assert (row.adds, row.drops, row.volatility) == (15, 5, 0.2)


def test_the_latest_changes_of_a_segment_are_kept_once() -> None:
    board = FilledBoard()
    for number in range(1, MOST + 10):
        board.change("vip", f"user_id:u{number}", number, member=True)
    found = board.recent_changes("vip")
    assert [each.profile_id for each in found] == [f"user_id:u{n}" for n in range(MOST + 9, 9, -1)]
    form = {"profile_id": "u", "segment_key": "vip", "member": True, "reason": "event", "occurred_at": 1}
    again = SimpleNamespace(key=b"u", value=msgspec.json.encode(form), offset=3)
    assert board._changes.take(0, again) is None  # it was read before an outage
    assert len(board.recent_changes("vip")) == MOST
    assert board.recent_changes("vip")[0].profile_id == found[0].profile_id
    assert board.recent_changes("other") == []


def test_what_cannot_be_read_is_passed_over() -> None:
    board = full()
    for topic in ("segments", "sizes", "trends", "plans", "audiences", "destinations", "alerts", "catalogue"):
        for key in (None, b"", b"\xff", b"x", b"vip|0|0"):
            board.take(topic, key, b'{"bad": \xff')
    for topic in ("membership_changes", "told", "targets"):
        board.take(topic, b'["a","b","c"]', b"nothing")
    asyncio.run(board.tick())
    assert board.rows["vip"].members == 1_001
    assert "vip" in board.definitions


# -- by reason ---------------------------------------------------------------------------------------------


def minute(
    segment: str, partition: int, at: int, entered: dict[str, int], left: dict[str, int]
) -> TrendRecord:
    return TrendRecord(segment, at * MINUTE_MS, partition, 4, 0, 0, entered, left, 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_flows_by_reason_are_those_of_the_last_record_of_each_minute(seed: int) -> None:
    """Records of a minute repeat while it is in progress, and after a crash the one before it, too."""
    draw = random.Random(seed)
    found, last = ReasonMinutes(), dict[tuple[str, int, int], TrendRecord]()
    for partition in range(2):
        at = 1
        for _ in range(draw.randint(0, 40)):
            at += draw.choice((0, 0, 0, 1, 3))
            when = max(1, at - draw.choice((0, 0, 1)))
            counts = [
                {name: draw.randint(0, 5) for name in draw.sample(("event", "time"), draw.randint(0, 2))}
                for _ in range(2)
            ]
            record = minute(draw.choice("ab"), partition, when, *counts)
            found.note(record)
            last[record.segment_key, partition, when] = record
    entered, left = Counter[str](), Counter[str]()
    for record in last.values():
        entered.update(record.entered)
        left.update(record.left)
    flows = found.total(0)
    assert (flows.entered, flows.left) == (+entered, +left)
    steps = found.steps(range(0, 3_600_000 * 4, 600_000), 600_000)
    assert sum(sum(each.entered.values()) for each in steps) == entered.total()


def test_flows_older_than_a_day_are_forgotten() -> None:
    found = ReasonMinutes()
    found.note(minute("a", 0, 10, {"event": 5}, {}))
    found.note(minute("a", 0, 10 + DAY_MS // MINUTE_MS, {"event": 1}, {}))
    found.note(minute("b", 1, 9, {"event": 7}, {}))
    assert found.total(0).entered == {"event": 1}


# -- deliveries --------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 1), st.integers(0, 4)), max_size=60
    )
)
def test_tallies_equal_those_of_the_entries(drawn: list[tuple[int, int, int, int]]) -> None:
    """The numbers are those that ``segops deliveries`` counts over all entries."""
    folded, entries = Deliveries(), dict[Address, Entry]()
    told = (
        None,
        Told(True, "c", "p", 1),
        Told(False, "c", "p", 1),
        Told(True, "c", "p", 1, skipped="capped"),
        Told(False, "c", "p", 1, skipped="dead"),
    )
    for kind, address, profile, choice in drawn:
        of = Address(Delivery("crm", "winback"), f"a{address}")
        entry = entries.setdefault(of, Entry())
        if kind == 0:
            target = Target(choice % 2 == 0, "c", 1, "event", 1, 1, Person(f"p{profile}"))
            value, headers = encode_target(target)
            key = encode_key(*of.delivery, of.address, f"p{profile}")
            folded.take_target(0, SimpleNamespace(key=key, value=value, headers=headers))
            entry.take(f"p{profile}", target)
        else:
            key = encode_key(*of.delivery, of.address)
            folded.take_told(0, SimpleNamespace(key=key, value=encode_told(told[choice])))
            entry.told = told[choice]
    expected = [each for each in tallies(entries) if each.wanted or each.told or each.skipped]
    found = [each for each in folded.tallies().values() if each.wanted or each.told or each.skipped]
    assert found == expected


# -- workers -----------------------------------------------------------------------------------------------


def test_metrics_are_read_as_prometheus_writes_them() -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.events_consumed.labels("resolve").inc(7)
    metrics.events_consumed.labels("segment").inc(9)
    metrics.consumer_lag.labels('topic "a"\\\n{', "0").set(4)
    for seconds in (0.02, 0.02, 0.2, 200):
        metrics.end_to_end.observe(seconds)
    found = scraped(generate_latest(metrics.registry), WORKER)
    assert total(found, "segops_events_consumed_total") == 16
    assert total(found, "segops_events_consumed_total", step="resolve") == 7
    assert total(found, "segops_consumer_lag_records", topic='topic \\"a\\"\\\\\\n{') == 4
    counts = buckets(found, "segops_end_to_end_seconds")
    assert counts[0.025] == 2 and counts[float("inf")] == 4
    assert quantile(counts, 0.5) == pytest.approx(0.025)
    assert quantile({}, 0.5) is None
    assert growth(5, 3) == 2 and growth(1, 3) == 1


def page(registry: CollectorRegistry, at_ms: int, url: str = "http://w1:1") -> Polled:
    return Polled(url, at_ms, scraped(generate_latest(registry), WORKER))


def test_vitals_compare_polls() -> None:
    watch, metrics, silent = (
        VitalsWatch(),
        Metrics(CollectorRegistry()),
        Polled("d", 0, None, "does not answer"),
    )
    metrics.events_consumed.labels("resolve").inc(1_000_000)
    metrics.partition_clock.labels("0").set(1_000)
    metrics.partition_clock.labels("1").set(900.5)
    watch.hear([page(metrics.registry, 10_000)], silent)
    assert watch.now.events_per_s is None
    assert watch.now.clock_ms == 900_500
    metrics.events_consumed.labels("resolve").inc(400)
    metrics.end_to_end.observe(0.04)
    metrics.timer_lateness.observe(7)
    metrics.timer_lateness.observe(0.1)
    metrics.partitions_recovering.set(2)
    watch.hear(
        [page(metrics.registry, 14_000), Polled("http://w2:1", 14_000, None, "does not answer")], silent
    )
    now = watch.now
    assert (now.events_per_s, now.recovering, now.overdue, now.reached, now.known) == (100, 2, 1, 1, 2)
    assert now.p99_ms is not None and 25 < now.p99_ms <= 50
    assert [each.answers for each in watch.workers] == [True, False]
    assert watch.gates == {} and not watch.delivers
    watch.hear([Polled("http://w1:1", 16_000, None, "does not answer")], silent)
    assert (watch.now.reached, watch.now.at_ms) == (0, 14_000)


def test_a_worker_that_began_again_does_not_count_backwards() -> None:
    watch, silent = VitalsWatch(), Polled("d", 0)
    for at_ms, events, seconds in ((1_000, 500, 9), (2_000, 100, 0.2)):
        metrics = Metrics(CollectorRegistry())
        metrics.events_consumed.labels("resolve").inc(events)
        for _ in range(events):
            metrics.end_to_end.observe(seconds)
        watch.hear([page(metrics.registry, at_ms)], silent)
    assert watch.now.events_per_s == 100
    assert watch.now.p99_ms is not None and watch.now.p99_ms <= 250


def test_a_rate_needs_two_polls_however_far_apart() -> None:
    watch, metrics, silent = VitalsWatch(), Metrics(CollectorRegistry()), Polled("d", 0)
    watch.hear([page(metrics.registry, 1_000)], silent)
    metrics.events_consumed.labels("resolve").inc(400)
    watch.hear([page(metrics.registry, 41_000)], silent)
    assert watch.now.events_per_s == 10


def test_gates_are_what_the_delivery_says() -> None:
    watch, metrics = VitalsWatch(), Metrics(CollectorRegistry())
    delivery = metrics.delivery
    for at_ms, sent in ((1_000, 5), (31_000, 20)):
        delivery.closed.labels("crm").set(1)
        delivery.waiting.labels("crm", "0").set(3)
        delivery.waiting.labels("crm", "1").set(4)
        delivery.oldest_seconds.labels("crm", "1").set(2.5)
        delivery.told.labels("crm", "winback", "entered").inc(sent)
        found = scraped(generate_latest(metrics.registry), DELIVERY)
        watch.hear([], Polled("d", at_ms, found, closed={"crm": "answered 503"}))
    assert watch.gates == {
        "crm": {
            "state": "closed",
            "reason": "answered 503",
            "waiting": 7,
            "oldest_ms": 2_500,
            "per_minute": {"entered": 40},
        }
    }


@pytest.mark.parametrize(
    ("page", "closed"),
    [
        (b'{"crm": "answered 503"}', {"crm": "answered 503"}),
        (b"not found", {}),
        (b'{"crm": 7}', {}),
    ],
)
def test_a_delivery_is_asked_why_destinations_take_nothing(page: bytes, closed: dict[str, str]) -> None:
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        metrics = Metrics(CollectorRegistry())
        metrics.delivery.closed.labels("crm").set(float(len(asked) > 1))
        body = page if request.path == CLOSED else generate_latest(metrics.registry)
        return web.Response(body=body)

    async def main() -> None:
        async with RawTestServer(answer) as server, ClientSession() as session:
            url = str(server.make_url("/").origin())
            assert (await _poll_delivery(session, url)).closed == {}
            assert (await _poll_delivery(session, url)).closed == closed

    asyncio.run(main())
    assert asked == ["/metrics", "/metrics", CLOSED]


def test_only_addresses_of_workers_are_asked() -> None:
    good = ("http://10.0.0.7:6066", "http://[::1]:6066", "http://worker-1:80")
    bad = (
        "",
        "https://x:1",
        "file:///etc/passwd",
        "http://x",
        "http://x:1/path",
        "http://[:1",
        "http://x:99999",
    )
    assert all(map(is_address, good))
    assert not any(map(is_address, bad))


# -- cache answers ------------------------------------------------------------------------------------------


def test_an_answer_is_computed_once_for_all_who_ask() -> None:
    async def main() -> None:
        cache, calls, go = AnswerCache(), [], asyncio.Event()

        async def make() -> int:
            calls.append(1)
            await go.wait()
            return len(calls)

        first, second = (asyncio.create_task(cache.get("a", make)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        go.set()
        assert await second == await cache.get("a", make) == 1
        assert await cache.get("b", make) == 2

    asyncio.run(main())


def test_a_failure_and_an_old_answer_are_not_kept() -> None:
    async def main() -> None:
        calls: list[int] = []

        async def fail() -> int:
            calls.append(1)
            if len(calls) == 1:
                raise ValueError("once")
            return len(calls)

        cache = AnswerCache(lasts_s=-1.0)
        with pytest.raises(ValueError, match="once"):
            await cache.get("a", fail)
        assert await cache.get("a", fail) == 2
        assert await cache.get("a", fail) == 3

    asyncio.run(main())


def test_the_board_says_why_it_is_not_current() -> None:
    board = Board(config.load())
    assert board.reason == "the topics are not read yet"
    assert board.as_of_ms is None and board.dead_letters == 0
