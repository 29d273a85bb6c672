"""``segops apply --wait``: it returns once all partitions evaluate by what it has published."""

from __future__ import annotations

import asyncio
import json
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from segops.cli._ending import ending
from segops.core.errors import UserError
from segops.operations import rollout as waiting
from segops.operations.rollout import NotInForce, Superseded
from tests.rest import rest

from .helpers import START_MS, Stack, shop_events, wait_until

pytestmark = pytest.mark.broker

FIRST = "{version: 1, segments: [{key: viewers, when: {did: Product Viewed}}]}"
EDITED = """
version: 1
segments:
  - {key: viewers, when: {did: Product Viewed, count: {gte: 4}, within: 30d}}
  - {key: buyers, when: {did: Order Completed, count: {gte: 2}, within: 30d}}
"""
END_MS = START_MS + 48 * 3_600_000


def written(stack: Stack, text: str) -> str:
    file = stack.folder / "wanted.yaml"
    file.write_text(text)
    return str(file)


def is_reported(stack: Stack) -> bool:
    """Return whether all partitions have published the size of the segment."""
    found = json.loads(stack.segops("sizes", "--format", "json").stdout or '{"segments": []}')["segments"]
    return any(each["complete"] for each in found)


def working(stack: Stack) -> None:
    """Start a worker, and let it apply 600 events by the first definitions."""
    stack.publish(FIRST)
    stack.start()
    stack.send(shop_events(600, users=40, partitions=stack.partitions), final_ms=END_MS)
    wait_until(lambda: is_reported(stack), "a size of each partition", stack.diagnosis)


def states(stack: Stack) -> dict[str, tuple[int, str]]:
    found = map(json.loads, stack.segops("segments", "--all", "--format", "jsonl").stdout.splitlines())
    return {each["key"]: (each["version"], each["state"]) for each in found}


def test_it_returns_when_history_is_counted_everywhere(stack: Stack) -> None:
    working(stack)
    edit = written(stack, EDITED)
    done = stack.segops("apply", edit, "--wait", "--yes", "--timeout", "120")
    assert done.exit_code == 0, (done.output, done.exception)
    assert done.stdout.splitlines()[-2:] == [
        "2 segments wait for history: past events are counted first",
        f"in force in all {stack.partitions} partitions",
    ]
    assert states(stack) == {"viewers": (2, "live"), "buyers": (1, "live")}
    again = stack.segops("apply", edit, "--wait")  # nothing changes, so it returns at once
    assert (again.exit_code, again.stdout.splitlines()[0]) == (0, "= viewers  version 2  unchanged")
    ended = stack.segops("apply", "--retire", "buyers", "--wait", "--yes", "--timeout", "120")
    assert ended.exit_code == 0, (ended.output, ended.exception)
    assert states(stack)["buyers"] == (1, "retired")


@rest
def test_what_does_not_come_is_said(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.publish(FIRST)
    edit = written(stack, EDITED)
    none = stack.segops("apply", edit, "--wait")
    assert isinstance(none.exception, UserError)
    assert "nothing was published: no worker" in str(none.exception)
    assert states(stack) == {"viewers": (1, "live")}
    worker = stack.start()
    wait_until(lambda: stack.members(), "a member", stack.diagnosis)
    worker.send_signal(signal.SIGSTOP)
    try:
        late = stack.segops("apply", edit, "--wait", "--yes", "--timeout", "6")
        assert isinstance(late.exception, NotInForce)
        assert "after 6 s not in force in the partitions 0, 1, 2" in str(late.exception)
        assert ending(late.exception)[0] == 1
        monkeypatch.setattr(waiting, "_LOOK_EVERY_S", 0.0)
        with ThreadPoolExecutor() as pool:
            wait = waiting.wait_until_in_force(stack.settings, {"viewers": 2, "buyers": 1}, timeout_s=60)
            found = pool.submit(asyncio.run, wait)
            stack.segops("apply", written(stack, EDITED.replace("gte: 2", "gte: 3")), "--yes")
            with pytest.raises(Superseded, match="other definitions of 'buyers' were published"):
                found.result()
        assert ending(found.exception() or KeyError())[0] == 2
    finally:
        worker.send_signal(signal.SIGCONT)


def test_waiting_needs_a_publication(stack: Stack) -> None:
    refused = stack.segops("apply", written(stack, FIRST), "--dry-run", "--wait")
    assert refused.exit_code == 2
    assert "--dry-run takes no --wait" in refused.output
