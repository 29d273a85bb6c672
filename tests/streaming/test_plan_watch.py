"""``segops plan --watch`` on a running system: it sees who flaps, leaves one plan, reads history once."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import pytest

from segops.core.scans import FOLLOWED_SHARE, in_sample
from segops.core.values import format_instant
from segops.kafka.definitions import read
from segops.schemas.planned import PLAN_KEY
from segops.schemas.scans import Cancel, PlanRequest, decode_request
from tests.rest import rest

from .helpers import DEADLINE_S, START_MS, Sent, Stack, wait_until
from .test_plan_history import past_read
from .test_plans import changes_since, done, flows, records, written

pytestmark = pytest.mark.broker
LIVE = "version: 1\nsegments: [{key: known, when: {did: Page Seen}}]\n"
#: By a trait, so that events alone move it; `steady` is left at the earliest a day after it is entered.
DRAFT = """
version: 1
segments:
  - {key: happy, when: {trait: mood, is: {eq: happy}}}
  - {key: steady, when: {trait: mood, is: {eq: happy}}, membership: {min_stay: 1d}}
"""
#: A figure that profiles do not hold.
PAST = DRAFT + "  - {key: keen, when: {did: Page Seen, count: {gte: 2}, within: 5d}}\n"


def users(number: int, *, sampled: bool) -> list[str]:
    names = (f"u{n}" for n in count())
    chosen = (each for each in names if in_sample(f"user_id:{each}", FOLLOWED_SHARE) is sampled)
    return list(islice(chosen, number))


#: Those that are followed, and the others.
ANN, BOB, CAT = users(3, sampled=True)
OTHERS = users(20, sampled=False)


class Moods:
    """Sends the moods of users, each a millisecond after the former one."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._numbers = count()

    def send(self, mood: str, *names: str) -> None:
        self._stack.send([self._event(name, mood) for name in names])

    def _event(self, name: str, mood: str) -> Sent:
        number = next(self._numbers)
        event = {
            "type": "identify",
            "userId": name,
            "messageId": f"m{number}",
            "timestamp": format_instant(START_MS + number),
            "traits": {"mood": mood},
        }
        return Sent(number % self._stack.partitions, json.dumps(event).encode())


class Watching:
    """A process of ``segops plan --watch --format json``."""

    def __init__(self, stack: Stack, *arguments: str) -> None:
        self._stack = stack
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")},
            "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "SEGOPS_APP_ID": stack.settings.worker.app_id,
            "SEGOPS_TOPIC_PREFIX": stack.name,
            "SEGOPS_PARTITIONS": str(stack.partitions),
        }
        command = [sys.executable, "-c", "from segops.cli import main; main()", "plan", *arguments]
        command += ["--watch", "--interval", "1", "--format", "json"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)

    def next(self) -> dict[str, Any]:
        """Return the next repeat."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE_S)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.process.kill()
            pytest.fail(f"no repeat: {self.process.communicate()[1]}\n{self._stack.diagnosis()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def until(self, members: int, *, followed: bool = True) -> dict[str, Any]:
        """Return the first repeat in which so many would be happy."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            found = self.next()
            if segment(found)["then"] == members and (found["followed"] is not None or not followed):
                return found
        raise AssertionError(f"not {members} members in time: {found}")

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; return the exit status and standard error."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        """Return the exit status and standard error, once it has ended by itself."""
        errors = self.process.communicate(timeout=DEADLINE_S)[1]
        return self.process.returncode, errors


@pytest.fixture
def watching(stack: Stack) -> Iterator[Any]:
    """Start watches, which end with the test."""
    started: list[Watching] = []

    def start(*arguments: str) -> Watching:
        started.append(Watching(stack, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


def segment(repeat: dict[str, Any], key: str = "happy") -> dict[str, Any]:
    found: dict[str, Any] = {each["segment_key"]: each for each in repeat["plan"]["segments"]}[key]
    return found


def flapping(repeat: dict[str, Any], key: str) -> dict[str, Any]:
    found: dict[str, Any] = {each["segment_key"]: each for each in repeat["followed"]["segments"]}[key]
    return found


def begun(stack: Stack) -> Moods:
    """Start a worker, and let all users be known to it."""
    stack.publish(LIVE)
    moods = Moods(stack)
    moods.send("sad", ANN, BOB, CAT, *OTHERS)
    stack.start()
    wait_until(lambda: bool(stack.owned_partitions()), "ready", stack.diagnosis)
    return moods


def plans_recorded(stack: Stack) -> int:
    return sum(key == PLAN_KEY for key, _ in records(stack))


def test_watch_follows_a_sample_and_leaves_one_plan(stack: Stack, guarantee: str, watching: Any) -> None:
    stack.guarantee = guarantee
    moods = begun(stack)
    file = written(stack, "draft.yaml", DRAFT)
    watch = watching(file)
    first = watch.until(0, followed=False)
    assert (first["repeat"], first["followed"]) == (1, None)
    assert watch.until(0)["repeat"] == 2
    moods.send("happy", ANN, BOB, *OTHERS)  # three that are followed and twenty others
    watch.until(22)
    moods.send("sad", ANN, *OTHERS)
    watch.until(1)
    moods.send("happy", ANN, CAT)
    last = watch.until(3)
    assert last["followed"]["profiles"] == 3 and last["followed"]["share"] == FOLLOWED_SHARE
    assert last["followed"]["repeats"] == last["repeat"] - 1
    happy = flapping(last, "happy")
    assert {name: happy[name] for name in ("members", "changes", "flapping", "most")} == {
        "members": 3,
        "changes": 5,
        "flapping": 1,
        "most": 3,
    }
    assert (
        happy["estimate"]["low"] <= 21 <= happy["estimate"]["high"] and happy["estimate"]["estimate"] == 100
    )
    assert happy["share"] == pytest.approx(1 / 3)
    steady = flapping(last, "steady")  # each entered once, and would stay for a day
    assert (steady["members"], steady["changes"], steady["flapping"]) == (3, 3, 0)

    assert watch.end() == (0, "")
    assert plans_recorded(stack) == 1
    requests = [decode_request(record.value) for record in stack.read(stack.settings.topics.control)]
    asked = [each.ask.watch for each in requests if isinstance(each.ask, PlanRequest)]
    (watch_id,) = {each.id for each in asked if each is not None}
    assert watch_id in {each.scan for each in requests if isinstance(each.ask, Cancel)}
    plan_id = last["plan"]["id"]
    log = asyncio.run(read(stack.settings))
    assert log.planned is not None and (log.planned.id, log.planned.state) == (plan_id, "open")
    done(stack, "apply", "--plan", plan_id)
    wait_until(lambda: len(changes_since(stack, {})) >= 6, "the plan is published", stack.diagnosis)
    assert flows(changes_since(stack, {}), "definition") == {("happy", True): 3, ("steady", True): 3}


@rest
def test_watch_reads_history_once_and_ends_with_the_plan(stack: Stack, guarantee: str, watching: Any) -> None:
    stack.guarantee = guarantee
    moods = begun(stack)
    watch = watching(written(stack, "past.yaml", PAST))
    first = watch.until(0, followed=False)
    assert segment(first, "keen")["lacking"]
    read_before = past_read(stack)
    assert read_before > 0
    watch.until(0)
    for mood, members in (("happy", 1), ("sad", 0), ("happy", 1)):
        moods.send(mood, ANN)
        last = watch.until(members)
    assert flapping(last, "happy")["most"] == 3
    assert past_read(stack) == read_before and plans_recorded(stack) == 1
    done(stack, "apply", "--plan", last["plan"]["id"], "--yes")
    status, errors = watch.ended()
    assert (status, errors.splitlines()[-1]) == (2, f"the plan {last['plan']['id']} was applied")


@rest
@pytest.mark.usefixtures("several_workers")
def test_partition_that_changes_its_worker_follows_its_profiles_from_then_on(
    stack: Stack, guarantee: str, watching: Any
) -> None:
    stack.guarantee = guarantee
    moods = begun(stack)
    watch = watching(written(stack, "draft.yaml", DRAFT))
    watch.until(0)
    for mood, members in (("happy", 2), ("sad", 0)):
        moods.send(mood, ANN, BOB)
        former = watch.until(members)
    assert flapping(former, "happy")["changes"] == 4
    stack.workers[0].kill()
    stack.workers[0].wait()
    stack.start(number=1)
    moods.send("happy", ANN, BOB)
    last = watch.until(2)
    assert last["followed"]["repeats"] < last["repeat"] - 1
    assert flapping(last, "happy")["members"] == 2
    assert watch.end() == (0, "")
