"""One case: an application of its own, workers as processes, a load, and what happens to them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

from segops.brokers import LocalBroker
from segops.config import Settings, load
from segops.schemas.ticks import is_tick
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.marks import split_mark

from ..streaming.helpers import Stack, wait_until
from .evidence import Circumstances, gather, topics_of
from .facts import Finding, tell
from .inspector import KafkaInspector, Place, places_of
from .load import LONGEST_UNITS, UNIT_MS, EventLoad, Shape, Target, segment_text
from .verify import verify


class NotHere(Exception):
    """This fault cannot be made on this machine; the message says why."""


CRASHED = 137
#: What a worker says each time that it gives up what is uncommitted, which then may come again.
WAITS = "waiting for Kafka: "
#: The shortest that Apache Kafka's default settings allow.
SESSION_TIMEOUT_S = 6.0
CHECKPOINT_RECORDS = 100


@dataclass
class Plan:
    """What a case is run with."""

    broker: LocalBroker
    folder: Path
    seed: int
    mode: str = "at_least_once"
    clock: str = "event"
    partitions: int = 3
    shape: Shape = field(default_factory=Shape)
    replication: int = 1


class FaultCluster(Stack):
    """A stack whose workers can be told apart and mistreated."""

    replication = 1

    @property
    def settings(self) -> Settings:
        """As the workers have them."""
        return load(
            kafka={"bootstrap_servers": self.bootstrap_servers},
            topics={"prefix": self.name, "partitions": self.partitions, "replication": self.replication},
            worker={"app_id": self.name.rstrip(".")},
            engine={"clock": self.environment["SEGOPS_CLOCK"]},
        )


class Case:
    """The hands of a fault. Workers have numbers; each has a folder of its own."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.dice = random.Random(plan.seed)
        name = f"f{uuid4().hex[:10]}."
        self.rig = FaultCluster(plan.broker.bootstrap_servers, name, plan.folder, partitions=plan.partitions)
        self.rig.replication = plan.replication
        self.rig.environment = self._environment()
        self.settings = self.rig.settings
        self.eyes = KafkaInspector(plan.broker.bootstrap_servers, self.settings.worker.app_id)
        target = Target(
            plan.broker.bootstrap_servers, self.settings.topics.events, plan.partitions, plan.clock
        )
        self.load = EventLoad(target, plan.seed, plan.shape)
        self.happened = Circumstances(plan.mode, checkpoint_records=CHECKPOINT_RECORDS)
        self.workers: dict[int, subprocess.Popen[bytes]] = {}
        self.notes: list[str] = []
        self.at_end: list[Callable[[], None]] = []
        self.settled = False
        #: Up to where events were forwarded when a fault began, by partition.
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

    # -- life ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Make topics and definitions."""
        self.rig.publish(segment_text(self.plan.clock))
        self.happened.unchanged = {definition.key for definition in self.rig.definitions}

    def close(self) -> None:
        """End everything that was started."""
        for worker in self.workers.values():
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
                worker.wait()
        for act in self.at_end:
            act()
        self.rig.close()
        self.load.close()
        self.eyes.close()

    # -- workers -------------------------------------------------------------------------------

    def start(self, *numbers: int, crash_at: str = "", folder: int | None = None, **more: str) -> None:
        """Start workers. ``more``: variables of the hooks, or of segops with its prefix; ``options``."""
        for number in numbers:
            self._start(number, crash_at, self.data_dir(number if folder is None else folder), more)

    def _start(self, number: int, crash_at: str, data_dir: Path, more: dict[str, str]) -> None:
        settings = {name: value for name, value in more.items() if name.startswith(("SEGOPS_", "FAULTS_"))}
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SEGOPS_")},
            "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": self.rig.bootstrap_servers,
            "SEGOPS_TOPIC_PREFIX": self.rig.name,
            "SEGOPS_PARTITIONS": str(self.rig.partitions),
            "SEGOPS_APP_ID": self.settings.worker.app_id,
            "SEGOPS_DATA_DIR": str(data_dir),
            "SEGOPS_WEB_PORT": str(self.rig.port(number)),
            "SEGOPS_CRASH_AT": crash_at,
            **self.rig.environment,
            **settings,
        }
        command = [*more.get("prefix", "").split(), sys.executable, "-m", "tests.faults.hooks", "worker"]
        command += more.get("options", "").split()
        with self.log(number).open("ab") as log:
            self.workers[number] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def data_dir(self, number: int) -> Path:
        """Where worker ``number`` keeps its files."""
        return self.rig.data_dir(number)

    def profiles(self, number: int) -> Path:
        """The folder of worker ``number``'s stores."""
        return self.data_dir(number) / "worker-0" / "profiles"

    def log(self, number: int) -> Path:
        """What worker ``number`` said."""
        return self.rig.folder / f"worker-{number}.log"

    def said(self, number: int) -> str:
        """What worker ``number`` said so far."""
        return self.log(number).read_text(errors="replace") if self.log(number).exists() else ""

    def ready(self, *numbers: int) -> None:
        """Until these workers together own every partition, and each of them some."""
        wait_until(lambda: self.shared(*numbers), f"workers {numbers} ready", self.diagnosis)

    def ready_again(self, *numbers: int) -> None:
        """As ``ready``; whoever ends on the way is started again."""

        def there() -> bool:
            self.revive(*numbers)
            return self.shared(*numbers)

        wait_until(there, f"workers {numbers} ready again", self.diagnosis)

    def shared(self, *numbers: int) -> bool:
        """Whether these workers share all partitions among them now."""
        owned = [self.rig.owned(number) for number in numbers]
        enough = len(numbers) > self.plan.partitions or all(owned)
        return enough and sum(map(len, owned)) == self.plan.partitions

    def kill(self, number: int) -> None:
        """kill -9."""
        self.workers[number].kill()
        self.workers[number].wait()
        self.happened.crashes += 1

    def term(self, number: int, status: int | None = 0) -> None:
        """SIGTERM, and until it has ended. Before its handlers are there a process dies of it."""
        self.workers[number].terminate()
        self.ended(number, status)

    def ended(self, number: int, status: int | None) -> None:
        """Until this worker has ended, with ``status`` if that matters; anything but 0 is a crash."""
        wait_until(lambda: self.workers[number].poll() is not None, f"end of {number}", self.diagnosis)
        found = self.workers[number].returncode
        self.happened.crashes += found != 0
        assert status in (None, found), (
            f"worker {number} ended with {found}, not {status}\n{self.diagnosis()}"
        )

    def gave_up(self, number: int) -> None:
        """Until this worker has given up what it held, to open again in the same process."""
        wait_until(lambda: WAITS in self.said(number), f"{number} gives up", self.diagnosis)

    def crashed(self, number: int) -> None:
        """Until this worker has died at its crash point."""
        self.ended(number, CRASHED)

    def revive(self, *numbers: int, **more: str) -> None:
        """Start again those of these workers that have ended, as an orchestrator would."""
        for number in numbers:
            status = self.workers[number].poll()
            if status is not None:
                self.happened.crashes += status != 0
                self.start(number, **more)

    def signal(self, number: int, what: signal.Signals) -> None:
        """Send a signal."""
        self.workers[number].send_signal(what)

    # -- what is known -------------------------------------------------------------------------

    def places(self) -> list[Place]:
        """Every partition of every topic."""
        return places_of(topics_of(self.settings), self.plan.partitions)

    def behind(self, topic: str, ends: dict[Place, int]) -> int:
        """How many records of ``topic`` before ``ends`` are not committed.

        Records, not offsets: nobody commits past the markers of transactions at the end of a log.
        """
        starts = {place: offset for place, (offset, _) in self.eyes.committed().items()}
        places = [place for place, end in ends.items() if starts.get(place, 0) < end]
        if not places:
            return 0
        found = self.eyes.read(places, "read_committed", starts)
        return sum(record.offset < ends[place] for place, records in found.items() for record in records)

    def caught_up(self, deadline_s: float = 90.0) -> None:
        """Until everything that is there now has been through both steps."""
        topics = self.settings.topics
        for topic in (topics.events, topics.profile_events):
            ends = self.eyes.ends(places_of([topic], self.plan.partitions))
            fact = partial(self._has_passed, topic, ends)
            wait_until(fact, f"caught up with {topic}", self.diagnosis, deadline_s)

    def _has_passed(self, topic: str, ends: dict[Place, int]) -> bool:
        return self.behind(topic, ends) == 0

    def recovered(self, since: float) -> None:
        """Note how long it took from ``since`` (monotonic) until all of that time was worked off."""
        self.caught_up()
        self.happened.recovery_s.append(time.monotonic() - since)

    def diagnosis(self) -> str:
        """What to look at when something did not happen."""
        return "\n".join(f"-- worker {n}: {self.said(n)[-1_500:]}" for n in sorted(self.workers))

    # -- the end -------------------------------------------------------------------------------

    def settle(self) -> None:
        """Send the rest, wait until nothing is left to do, and stop the workers in good order, once."""
        if self.settled:
            return
        self.settled = True
        self.load.finish()
        self.caught_up()
        wait_until(lambda: not self._on_its_way(), "nothing left to say", self.diagnosis)
        if self.plan.clock == "wall":
            self._until_time_has_passed()
        self._until_all_is_said()
        running = [number for number, worker in self.workers.items() if worker.poll() is None]
        self.ready(*running)  # who is told to stop before it listens dies of it
        for number in running:
            self.workers[number].terminate()
        for number in running:
            self.ended(number, 0)

    def _on_its_way(self) -> bool:
        """Whether a record is not worked off. What comes of one is sent before it counts as worked off."""
        topics = self.settings.topics
        starts = {place: offset for place, (offset, _) in self.eyes.committed().items()}
        places = places_of([topics.events, topics.profile_events], self.plan.partitions)
        found = self.eyes.read(places, "read_committed", starts)
        return any(not is_tick(record.headers) for records in found.values() for record in records)

    def _until_time_has_passed(self) -> None:
        until_ms = self.load.last_ms + LONGEST_UNITS * UNIT_MS["wall"] + 1_000
        wait_until(lambda: min(self.clocks()) > until_ms, "time to pass", self.diagnosis)

    def clocks(self) -> list[int]:
        """What time it is in each partition, as committed."""
        found = []
        for (topic, _), (_, metadata) in self.eyes.committed().items():
            if topic == self.settings.topics.profile_events:
                clock = PartitionClock(sources=self.plan.partitions, by_events=False)
                clock.load(split_mark(metadata)[0])
                found.append(clock.now_ms)
        return found or [0]

    def _until_all_is_said(self) -> None:
        """Until as many changes are there as must come; what is missing then, the verifier tells."""
        evidence = gather(self.settings, self.rig.definitions, self.happened, self.eyes, [])
        told = [tell(evidence, number, slow_events=0) for number in evidence.partitions]
        wanted = sum(len(person.changes) for each in told for person in each.people.values())
        topic = [self.settings.topics.membership_changes]
        places = places_of(topic, self.plan.partitions)

        def there() -> bool:
            found = self.eyes.read(places, "read_committed")
            ids = {
                record.key + b"|" + dict(record.headers)["ce_id"] for rs in found.values() for record in rs
            }
            return len(ids) >= wanted

        _try_until(there, 15.0)

    def findings(self) -> list[Finding]:
        """What the verifier has to say."""
        self.happened.crashes += sum(self.said(number).count(WAITS) for number in self.workers)
        folders = sorted(self.rig.folder.glob("data-*"))
        evidence = gather(self.settings, self.rig.definitions, self.happened, self.eyes, folders)
        return verify(evidence)


def _try_until(fact: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not fact() and time.monotonic() < until:
        time.sleep(0.2)
