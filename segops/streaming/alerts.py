"""Evaluates the alerts of all segments, in the worker that owns partition 0.

The evaluator publishes what it finds, and up to when it has evaluated, in one transaction. Opening its
transactional id fences a former evaluator, so that no two of them publish the same crossing. What a killed
one has not committed is evaluated again by the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced

from segops.analytics.alert_board import AlertBoard, Entry, encode_entry, withdrawals
from segops.analytics.alert_log import reading_alerts
from segops.analytics.reader import reading_figures
from segops.config import Settings
from segops.core.engine import Engine
from segops.core.errors import SegopsError
from segops.core.rules.alerts import Alert
from segops.kafka.clients import running_producer
from segops.kafka.outages import Pauses, is_outage
from segops.kafka.reachability import in_words
from segops.metrics import Metrics
from segops.schemas.alerts import AlertRecord
from segops.streaming.failpoints import Failpoints
from segops.streaming.partition.segment import SegmentProcessor

log = logging.getLogger(__name__)

#: The partition whose owner evaluates the alerts.
_PARTITION: Final = 0
_LOOK_S: Final = 1.0
_TRANSACTION_TIMEOUT_MS: Final = 15_000

Alerts = Mapping[str, Sequence[Alert]]


class Owner(Protocol):
    """What is used of the pipeline."""

    engine: Engine
    processors: dict[int, SegmentProcessor]
    running: bool


class AlertEvaluator:
    """Evaluates while this worker owns partition 0; the worker does not depend on it."""

    def __init__(self, settings: Settings, metrics: Metrics, failpoints: Failpoints) -> None:
        self._settings = settings
        self._metrics = metrics
        self._failpoints = failpoints
        self._pauses = Pauses()
        self._engine: Engine | None = None
        self._alerts: Alerts = {}

    async def run(self, owner: Owner) -> None:
        """Evaluate whatever alerts are defined. Runs until cancelled; after a failure it begins again."""
        done: Alerts | None = None
        while True:
            if not _owns(owner):
                done = None
            elif (alerts := self._defined(owner)) or alerts != done:
                await self._try(owner, alerts)
                done = alerts
            await asyncio.sleep(_LOOK_S)

    def _defined(self, owner: Owner) -> Alerts:
        """Return the alerts of the published definitions by segment."""
        if owner.engine is not self._engine:
            self._engine = owner.engine
            self._alerts = {
                each.key: each.alerts for each in owner.engine.segments.definitions if each.alerts
            }
        return self._alerts

    async def _try(self, owner: Owner, alerts: Alerts) -> None:
        try:
            await self._evaluate(owner, alerts)
        except (ProducerFenced, InvalidProducerEpoch):
            log.info("another worker evaluates the alerts")
        except Exception as error:
            expected = is_outage(error) or isinstance(error, SegopsError | KafkaError)
            log.warning("cannot evaluate the alerts: %s", in_words(error), exc_info=not expected and error)
            await asyncio.sleep(self._pauses.take())
        finally:
            self._metrics.alerts_firing.clear()
            self._metrics.alerts_evaluated.set(0)

    async def _evaluate(self, owner: Owner, alerts: Alerts) -> None:
        """Evaluate until this worker loses the partition, or other alerts are defined."""
        # Only once a former evaluator is fenced, the topic says all that it has published.
        options = {
            "transactional_id": f"{self._settings.worker.app_id}-alerts",
            "transaction_timeout_ms": _TRANSACTION_TIMEOUT_MS,
        }
        async with running_producer(self._settings.kafka, **options) as producer:
            async with reading_alerts(self._settings) as reader:
                found = reader.folded
            await self._publish(producer, withdrawals(found, alerts))
            if not alerts:
                return
            async with reading_figures(self._settings, partial(AlertBoard, alerts, found)) as figures:
                await self._publish(producer, await _evaluated(figures.folded))
                async with aclosing(figures.changes()) as changes:
                    async for _ in changes:
                        if not _owns(owner) or self._defined(owner) != alerts:
                            return
                        await self._publish(producer, await _evaluated(figures.folded))
                        self._export(figures.folded)
                        self._pauses.reset()

    async def _publish(self, producer: AIOKafkaProducer, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        crossings = [record for _, record in entries if isinstance(record, AlertRecord)]
        self._pass("alerts_evaluated", crossings)
        async with producer.transaction():
            sent = [await self._send(producer, entry) for entry in entries]
            await asyncio.gather(*sent)  # the client would commit even after a failed delivery
            self._pass("alerts_sent", crossings)
        self._pass("alerts_committed", crossings)
        for record in crossings:
            self._metrics.alert_crossings.labels(
                self._metrics.segment(record.segment_key), record.state
            ).inc()
            log.info("segment %s: %s (%s)", record.segment_key, record.alert, record.state)

    async def _send(self, producer: AIOKafkaProducer, entry: Entry) -> asyncio.Future[object]:
        key, value = encode_entry(entry)
        topic = self._settings.topics.alerts
        delivery: asyncio.Future[object] = await producer.send(topic, value, key=key, partition=0)
        return delivery

    def _pass(self, point: str, crossings: Sequence[AlertRecord]) -> None:
        if crossings:
            self._failpoints.passed(point)

    def _export(self, board: AlertBoard) -> None:
        firing = Counter(self._metrics.segment(record.segment_key) for record in board.firing)
        self._metrics.alerts_firing.clear()
        for segment, number in firing.items():
            self._metrics.alerts_firing.labels(segment).set(number)
        self._metrics.alerts_evaluated.set(board.until_ms / 1000)


async def _evaluated(board: AlertBoard) -> list[Entry]:
    """Return what must be published of the minutes that have ended; events are processed meanwhile."""
    found: list[Entry] = []
    for entries in board.evaluate():
        found += entries
        await asyncio.sleep(0)
    return found


def _owns(owner: Owner) -> bool:
    return owner.running and _PARTITION in owner.processors
