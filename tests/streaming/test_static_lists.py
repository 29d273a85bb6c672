"""Static lists in a running system: uploads, swaps, expiries, kills in the middle, two uploads at once."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from segops.core.errors import UserError
from segops.core.values import format_instant
from segops.operations import static_lists
from segops.operations.static_lists import Expiry, ListView
from segops.streaming.failpoints import LIST_POINTS
from tests.rest import in_rest, rest

from .conftest import require_transactions
from .helpers import Sent, Stack, wait_until

pytestmark = pytest.mark.broker

SEGMENTS = """
version: 1
segments:
  - key: vip
    when: {list: vip}
"""
CUSTOMERS = 300


@pytest.fixture
def live(stack: Stack, broker: object) -> Stack:
    """Return an application with a worker on the wall clock, and an event of each of some customers."""
    require_transactions(broker)
    stack.environment = {"SEGOPS_CLOCK": "wall", "SEGOPS_GRACE": "0ms"}
    stack.publish(SEGMENTS)
    stack.start()
    send(stack, range(CUSTOMERS))
    return stack


def send(stack: Stack, numbers: Any) -> None:
    stack.send(
        [
            Sent(
                number % stack.partitions,
                json.dumps({"type": "track", "event": "A", "userId": f"u{number}"}).encode(),
            )
            for number in numbers
        ]
    )


def ids_of(numbers: Any) -> list[str]:
    return [f"u{number}" for number in numbers]


def put(stack: Stack, numbers: Any, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``segops lists put vip`` with these customers."""
    file = stack.folder / "vip.txt"
    file.write_text("\n".join(ids_of(numbers)))
    return run(stack, "put", "vip", str(file), *options, **variables)


def run(stack: Stack, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")},
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "SEGOPS_TOPIC_PREFIX": stack.name,
        "SEGOPS_PARTITIONS": str(stack.partitions),
        "SEGOPS_APP_ID": stack.settings.worker.app_id,
        **variables,
    }
    command = [sys.executable, "-c", "from segops.cli import main; main()", "lists", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)


def shown(stack: Stack) -> ListView:
    (view,) = asyncio.run(static_lists.shown(stack.settings, "vip"))
    return view


def members(stack: Stack) -> set[str]:
    last = {each["profile_id"]: each["member"] for each in changes(stack)}
    return {profile.removeprefix("user_id:") for profile, member in last.items() if member}


def changes(stack: Stack) -> list[dict[str, Any]]:
    return sorted(stack.changes().values(), key=lambda change: (change["profile_id"], change["sequence"]))


def wait_for(stack: Stack, numbers: Any) -> None:
    wanted = set(ids_of(numbers))
    wait_until(lambda: members(stack) == wanted, "the members", stack.diagnosis)


def actions(stack: Stack) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for each in changes(stack):
        found.setdefault(each["profile_id"], []).append((each["action"], each["reason"]))
    return found


def test_upload_replaces_a_list_as_a_whole_and_a_new_customer_is_on_it(live: Stack) -> None:
    first = put(live, range(200))
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("list vip: version 1 is in force: 200 identifiers, 0 lines left out, in ")
    wait_for(live, range(200))
    # The next version is killed when everything but its publication is done: nothing changes.
    killed = put(live, range(250, 300), SEGOPS_CRASH_AT="lists_after_upload")
    assert killed.returncode == 137
    assert (shown(live).version, shown(live).begun, shown(live).ids) == (1, 2, 200)
    assert put(live, range(100, CUSTOMERS + 1)).returncode == 0
    assert (shown(live).version, shown(live).used_by) == (3, ("vip",))
    wait_for(live, range(100, CUSTOMERS))
    send(live, [CUSTOMERS])  # on the list before its first event
    wait_for(live, range(100, CUSTOMERS + 1))
    entered, exited = ("entered", "definition"), ("exited", "definition")
    found = actions(live)
    assert {number: found[f"user_id:u{number}"] for number in (0, 150, 250, CUSTOMERS)} == {
        0: [entered, exited],
        150: [entered],  # on both versions: it does not leave in between
        250: [entered],
        CUSTOMERS: [("entered", "event")],
    }


@rest
def test_list_expires_at_its_instant_and_after_a_restart(stack: Stack, broker: object) -> None:
    require_transactions(broker)
    stack.publish(SEGMENTS)
    stack.start()  # on the event clock, so that the test decides when the instant comes
    send(stack, range(60))
    expires_ms = (int(time.time()) + 3_600) * 1_000
    done = put(stack, range(50), "--expires", format_instant(expires_ms))
    assert done.returncode == 0, done.stderr
    wait_for(stack, range(50))
    stack.stop()
    stack.start()
    stack.send([], final_ms=expires_ms)
    wait_for(stack, [])
    exits = [each for each in changes(stack) if each["action"] == "exited"]
    assert {(each["reason"], each["occurred_at"]) for each in exits} == {("time", expires_ms)}
    assert {each["flips_at"] for each in changes(stack) if each["action"] == "entered"} == {expires_ms}
    assert len(exits) == 50


@rest
@pytest.mark.parametrize("point", LIST_POINTS)
@pytest.mark.parametrize("crash_at", ["", in_rest("after_output_ack:3")])
def test_killed_upload_leaves_the_former_version_in_force(live: Stack, point: str, crash_at: str) -> None:
    assert put(live, range(20)).returncode == 0
    wait_for(live, range(20))
    live.stop()
    live.start(crash_at=crash_at)
    assert put(live, [*range(100, 299)] * 20, SEGOPS_CRASH_AT=point).returncode == 137
    if crash_at:
        wait_until(lambda: live.workers[-1].poll() is not None, "the crash", live.diagnosis)
        live.start()
    assert put(live, range(10, 40)).returncode == 0
    wait_for(live, range(10, 40))
    assert {each["profile_id"] for each in changes(live)} == {f"user_id:u{n}" for n in range(40)}
    assert all(len(found) == 1 for who, found in actions(live).items() if who in {"user_id:u12"})


@rest
def test_of_two_uploads_at_once_the_first_in_force_wins(live: Stack) -> None:
    async def second_during_first() -> None:
        async def put(numbers: Any, passed: Any) -> None:
            await static_lists.put(
                live.settings,
                "vip",
                (f"user_id:u{number}" for number in numbers),
                expiry=Expiry(),
                report=lambda _: None,
                passed=passed,
            )

        both = asyncio.gather(
            put(range(10), lambda _: None), put(range(10, 20), lambda _: None), return_exceptions=True
        )
        failed = [each for each in await both if each is not None]
        assert len(failed) == 1
        assert isinstance(failed[0], UserError)
        assert "came into force during this one" in str(failed[0])

    asyncio.run(second_during_first())
    wait_until(lambda: len(members(live)) == 10, "ten members", live.diagnosis)
    assert members(live) in (set(ids_of(range(10))), set(ids_of(range(10, 20))))


@rest
def test_lists_are_shown_and_removed_unless_a_segment_reads_them(live: Stack, tmp_path: Path) -> None:
    missing = run(live, "show")
    assert missing.stdout.splitlines()[1].split()[:2] == ["vip", "missing"]
    assert put(live, [1, 2], "--expires", "30d").returncode == 0
    found = json.loads(run(live, "show", "vip", "--format", "json").stdout)
    assert (found["state"], found["version"], found["ids"], found["used_by"]) == ("in force", 1, 2, ["vip"])
    assert found["expires_ms"] - found["since_ms"] == 30 * 86_400_000
    refused = run(live, "remove", "vip")
    assert (refused.returncode, refused.stderr) == (2, "cannot remove the list vip: it is read by vip\n")
    live.publish(SEGMENTS.replace("list: vip", "did: A"))
    removed = run(live, "remove", "vip")
    assert removed.stdout == "removed list vip: version 1, 2 identifiers\n"
    again = run(live, "remove", "vip")
    assert (again.returncode, again.stderr) == (2, "unknown list 'vip'; the lists are none\n")
    strict = put(live, ["x"] * 3, "--strict", "--identifier", "email")
    assert strict.returncode == 0, strict.stderr  # any text may be an address
    (tmp_path / "bad.txt").write_text("u1\nnull\n")
    bad = run(live, "put", "vip", str(tmp_path / "bad.txt"), "--strict")
    assert (bad.returncode, bad.stderr) == (2, f"{tmp_path}/bad.txt:2: not a valid user_id: 'null'\n")
    assert shown(live).version == 2


@rest
def test_drafts_and_plans_read_the_version_in_force(live: Stack) -> None:
    assert put(live, range(40)).returncode == 0
    wait_for(live, range(40))
    draft = live.folder / "draft.yaml"
    draft.write_text(SEGMENTS + "  - {key: both, when: {all: [{list: vip}, {not: {list: gone}}]}}\n")
    estimated = live.segops("estimate", str(draft), "--segment", "both", "--format", "json")
    assert estimated.exit_code == 0, estimated.output
    assert json.loads(estimated.stdout)["holds"] == 40
    applied = live.segops("apply", str(draft))
    assert applied.exit_code == 0, applied.output
    wait_until(
        lambda: sum(each["segment_key"] == "both" for each in changes(live)) == 40, "both", live.diagnosis
    )
