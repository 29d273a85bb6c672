"""Memberships in a format: each record once and in order, whatever dies; rows as the state topic has them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from segops.brokers import LocalBroker
from segops.output.connect_json import FORM
from segops.streaming.failpoints import OUTPUT_POINTS
from tests.faults.proxy import FaultyNetwork
from tests.output.sinks import connect_data, take_jdbc
from tests.rest import in_rest, rest
from tests.sources.small_registry import SmallRegistry

from .conftest import require_transactions
from .helpers import Stack, wait_until
from .output_topics import OutputTopics, change_of
from .pages import page

pytestmark = pytest.mark.broker
_QUICK = "output_after_offsets"
PARTS = ("key", "value")


@pytest.fixture
def stack(stack: Stack, broker: LocalBroker) -> Stack:
    require_transactions(broker)
    return stack


def changes(count: int, *, partition: int = 0, start: int = 0) -> list[dict[str, Any]]:
    """Return changes of seven profiles of a partition, which enter and leave in turn."""
    return [
        {
            "profile_id": f"user_id:{partition}-{n % 7}",
            "member": n // 7 % 2 == 0,
            "change_id": f"{partition}-{n}",
        }
        for n in range(start, start + count)
    ]


def publish(outputs: OutputTopics, count: int, *, start: int = 0) -> None:
    """Publish changes on all partitions."""
    for partition in range(3):
        outputs.publish(changes(count, partition=partition, start=start), partition=partition)


def written(outputs: OutputTopics) -> list[str]:
    """Return the ids of the changes in the output, in log order per partition."""
    return [connect_data(record.value)["change_id"] for record in outputs.stack.read(outputs.changes)]


def rows(outputs: OutputTopics) -> dict[tuple[Any, ...], bool]:
    """Return the table that a JDBC sink makes of the output: whether the profile is a member, by key."""
    table: dict[tuple[Any, ...], bool] = {}
    for record in outputs.stack.read(outputs.memberships):
        key, row = take_jdbc(record.key, record.value)
        table.pop(key, None)
        if row is not None:
            table[key] = row["member"]
    return table


def check_each_once(outputs: OutputTopics, count: int) -> None:
    """Check that the changes of each partition are there once, in order, and that the rows agree."""
    found = written(outputs)
    for partition in range(3):
        of_partition = [each for each in found if each.startswith(f"{partition}-")]
        assert of_partition == [f"{partition}-{n}" for n in range(count)]
    source = outputs.latest(outputs.stack.settings.topics.membership_state)
    expected = {tuple(key.decode().rsplit("|", 1)): json.loads(row)["member"] for key, row in source.items()}
    wait_until(lambda: rows(outputs) == expected, "the rows", outputs.log().read_text)


@pytest.mark.parametrize("point", [p if p == _QUICK else in_rest(p) for p in OUTPUT_POINTS])
def test_each_change_is_copied_once_after_a_kill(stack: Stack, point: str) -> None:
    outputs = OutputTopics(stack, "connect-json")
    publish(outputs, 200)
    assert outputs.start(SEGOPS_CRASH_AT=f"{point}:2").wait(60) == 137, outputs.log().read_text()
    outputs.start()
    wait_until(lambda: len(written(outputs)) >= 600, "600 changes", outputs.log().read_text)
    check_each_once(outputs, 200)
    outputs.publish([b"user_id:1-3|vip"], partition=1)
    wait_until(lambda: ("user_id:1-3", "vip") not in rows(outputs), "a row is gone", outputs.log().read_text)
    check_each_once(outputs, 200)


@rest
def test_processes_share_the_partitions_and_one_is_killed(stack: Stack) -> None:
    outputs = OutputTopics(stack, "connect-json")
    first = outputs.start()
    outputs.start(number=1)
    has_some = "partitions: t"
    wait_until(lambda: has_some in outputs.log(0).read_text(), "the first has some")
    wait_until(lambda: has_some in outputs.log(1).read_text(), "the second has some")
    publish(outputs, 300)
    wait_until(lambda: written(outputs), "some are written", outputs.log(1).read_text)
    first.send_signal(signal.SIGKILL)
    assert first.wait(10) == -9
    publish(outputs, 300, start=300)
    wait_until(lambda: len(written(outputs)) > 900, "the other goes on", outputs.log(1).read_text)
    outputs.start()
    publish(outputs, 300, start=600)
    wait_until(lambda: len(written(outputs)) >= 2_700, "2,700 changes", outputs.log(1).read_text)
    check_each_once(outputs, 900)


@rest
def test_outage_is_waited_out(stack: Stack, network: FaultyNetwork) -> None:
    outputs = OutputTopics(stack, "connect-json")
    process = outputs.start(FAULTS_REDIRECT=network.redirection, SEGOPS_KAFKA_REQUEST_TIMEOUT="2s")
    publish(outputs, 100)
    wait_until(lambda: len(written(outputs)) >= 300, "300 changes", outputs.log().read_text)
    network.down = True
    publish(outputs, 100, start=100)
    wait_until(lambda: "waiting for Kafka" in outputs.log().read_text(), "it waits", outputs.log().read_text)
    network.down = False
    wait_until(lambda: len(written(outputs)) >= 600, "600 changes", outputs.log().read_text)
    check_each_once(outputs, 200)
    assert process.poll() is None


@rest
def test_rows_are_written_again_in_another_form_and_leftovers_are_deleted(stack: Stack) -> None:
    outputs = OutputTopics(stack, "connect-json")
    outputs.publish([{"profile_id": "user_id:a"}, {"profile_id": "user_id:b"}])
    outputs.publish([{"profile_id": "user_id:b", "member": False}])
    outputs.start()
    both = {("user_id:a", "vip"): True, ("user_id:b", "vip"): False}
    wait_until(lambda: rows(outputs) == both, "both rows", outputs.log().read_text)
    stack.stop()
    # As if the tombstone of an erased profile had been compacted away while no process ran.
    gone = FORM.membership(change_of({"profile_id": "user_id:gone"}))
    outputs.send(outputs.memberships, FORM.membership_key("user_id:gone", "vip"), gone)
    outputs.start(SEGOPS_OUTPUT_EXITS="tombstones")
    only = {("user_id:a", "vip"): True}
    wait_until(lambda: rows(outputs) == only, "the row of a member", outputs.log().read_text)
    assert len(written(outputs)) == 3, "changes are not copied again"
    assert "deleted 1 rows without a membership" in outputs.log().read_text()
    stack.stop()
    outputs.start()
    wait_until(lambda: rows(outputs) == both, "both rows again", outputs.log().read_text)


@rest
def test_avro_waits_for_the_registry(stack: Stack, reserve: Callable[[int], list[int]]) -> None:
    port, web_port = reserve(2)
    registry = SmallRegistry(port)
    outputs = OutputTopics(stack, "avro", SEGOPS_SCHEMA_REGISTRY_URL=registry.url)
    outputs.publish([{"profile_id": "user_id:a"}, b"user_id:b|vip"])
    outputs.start(web_port=web_port)
    waiting = "waiting for the schema registry"
    wait_until(lambda: waiting in page(web_port, "/readyz"), "it waits", outputs.log().read_text)
    with registry.serving():
        wait_until(lambda: len(stack.read(outputs.memberships)) == 2, "rows", outputs.log().read_text)
    wait_until(lambda: page(web_port, "/readyz") == "ready\n", "it is ready", outputs.log().read_text)
    row, tombstone = stack.read(outputs.memberships)
    assert tombstone.value is None and tombstone.key[:5] == row.key[:5]
    topics = (outputs.memberships, outputs.changes)
    assert {subject for subject, _ in registry.subjects} == {f"{t}-{part}" for t in topics for part in PARTS}
    assert dict(row.headers)["content-type"] == b"application/vnd.apache.avro"


def test_mistakes_are_named_at_the_start(stack: Stack) -> None:
    missing = stack.segops("output", SEGOPS_OUTPUT_FORMAT="segment")
    assert "missing topics" in str(missing.exception)
    OutputTopics(stack, "segment")
    other = stack.segops("topics", "verify", SEGOPS_OUTPUT_FORMAT="cloudevents")
    assert f"{stack.name}output.cloudevents.changes does not exist" in str(other.exception)
