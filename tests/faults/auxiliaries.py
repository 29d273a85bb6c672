"""Faults of the processes beside the workers: collector, sources and archive are killed while all work."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

from segops.brokers.network import reserve_ports
from segops.core.values import format_instant
from segops.schemas.records import FROM_HEADER

from ..archive.helpers import contents
from ..collector.helpers import batch
from ..collector.processes import CollectorProcess
from ..streaming.archives import Archives
from ..streaming.helpers import wait_until
from ..streaming.sources import Sources, order
from .brokers import network_of
from .cluster import Case
from .facts import Facts, Finding
from .load import BASE_MS, segment_text

#: A person whose events are erased.
ERASED = "gone"
_ORDERS_AT_ONCE = 40
_TOGETHER = ("worker", "worker", "collector", "sources", "archive", "outage")


def alerted_text(clock: str) -> str:
    """Return the segment file with alerts that fire and recover under the load."""
    alerts = {
        "often": "[{members: {at_most: 3}}, {entries: {at_most: 5, per: 3m}}]",
        "spenders": "{members: {at_most: 1}}",
    }
    text = segment_text(clock)
    for key, alert in alerts.items():
        text = text.replace(f"  - key: {key}\n", f"  - key: {key}\n    alert: {alert}\n")
    return text


def killed(case: Case) -> None:
    """Kill workers, collector, sources and archive in random order, and cut the collector off."""
    case.circumstances.sizes = True
    others = _Others(case)
    case.start(0, 1)
    others.collector.wait_until_ready()
    case.wait_ready(0, 1)
    case.load.start()
    others.sdk.start()
    fault = time.monotonic()
    for name in case.rng.sample(_TOGETHER, len(_TOGETHER)):
        others.send_orders()
        time.sleep(case.rng.random())
        case.notes.append(name)
        others.break_down(name)
    others.finish()
    case.record_recovery(fault)
    case.settle()
    others.verify()


class _Others:
    """The processes beside the workers, and those that send to them."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._network = network_of(case)
        self._ports = reserve_ports(2)
        case.cleanups.append(self._ports.release)
        self.collector = self._collector()
        self.sdk = _Sdk(self)
        self._sources = Sources(case.cluster)
        self._sources.create_topic()
        self._sources.apply()
        self._copying = self._sources.start()
        self._orders = 0
        self._archives = Archives(case.cluster)
        self._archiving = self._archives.start()
        self._workers = case.rng.sample((0, 1), 2)

    def _collector(self) -> CollectorProcess:
        variables = {
            "FAULTS_REDIRECT": self._network.redirection,
            "SEGOPS_COLLECT_TIMEOUT": "500ms",
            "SEGOPS_KAFKA_REQUEST_TIMEOUT": "2s",
        }
        return CollectorProcess(self._case.cluster, self._ports.numbers, **variables)

    def event_ms(self) -> int:
        """Return the time of the load's latest event."""
        return BASE_MS + self._case.load.sent * 2_000

    def send_orders(self) -> None:
        """Write records to the topic that is copied."""
        numbers = range(self._orders, self._orders + _ORDERS_AT_ONCE)
        self._sources.send([(n % 3, order(n, customer=1_000 + n % 50)) for n in numbers])
        self._orders = numbers.stop

    def break_down(self, name: str) -> None:
        """Kill the process of this name and restart it, or cut the collector off for a while."""
        if name == "worker":
            number = self._workers.pop()
            self._case.kill(number)
            self._case.start(number)
        elif name == "collector":
            _kill(self.collector.process)
            self.collector = self._collector()
        elif name == "sources":
            _kill(self._copying)
            self._copying = self._sources.start()
        elif name == "archive":
            _kill(self._archiving)
            self._archives.erase(ERASED, offset=1 << 40)
            self._archiving = self._archives.start()
        else:
            self._network.down = True
            time.sleep(1 + self._case.rng.random())
            self._network.down = False

    def finish(self) -> None:
        """Wait until all events have been acknowledged and all records copied."""
        self.sdk.finish()
        assert self.sdk.repeated, "no request was repeated"
        wait_until(lambda: len(self._copied_from()) >= self._orders, "all copied", self._diagnosis)
        for process in (self.collector.process, self._copying):
            process.terminate()
            assert process.wait(60) == 0, self._diagnosis()

    def _copied_from(self) -> set[bytes]:
        """Return where the records of the copied events are."""
        records = self._case.cluster.read(self._case.settings.topics.events)
        return {value for each in records for name, value in each.headers if name == FROM_HEADER}

    def _diagnosis(self) -> str:
        return f"{self._sources.log().read_text()[-2_000:]}\n{self.collector.log.read_text()[-1_000:]}"

    def verify(self) -> None:
        """Archive what is left, and add the checks of these processes to the case's."""
        self._archiving.terminate()
        assert self._archiving.wait(60) == 0, self._archives.log().read_text()[-2_000:]
        assert self._archives.once() == 0, self._archives.log().read_text()[-2_000:]
        checks = {"acknowledged": self._acknowledged, "copied": self._copied, "archived": self._archived}
        self._case.circumstances.more_checks.update(checks)

    def _acknowledged(self, facts: Facts) -> Iterator[Finding]:
        """Check I14: every acknowledged event is there."""
        ids = {json.loads(each.value).get("messageId") for each in _events(facts)}
        for lost in set(self.sdk.acknowledged) - ids:
            yield Finding("I14", "lost", f"the acknowledged event {lost} was not written")

    def _copied(self, facts: Facts) -> Iterator[Finding]:
        """Check I14: every record of a source became one event."""
        headers = (dict(each.headers) for each in _events(facts))
        found = Counter(each[FROM_HEADER] for each in headers if FROM_HEADER in each)
        if len(found) != self._orders:
            yield Finding("I14", "lost", f"{len(found)} of {self._orders} records were copied")
        for origin, times in found.items():
            if times > 1:
                yield Finding("I14", "duplicated", f"{origin.decode()} was copied {times} times")

    def _archived(self, _: Facts) -> Iterator[Finding]:
        """Check I14: the archive holds each record once, and none of the erased person."""
        key = f"user_id:{ERASED}".encode()
        for topic in self._archives.topics:
            logged = [each for each in self._archives.logged(topic) if each[1].key != key]
            if self._archives.held(topic) != logged:
                yield Finding("I14", "wrong", f"the archive of {topic} differs from the topic")
        if ERASED.encode() in contents(self._archives.folder):
            yield Finding("I14", "wrong", f"{ERASED} is still in the archive")
        for problem in self._archives.problems():
            yield Finding("I14", "wrong", f"the archive has problems: {problem}")


def _events(facts: Facts) -> Iterator[Any]:
    return (each for each in facts.evidence.all_of(facts.evidence.settings.topics.events) if each.value)


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


class _Sdk:
    """Sends events to the collector as an SDK does: it repeats a batch until it is acknowledged."""

    def __init__(self, others: _Others) -> None:
        self.acknowledged: list[str] = []
        self.repeated = 0
        self._others = others
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    def finish(self) -> None:
        """Wait until the latest batch has been acknowledged."""
        self._ended.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), self._others.collector.log.read_text()[-2_000:]

    def _run(self) -> None:
        for number in count():
            user = f"sdk{number}" if number % 8 else ERASED
            ids = [f"s{number}-{each}" for each in range(3)]
            content = batch(*(self._event(user, each) for each in ids))
            while self._others.collector.post(content) != 200:
                self.repeated += 1
                time.sleep(0.1)
            self.acknowledged += ids
            if self._ended.wait(0.1):
                return

    def _event(self, user: str, message_id: str) -> dict[str, Any]:
        form = {"type": "track", "event": "Product Viewed", "userId": user, "messageId": message_id}
        return {**form, "timestamp": format_instant(self._others.event_ms())}
