"""Faults of the delivery of audiences, of the destination, and of both beside faults of the workers."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from segops.core.audiences.compiling import definition_of
from segops.schemas.segments import load_drafts
from segops.streaming.failpoints import ACTIVATE_POINTS

from ..destinations.receiver import SECRET, Receiver, receiving
from ..streaming.deliveries import DESTINATIONS, OPERATOR, Delivery, flaky
from ..streaming.helpers import wait_until
from ..streaming.test_audiences import approved, done, shown, written
from .brokers import network_of
from .cluster import Case
from .facts import Facts, Finding
from .load import BASE_MS

_KEY = "audience.winback"
_MOST_ENTRIES, _MOST_EXITS = 8, 3
_AUDIENCE = """
version: 1
audiences:
  - key: winback
    segment: SEGMENT
    channel: webhook
    existing: send
    limits: {entries: {at_most: ENTRIES, per: 1h}, exits: {at_most: EXITS, per: 1h}}
    deliver: [{to: crm-hook}]
"""
NO_CONSENT = {"SEGOPS_AUDIENCE_CONSENT": "none"}
_TOGETHER = ("kill", "kill", "freeze", "add", "outage", "worker")


def disturbed(case: Case) -> None:
    """Kill, freeze and add processes that deliver, cut them off, and kill workers; the destination fails."""
    # Everyone is a member in the end, and was none for a while.
    delivered = _Delivered(case, "seldom")
    delivered.receiver.behave = flaky(case.plan.seed)
    delivered.approve()
    delivered.start()
    case.load.start()
    fault = time.monotonic()
    for name in case.rng.sample(_TOGETHER, len(_TOGETHER)):
        time.sleep(case.rng.random())
        case.notes.append(name)
        delivered.break_down(name)
    case.record_recovery(fault)
    case.settle()
    delivered.finish()


def limited(case: Case) -> None:
    """Exceed the limits of entries and exits while processes that share them are killed.

    At the end all windows close at once, as after a jump of the clock: that would empty the audience.
    """
    delivered = _Delivered(case, "often", _MOST_ENTRIES, _MOST_EXITS)
    delivered.approve()
    delivered.start()
    case.load.start()
    fault = time.monotonic()
    delivered.await_hold()
    case.load.wait_done()
    case.record_recovery(fault)
    delivered.check_limits()
    delivered.break_down("kill")
    delivered.release()
    case.settle()
    delivered.await_hold()
    delivered.check_not_emptied()
    delivered.release()
    delivered.finish(members=False)


def publish(case: Case, audience: str, destinations: str) -> None:
    """Publish an audience that asks for no consent, and the destinations that it names."""
    cluster = case.cluster
    done(cluster, "apply", written(cluster, audience), **NO_CONSENT)
    (found,) = load_drafts([cluster.folder / "audiences.yaml"]).audiences
    definition = definition_of(found, ())
    cluster.definitions = [*cluster.definitions, definition]
    case.circumstances.true_segments.add(definition.key)
    file = written(cluster, destinations, "destinations.yaml")
    assert cluster.segops("destinations", "apply", file).exit_code == 0


def approve(case: Case, **more: str) -> None:
    """Start the workers, and approve the audience. A plan needs to know what time it is."""
    case.start(0, 1)
    case.wait_ready(0, 1)
    case.cluster.send([], final_ms=BASE_MS)
    approved(case.cluster, **more)


class _Delivered:
    """An audience of a case, the processes that deliver it, and its destination."""

    def __init__(self, case: Case, segment: str, entries: int = 1_000_000, exits: int = 1_000_000) -> None:
        self._case = case
        self._text = (
            _AUDIENCE.replace("SEGMENT", segment)
            .replace("ENTRIES", str(entries))
            .replace("EXITS", str(exits))
        )
        self._findings: list[Finding] = []
        stack = ExitStack()
        self.receiver: Receiver = stack.enter_context(receiving())
        case.cleanups.append(stack.close)
        self._network = network_of(case)
        self._delivery = Delivery(case.cluster, self.receiver)
        self._running: list[subprocess.Popen[bytes]] = []
        publish(case, self._text, DESTINATIONS.replace("URL", self.receiver.url))

    def approve(self) -> None:
        """Start the workers, and approve the audience."""
        approve(self._case)

    def start(self) -> None:
        """Start two processes; one dies after a request, before that is written."""
        self._running.append(self._start())
        self._running.append(self._start(SEGOPS_CRASH_AT=f"{self._case.rng.choice(ACTIVATE_POINTS)}:2"))

    def _start(self, **variables: str) -> subprocess.Popen[bytes]:
        redirected = {"FAULTS_REDIRECT": self._network.redirection, "SEGOPS_KAFKA_REQUEST_TIMEOUT": "2s"}
        return self._delivery.start(**redirected, **NO_CONSENT, **variables)

    def break_down(self, name: str) -> None:
        """Break a process that delivers, or its connections, or a worker."""
        getattr(self, f"_{name}")()

    def _kill(self) -> None:
        killed = self._running.pop(0)
        killed.kill()
        killed.wait()
        self._running.append(self._start())

    def _freeze(self) -> None:
        """Suspend a process until another has its partitions."""
        frozen = self._running[0]
        log = self._delivery.log(self._number(frozen))
        frozen.send_signal(signal.SIGSTOP)
        self._add()
        time.sleep(self._case.rng.uniform(6, 8))  # beyond the session timeout
        frozen.send_signal(signal.SIGCONT)
        wait_until(lambda: frozen.poll() is not None or log.exists(), "it runs again", log.read_text)

    def _number(self, process: subprocess.Popen[bytes]) -> int:
        return self._running.index(process)

    def _add(self) -> None:
        self._running.append(self._start())

    def _outage(self) -> None:
        self._network.down = True
        time.sleep(1 + self._case.rng.random())
        self._network.down = False

    def _worker(self) -> None:
        self._case.kill(1)
        self._case.start(1)

    def await_hold(self) -> None:
        """Wait until the breaker has held the audience; restart the processes that die meanwhile."""
        wait_until(self._is_held, "the audience is held", self._delivery.diagnosis)

    def _is_held(self) -> bool:
        for dead in [each for each in self._running if each.poll() is not None]:
            self._running.remove(dead)
            self._running.append(self._start())
        return bool(shown(self._case.cluster)["state"] == "held")

    def check_limits(self) -> None:
        """Find fault with more entries or exits than the limits allow."""
        found = Counter(each["type"].rpartition(".")[2] for each in self._distinct())
        for action, most in (("entered", _MOST_ENTRIES), ("exited", _MOST_EXITS)):
            if found[action] > most:
                self._findings.append(Finding("I16", "wrong", f"{found[action]} {action}, at most {most}"))

    def _distinct(self) -> list[dict[str, Any]]:
        return [*dict(zip(self.receiver.ids, self.receiver.messages, strict=True)).values()]

    def check_not_emptied(self) -> None:
        """Find fault with a destination that was told to forget all members."""
        if not self.receiver.members("winback"):
            self._findings.append(Finding("I16", "wrong", "the destination was emptied"))

    def release(self) -> None:
        """Release the audience, and again if it is held again, until the destination knows the members."""
        done(self._case.cluster, "release", "winback")
        wait_until(self._is_known, "the destination knows the members", self._delivery.diagnosis)

    def _is_known(self) -> bool:
        if self._is_held():
            done(self._case.cluster, "release", "winback")
        return self._delivery.equals_the_members()

    def finish(self, *, members: bool = True) -> None:
        """Wait until the destination knows the members, if any, and add the checks of the delivery."""
        self.receiver.behave = lambda _message: "ok"
        self._delivery.await_equality()
        for process in self._running:
            if process.poll() is None:
                process.terminate()
                assert process.wait(60) == 0, self._delivery.diagnosis()
        if members and not self.receiver.members("winback"):
            self._findings.append(Finding("I16", "wrong", "no members in the end: nothing was tested"))
        self._case.circumstances.more_checks["delivered"] = partial(_delivered, self)

    def findings(self, facts: Facts) -> Iterator[Finding]:
        """Yield what the destination was told wrongly."""
        yield from self._findings
        if self.receiver.refused:
            yield Finding("I16", "wrong", f"the destination refused {self.receiver.refused[:3]}")
        yield from backwards(self.receiver)
        yield from untrue(self.receiver, facts)
        if SECRET in self._delivery.diagnosis() or OPERATOR["SEGOPS_AUDIT_KEY"] in self._delivery.diagnosis():
            yield Finding("I16", "wrong", "a secret is in a log")


def _delivered(delivered: _Delivered, facts: Facts) -> Iterator[Finding]:
    """Check I16: the destination was told each last state, none that never was, and none backwards."""
    return delivered.findings(facts)


def backwards(receiver: Receiver) -> Iterator[Finding]:
    """Yield profiles of which an older state was told after a newer one."""
    latest: dict[str, int] = defaultdict(int)
    for message in receiver.messages:
        profile, sequence = message["data"]["profile_id"], message["data"]["sequence"]
        if sequence < latest[profile]:
            yield Finding("I16", "wrong", f"{profile}: {sequence} was told after {latest[profile]}")
        latest[profile] = max(latest[profile], sequence)


def untrue(receiver: Receiver, facts: Facts) -> Iterator[Finding]:
    """Yield messages that tell of no published change, or the opposite of it."""
    changes = (change for each in facts.changes.values() for change in each if change.segment_key == _KEY)
    actions = {change.change_id: change.action for change in changes}
    for message_id, message in zip(receiver.ids, receiver.messages, strict=True):
        action: Any = message["type"].rpartition(".")[2]
        if actions.get(message_id) != action:
            yield Finding("I16", "wrong", f"{message_id} {action}, published was {actions.get(message_id)}")
