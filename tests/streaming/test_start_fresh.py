"""Fresh starts, and taking topics over from another application."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

import pytest

from segops.schemas.origin import ORIGIN_KEY, decode_origin
from tests.rest import in_rest, rest

from .helpers import DAY_MS, START_MS, Sent, Stack, expected_changes, shop_events, wait_until
from .test_origin import log_text, recreate, run_through, with_other_prefix

pytestmark = pytest.mark.broker

FINAL_MS = START_MS + 2 * DAY_MS
LATER_MS = FINAL_MS + 2 * DAY_MS


@pytest.fixture
def stack(stack: Stack, guarantee: str) -> Stack:
    stack.guarantee = guarantee
    stack.environment = {"SEGOPS_SESSION_TIMEOUT": "6s"}
    stack.publish()
    return stack


def open_ended(users: int, *, seed: int, start_ms: int = START_MS) -> list[Sent]:
    """Return events of users who are members of a segment at the end."""
    return shop_events(10 * users, users=users, partitions=3, seed=seed, start_ms=start_ms)


def rows(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return the latest change of each profile and segment."""
    found: dict[str, dict[str, Any]] = {}
    for record in stack.read(stack.settings.topics.membership_state):
        found[record.key.decode()] = stack.decoded(record)
    return found


def members(stack: Stack) -> set[str]:
    return {key for key, row in rows(stack).items() if row["member"]}


def wanted_members(stack: Stack, sent: list[Sent], until_ms: int) -> set[str]:
    latest: dict[str, bool] = {}
    changes = expected_changes(sent, stack.definitions, until_ms).values()
    for change in sorted(changes, key=lambda each: each["sequence"]):
        latest[f"{change['profile_id']}|{change['segment_key']}"] = change["member"]
    return {key for key, member in latest.items() if member}


def greatest_of(stack: Stack) -> dict[int, int]:
    """Return the highest published sequence of each partition."""
    found: dict[int, int] = {}
    for record in stack.read(stack.settings.topics.membership_changes):
        found[record.partition] = max(found.get(record.partition, 0), stack.decoded(record)["sequence"])
    return found


def assert_in_order(stack: Stack, greatest: dict[int, int]) -> None:
    """Verify that in each row sequences rise and memberships alternate, up to ``greatest`` and after it.

    A fresh start publishes the memberships it finds again and ends the others, with exactly_once only once.
    """
    by_row: dict[str, list[dict[str, Any]]] = defaultdict(list)
    ids: Counter[str] = Counter()
    for record in stack.read(stack.settings.topics.membership_changes):
        change = {**stack.decoded(record), "partition": record.partition}
        ids[change["change_id"]] += 1
        row = by_row[f"{change['profile_id']}|{change['segment_key']}"]
        if change not in row:
            row.append(change)
    for row in by_row.values():
        sequences = [change["sequence"] for change in row]
        assert sequences == sorted(set(sequences)), row
        after = [change for change in row if change["sequence"] > greatest[change["partition"]]]
        before = row[: len(row) - len(after)]
        after = after[1:] if after and after[0]["reason"] == "restart" else after
        for part in (before, after):
            assert [change["member"] for change in part] == [n % 2 == 0 for n in range(len(part))], row
            assert "restart" not in {change["reason"] for change in part}
    if stack.guarantee == "exactly_once":
        assert set(ids.values()) <= {1}


def is_swept(stack: Stack) -> bool:
    latest = {
        r.partition: r.value for r in stack.read(stack.settings.worker.changelog) if r.key == ORIGIN_KEY
    }
    origins = [decode_origin(value) for value in latest.values()]
    return len(origins) == 3 and all(each.generation and not each.sweep_until for each in origins)


def recreated(stack: Stack) -> list[Sent]:
    """Recreate the profile events with other records than the applied ones; a worker refuses them."""
    former = open_ended(60, seed=1)
    stack.start()
    stack.send(former, final_ms=START_MS + DAY_MS // 2)
    expected = expected_changes(former[: len(former) // 2], stack.definitions, START_MS)
    wait_until(lambda: set(stack.changes()) >= set(expected), "changes", stack.diagnosis)
    stack.stop()
    assert members(stack)
    recreate(stack, stack.settings.topics.profile_events)
    recreate(stack, stack.settings.topics.events)
    return open_ended(40, seed=2, start_ms=FINAL_MS)


@rest
def test_fresh_start_ends_stale_memberships(stack: Stack) -> None:
    sent = recreated(stack)
    stack.send(sent, final_ms=LATER_MS)
    assert stack.start().wait(60) == 2, log_text(stack)
    greatest = greatest_of(stack)
    stack.start(options=["--start-fresh"])
    wait_until(lambda: is_swept(stack), "swept", stack.diagnosis)
    assert members(stack) == wanted_members(stack, sent, LATER_MS)
    assert_in_order(stack, greatest)
    ended = [row for row in rows(stack).values() if row["reason"] == "restart"]
    assert ended and not any(row["member"] for row in ended)


@pytest.mark.parametrize(
    "point",
    [
        "during_fresh_start:1",
        *map(
            in_rest,
            [
                "after_store_write:2",
                "during_fresh_start:2",
                "during_sweep:1",
                "after_offset_commit:1",
                "after_output_ack:2",
            ],
        ),
    ],
)
def test_fresh_start_resumes_after_a_kill(stack: Stack, point: str) -> None:
    sent = recreated(stack)
    stack.send(sent, final_ms=LATER_MS)
    greatest = greatest_of(stack)
    assert stack.start(options=["--start-fresh"], crash_at=point).wait(60) == 137, log_text(stack)
    stack.start()  # the decision is recorded and needs no option at the next start
    wait_until(lambda: is_swept(stack), "swept", stack.diagnosis)
    assert members(stack) == wanted_members(stack, sent, LATER_MS)
    assert_in_order(stack, greatest)


@rest
def test_application_moves_to_topics_with_another_prefix(stack: Stack) -> None:
    run_through(stack, open_ended(60, seed=1))
    app_id, folder = stack.settings.worker.app_id, str(stack.folder / "an-empty-disk")
    other = with_other_prefix(stack, SEGOPS_APP_ID=app_id, SEGOPS_DATA_DIR=folder)
    sent = open_ended(60, seed=2)
    other.send(sent, final_ms=FINAL_MS)
    other.start(options=["--start-fresh"])
    try:
        other.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    finally:
        other.close()
    assert stack.start().wait(60) == 2  # its state now belongs to the other topics
    assert f"belong to the topics {other.name}* with 3 partitions, not to {stack.name}*" in log_text(stack)


def second(stack: Stack) -> Stack:
    """Return another application on the same topics, with its own data folders."""
    folder = stack.folder / "second"
    folder.mkdir()
    other = Stack(stack.bootstrap_servers, stack.name, folder, guarantee=stack.guarantee)
    other.environment = {**stack.environment, "SEGOPS_APP_ID": "second-" + stack.name.rstrip(".")}
    other.definitions = stack.definitions
    return other


@rest
def test_second_application_is_refused_until_it_takes_over(stack: Stack) -> None:
    sent = open_ended(60, seed=1)
    first = stack.start()
    stack.send(sent, final_ms=LATER_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, LATER_MS))
    other, greatest = second(stack), greatest_of(stack)
    try:
        assert other.start().wait(60) == 2, log_text(other)
        app_id = stack.settings.worker.app_id
        assert f"the topics {stack.name}* belong to the application {app_id} since" in log_text(other)
        assert first.poll() is None
        other.start(options=["--take-over"])
        assert first.wait(60) == 2
        assert "were taken over by the application second-" in log_text(stack)
        assert stack.start().wait(60) == 2  # the takeover persists
        more = open_ended(60, seed=3, start_ms=LATER_MS)
        stack.send(more, final_ms=LATER_MS + 2 * DAY_MS)
        wanted = wanted_members(stack, [*sent, *more], LATER_MS + 2 * DAY_MS)
        sent_ids = {f"m3-{number}".encode() for number in range(len(more))}
        wait_until(lambda: forwarded(stack) >= sent_ids, "forwarded", other.diagnosis)
        wait_until(lambda: members(stack) == wanted, "members", other.diagnosis)
        assert_in_order(stack, greatest)
    finally:
        other.close()


def forwarded(stack: Stack) -> set[bytes]:
    """Return the messages in the profile events."""
    records = stack.read(stack.settings.topics.profile_events)
    return {json.loads(record.value)["messageId"].encode() for record in records if record.key is not None}
