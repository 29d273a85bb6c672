"""Kafka Connect keeps a table of PostgreSQL equal to the memberships, whatever dies."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from segops.brokers import LocalBroker
from tests.rest import rest

from .conftest import require_transactions
from .connect import Connect, postgres, require_programs
from .helpers import DAY_MS, START_MS, Stack, shop_events, wait_until
from .output_topics import OutputTopics

pytestmark = pytest.mark.broker
#: Of the columns that say what and when.
TYPES = {
    ("profile_id", "text"),
    ("member", "boolean"),
    ("occurred_at", "timestamp without time zone"),
    ("sequence", "bigint"),
    ("traits_json", "text"),
}
SEGMENTS = ("high-intent", "buyers", "spenders")


@pytest.fixture
def connect(
    stack: Stack, broker: LocalBroker, tmp_path: Path, reserve: Callable[[int], list[int]]
) -> Iterator[Connect]:
    require_transactions(broker)
    java = require_programs()
    database_port, port = reserve(2)
    topic = stack.settings.topics.output_memberships("connect-json")
    with postgres(database_port) as database:
        connect = Connect(java, stack.bootstrap_servers, tmp_path, port, topic, database)
        yield connect
        connect.close()


def members(stack: Stack) -> set[tuple[str, str]]:
    """Return profile and segment of all members, as `segops members` lists them."""
    found = set()
    for segment in SEGMENTS:
        listed = stack.segops("members", segment, "--format", "jsonl")
        assert listed.exit_code == 0, listed.output
        found |= {(json.loads(line)["profile_id"], segment) for line in listed.stdout.splitlines()}
    return found


def members_in(table: list[tuple[str, ...]]) -> set[tuple[str, str]]:
    return {(profile, segment) for profile, segment, member in table if member == "t"}


@rest
@pytest.mark.parametrize("exits", ["rows", "tombstones"])
def test_table_equals_the_members_after_kills(stack: Stack, connect: Connect, exits: str) -> None:
    stack.publish()
    stack.start()
    outputs = OutputTopics(stack, "connect-json", SEGOPS_OUTPUT_EXITS=exits)
    outputs.start()
    sent = shop_events(3_000, users=60, partitions=stack.partitions)
    stack.send(sent[:2_000])
    killed = connect.start()
    connect.wait_for_rows(5)
    killed.send_signal(signal.SIGKILL)  # while changes keep arriving
    assert killed.wait(10) == -9
    stack.send(sent[2_000:], final_ms=START_MS + DAY_MS)
    connect.start()
    wait_for_equal_tables(stack, connect)
    assert len(members(stack)) >= 10
    assert connect.types() >= TYPES
    left = [row for row in connect.table() if row[2] == "f"]
    assert bool(left) == (exits == "rows")

    gone = sorted(members(stack))[0][0]
    erased = stack.segops("erase", "--profile", gone)
    assert erased.exit_code == 0, erased.output
    wait_until(
        lambda: gone not in {row[0] for row in connect.table()}, "no row of the person", connect.diagnosis
    )
    wait_for_equal_tables(stack, connect)


def wait_for_equal_tables(stack: Stack, connect: Connect) -> None:
    """Wait until the table has exactly the members; fail with the difference."""

    def differ() -> str:
        table, expected = members_in(connect.table()), members(stack)
        return f"only in the table: {table - expected}\nlacking: {expected - table}\n{connect.diagnosis()}"

    wait_until(lambda: members_in(connect.table()) == members(stack), "equal tables", differ)
