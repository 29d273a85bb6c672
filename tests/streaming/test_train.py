"""The trainer on a real broker: what it learns is what the events say, whenever it is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from segops.brokers import LocalBroker
from segops.core.events import Event
from segops.kafka import topics
from segops.schemas.identifying import DEFAULT
from segops.schemas.model_files import load_model
from segops.schemas.records import SOURCE_HEADER, TIME_HEADER, partition_of
from segops.streaming.failpoints import TRAIN_POINTS
from segops.training.features import load_features
from segops.training.making import Making
from tests.rest import in_rest
from tests.training.shop import DAY_MS, TASK, Shop, call_of

from .conftest import require_transactions
from .helpers import Stack, wait_until

pytestmark = pytest.mark.broker
FEATURES = {
    "features": [
        {"name": "views_1h", "figure": {"did": "Product Viewed", "within": "1h"}, "transform": "log1p"},
        {"name": "carts_1h", "figure": {"did": "Product Added", "within": "1h"}, "transform": "log1p"},
        {"name": "orders_1h", "figure": {"did": "Order Completed", "within": "1h"}, "transform": "log1p"},
    ]
}
_QUICK = "train_after_snapshot"
Reserve = Callable[[int], list[int]]


class Trainer:
    """Processes that train on the profile events of a stack, and what they made."""

    def __init__(self, stack: Stack, port: int) -> None:
        self.stack = stack
        self.port = port
        self.folder = stack.folder / "training"
        self.features = stack.folder / "features.json"
        self.features.write_bytes(msgspec.json.encode(FEATURES))
        self.log = stack.folder / "train.log"
        self.sent: list[tuple[str, Event]] = []

    def start(self, *options: str, **variables: str) -> subprocess.Popen[bytes]:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")},
            "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": self.stack.bootstrap_servers,
            "SEGOPS_TOPIC_PREFIX": self.stack.name,
            "SEGOPS_APP_ID": self.stack.settings.worker.app_id,
            "SEGOPS_TRAIN_FOLDER": str(self.folder),
            "SEGOPS_TRAIN_WEB_PORT": str(self.port),
            "SEGOPS_TRAIN_INTERVAL": "1s",
            "SEGOPS_TRAIN_SNAPSHOT_INTERVAL": "500ms",
            **variables,
        }
        command = ["-c", "from segops.cli import main; main()", "train", "convert_24h"]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *command, "--features", str(self.features), *options],
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.stack.workers.append(process)
        return process

    def send(self, events: list[tuple[str, Event]]) -> None:
        """Write events to the profile events, as workers forward them."""
        asyncio.run(self._send(events))
        self.sent += events

    async def _send(self, events: list[tuple[str, Event]]) -> None:
        servers = self.stack.bootstrap_servers
        producer = AIOKafkaProducer(bootstrap_servers=servers, linger_ms=5, request_timeout_ms=120_000)
        await producer.start()
        sent = []
        for number, (profile, event) in enumerate(events):
            headers = [
                (SOURCE_HEADER, b"0:%d" % (len(self.sent) + number)),
                (TIME_HEADER, b"%d" % event.time_ms),
            ]
            key = profile.encode()
            sent.append(
                await producer.send(
                    self.stack.settings.topics.profile_events,
                    msgspec.json.encode(call_of(event)),
                    key=key,
                    headers=headers,
                    partition=partition_of(key, self.stack.partitions),
                )
            )
        await asyncio.gather(*sent)
        await producer.stop()

    def model(self) -> dict[str, Any]:
        """Return the model file; empty before it is written."""
        path = self.folder / "convert_24h.json"
        found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        return found

    def wait(self) -> dict[str, Any]:
        """Wait until a model was made of all events."""

        def whole() -> bool:
            return self.model().get("trained_on", {}).get("events") == len(self.sent)

        wait_until(whole, f"{len(self.sent)} events are learnt", self.log.read_text)
        return self.model()

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            text: str = answer.read().decode()
        return text

    def offline(self) -> dict[str, Any]:
        """Return the model that the same events give in one go."""
        making = Making((TASK,), load_features(self.features), "-")
        observer = making.observer(self.stack.settings.train, DEFAULT, wall_ms=2**42)
        for profile, event in sorted(self.sent, key=lambda each: each[1].time_ms):
            observer.event(profile, event)
        (report,) = making.reports(observer, now_ms=0)
        assert report.model is not None
        return report.model


@pytest.fixture
def trainer(stack: Stack, broker: LocalBroker, reserve: Reserve) -> Trainer:
    require_transactions(broker)
    asyncio.run(topics.create(stack.settings))
    return Trainer(stack, reserve(1)[0])


@pytest.mark.parametrize("point", [p if p == _QUICK else in_rest(p) for p in TRAIN_POINTS])
def test_a_killed_trainer_makes_the_model_of_all_events(trainer: Trainer, point: str) -> None:
    events = Shop(customers=220, days=25).events()
    half = len(events) // 2
    trainer.send(events[:half])
    killed = trainer.start(SEGOPS_CRASH_AT=f"{point}:2")
    assert killed.wait(120) == 137, trainer.log.read_text()
    trainer.send(events[half:])
    again = trainer.start()
    made, expected = trainer.wait(), trainer.offline()
    assert made["status"] == expected["status"] == "ready", made.get("reasons")
    for key in ("parameters", "calibration", "features"):
        assert made[key] == expected[key]
    assert made["trained_on"]["decisions"] == expected["trained_on"]["decisions"]
    assert "going on from the snapshot" in trainer.log.read_text()
    again.send_signal(signal.SIGTERM)
    assert again.wait(60) == 0, trainer.log.read_text()


def test_a_published_model_is_in_force_and_its_drift_is_measured(trainer: Trainer) -> None:
    events = Shop(customers=220, days=32).events()
    begin_ms = events[0][1].time_ms
    trainer.send([each for each in events if each[1].time_ms < begin_ms + 25 * DAY_MS])
    process = trainer.start("--publish", "--yes")
    trainer.wait()
    wait_until(
        lambda: "convert_24h" in trainer.stack.segops("models", "list").stdout,
        "it is published",
        trainer.log.read_text,
    )
    trainer.send([each for each in events if each[1].time_ms >= begin_ms + 25 * DAY_MS])
    trainer.wait()
    wait_until(
        lambda: 'segops_model_calibration_error{model="convert_24h"}' in trainer.metrics(),
        "drift is measured",
        trainer.log.read_text,
    )
    found = trainer.metrics()
    (auc,) = [float(line.split()[1]) for line in found.splitlines() if line.startswith("segops_model_auc{")]
    assert 0.5 < auc <= 1
    assert f'segops_training_events_total{{result="applied"}} {len(events):.1f}' in found
    assert "segops_training_lag_records{" in found
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, trainer.log.read_text()
    assert load_model(trainer.folder / "convert_24h.json").is_ready


def test_a_second_trainer_on_the_folder_is_refused(trainer: Trainer) -> None:
    trainer.send(Shop(customers=5, days=5).events())
    trainer.start()
    trainer.wait()
    second = trainer.start(SEGOPS_TRAIN_WEB_PORT="0")
    assert second.wait(60) == 2
    assert str(trainer.folder) in trainer.log.read_text()
