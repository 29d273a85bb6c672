"""Topics that exist already become events, exactly once, whatever dies."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import pytest

from segops.brokers import LocalBroker
from segops.core.errors import UserError
from segops.streaming.failpoints import SOURCE_POINTS
from tests.faults.proxy import FaultyNetwork
from tests.rest import in_rest, rest
from tests.sources.small_registry import SmallRegistry, frame

from .conftest import require_transactions
from .helpers import Stack, wait_until
from .pages import page
from .sources import ORDERS, Sources, order

pytestmark = pytest.mark.broker
#: The failpoint of `make test`; `make test-rest` adds the others.
_QUICK = "sources_after_offsets"
AVRO = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "customer", "type": "long"},
        {"name": "number", "type": "int"},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}


@pytest.fixture
def sources(stack: Stack, broker: LocalBroker) -> Sources:
    require_transactions(broker)
    return Sources(stack)


def spread(count: int) -> list[tuple[int, bytes]]:
    """Return orders on three partitions."""
    return [(number % 3, order(number, customer=1 + number % 7)) for number in range(count)]


def check_once_and_in_order(sources: Sources, count: int) -> None:
    """Check that each order is there once, and those of a partition in their order."""
    events = sources.events()
    numbers = [event["properties"]["number"] for event in events]
    assert sorted(numbers) == list(range(count))
    for partition in range(3):
        of_partition = [number for number in numbers if number % 3 == partition]
        assert of_partition == sorted(of_partition)
    offsets = {origin: number // 3 for origin, number in zip(sources.origins(), numbers, strict=True)}
    expected = {f"{sources.topic}:{number % 3}:{number // 3}" for number in range(count)}
    assert offsets.keys() == expected
    assert {event["messageId"].rpartition("@")[0] for event in events} == expected


@pytest.mark.parametrize("point", [p if p == _QUICK else in_rest(p) for p in SOURCE_POINTS])
def test_each_record_becomes_an_event_once_after_a_kill(sources: Sources, point: str) -> None:
    sources.create_topic()
    sources.apply()
    sources.send(spread(600))
    assert sources.start(SEGOPS_CRASH_AT=f"{point}:2").wait(60) == 137, sources.log().read_text()
    sources.start()
    sources.wait_for_events(600)
    sources.send([(0, b"{"), (1, None), (2, b'{"total": 1}')])
    wait_until(lambda: len(sources.dead_letters()) == 2, "two dead letters", sources.log().read_text)
    check_once_and_in_order(sources, 600)
    assert sorted(sources.dead_letters()) == [
        (b"{", "undecodable", f"{sources.topic}:0:200"),
        (b'{"total": 1}', "no_identifier", f"{sources.topic}:2:200"),
    ]


def avro_order(number: int, customer: int) -> bytes:
    stream = BytesIO()
    at = datetime.fromtimestamp(1_760_000_000, UTC)
    value = {"customer": customer, "number": number, "total": Decimal("1.50"), "at": at}
    fastavro.schemaless_writer(stream, fastavro.parse_schema(AVRO), value)
    return frame(5, stream.getvalue())


AVRO_SOURCE = """
version: 1
sources:
  - topic: {topic}
    format: avro
    identifiers: {{user_id: customer}}
    map: {{event: Order Completed, timestamp: at, properties: {{total: total, number: number}}}}
"""


@rest
def test_partition_waits_for_the_registry_alone(
    sources: Sources, reserve: Callable[[int], list[int]]
) -> None:
    port, web_port = reserve(2)
    registry = SmallRegistry(port)
    registry.add(5, AVRO)
    registry.add(6, {**AVRO, "doc": "later"})
    sources.create_topic()
    sources.apply(AVRO_SOURCE)
    with registry.serving():
        sources.send([(0, avro_order(0, 1))])
        sources.start(SEGOPS_SCHEMA_REGISTRY_URL=registry.url, SEGOPS_SOURCES_WEB_PORT=str(web_port))
        sources.wait_for_events(1)
    later = frame(6, avro_order(1, 1)[5:])
    sources.send([(0, later), (0, avro_order(2, 1)), (1, avro_order(3, 2))])
    sources.wait_for_events(2)
    waiting = f'segops_source_waiting{{partition="0",topic="{sources.topic}"}} 1.0'
    wait_until(lambda: waiting in page(web_port, "/metrics"), "it waits", sources.log().read_text)
    assert [event["properties"]["number"] for event in sources.events()].count(3) == 1
    assert len(sources.events()) == 2
    with registry.serving():
        sources.wait_for_events(4)
        sources.send([(0, frame(99, b"x")), (0, avro_order(4, 1))])
        sources.wait_for_events(5)
    numbers = [event["properties"]["number"] for event in sources.events() if event["userId"] == 1]
    assert numbers == [0, 1, 2, 4]
    assert {event["timestamp"] for event in sources.events()} == {"2025-10-09T08:53:20.000Z"}
    assert [reason for _, reason, _ in sources.dead_letters()] == ["unknown_schema"]
    assert registry.asked["/schemas/ids/5"] == registry.asked["/schemas/ids/99"] == 1
    assert "waits for the schema registry" in sources.log().read_text()


DEBEZIUM = """
version: 1
sources:
  - topic: {topic}
    format: debezium
    identifiers: {{user_id: id}}
    map:
      - {{type: identify, traits: {{plan: plan}}}}
      - {{event: Plan Changed, operations: [update], properties: {{from: $before.plan, to: plan}}}}
      - {{event: Account Deleted, operations: [delete]}}
"""


def envelope(op: str, before: Any, after: Any, *, schema: bool = False) -> bytes:
    payload = {"op": op, "before": before, "after": after, "source": {"ts_ms": 1_760_000_000_000}, "ts_ms": 1}
    return json.dumps({"schema": {}, "payload": payload} if schema else payload).encode()


ORDER_TABLE = """
version: 1
sources:
  - topic: {topic}
    format: debezium
    identifiers: {{user_id: customer}}
    map: {{event: Order Completed, properties: {{number: number}}}}
"""
#: Format -> its source of orders, and what writes an order.
FORMATS: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "avro": (AVRO_SOURCE, lambda number: avro_order(number, 1 + number % 7)),
    "debezium": (
        ORDER_TABLE,
        lambda number: envelope("c", None, {"customer": 1 + number % 7, "number": number}),
    ),
}


@rest
@pytest.mark.parametrize("format_", FORMATS)
def test_each_format_survives_a_kill(sources: Sources, format_: str) -> None:
    text, write = FORMATS[format_]
    sources.create_topic()
    sources.apply(text)
    sources.send([(number % 3, write(number)) for number in range(300)])
    with SmallRegistry().serving() as registry:
        registry.add(5, AVRO)
        killed = sources.start(
            SEGOPS_SCHEMA_REGISTRY_URL=registry.url, SEGOPS_CRASH_AT="sources_after_send:2"
        )
        assert killed.wait(60) == 137, sources.log().read_text()
        sources.start(SEGOPS_SCHEMA_REGISTRY_URL=registry.url)
        sources.wait_for_events(300)
    check_once_and_in_order(sources, 300)
    assert sources.dead_letters() == []


SEGMENT = """
version: 1
segments:
  - {key: gold, name: Gold, when: {trait: plan, is: {eq: gold}}}
"""


@rest
def test_table_becomes_a_live_segment(sources: Sources) -> None:
    stack = sources.stack
    stack.publish(SEGMENT)
    stack.environment["SEGOPS_CLOCK"] = "wall"
    stack.start()
    sources.create_topic()
    free, gold = {"id": "u1", "plan": "free"}, {"id": "u1", "plan": "gold"}
    sources.send([(0, envelope("r", None, free)), (0, envelope("u", free, gold, schema=True))])
    sources.apply(DEBEZIUM)
    process = sources.start()

    def memberships() -> list[tuple[str, str]]:
        return [(change["action"], change["event_id"]) for change in stack.changes().values()]

    wait_until(lambda: len(memberships()) == 1, "u1 is gold", stack.diagnosis)
    ((action, event_id),) = memberships()
    assert action == "entered"
    assert event_id.startswith(f"{sources.topic}:0:1@")
    sources.send([(0, envelope("u", gold, free)), (0, envelope("d", free, None)), (0, None)])
    wait_until(lambda: len(memberships()) == 2, "u1 is not gold any more", stack.diagnosis)
    shown = stack.segops("timeline", "user_id:u1", "--format", "jsonl").stdout.splitlines()
    origins = {each["name"]: each["origin"] for each in map(json.loads, shown) if each["kind"] == "event"}
    assert origins["Account Deleted"] == f"{sources.topic}:0:3"
    listed = json.loads(stack.segops("sources", "list", "--format", "jsonl").stdout)
    assert (listed["lag"], listed["events"]) == (0, ["identify", "Plan Changed", "Account Deleted"])
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


@rest
def test_processes_share_partitions_and_a_frozen_one_writes_nothing(sources: Sources) -> None:
    sources.create_topic()
    sources.apply()
    sources.send(spread(300))
    frozen = sources.start()
    sources.wait_for_events(300)
    frozen.send_signal(signal.SIGSTOP)
    sources.send([(number % 3, order(number, customer=1 + number % 7)) for number in range(300, 450)])
    sources.start(number=1)
    sources.wait_for_events(450, number=1)
    frozen.send_signal(signal.SIGCONT)
    sources.send([(number % 3, order(number, customer=1 + number % 7)) for number in range(450, 600)])
    sources.wait_for_events(600, number=1)
    check_once_and_in_order(sources, 600)


@rest
def test_sources_change_while_a_process_runs(sources: Sources) -> None:
    sources.create_topic()
    sources.start()
    sources.send([(0, order(0)), (1, order(1))])
    assert "+ " in sources.apply(ORDERS.replace("format: json", "format: json\n    from: latest"))
    wait_until(lambda: f"partitions: {sources.topic}:" in sources.log().read_text(), "it has partitions")
    sources.send([(0, order(2))])
    sources.wait_for_events(1)
    assert [event["properties"]["number"] for event in sources.events()] == [2]
    changed = ORDERS.replace("format: json", "format: json\n    from: latest").replace(
        "Order Completed", "Sold"
    )
    assert "~ " in sources.apply(changed)
    wait_until(lambda: "mappings have changed" in sources.log().read_text(), "the mapping changes")
    sources.send([(0, order(3))])
    sources.wait_for_events(2)
    assert [event["event"] for event in sources.events()] == ["Order Completed", "Sold"]
    done = sources.stack.segops("sources", "remove", sources.topic)
    assert done.exit_code == 0, done.output
    wait_until(lambda: "the sources are now: none" in sources.log().read_text(), "it is removed")
    sources.apply()
    sources.wait_for_events(6)
    numbers = [event["properties"]["number"] for event in sources.events()]
    assert sorted(numbers) == [0, 1, 2, 2, 3, 3]


@rest
def test_outage_is_waited_out(sources: Sources, network: FaultyNetwork) -> None:
    sources.create_topic()
    sources.apply()
    process = sources.start(FAULTS_REDIRECT=network.redirection, SEGOPS_KAFKA_REQUEST_TIMEOUT="2s")
    sources.send(spread(300))
    sources.wait_for_events(300)
    network.down = True
    sources.send([(number % 3, order(number, customer=1 + number % 7)) for number in range(300, 600)])
    wait_until(lambda: "waiting for Kafka" in sources.log().read_text(), "it waits", sources.log().read_text)
    network.down = False
    sources.wait_for_events(600)
    check_once_and_in_order(sources, 600)
    assert process.poll() is None


def test_commands_draft_and_try_a_source(sources: Sources) -> None:
    sources.create_topic()
    sources.send([*[(number % 3, order(number)) for number in range(30)], (0, b"{")])
    segops = sources.stack.segops
    drafted = segops("sources", "infer", sources.topic)
    assert drafted.exit_code == 0, drafted.output
    file = sources.stack.folder / "draft.yaml"
    file.write_text(drafted.stdout)
    tried = segops("sources", "test", str(file), "--format", "jsonl")
    events = [json.loads(line) for line in tried.stdout.splitlines() if line.startswith("{")]
    assert (tried.exit_code, len(events)) == (1, 30)
    assert events[0]["event"] == "Orders"
    assert events[0]["properties"].keys() == {"number", "total"}
    assert (events[0]["userId"], events[0]["timestamp"][:10]) == (1, "2025-10-09")
    assert "31 records: 30 events, 1 rejected, 0 without an event" in tried.stderr
    assert f"{sources.topic}:0:10: undecodable: not JSON" in tried.stderr
    assert segops("sources", "apply", str(file), "--dry-run").stdout.startswith(f"+ {sources.topic}  added")
    assert segops("sources", "list").stdout == "no source is published\n"
    assert isinstance(segops("sources", "test", "nowhere").exception, UserError)
    assert isinstance(segops("sources", "remove", "nowhere").exception, UserError)
    assert sources.events() == []
