"""The scans of one partition, without Kafka: each profile once, nothing changed, one job at a time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from segops.core.engine import Engine
from segops.core.segments import SegmentSet
from segops.schemas.messages import encode_message, name_of
from segops.schemas.scans import (
    BUSY,
    DONE,
    FAILED,
    PART_BYTES,
    REFUSED,
    RUNNING,
    SCAN,
    Answer,
    AnswerReader,
    Cancel,
    ForecastRequest,
    OverlapRequest,
    Question,
    ScanRequest,
    decode_request,
    decode_result,
    encode_answer,
    encode_request,
    estimate_request,
)
from segops.schemas.segments import inline
from segops.schemas.ticks import TYPE_HEADER
from segops.stores.base import Write
from segops.stores.memory import MemoryStores
from segops.streaming.partition import scans
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.start import Start
from segops.testing import RecordingOutput
from segops.wall_clock import wall_ms

from .fakes import FakeRecord, RecordingProducer, control_processor, event, letters
from .helpers import START_MS
from .test_segment_processor import clock, forwarded, tick

LATER = wall_ms() + 3_600_000
FORMS: list[dict[str, Any]] = [
    {"key": "viewers", "when": {"did": "Viewed", "within": "6h"}},
    {"key": "fans", "when": {"did": "Viewed", "count": {"gte": 2}, "within": "6h"}},
]
BOTH = OverlapRequest(("viewers", "fans"))


def engine_of(*forms: dict[str, Any]) -> Engine:
    return Engine(SegmentSet(inline(forms or FORMS, "test", "segments")))


def request(scan: str, ask: Question | Cancel = BOTH, offset: int = 0, **more: Any) -> FakeRecord:
    value = encode_request(ScanRequest(scan, more.pop("expires_ms", LATER), ask, **more))
    return FakeRecord(offset, None, value, [(TYPE_HEADER, SCAN)])


class Partition:
    """A processor, with its output and the offset of its next record."""

    def __init__(self, **options: Any) -> None:
        self.output = RecordingOutput()
        self.store = MemoryStores().open(0)
        self.processor = SegmentProcessor(
            self.store, engine_of(), start=Start(0, clock(), since_ms=0), output=self.output, **options
        )
        self.work_off()

    def send(self, *records: FakeRecord) -> None:
        for record in records:
            record.offset = self.processor.offset
            self.processor.process([record])

    def view(self, user: str, times: int = 1) -> None:
        for number in range(times):
            form = {"type": "track", "event": "Viewed", "userId": user, "messageId": f"{user}-{number}"}
            value = json.dumps({**form, "timestamp": "2025-10-09T08:53:20Z"}).encode()
            self.send(forwarded(value, self.processor.offset))

    def checkpoint(self) -> None:
        self.processor.write(self.processor.snapshot(), None)
        self.processor.committed()

    def work_off(self) -> None:
        while self.processor.fire_due(50) or self.processor.rescan(50):
            pass

    def scan(self) -> None:
        while self.processor.scans.work(3, self.processor.clock.now_ms):
            pass

    def states(self) -> list[bytes | None]:
        return self.store.get_many(self.store.profile_ids(None, 100))

    @property
    def answer(self) -> Answer:
        return self.output.answers[-1]

    def counts(self) -> dict[int, int]:
        assert self.answer.state == DONE, self.answer.reason
        counts: dict[int, int] = decode_result(BOTH, self.answer.result).counts
        return counts


@pytest.fixture
def slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "SLICE", 2)
    monkeypatch.setattr(scans, "_SHARE_S", -1.0)


@pytest.mark.usefixtures("slices")
def test_each_profile_is_visited_once_wherever_it_is() -> None:
    partition = Partition(cache_profiles=2)
    for number in range(9):
        partition.view(f"u{number}", times=1 + number % 2)
    partition.checkpoint()
    partition.view("dirty")
    partition.send(tick(0, START_MS + 10), request("s"))
    partition.scan()
    assert partition.counts() == {0b01: 6, 0b11: 4}
    assert (partition.answer.profiles, partition.answer.partition) == (10, 3)
    assert partition.answer.from_ms == partition.answer.to_ms == START_MS + 10


@pytest.mark.usefixtures("slices")
def test_scan_leaves_cache_and_state_as_they_are() -> None:
    partition = Partition(cache_profiles=2)
    for number in range(9):
        partition.view(f"u{number}")
    partition.checkpoint()
    partition.send(request("s", ForecastRequest()))
    cached, stored = partition.processor.cached.profiles, partition.states()
    partition.scan()
    assert partition.answer.profiles == 9
    assert (partition.processor.cached.profiles, partition.processor.pending) == (cached, 1)
    partition.checkpoint()
    assert partition.states() == stored


@pytest.mark.usefixtures("slices")
def test_profiles_move_on_while_a_scan_runs() -> None:
    partition = Partition(cache_profiles=2)
    for number in range(9):
        partition.view(f"u{number}")
    partition.checkpoint()
    partition.send(request("s"))
    for number in range(9):
        partition.processor.scans.work(3, 0)
        partition.view(f"u{number}", times=2)
        partition.checkpoint()
    partition.scan()
    assert sum(partition.counts().values()) == partition.answer.profiles == 9


def test_redirects_and_blank_profiles_are_not_counted() -> None:
    partition = Partition()
    partition.view("u1")
    form = {"type": "identify", "userId": "u1", "anonymousId": "a1", "messageId": "i"}
    value = json.dumps({**form, "timestamp": "2025-10-09T08:53:21Z"}).encode()
    partition.send(forwarded(value, partition.processor.offset))
    for message in list(partition.output.sent):
        partition.send(_record(message))
    partition.send(request("s"))
    partition.scan()
    assert partition.answer.profiles == 1


def _record(message: Any) -> FakeRecord:
    headers = [(TYPE_HEADER, name_of(message).encode())]
    return FakeRecord(0, message.to.encode(), encode_message(message), headers)


def test_unreadable_profile_is_left_out_and_reported() -> None:
    partition = Partition()
    partition.store.write([Write("user_id:bad", b"\x03nonsense")], {})
    partition.view("u1")
    partition.send(request("s"))
    partition.scan()
    assert (partition.answer.profiles, partition.answer.unreadable) == (1, 1)
    assert partition.counts() == {0b01: 1}


def test_repeated_request_is_answered_once() -> None:
    partition = Partition()
    partition.view("u1")
    partition.send(request("s"), request("s"))
    partition.scan()
    partition.send(request("s", partitions=(3,)))
    partition.scan()
    assert [answer.state for answer in partition.output.answers] == [DONE]


def test_request_to_other_partitions_does_not_count_as_answered() -> None:
    partition = Partition()
    partition.send(request("s", partitions=(0, 1)))
    partition.scan()
    assert partition.output.answers == []
    partition.send(request("s", partitions=(3,)))
    partition.scan()
    assert partition.answer.state == DONE


@pytest.mark.usefixtures("slices")
def test_cancelled_scan_ends_without_an_answer_and_the_next_one_begins() -> None:
    partition = Partition()
    for number in range(9):
        partition.view(f"u{number}")
    partition.send(request("a"), request("b"), request("c"))
    assert partition.processor.scans.work(3, 0)
    partition.send(request("a", Cancel()), request("b", Cancel()), request("a"))
    partition.scan()
    assert [(answer.scan, answer.state) for answer in partition.output.answers] == [("c", DONE)]


@pytest.mark.usefixtures("slices")
def test_scan_that_expires_ends() -> None:
    now = [0]
    partition = Partition()
    jobs = scans.ScanJobs(
        partition.processor._profiles, partition.output, partition.processor.backfill, now_ms=lambda: now[0]
    )
    for number in range(5):
        partition.view(f"u{number}")
    jobs.take(request("early", expires_ms=10))
    jobs.take(request("late", expires_ms=100))
    assert jobs.work(0, 0)
    now[0] = 11
    while jobs.work(0, 0):
        pass
    assert [answer.scan for answer in partition.output.answers] == ["late"]
    jobs.take(request("past", expires_ms=5))
    assert not jobs.work(0, 0) and jobs.pending == 0


def test_scans_run_in_order_and_surplus_ones_are_refused() -> None:
    partition = Partition()
    names = [f"s{number}" for number in range(scans.MAX_WAITING + 2)]
    partition.send(*map(request, names))
    assert partition.processor.scans.pending == scans.MAX_WAITING + 2
    partition.scan()
    states = [(answer.scan, answer.state) for answer in partition.output.answers]
    assert set(states[:2]) == {(names[-1], BUSY), (names[-2], BUSY)}
    assert states[2:] == [(name, DONE) for name in names[: scans.MAX_WAITING]]


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (ForecastRequest(("fans", "nobody")), "unknown segments: nobody"),
        (OverlapRequest(("nobody", "nowhere")), "unknown segments: nobody, nowhere"),
        (estimate_request("draft", []), "missing definition of the segment 'draft'"),
        (
            estimate_request(
                "d", inline([{"key": "d", "when": {"in_segment": "nowhere"}}], "test", "segments")
            ),
            "unknown segment nowhere",
        ),
    ],
)
def test_request_that_cannot_be_answered_is_refused_with_the_reason(ask: Question, reason: str) -> None:
    partition = Partition()
    partition.send(request("bad", ask), request("good"))
    partition.scan()
    refused, done = partition.output.answers
    assert (refused.state, done.state) == (REFUSED, DONE)
    assert reason in (refused.reason or "")


def test_fault_of_a_scan_does_not_stop_the_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any) -> None:
        raise RuntimeError("a bug")

    partition = Partition()
    partition.view("u1")
    monkeypatch.setattr("segops.core.scans.OverlapCounter.visit", fail)
    partition.send(request("s"), request("next", ForecastRequest()))
    partition.scan()
    assert [answer.state for answer in partition.output.answers] == [FAILED, DONE]
    assert partition.output.answers[0].reason == "RuntimeError: a bug"


@pytest.mark.usefixtures("slices")
def test_scan_begins_again_with_new_definitions() -> None:
    partition = Partition()
    for number in range(5):
        partition.view(f"u{number}", times=2)
    partition.send(request("s"))
    assert partition.processor.scans.work(3, 0)
    changed = engine_of(
        FORMS[0], {"key": "fans", "when": {"did": "Viewed", "count": {"gte": 4}, "within": "6h"}}
    )
    partition.processor.use(changed)
    partition.checkpoint()
    partition.work_off()
    partition.scan()
    assert partition.counts() == {0b01: 5}
    assert partition.answer.definitions == changed.version


@pytest.mark.usefixtures("slices")
def test_progress_is_reported_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "_PROGRESS_S", -1.0)
    partition = Partition()
    for number in range(5):
        partition.view(f"u{number}")
    partition.send(request("s"))
    partition.scan()
    assert [(answer.state, answer.profiles) for answer in partition.output.answers] == [
        (RUNNING, 2),
        (RUNNING, 4),
        (RUNNING, 5),
        (DONE, 5),
    ]
    assert partition.processor.scans.take_visited() == 5
    assert partition.processor.scans.take_visited() == 0


def test_invalid_request_becomes_a_dead_letter() -> None:
    partition = Partition()
    partition.send(FakeRecord(0, None, b"{}", [(TYPE_HEADER, SCAN)]))
    assert [reason for _, reason, _ in partition.output.rejected] == ["internal"]
    assert not partition.processor.scans.pending


# -- records -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "problem"),
    [
        ({"kind": "overlap", "segments": ["a"]}, "expected 2 to 10 segments, got 1"),
        ({"kind": "overlap", "segments": ["a", "a"]}, "one of them twice"),
        ({"kind": "overlap", "segments": [f"s{n}" for n in range(11)]}, "got 11"),
        ({"kind": "estimate", "segment": "a", "definitions": [], "share": 0}, "expected a share above 0"),
        ({"kind": "estimate", "segment": "a", "definitions": [], "share": 1.1}, "got 1.1"),
        (
            {"kind": "estimate", "segment": "a", "definitions": [], "samples": 101},
            "expected 0 to 100 samples",
        ),
        ({"kind": "dance"}, "dance"),
        ({}, "kind"),
    ],
)
def test_invalid_requests_name_the_problem(ask: dict[str, Any], problem: str) -> None:
    value = json.dumps({"scan": "s", "expires_ms": 1, "ask": ask}).encode()
    with pytest.raises(ValueError, match=problem):
        decode_request(value)


@pytest.mark.parametrize("scan", ["", "a|b", "x" * 201])
def test_invalid_ids_are_refused(scan: str) -> None:
    with pytest.raises(ValueError, match="scan must be a name"):
        decode_request(encode_request(ScanRequest(scan, 1, BOTH)))


def test_too_large_request_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 900,000"):
        encode_request(ScanRequest("s", 1, ForecastRequest(("x" * 900_000,))))


def test_control_processor_sends_a_scan_to_every_partition() -> None:
    sink = RecordingProducer()
    value = encode_request(ScanRequest("s", 1, BOTH))
    control_processor(sink).process(
        [event(0, value, [(TYPE_HEADER, SCAN)]), event(1, b"{}", [(TYPE_HEADER, SCAN)])]
    )
    assert sink.appended[:2] == [(("profile-events", number), None, value) for number in (0, 1)]
    assert letters(sink) == [b"{}"] and len(sink.appended) == 3


def test_large_answer_is_divided_and_put_together() -> None:
    answer = Answer("s", 2, DONE, reason="x" * (2 * PART_BYTES))
    records = encode_answer(answer)
    assert [key for key, _, _ in records] == [b"s|2", b"s|2|1", b"s|2|2"]
    reader = AnswerReader("s")
    interrupted = encode_answer(Answer("s", 2, DONE, reason="y" * (2 * PART_BYTES)))[:2]
    other = encode_answer(Answer("other", 2, DONE))
    found = [reader.read(*record) for record in [*interrupted, *other, *records]]
    assert found == [None] * 5 + [answer]


def test_unreadable_answers_are_skipped() -> None:
    reader = AnswerReader("s")
    assert reader.read(b"s|0", b"nonsense", []) is None
    assert reader.read(None, b"{}", []) is None
    assert reader.read(b"s|0", None, []) is None
