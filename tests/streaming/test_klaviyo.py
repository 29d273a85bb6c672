"""What is pulled from Klaviyo makes members in a running system, and counts once after a kill."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from segops.wall_clock import wall_ms
from tests.klaviyo.objects import add_event, add_profile
from tests.klaviyo.stand_in import KEY, StandIn
from tests.rest import rest

from .conftest import require_transactions
from .helpers import Stack, wait_until

pytestmark = pytest.mark.broker

DAY_MS = 86_400_000
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


@pytest.fixture
def stack(stack: Stack, broker: object) -> Stack:
    require_transactions(broker)
    stack.environment = {"SEGOPS_CLOCK": "wall"}
    stack.publish(SEGMENTS)
    return stack


def account() -> StandIn:
    """Return an account of which Ada bought twice and consents, Eve bought twice, and Bob consents."""
    found, now_ms = StandIn(page_cap=2), wall_ms()
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


def pull(stack: Stack, url: str, *, crash_at: str = "") -> subprocess.CompletedProcess[str]:
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")},
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "SEGOPS_TOPIC_PREFIX": stack.name,
        "SEGOPS_PARTITIONS": str(stack.partitions),
        "SEGOPS_APP_ID": stack.settings.worker.app_id,
        "SEGOPS_KLAVIYO_URL": url,
        "SEGOPS_KLAVIYO_API_KEY": KEY,
        "SEGOPS_CRASH_AT": crash_at,
    }
    command = [sys.executable, "-c", "from segops.cli import main; main()", "pull", "klaviyo"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)


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
