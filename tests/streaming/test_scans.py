"""Scans of a running system: forecasts come true, figures equal the published ones, kills do not matter."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterable
from itertools import combinations
from typing import Any

import pytest
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from segops.core.errors import SegopsError, UserError
from segops.core.scans import Flow, Overlap
from segops.operations.scans import scan
from segops.schemas.scans import (
    DONE,
    Answer,
    Cancel,
    ForecastRequest,
    OverlapRequest,
    Question,
    Scanned,
    ScanRefused,
    ScanRequest,
    ScanTimeout,
    decode_request,
    encode_answer,
    encode_result,
)
from tests.rest import rest

from .helpers import DAY_MS, START_MS, Stack, expected_changes, shop_events, wait_until

pytestmark = pytest.mark.broker
HOUR_MS = 3_600_000
FINAL_MS = START_MS + DAY_MS + 20 * 60_000
#: Segments that change by time alone: windows, policies, hysteresis, references, a calendar, ages.
SEGMENTS = """
version: 1
segments:
  - {key: viewers, when: {did: Product Viewed, count: {gte: 3}, within: 20h}}
  - {key: buyers, when: {did: Order Completed, within: 2d}}
  - {key: month, when: {did: Order Completed, within: 25d}}
  - {key: loyal, when: {did: Order Completed, count: {gte: 2}, within: 1d}, membership: {min_stay: 3d}}
  - key: again
    when: {all: [{not: {in_segment: viewers}}, {in_segment: month}]}
    membership: {cool_down: 1d}
  - {key: this-month, when: {did: Page Seen, calendar: {this: month, zone: Europe/Paris}}}
  - {key: dormant, when: {all: [{known_for: 12d}, {not: {in_segment: buyers}}]}}
  - key: recent
    when: {score: recency_days, enter: {lt: 5}, exit: {gte: 12}}
"""


def asked(stack: Stack, question: Question, wait_s: float = 60.0) -> Scanned:
    return asyncio.run(scan(stack.settings, question, wait_s=wait_s))


def lived(stack: Stack, count: int = 900) -> list[Any]:
    """Publish the segments, send a day of events and a tick; return the events."""
    stack.publish(SEGMENTS)
    sent = shop_events(count, users=60, partitions=3)
    stack.send(sent, final_ms=FINAL_MS)
    return sent


def flows(changes: Iterable[dict[str, Any]], step_ms: int) -> dict[tuple[str, int], Flow]:
    found: dict[tuple[str, int], Flow] = {}
    for change in changes:
        begin = change["occurred_at"] // step_ms * step_ms
        flow = found.setdefault((change["segment_key"], begin), Flow())
        if change["member"]:
            flow.entered += 1
        else:
            flow.left += 1
    return found


def members(stack: Stack) -> dict[str, set[str]]:
    """Return the members of each segment, from the state topic."""
    found: dict[str, set[str]] = {}
    latest = {record.key: record.value for record in stack.read(stack.settings.topics.membership_state)}
    for value in filter(None, latest.values()):  # a person who was erased has no row
        row = json.loads(value)
        if row["member"]:
            found.setdefault(row["segment_key"], set()).add(row["profile_id"])
    return found


def test_forecast_comes_true_hour_for_hour(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    sent = lived(stack)
    stack.start()
    before = expected_changes(sent, stack.definitions, FINAL_MS)
    stack.wait_for_changes(before)
    scanned = asked(stack, ForecastRequest())
    found = scanned.result
    assert scanned.from_ms == scanned.to_ms == FINAL_MS
    assert (scanned.profiles, found.cut) == (60, 0)
    assert {key: each.members for key, each in found.segments.items() if each.members} == {
        key: len(each) for key, each in members(stack).items()
    }
    stack.send([], final_ms=found.days_until - 1)
    after = expected_changes(sent, stack.definitions, found.days_until - 1)
    stack.wait_for_changes(after)
    happened = [change for key, change in after.items() if key not in before]
    assert len({change["segment_key"] for change in happened}) == 8
    of_days = {(key, at): flow for key, each in found.segments.items() for at, flow in each.days.items()}
    of_hours = {(key, at): flow for key, each in found.segments.items() for at, flow in each.hours.items()}
    assert of_days == flows(happened, DAY_MS)
    soon = [change for change in happened if change["occurred_at"] < found.hours_until]
    assert len(soon) > 50
    assert of_hours == flows(soon, HOUR_MS)


def test_overlap_equals_the_members_listed(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    sent = lived(stack)
    stack.start(processes=1)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    keys = ("viewers", "buyers", "month", "loyal", "again")
    found: Overlap = asked(stack, OverlapRequest(keys)).result
    listed = members(stack)
    for size in (1, 2, 5):
        for chosen in combinations(keys, size):
            assert found.in_all(chosen) == len(set.intersection(*(listed.get(key, set()) for key in chosen)))
    assert found.in_any() == len(set.union(*(listed.get(key, set()) for key in keys)))


@rest
@pytest.mark.usefixtures("several_workers")
def test_scan_survives_the_kill_of_a_worker_and_the_rebalance(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    sent = lived(stack)
    doomed = stack.start(number=0, crash_at="during_scan:1")
    stack.start(number=1)
    wait_until(
        lambda: stack.owned_partitions(0) and stack.owned_partitions(1), "both own some", stack.diagnosis
    )
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    found = asked(stack, OverlapRequest(("viewers", "month")))
    assert doomed.wait(0) == 137
    assert len(stack.owned_partitions(1)) == 3
    listed = members(stack)
    assert found.result.size("viewers") == len(listed["viewers"])
    assert found.result.size("month") == len(listed["month"])
    assert found.profiles == 60


# -- without a worker: the records -------------------------------------------------------------------------


class Wire:
    """Reads requests from the control topic and writes answers, as workers would."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.requests: list[ScanRequest] = []

    async def __aenter__(self) -> Wire:
        servers = self.stack.bootstrap_servers
        self._consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")
        self._producer = AIOKafkaProducer(bootstrap_servers=servers)
        await self._consumer.start()
        await self._producer.start()
        topic = self.stack.settings.topics.control
        self._consumer.assign([TopicPartition(topic, number) for number in range(3)])
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._consumer.stop()
        await self._producer.stop()

    async def request(self) -> ScanRequest:
        """Return the next request."""
        record = await self._consumer.getone()
        assert record.headers == (("segops-type", b"scan"),)
        self.requests.append(decode_request(record.value))
        return self.requests[-1]

    async def answer(self, answer: Answer) -> None:
        for key, value, headers in encode_answer(answer):
            await self._producer.send_and_wait(
                self.stack.settings.topics.scans,
                value,
                key=key,
                partition=answer.partition,
                headers=list(headers),
            )


def done(scan_id: str, partition: int, **more: Any) -> Answer:
    result = encode_result(Overlap(["a", "b"], {3: partition + 1}))
    return Answer(scan_id, partition, DONE, result=result, **more)


PAIR = OverlapRequest(("a", "b"))


@rest
def test_request_is_repeated_to_partitions_that_have_not_answered(stack: Stack) -> None:
    stack.publish()

    async def steps() -> tuple[Scanned, list[ScanRequest]]:
        async with Wire(stack) as wire:
            waiting = asyncio.create_task(scan(stack.settings, PAIR, wait_s=50))
            first = await wire.request()
            await wire.answer(done(first.scan, 1, from_ms=5, to_ms=9))
            await wire.answer(Answer("another", 0, DONE))
            second = await wire.request()
            await wire.answer(done(second.scan, 0, from_ms=7, to_ms=8))
            await wire.answer(Answer(second.scan, 2, profiles=4))  # progress
            third = await wire.request()
            await wire.answer(done(third.scan, 2, from_ms=6, to_ms=11))
            return await waiting, wire.requests

    found, requests = asyncio.run(steps())
    assert found.result.counts == {3: 6}
    assert (found.from_ms, found.to_ms) == (5, 11)
    assert len({request.scan for request in requests}) == 1
    assert [request.partitions for request in requests] == [(0, 1, 2), (0, 2), (2,)]


def test_scan_that_is_not_answered_is_cancelled(stack: Stack) -> None:
    stack.publish()
    with pytest.raises(ScanTimeout, match=r"0 of 3 partitions answered within 1 s; is a worker running\?"):
        asked(stack, PAIR, wait_s=1.0)
    topic = stack.settings.topics.control
    requests = [decode_request(record.value) for record in stack.read(topic)]
    assert [request.ask for request in requests] == [PAIR, Cancel()]
    assert requests[0].scan == requests[1].scan


def test_answers_by_different_definitions_are_not_merged(stack: Stack) -> None:
    stack.publish()

    async def steps() -> Scanned:
        async with Wire(stack) as wire:
            waiting = asyncio.create_task(scan(stack.settings, PAIR, wait_s=50))
            request = await wire.request()
            for number, version in enumerate(("one", "one", "two")):
                await wire.answer(done(request.scan, number, definitions=version))
            return await waiting

    with pytest.raises(SegopsError, match="new definitions came into force during the scan: repeat it"):
        asyncio.run(steps())


def test_scan_needs_its_topics(stack: Stack) -> None:
    with pytest.raises(UserError, match=r"missing topics: .*scans"):
        asked(stack, PAIR, wait_s=1.0)


# -- the commands and the pages ----------------------------------------------------------------------------

DRAFT = """
version: 1
segments:
  - key: draft
    when: {all: [{in_segment: month}, {did: Page Seen, count: {gte: 2}, within: 1d}]}
"""


def page(stack: Stack, path: str, body: Any = None) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{stack.port(0)}{path}"
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def answered(stack: Stack, *arguments: str) -> Any:
    found = stack.segops(*arguments, "--format", "json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


@rest
def test_commands_and_pages_answer_alike(stack: Stack) -> None:
    sent = lived(stack)
    stack.start()
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    listed = members(stack)
    draft = stack.folder / "draft.yaml"
    draft.write_text(DRAFT)

    forecast = answered(stack, "forecast", "month")
    assert page(stack, "/segments/month/forecast") == (200, forecast)
    assert forecast["segments"][0]["members"] == len(listed["month"])
    assert (len(forecast["segments"][0]["hours"]), len(forecast["segments"][0]["days"])) == (25, 31)
    overlap = answered(stack, "overlap", "month", "viewers")
    assert page(stack, "/overlap?segments=month,viewers") == (200, overlap)
    assert overlap["in_all"] == len(listed["month"] & listed["viewers"])
    estimate = answered(stack, "estimate", str(draft), "--funnel", "--samples", "3")
    form = {"segments": yaml.safe_load(DRAFT)["segments"], "funnel": True, "samples": 3}
    assert page(stack, "/estimate", form) == (200, estimate)
    assert [node["holds"] for node in estimate["funnel"]][1] == len(listed["month"])
    assert estimate["incomplete"] == ["count of Page Seen within 1d"]
    assert (estimate["holds"], estimate["evaluated"], estimate["sample"]) == (0, 60, 1.0)
    sample = answered(stack, "estimate", str(draft), "--sample", "50%")
    assert 0 < sample["evaluated"] < 60
    assert sample["profiles"]["low"] <= 60 <= sample["profiles"]["high"]

    for arguments, text in (
        (("forecast",), "month "),
        (("forecast", "month", "--hours"), "hour from"),
        (("forecast", "month", "--days"), "day from"),
        (("overlap", "month", "viewers"), f"in all of them: {overlap['in_all']}"),
        (("estimate", str(draft), "--funnel", "--sample", "50%"), "did Page Seen"),
    ):
        found = stack.segops(*arguments)
        assert found.exit_code == 0 and text in found.stdout, found.output
    for arguments, text in (
        (("forecast", "nobody"), "unknown segment 'nobody'"),
        (("overlap", "month", "nobody"), "unknown segment 'nobody'"),
        (("estimate", str(draft), "--segment", "x"), "draft.yaml has: draft"),
    ):
        found = stack.segops(*arguments)
        assert isinstance(found.exception, UserError) and text in str(found.exception)
    with pytest.raises(ScanRefused, match="unknown segments: nobody"):
        asked(stack, ForecastRequest(("nobody",)))
    assert page(stack, "/segments/nobody/forecast")[0] == 422
    assert "segops_profiles_scanned_total" in stack.get("/metrics")[1]
