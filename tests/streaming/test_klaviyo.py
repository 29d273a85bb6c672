"""What is pulled from Klaviyo makes members in a running system, and counts once after a kill."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import pytest

from segops.core.values import parse_instant
from segops.klaviyo.state import decode_state
from segops.wall_clock import wall_ms
from tests.klaviyo.objects import add_event, add_profile
from tests.klaviyo.short_minute import MINUTE_S
from tests.klaviyo.stand_in import KEY, StandIn
from tests.rest import rest

from .conftest import require_transactions
from .helpers import Stack, wait_until

pytestmark = pytest.mark.broker

DAY_MS = 86_400_000
#: Of the account that is pulled while processes are killed.
PROFILES, EVENTS = 12, 480
KILLS = 4
SEGMENTS = """
version: 1
segments:
  - key: may-be-won-back
    when:
      all:
        - {trait: consent.email, is: {eq: true}}
        - did: Order Completed
          count: {gte: 2}
          within: 60d
"""


class Ended(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def stack(stack: Stack, broker: object) -> Stack:
    require_transactions(broker)
    stack.environment = {"SEGOPS_CLOCK": "wall"}
    stack.publish(SEGMENTS)
    return stack


def account() -> StandIn:
    """Return an account of which Ada bought twice and consents, Eve bought twice, and Bob consents."""
    found, now_ms = StandIn(page_cap=2, minute_s=MINUTE_S), wall_ms()
    refused = {"email": {"marketing": {"can_receive_email_marketing": True, "consent": "UNSUBSCRIBED"}}}
    add_profile(found, "ada", now_ms - DAY_MS)
    add_profile(found, "eve", now_ms - DAY_MS, subscriptions=refused)
    add_profile(found, "bob", now_ms - 500 * DAY_MS)
    for number, name in enumerate(("ada", "eve", "ada", "eve", "bob")):
        at_ms = now_ms - (number + 1) * 5 * DAY_MS
        add_event(found, f"E{number}", "Placed Order", name, at_ms, __event_id=f"o{number}", __value=9.5)
    return found


@contextmanager
def serving(found: StandIn) -> Iterator[str]:
    """Serve the account in a thread of its own; yield its address."""
    loop, ready, address = asyncio.new_event_loop(), threading.Event(), []

    async def main() -> None:
        async with found.serving() as url:
            address.append(url)
            ready.set()
            await ended.wait()

    ended = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    assert ready.wait(30)
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


def started(stack: Stack, url: str, *, crash_at: str = "", **variables: str) -> subprocess.Popen[bytes]:
    """Start a process that pulls; the stack stops it with its workers."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")},
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "SEGOPS_TOPIC_PREFIX": stack.name,
        "SEGOPS_PARTITIONS": str(stack.partitions),
        "SEGOPS_APP_ID": stack.settings.worker.app_id,
        "SEGOPS_KLAVIYO_URL": url,
        "SEGOPS_KLAVIYO_API_KEY": KEY,
        "SEGOPS_CRASH_AT": crash_at,
        **variables,
    }
    command = [sys.executable, "-m", "tests.klaviyo.short_minute", "pull", "klaviyo"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stack.workers.append(process)
    return process


def result_of(process: subprocess.Popen[bytes]) -> Ended:
    """Wait for the end of a process."""
    output, errors = process.communicate(timeout=60)
    return Ended(process.returncode, output.decode(), errors.decode())


def pull(stack: Stack, url: str, **options: str) -> Ended:
    return result_of(started(stack, url, **options))


def members(stack: Stack) -> set[str]:
    changes = stack.changes().values()
    return {change["email"] for change in changes if change["action"] == "entered"}


def pulled(stack: Stack) -> list[str]:
    return sorted(
        json.loads(record.value)["messageId"] for record in stack.read(stack.settings.topics.events)
    )


def test_pulled_profile_with_consent_and_orders_is_a_member(stack: Stack) -> None:
    found = account()
    with serving(found) as url:
        done = pull(stack, url)
    assert (done.returncode, found.refused) == (0, []), done.stderr
    assert done.stdout.startswith("done: 3 profiles, 5 events in ")
    assert KEY not in done.stdout + done.stderr
    stack.start()
    wait_until(lambda: members(stack), "a member", stack.diagnosis)
    assert members(stack) == {"ada@example.com"}


@rest
@pytest.mark.parametrize("point", ["pull_after_mark:1", "pull_in_transaction:3", "pull_after_commit:3"])
def test_killed_pull_goes_on_where_it_was(stack: Stack, point: str) -> None:
    found = account()
    with serving(found) as url:
        assert pull(stack, url, crash_at=point).returncode == 137
        done = pull(stack, url)
        again = pull(stack, url)
    assert (done.returncode, again.returncode, found.refused) == (0, 0, [])
    assert "waiting" in done.stderr  # for the limits of the killed process
    ids = pulled(stack)
    assert {each for each in ids if each.count(":") == 1} == {f"klaviyo:E{n}" for n in range(5)}
    assert len(set(ids)) == 8


def large_account(dice: random.Random) -> StandIn:
    """Return an account of many small pages; each event has a second of its own."""
    found, now_ms = StandIn(page_cap=2, minute_s=MINUTE_S), wall_ms()
    for number in range(PROFILES):
        add_profile(found, f"p{number}", now_ms - DAY_MS * (1 + number))
    for number, second in enumerate(dice.sample(range(DAY_MS // 1_000, 390 * DAY_MS // 1_000), EVENTS)):
        at_ms = now_ms - second * 1_000
        add_event(
            found, f"E{number}", "Placed Order", f"p{number % PROFILES}", at_ms, __event_id=f"o{number}"
        )
    return found


def positions(stack: Stack) -> set[int]:
    """Return the times from which processes began to read spans of events, in ms: a new one repeats them."""
    one = replace(stack, partitions=1)
    states = [decode_state(record.value) for record in one.read(stack.settings.topics.pulls)]
    repeated = (state for former, state in pairwise(states) if former.spans == state.spans)
    spans = (span for state in repeated for span in state.spans if span.stream == "events")
    return {span.reached_ms for span in spans if span.reached_ms is not None}


@rest
@pytest.mark.parametrize("seed", [1, 2])
def test_pull_killed_at_random_moments_is_in_the_topic_once(stack: Stack, seed: int) -> None:
    """Only an event at the position of a killed process is there again, with the same id."""
    dice = random.Random(seed)
    found = large_account(dice)
    with serving(found) as url:
        frozen = broken_off(stack, url, found, dice, signal.SIGSTOP)
        for _ in range(KILLS):
            killed = broken_off(stack, url, found, dice, signal.SIGKILL)
            assert result_of(killed).returncode == -signal.SIGKILL
            frozen.send_signal(signal.SIGCONT)
        fenced, done = result_of(frozen), pull(stack, url)
    assert (done.returncode, found.refused) == (0, []), done.stderr
    assert fenced.returncode == 2 and "another process has begun to pull" in fenced.stderr, fenced.stderr
    records = stack.read(stack.settings.topics.events)
    events = [event for record in records if (event := json.loads(record.value))["type"] == "track"]
    times = Counter(event["messageId"] for event in events)
    assert set(times) == {f"klaviyo:E{number}" for number in range(EVENTS)}
    assert len({record.value for record in records}) == EVENTS + PROFILES
    again = {parse_instant(event["timestamp"]) for event in events if times[event["messageId"]] > 1}
    assert again <= positions(stack)


def broken_off(
    stack: Stack, url: str, found: StandIn, dice: random.Random, what: signal.Signals
) -> subprocess.Popen[bytes]:
    """Start a process, and send it a signal after a random number of its requests."""
    until = sum(map(len, found.arrivals.values())) + dice.randrange(2, 30)
    process = started(stack, url, SEGOPS_KLAVIYO_CONNECTIONS="2")

    def has_sent() -> bool:
        assert process.poll() is None, process.communicate()
        return sum(map(len, found.arrivals.values())) >= until

    wait_until(has_sent, f"{until} requests", stack.diagnosis)
    process.send_signal(what)
    return process
