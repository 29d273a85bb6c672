"""Scan all profiles of a running system: request it from every partition, and merge the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any, Final, NamedTuple
from uuid import uuid4

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from segops.config import Settings
from segops.core.errors import DefinitionError, SegopsError, UserError
from segops.core.scans import Result
from segops.core.static_lists import lists_of
from segops.kafka.clients import running_consumer, running_producer
from segops.kafka.deadlines import within
from segops.kafka.definitions import read
from segops.kafka.topics import partition_counts
from segops.schemas.records import partition_of
from segops.schemas.scans import (
    BEHIND,
    BUSY,
    DONE,
    REFUSED,
    RUNNING,
    SCAN,
    Answer,
    AnswerReader,
    Cancel,
    EstimateRequest,
    Question,
    ScanBehind,
    ScanBusy,
    Scanned,
    ScanRefused,
    ScanRequest,
    ScanTimeout,
    decode_result,
    encode_request,
    records_of,
)
from segops.schemas.ticks import TYPE_HEADER
from segops.wall_clock import wall_ms

_POLL_MS: Final = 200
#: How long a partition may stay silent before it is asked again: its worker may have been replaced.
_REPEAT_S: Final = 5.0
#: The pause before a scan is repeated that the workers could not begin.
_AGAIN_S: Final = 0.5


class Progress(NamedTuple):
    """The progress of a scan: the partitions that have answered, of how many, and the profiles visited.

    ``history``: each partition that waits for history -> how many records it has read, of how many.
    """

    answered: int
    partitions: int
    profiles: int
    history: Mapping[int, tuple[int, int]]


async def scan(
    settings: Settings,
    question: Question,
    *,
    wait_s: float,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Scanned:
    """Return the result of a question over all profiles, as soon as every partition has answered.

    Partitions that a crash or a rebalance moves to another worker begin again there. When it fails or is
    cancelled, the scan ends in all partitions. Raises ScanTimeout after ``wait_s`` seconds, ScanRefused,
    ScanBusy, ScanBehind, and SegopsError when new definitions come into force meanwhile.
    """
    topics, question = settings.topics, await _bound(settings, question)
    counts = await partition_counts(settings.kafka, [topics.control, topics.scans])
    parts = [TopicPartition(topics.scans, number) for number in range(counts[topics.scans])]
    async with running_consumer(settings.kafka) as consumer, running_producer(settings.kafka) as producer:
        consumer.assign(parts)
        await consumer.seek_to_end(*parts)
        for part in parts:  # resolve the seek now, before the request is sent
            await consumer.position(part)
        requests = _Requests(producer, topics.control, counts[topics.control], question, wait_s)
        answers = _Answers(requests.scan, len(parts))
        try:
            async with within(wait_s) as check:
                await _collect(consumer, requests, answers, progress, check)
        except TimeoutError:
            raise answers.late(wait_s) from None
        finally:
            if answers.missing:
                await requests.cancel()
    return answers.merged(question)


async def patient_scan(
    settings: Settings,
    question: Question,
    *,
    wait_s: float,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Scanned:
    """Do what ``scan`` does, and repeat it while workers have not read what was published just before."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + wait_s
    while True:
        try:
            return await scan(settings, question, wait_s=until_s - loop.time(), progress=progress)
        except ScanBehind:
            if loop.time() + _AGAIN_S > until_s:
                raise
        await asyncio.sleep(_AGAIN_S)


async def _bound(settings: Settings, question: Question) -> Question:
    """Return a question in which drafts have the static lists in force bound to them, as workers need it."""
    if not isinstance(question, EstimateRequest):
        return question
    try:
        drafts = question.drafts()
    except DefinitionError:
        return question  # the partitions say what is wrong
    if not any(lists_of(each.when) for each in drafts):
        return question
    log = await read(settings, on_bad=lambda _: None)
    records, models = records_of(log.bound(drafts))
    return msgspec.structs.replace(question, definitions=records, models=models)


async def end_watch(settings: Settings, watch: str) -> None:
    """Let all partitions forget the sample of a watch; ``watch``: its id."""
    topic = settings.topics.control
    counts = await partition_counts(settings.kafka, [topic])
    async with running_producer(settings.kafka) as producer:
        await _send(producer, topic, counts[topic], ScanRequest(watch, wall_ms(), Cancel()))


async def _collect(
    consumer: AIOKafkaConsumer,
    requests: _Requests,
    answers: _Answers,
    progress: Callable[[Progress], None],
    check: Callable[[], None],
) -> None:
    loop = asyncio.get_running_loop()
    repeat_s = loop.time()
    while answers.missing:
        if loop.time() >= repeat_s:
            if silent := answers.silent():
                await requests.send(silent)
            repeat_s = loop.time() + _REPEAT_S
        found = await consumer.getmany(timeout_ms=_POLL_MS)
        if any([answers.read(record) for records in found.values() for record in records]):
            progress(answers.progress)
        check()


class _Requests:
    """The requests for one scan, all with the same id, through one partition of the control topic."""

    def __init__(
        self, producer: AIOKafkaProducer, topic: str, partitions: int, question: Question, wait_s: float
    ) -> None:
        self.scan = uuid4().hex
        self._producer = producer
        self._topic, self._partitions = topic, partitions
        self._question = question
        self._expires_ms = wall_ms() + round(wait_s * 1000)

    async def send(self, partitions: Iterable[int]) -> None:
        """Request the scan from some partitions. Raises UserError for a request that is too large."""
        await self._send(ScanRequest(self.scan, self._expires_ms, self._question, tuple(partitions)))

    async def cancel(self) -> None:
        """End the scan in all partitions."""
        await self._send(ScanRequest(self.scan, self._expires_ms, Cancel()))

    async def _send(self, request: ScanRequest) -> None:
        await _send(self._producer, self._topic, self._partitions, request)


async def _send(producer: AIOKafkaProducer, topic: str, partitions: int, request: ScanRequest) -> None:
    try:
        value = encode_request(request)
    except ValueError as error:
        raise UserError(str(error)) from error
    key = request.scan.encode()
    partition = partition_of(key, partitions)
    await producer.send_and_wait(topic, value, key=key, partition=partition, headers=[(TYPE_HEADER, SCAN)])


class _Answers:
    """The latest answer of each partition."""

    def __init__(self, scan: str, partitions: int) -> None:
        self._reader = AnswerReader(scan)
        self._partitions = partitions
        self._latest: dict[int, Answer] = {}
        self._heard: set[int] = set()
        self._history: dict[int, tuple[int, int]] = {}

    @property
    def missing(self) -> list[int]:
        """The partitions without a final answer."""
        return [n for n in range(self._partitions) if n not in self._latest or not self._is_done(n)]

    def silent(self) -> list[int]:
        """Return the missing partitions of which nothing was heard since the last call."""
        heard, self._heard = self._heard, set()
        return [number for number in self.missing if number not in heard]

    def _is_done(self, number: int) -> bool:
        return self._latest[number].state == DONE

    @property
    def progress(self) -> Progress:
        """The progress so far."""
        profiles = sum(answer.profiles for answer in self._latest.values())
        waits = any(map(_waits, self._latest.values()))
        answered = self._partitions - len(self.missing)
        return Progress(answered, self._partitions, profiles, self._history if waits else {})

    def read(self, record: Any) -> bool:
        """Take a record of the topic; return whether it belongs to this scan.

        Raises SegopsError for the answer of a partition that does not run the scan.
        """
        answer = self._reader.read(record.key, record.value, record.headers)
        if answer is None:
            return False
        if answer.state not in (RUNNING, DONE):
            raise _ERRORS.get(answer.state, SegopsError)(f"partition {answer.partition}: {answer.reason}")
        if answer.partition not in self._latest or not self._is_done(answer.partition):
            self._latest[answer.partition] = answer
        self._heard.add(answer.partition)
        if _waits(answer):
            self._history[answer.partition] = answer.read, answer.total
        elif answer.partition in self._history:
            total = self._history[answer.partition][1]
            self._history[answer.partition] = total, total
        return True

    def late(self, wait_s: float) -> ScanTimeout:
        """Return the error for a scan that takes too long."""
        answered, partitions, profiles, history = self.progress
        text = f"{answered} of {partitions} partitions answered within {wait_s:g} s"
        hint = f"; {profiles:,} profiles were visited" if profiles else "; is a worker running?"
        if history:
            read, total = map(sum, zip(*history.values(), strict=True))
            hint = f"; {read:,} of {total:,} past records were read"
        return ScanTimeout(text + hint)

    def merged(self, question: Question) -> Scanned:
        """Return the merged result. Raises SegopsError if partitions used different definitions."""
        answers = list(self._latest.values())
        if len({answer.definitions for answer in answers}) > 1:
            raise SegopsError("new definitions came into force during the scan: repeat it")
        results: list[Result] = [decode_result(question, answer.result) for answer in answers]
        return Scanned(
            min(answer.from_ms for answer in answers),
            max(answer.to_ms for answer in answers),
            sum(answer.profiles for answer in answers),
            sum(answer.unreadable for answer in answers),
            reduce(lambda one, two: one.merged(two), results),
        )


def _waits(answer: Answer) -> bool:
    """Return whether a partition has not begun yet, since it collects history."""
    return answer.state == RUNNING and not answer.definitions


_ERRORS: Final[dict[str, type[SegopsError]]] = {
    REFUSED: ScanRefused,
    BUSY: ScanBusy,
    BEHIND: ScanBehind,
}
