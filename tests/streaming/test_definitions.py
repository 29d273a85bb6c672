"""Definitions on a real broker: atomic, versioned and robust against invalid records."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from segops import config
from segops.brokers import LocalBroker
from segops.core.errors import DefinitionError, UserError
from segops.core.segments import Definition
from segops.kafka import topics
from segops.kafka.clients import running_producer
from segops.kafka.definitions import DefinitionLog, Published, follow, read
from segops.operations.definitions import plan, plan_pause, publish
from segops.schemas.segments import definition_from_record


def definition(
    key: str, *, event: str = "Order Completed", name: str | None = None, when: Any = None
) -> Definition:
    record = {"key": key, "version": 1, "name": name or key, "when": when or {"did": event}}
    found = definition_from_record(json.dumps(record).encode())
    assert found is not None
    return found


def record_of(found: Definition, **changes: Any) -> bytes:
    fields = {"key": found.key, "version": found.version, "name": found.name, "when": found.written}
    return json.dumps({**fields, **changes}).encode()


@pytest.fixture
def settings(broker: LocalBroker, topic_prefix: str) -> config.Settings:
    settings = config.load(
        kafka={"bootstrap_servers": broker.bootstrap_servers},
        topics={"prefix": topic_prefix, "partitions": 2},
        worker={"app_id": f"{topic_prefix}app"},
    )
    asyncio.run(topics.create(settings))
    return settings


async def put(settings: config.Settings, *records: tuple[bytes | None, bytes | None]) -> None:
    async with running_producer(settings.kafka) as producer:
        for key, value in records:
            await producer.send_and_wait(settings.topics.segments, value, key=key, partition=0)


def actions_of(steps: Sequence[Any]) -> list[tuple[str, str, int]]:
    return [(step.key, step.action, step.version) for step in steps]


async def next_list(lists: AsyncGenerator[Published, None]) -> list[tuple[str, int]]:
    async with asyncio.timeout(30):
        return [(each.key, each.version) for each in (await anext(lists)).definitions]


class TestLog:
    """The fold of definition records, without Kafka."""

    def test_latest_record_of_a_key_wins(self) -> None:
        log = DefinitionLog()
        first, second = definition("a"), definition("a", event="Product Viewed")
        assert log.apply(b"a", record_of(first))
        assert log.apply(b"a", record_of(second, version=2))
        assert not log.apply(b"a", record_of(second, version=2))
        assert [(d.key, d.version, d.identity) for d in log.definitions()] == [("a", 2, second.identity)]

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            (b"a", b"not json"),
            (b"a", b"\xff\xfe"),
            (b"a", b"[]"),
            (b"a", b"3"),
            (b"a", b'{"key": "a", "version": 2, "name": "a", "when": {"no_such_node": 1}}'),
            (b"a", b'{"key": "a", "version": "2", "name": "a", "when": {"did": "x"}}'),
            (b"a", b'{"key": "b", "version": 2, "name": "b", "when": {"did": "x"}}'),
            (b"a", b'{"key": "a", "version": 9223372036854775808, "name": "a", "when": {"did": "x"}}'),
            (b"a", b'{"key": "a", "version": 9223372036854775808, "retired": true}'),
            (b"a", b'{"key": "a", "retired": true}'),
            (b"a", b"[" * 100_000),
            (b"\xff", b'{"key": "a", "version": 2, "name": "a", "when": {"did": "x"}}'),
            (None, b'{"key": "a", "version": 2, "name": "a", "when": {"did": "x"}}'),
        ],
    )
    def test_invalid_record_is_reported_and_the_definition_kept(
        self, key: bytes | None, value: bytes
    ) -> None:
        reports: list[str] = []
        log = DefinitionLog(reports.append)
        former = definition("a")
        log.apply(b"a", record_of(former))
        assert not log.apply(key, value, offset=17)
        assert [d.identity for d in log.definitions()] == [former.identity]
        (report,) = reports
        assert "record 17" in report

    def test_retired_and_removed_segments_are_inactive(self) -> None:
        log = DefinitionLog()
        for key in ("a", "b", "c"):
            log.apply(key.encode(), record_of(definition(key)))
        assert log.apply(b"a", b'{"key": "a", "version": 1, "retired": true}')
        assert log.apply(b"b", None)
        assert [d.key for d in log.definitions()] == ["c"]
        assert log.retired == {"a": 1}

    def test_inconsistent_definitions_are_excluded(self) -> None:
        reports: list[str] = []
        log = DefinitionLog(reports.append)
        uses = {"a": "gone", "b": "a", "x": "y", "y": "x", "z": "ok"}
        for key, used in uses.items():
            log.apply(key.encode(), record_of(definition(key, when={"in_segment": used})))
        log.apply(b"ok", record_of(definition("ok")))
        assert [d.key for d in log.definitions()] == ["ok", "z"]
        assert len(reports) == 4
        assert any("cycle" in report for report in reports)

    def test_version_does_not_exceed_the_maximum(self) -> None:
        log = DefinitionLog()
        log.apply(b"a", record_of(definition("a"), version=2**63 - 1))
        assert actions_of(plan(log, [definition("a")], prune=False)) == [("a", "unchanged", 2**63 - 1)]
        with pytest.raises(DefinitionError, match="retire it and use another key"):
            plan(log, [definition("a", event="Product Viewed")], prune=False)

    def foreign(self) -> DefinitionLog:
        """Return a log with a dangling definition, one that depends on it, a cycle and a valid one."""
        log = DefinitionLog(lambda _: None)
        for key, used in {"a": "gone", "b": "a", "x": "y", "y": "x"}.items():
            log.apply(key.encode(), record_of(definition(key, when={"in_segment": used})))
        log.apply(b"ok", record_of(definition("ok")))
        return log

    def test_dangling_definition_does_not_block_others(self) -> None:
        steps = plan(self.foreign(), [definition("new")], prune=False)
        assert [(step.key, step.action) for step in steps] == [
            ("new", "added"),
            *((key, "left out") for key in ("a", "b", "x", "y")),
        ]
        assert [step.record is None for step in steps] == [False, True, True, True, True]
        assert steps[1].reason == "in_segment: unknown segment gone"
        assert "cycle" in steps[3].reason

    def test_dangling_definition_can_be_fixed_retired_or_pruned(self) -> None:
        log = self.foreign()
        replaced = actions_of(plan(log, [definition("gone"), definition("x")], prune=False))
        assert replaced == [("gone", "added", 1), ("x", "changed", 2)]
        retired = actions_of(plan(log, [definition("new")], prune=False, retire=["a", "x"]))
        assert retired == [
            ("new", "added", 1),
            ("a", "retired", 1),
            ("x", "retired", 1),
            ("b", "left out", 1),
            ("y", "left out", 1),
        ]
        pruned = actions_of(plan(log, [definition("ok")], prune=True))
        assert pruned == [("ok", "unchanged", 1), *((key, "retired", 1) for key in ("a", "b", "x", "y"))]

    def test_valid_references_must_stay_valid(self) -> None:
        log = self.foreign()
        log.apply(b"user", record_of(definition("user", when={"in_segment": "ok"})))
        with pytest.raises(UserError, match=r"cannot retire 'ok': used by user \(in_segment\)"):
            plan(log, [definition("new")], prune=False, retire=["ok"])
        with pytest.raises(DefinitionError, match="unknown segment a"):
            plan(log, [definition("new", when={"in_segment": "a"})], prune=False)
        with pytest.raises(UserError, match="no such segment is published"):
            plan(log, [], prune=False, retire=["nobody"])
        with pytest.raises(UserError, match="among the segments to publish"):
            plan(log, [definition("ok")], prune=False, retire=["ok"])

    def test_plan_lists_the_action_for_each_segment(self) -> None:
        log = DefinitionLog()
        for key in ("same", "renamed", "moved", "gone"):
            log.apply(key.encode(), record_of(definition(key), version=3))
        wanted = [
            definition("same"),
            definition("renamed", name="Other"),
            definition("moved", event="Product Viewed"),
            definition("new"),
        ]
        steps = plan(log, wanted, prune=True)
        assert actions_of(steps) == [
            ("same", "unchanged", 3),
            ("renamed", "described", 3),
            ("moved", "changed", 4),
            ("new", "added", 1),
            ("gone", "retired", 3),
        ]
        assert actions_of(plan(log, wanted, prune=False)) == actions_of(steps)[:-1]

    def test_plan_with_a_dangling_reference_is_refused(self) -> None:
        log = DefinitionLog()
        log.apply(b"base", record_of(definition("base")))
        user = definition("user", when={"in_segment": "base"})
        assert actions_of(plan(log, [user], prune=False)) == [("user", "added", 1)]
        with pytest.raises(UserError, match="cannot retire 'base': used by user"):
            plan(log, [user], prune=True)

    def test_a_paused_segment_stays_paused_when_it_is_applied_again(self) -> None:
        log = DefinitionLog()
        log.apply(b"a", record_of(definition("a"), paused=True))
        for wanted in (definition("a", name="Other"), definition("a", event="Product Viewed")):
            (step,) = plan(log, [wanted], prune=False)
            assert step.record is not None
            found = definition_from_record(step.record)
            assert found is not None and found.paused
        assert actions_of(plan(log, [definition("a")], prune=False)) == [("a", "unchanged", 1)]

    def test_pausing_and_resuming_keep_the_version(self) -> None:
        log = DefinitionLog()
        log.apply(b"a", record_of(definition("a"), version=3))
        (paused,) = plan_pause(log, ["a", "a"], paused=True)
        assert actions_of([paused]) == [("a", "paused", 3)]
        log.apply(b"a", paused.record)
        assert actions_of(plan_pause(log, ["a"], paused=True)) == [("a", "unchanged", 3)]
        (resumed,) = plan_pause(log, ["a"], paused=False)
        assert actions_of([resumed]) == [("a", "resumed", 3)]
        log.apply(b"a", resumed.record)
        assert not log.live["a"].paused

    def test_only_published_segments_can_be_paused(self) -> None:
        log = DefinitionLog()
        log.apply(b"old", b'{"key":"old","version":2,"retired":true}')
        with pytest.raises(UserError, match="cannot pause 'new': no such segment is published"):
            plan_pause(log, ["new"], paused=True)
        with pytest.raises(UserError, match="cannot resume 'old': it was retired at version 2"):
            plan_pause(log, ["old"], paused=False)

    @pytest.mark.parametrize("paused", [1, "yes", None])
    def test_a_record_with_another_pause_than_true_or_false_is_invalid(self, paused: Any) -> None:
        with pytest.raises(DefinitionError, match="paused: expected true or false"):
            definition_from_record(record_of(definition("a"), paused=paused))


@pytest.mark.broker
def test_empty_topic_has_no_definitions(settings: config.Settings) -> None:
    async def first() -> list[tuple[str, int]]:
        async with aclosing(follow(settings)) as lists:
            return await next_list(lists)

    assert asyncio.run(first()) == []
    assert asyncio.run(read(settings)).live == {}


@pytest.mark.broker
def test_versions_over_the_life_of_a_segment(settings: config.Settings) -> None:
    def apply(*definitions: Definition, **options: Any) -> list[tuple[str, str, int]]:
        return actions_of(asyncio.run(publish(settings, definitions, **options)))

    a, b = definition("a"), definition("b")
    moved = definition("a", event="Product Viewed")
    assert apply(a, b) == [("a", "added", 1), ("b", "added", 1)]
    end = asyncio.run(topics.describe(settings))[2].records
    assert apply(a, b) == [("a", "unchanged", 1), ("b", "unchanged", 1)]
    assert asyncio.run(topics.describe(settings))[2].records == end, "unchanged definitions were written"
    assert apply(moved, dry_run=True) == [("a", "changed", 2)]
    assert apply(a) == [("a", "unchanged", 1)]
    assert apply(moved) == [("a", "changed", 2)]
    assert apply(a) == [("a", "changed", 3)]
    assert apply(a, prune=True) == [("a", "unchanged", 3), ("b", "retired", 1)]
    with pytest.raises(DefinitionError, match="'b' was retired at version 1"):
        apply(moved, b)
    assert {key: d.version for key, d in asyncio.run(read(settings)).live.items()} == {"a": 3}


@pytest.mark.broker
def test_follower_sees_each_publication_atomically(settings: config.Settings) -> None:
    many = [definition(f"s{n:03d}", event=f"Event {n}") for n in range(300)]
    changed = [definition(each.key, event="Other") for each in many]

    async def scenario() -> list[list[tuple[str, int]]]:
        async with aclosing(follow(settings)) as lists:
            seen = [await next_list(lists)]
            await publish(settings, many)
            seen.append(await next_list(lists))
            await publish(settings, many)  # no change to follow
            await publish(settings, changed)
            seen.append(await next_list(lists))
            await publish(settings, changed[:1], prune=True)
            seen.append(await next_list(lists))
        return seen

    keys = [each.key for each in many]
    empty, first, second, last = asyncio.run(scenario())
    assert empty == []
    assert first == [(key, 1) for key in keys]
    assert second == [(key, 2) for key in keys]
    assert last == [(keys[0], 2)]


@pytest.mark.broker
def test_follower_reports_invalid_records_and_continues(settings: config.Settings) -> None:
    reports: list[str] = []

    async def scenario() -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        await put(settings, (b"a", record_of(definition("a"))), (b"a", b"not json"), (b"\xff", b"x"))
        async with aclosing(follow(settings, on_bad=reports.append)) as lists:
            first = await next_list(lists)
            await put(settings, (b"a", b"still not"), (b"b", record_of(definition("b"))))
            return first, await next_list(lists)

    assert asyncio.run(scenario()) == ([("a", 1)], [("a", 1), ("b", 1)])
    assert len(reports) == 3


@pytest.mark.broker
def test_concurrent_publishers_are_serialized_or_one_fails(settings: config.Settings) -> None:
    ours = [definition(f"s{n}", event="Ours") for n in range(50)]
    theirs = [definition(f"s{n}", event="Theirs") for n in range(50)]

    async def race() -> list[Any]:
        # The losing client leaves futures unread, which asyncio reports when they are garbage-collected.
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        both = publish(settings, ours), publish(settings, theirs)
        return await asyncio.gather(*both, return_exceptions=True)

    results = asyncio.run(race())
    failures = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(failure, UserError) for failure in failures)
    assert len(failures) < 2
    live = asyncio.run(read(settings)).live
    # Neither publisher used outdated versions, and no partial publication is left.
    assert {d.version for d in live.values()} == {2 - len(failures)}
    assert len({d.identity for d in live.values()}) == 1
    assert len(live) == 50


@pytest.mark.broker
def test_following_requires_the_topic(broker: LocalBroker, topic_prefix: str) -> None:
    settings = config.load(
        kafka={"bootstrap_servers": broker.bootstrap_servers}, topics={"prefix": topic_prefix}
    )
    with pytest.raises(UserError, match=f"missing topics: {topic_prefix}segments"):
        asyncio.run(read(settings))


@pytest.mark.broker
def test_uncommitted_records_are_neither_read_nor_awaited(settings: config.Settings) -> None:
    rolled_back, topic = definition("rolled-back"), settings.topics.segments

    async def scenario() -> tuple[set[str], set[str], list[tuple[str, int]]]:
        await publish(settings, [definition("a")])
        async with running_producer(settings.kafka, transactional_id=f"{topic}-other") as producer:
            await producer.begin_transaction()
            await producer.send_and_wait(topic, record_of(rolled_back), key=b"rolled-back", partition=0)
            during = await read_keys()
            await producer.abort_transaction()
        after = await read_keys()
        async with aclosing(follow(settings)) as lists:
            return during, after, await next_list(lists)

    async def read_keys() -> set[str]:
        async with asyncio.timeout(10):
            return set((await read(settings)).live)

    assert asyncio.run(scenario()) == ({"a"}, {"a"}, [("a", 1)])
