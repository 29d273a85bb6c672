"""A fault case: one application with its own topics, worker processes and event load."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

from segops.brokers import LocalBroker
from segops.config import Settings, load
from segops.schemas.sizes import MINUTE_MS
from segops.schemas.ticks import is_tick
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.marks import split_mark

from ..forking import Running, server
from ..shared_broker import delete_topics
from ..streaming.helpers import Stack, wait_until
from .adoptions import final_definitions, is_in_force
from .evidence import Circumstances, Evidence, collect_evidence, topics_of
from .facts import Check, Facts, Finding, account_of
from .inspector import KafkaInspector, Partition, partitions_of
from .load import LONGEST_UNITS, UNIT_MS, EventLoad, Shape, Target, segment_text
from .sizes import sizes_and_alerts_are_exact
from .verify import state_topic_is_final, verify


class FaultUnavailable(Exception):
    """Raised when this machine cannot inject the fault; the message is the reason."""


CRASHED = 137
#: A worker logs this each time it discards uncommitted work, which may then be repeated.
WAITING_FOR_KAFKA = "waiting for Kafka: "
#: The shortest session timeout that Apache Kafka allows by default.
SESSION_TIMEOUT_S = 6.0
CHECKPOINT_RECORDS = 100


@dataclass
class Plan:
    """The parameters of a case."""

    broker: LocalBroker
    folder: Path
    seed: int
    mode: str = "at_least_once"
    clock: str = "event"
    partitions: int = 3
    shape: Shape = field(default_factory=Shape)
    replication: int = 1
    segments: Callable[[str], str] = segment_text


class FaultCluster(Stack):
    """A stack with a replication factor and a choice of clock."""

    replication = 1

    @property
    def settings(self) -> Settings:
        """The settings that the workers run with."""
        return load(
            kafka={"bootstrap_servers": self.bootstrap_servers},
            topics={"prefix": self.name, "partitions": self.partitions, "replication": self.replication},
            worker={"app_id": self.name.rstrip(".")},
            engine={"clock": self.environment["SEGOPS_CLOCK"]},
        )


class Case:
    """The operations that a fault is made of. Workers are numbered; each has its own data folder."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rng = random.Random(plan.seed)
        name, servers = f"f{uuid4().hex[:10]}.", plan.broker.bootstrap_servers
        self.cluster = FaultCluster(servers, name, plan.folder, partitions=plan.partitions)
        self.cluster.replication = plan.replication
        self.cluster.environment = self._environment()
        self.settings = self.cluster.settings
        self.inspector = KafkaInspector(servers, self.settings.worker.app_id)
        target = Target(servers, self.settings.topics.events, plan.partitions, plan.clock)
        self.load = EventLoad(target, plan.seed, plan.shape)
        self.circumstances = Circumstances(plan.mode, checkpoint_records=CHECKPOINT_RECORDS)
        self.workers: dict[int, Running] = {}
        self.notes: list[str] = []
        self.cleanups: list[Callable[[], None]] = []
        self.settled = False
        #: The committed input offset of each partition at the start of the fault.
        self.forwarded: dict[int, int] = {}

    def _environment(self) -> dict[str, str]:
        return {
            "SEGOPS_CLOCK": self.plan.clock,
            "SEGOPS_GRACE": "300ms",
            "SEGOPS_REPLICATION": str(self.plan.replication),
            "SEGOPS_CHECKPOINT_INTERVAL": "200ms",
            "SEGOPS_CHECKPOINT_MAX_RECORDS": str(CHECKPOINT_RECORDS),
            "SEGOPS_SESSION_TIMEOUT": f"{int(SESSION_TIMEOUT_S)}s",
            "SEGOPS_PROCESSING_GUARANTEE": self.plan.mode,
        }

    # -- life cycle ----------------------------------------------------------------------------

    def open(self) -> None:
        """Create the topics and publish the segment definitions."""
        self.cluster.publish(self.plan.segments(self.plan.clock))
        self.circumstances.true_segments = {definition.key for definition in self.cluster.definitions}

    def publish(self, text: str) -> None:
        """Publish other segment definitions while workers run, and retire those that they lack."""
        self.cluster.publish(text, prune=True)
        self.adopts()

    def adopts(self) -> None:
        """Note that the definitions of the cluster are adopted by running workers."""
        self.circumstances.adopts = True
        # Policies begin when a segment comes into force.
        self.circumstances.true_segments = {d.key for d in self.cluster.definitions if d.policy is None}

    def wait_in_force(self) -> None:
        """Wait until all partitions evaluate by the published definitions, with all their history."""
        wait_until(self._is_in_force, "definitions in force", self.diagnosis)

    def _is_in_force(self) -> bool:
        partitions = partitions_of([self.settings.worker.changelog], self.plan.partitions)
        found = self.inspector.read(partitions, "read_committed")
        return all(is_in_force(records, self.cluster.definitions) for records in found.values())

    def close(self) -> None:
        """Stop everything the case has started."""
        for worker in self.workers.values():
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
                worker.wait()
        for cleanup in self.cleanups:
            cleanup()
        self.cluster.close()
        delete_topics(self.plan.broker, self.cluster.name)
        self.load.close()
        self.inspector.close()

    # -- workers -------------------------------------------------------------------------------

    def start(self, *numbers: int, crash_at: str = "", folder: int | None = None, **more: str) -> None:
        """Start workers.

        ``more`` holds environment variables (SEGOPS_..., FAULTS_...), ``options`` (of the command line) and
        ``prefix`` (a command that runs the worker). ``folder`` is the number of the worker whose data folder
        these workers use instead of their own.
        """
        for number in numbers:
            self._start(number, crash_at, self.data_dir(number if folder is None else folder), more)

    def _start(self, number: int, crash_at: str, data_dir: Path, more: dict[str, str]) -> None:
        settings = {name: value for name, value in more.items() if name.startswith(("SEGOPS_", "FAULTS_"))}
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SEGOPS_")},
            "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": self.cluster.bootstrap_servers,
            "SEGOPS_TOPIC_PREFIX": self.cluster.name,
            "SEGOPS_PARTITIONS": str(self.cluster.partitions),
            "SEGOPS_APP_ID": self.settings.worker.app_id,
            "SEGOPS_DATA_DIR": str(data_dir),
            "SEGOPS_WEB_PORT": str(self.cluster.port(number)),
            "SEGOPS_CRASH_AT": crash_at,
            # A deliberate error is one of Python.
            "SEGOPS_KERNEL": "off" if "FAULTS_SABOTAGE" in more else os.environ.get("SEGOPS_KERNEL", "auto"),
            **self.cluster.environment,
            **settings,
        }
        arguments = ["worker", *more.get("options", "").split()]
        if "prefix" not in more and "FAULTS_SABOTAGE" not in more:
            self.workers[number] = server.start(arguments, environment, self.log_file(number))
            return
        command = [*more.get("prefix", "").split(), sys.executable, "-m", "tests.faults.hooks", *arguments]
        with self.log_file(number).open("ab") as log:
            self.workers[number] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def data_dir(self, number: int) -> Path:
        """Return the data folder of worker ``number``."""
        return self.cluster.data_dir(number)

    def profiles(self, number: int) -> Path:
        """Return the folder of the stores of worker ``number``."""
        return self.data_dir(number) / "worker-0" / "profiles"

    def log_file(self, number: int) -> Path:
        """Return the log file of worker ``number``."""
        return self.cluster.folder / f"worker-{number}.log"

    def log_text(self, number: int) -> str:
        """Return what worker ``number`` has logged so far."""
        return self.log_file(number).read_text(errors="replace") if self.log_file(number).exists() else ""

    def wait_ready(self, *numbers: int) -> None:
        """Wait until these workers together own all partitions and each owns at least one."""
        wait_until(lambda: self.share_partitions(*numbers), f"workers {numbers} ready", self.diagnosis)

    def revive_until_ready(self, *numbers: int) -> None:
        """Wait as ``wait_ready`` does, restarting any of these workers that ends meanwhile."""

        def all_ready() -> bool:
            self.revive(*numbers)
            return self.share_partitions(*numbers)

        wait_until(all_ready, f"workers {numbers} ready again", self.diagnosis)

    def share_partitions(self, *numbers: int) -> bool:
        """Return whether these workers now own all partitions among them."""
        owned = [self.cluster.owned_partitions(number) for number in numbers]
        enough = len(numbers) > self.plan.partitions or all(owned)
        return enough and sum(map(len, owned)) == self.plan.partitions

    def kill(self, number: int) -> None:
        """Kill a worker with SIGKILL."""
        self.workers[number].kill()
        self.workers[number].wait()
        self.circumstances.crashes += 1

    def terminate(self, number: int, status: int | None = 0) -> None:
        """Send SIGTERM and wait until the worker has ended.

        Only for a ready worker: SIGTERM kills a process that has not installed its handlers yet.
        """
        self.workers[number].terminate()
        self.wait_ended(number, status)

    def wait_ended(self, number: int, status: int | None) -> None:
        """Wait until this worker has ended, with ``status`` unless None; all but 0 counts as a crash."""
        wait_until(lambda: self.workers[number].poll() is not None, f"worker {number} ended", self.diagnosis)
        found = self.workers[number].returncode
        self.circumstances.crashes += found != 0
        assert status in (None, found), (
            f"worker {number} ended with {found}, expected {status}\n{self.diagnosis()}"
        )

    def wait_reopening(self, number: int) -> None:
        """Wait until this worker has closed its partitions to reopen them in the same process."""
        wait_until(
            lambda: WAITING_FOR_KAFKA in self.log_text(number), f"worker {number} reopens", self.diagnosis
        )

    def wait_crashed(self, number: int) -> None:
        """Wait until this worker has died at its failpoint."""
        self.wait_ended(number, CRASHED)

    def revive(self, *numbers: int, **more: str) -> None:
        """Restart those of these workers that have ended, as an orchestrator would."""
        for number in numbers:
            status = self.workers[number].poll()
            if status is not None:
                self.circumstances.crashes += status != 0
                self.start(number, **more)

    def signal(self, number: int, what: signal.Signals) -> None:
        """Send a signal to a worker."""
        self.workers[number].send_signal(what)

    # -- observations --------------------------------------------------------------------------

    def partitions(self) -> list[Partition]:
        """Return every partition of every topic of the application."""
        return partitions_of(topics_of(self.settings), self.plan.partitions)

    def is_processed(self, topic: str, ends: dict[Partition, int]) -> bool:
        """Return whether the offsets of all records of ``topic`` before ``ends`` are committed.

        Looks for records, as no worker commits past the transaction markers at the end of a log.
        """
        starts = {partition: offset for partition, (offset, _) in self.inspector.committed().items()}
        partitions = [partition for partition, end in ends.items() if starts.get(partition, 0) < end]
        found = self.inspector.read(partitions, "read_committed", starts) if partitions else {}
        return not any(
            record.offset < ends[partition] for partition, records in found.items() for record in records
        )

    def wait_caught_up(self, deadline_s: float = 90.0) -> None:
        """Wait until every record that is in the log now has passed through both steps."""
        topics = self.settings.topics
        for topic in (topics.events, topics.profile_events):
            ends = self.inspector.ends(partitions_of([topic], self.plan.partitions))
            is_processed = partial(self.is_processed, topic, ends)
            wait_until(is_processed, f"{topic} processed", self.diagnosis, deadline_s)

    def record_recovery(self, since: float) -> None:
        """Wait until the backlog is processed and record the seconds since ``since`` (monotonic)."""
        self.wait_caught_up()
        self.circumstances.recovery_s.append(time.monotonic() - since)

    def diagnosis(self) -> str:
        """Return the end of each worker's log, for the message of a failed wait."""
        return "\n".join(f"-- worker {n}: {self.log_text(n)[-1_500:]}" for n in sorted(self.workers))

    # -- the end -------------------------------------------------------------------------------

    def settle(self) -> None:
        """Send the rest of the load, wait until it is processed and shut the workers down. Idempotent."""
        if self.settled:
            return
        self.settled = True
        self.load.finish()
        self.wait_caught_up()
        wait_until(lambda: not self.has_records_in_flight(), "no record in flight", self.diagnosis)
        if self.plan.clock == "wall":
            self._wait_windows_closed()
        self._wait_published()
        if self.circumstances.sizes:
            self._wait_sizes()
        running = [number for number, worker in self.workers.items() if worker.poll() is None]
        self.wait_ready(*running)  # SIGTERM kills a worker that has not installed its handlers yet
        for number in running:
            self.workers[number].terminate()
        for number in running:
            self.wait_ended(number, 0)

    def has_records_in_flight(self) -> bool:
        """Return whether a record is unprocessed; its outputs are sent before it counts as processed."""
        topics = [self.settings.topics.events, self.settings.topics.profile_events]
        starts = {partition: offset for partition, (offset, _) in self.inspector.committed().items()}
        partitions = partitions_of(topics, self.plan.partitions)
        found = self.inspector.read(partitions, "read_committed", starts)
        return any(not is_tick(record.headers) for records in found.values() for record in records)

    def _wait_windows_closed(self) -> None:
        until_ms = self.load.last_ms + LONGEST_UNITS * UNIT_MS["wall"] + 1_000
        wait_until(lambda: min(self.clocks()) > until_ms, "all windows closed", self.diagnosis)

    def clocks(self) -> list[int]:
        """Return the committed clock of each partition in ms."""
        found = []
        for (topic, _), (_, metadata) in self.inspector.committed().items():
            if topic == self.settings.topics.profile_events:
                clock = PartitionClock(sources=self.plan.partitions, by_events=False)
                clock.load(split_mark(metadata)[0])
                found.append(clock.now_ms)
        return found or [0]

    def _wait_published(self) -> None:
        """Wait for the expected changes; after 15 s the verifier reports what is missing."""
        # Once definitions are adopted, the number of changes is not known.
        is_final = partial(self._is_free_of, state_topic_is_final)
        found = is_final if self.circumstances.adopts else self._is_published()
        with suppress(AssertionError):
            wait_until(found, "changes published", deadline_s=15.0)

    def _is_free_of(self, findings: Check) -> bool:
        return not [*findings(Facts(self.evidence()))]

    def _is_published(self) -> Callable[[], bool]:
        """Return whether the expected number of changes is published, as a function."""
        evidence = self.evidence(only=[self.settings.topics.profile_events])
        accounts = [account_of(evidence, number, slow_events=0) for number in evidence.partitions]
        expected_count = sum(
            len(expected.changes) for each in accounts for expected in each.profiles.values()
        )
        topic = [self.settings.topics.membership_changes]
        partitions = partitions_of(topic, self.plan.partitions)

        def is_published() -> bool:
            found = self.inspector.read(partitions, "read_committed")
            ids = {
                record.key + b"|" + dict(record.headers)["ce_id"] for rs in found.values() for record in rs
            }
            return len(ids) >= expected_count

        return is_published

    def _wait_sizes(self) -> None:
        """End the minute of the last changes, and wait until sizes and minutes count all of them."""
        self.load.tick(self.load.final_ms + 2 * MINUTE_MS)
        with suppress(AssertionError):
            wait_until(partial(self._is_free_of, sizes_and_alerts_are_exact), "sizes", deadline_s=15.0)

    def findings(self) -> list[Finding]:
        """Verify what the workers left behind and return the findings."""
        self.circumstances.crashes += sum(
            self.log_text(number).count(WAITING_FOR_KAFKA) for number in self.workers
        )
        return verify(self.evidence(*sorted(self.cluster.folder.glob("data-*"))))

    def evidence(self, *folders: Path, only: Sequence[str] = ()) -> Evidence:
        """Read what the workers left behind (``collect_evidence``)."""
        definitions = self.cluster.definitions
        found = collect_evidence(
            self.settings, definitions, self.circumstances, self.inspector, folders=folders, only=only
        )
        if self.circumstances.adopts:
            found.definitions = final_definitions(found)
        return found
