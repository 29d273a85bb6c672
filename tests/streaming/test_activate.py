"""Audiences, delivered: after faults and kills a destination knows exactly the members."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from functools import partial

import pytest
from aiokafka import TopicPartition

from segops.brokers import LocalBroker
from segops.kafka import reading
from segops.streaming.failpoints import ACTIVATE_POINTS, EXIT_CODE
from tests.destinations.receiver import SECRET, receiving
from tests.faults.proxy import FaultyNetwork
from tests.rest import in_rest, rest

from .conftest import require_transactions
from .deliveries import DESTINATIONS, OPERATOR, SENT_TO_ALL, Delivery, flaky
from .helpers import START_MS, Sent, Stack, wait_until
from .test_audiences import approved, audit, customer, done, ran, shown, started, written
from .test_scans import members

pytestmark = pytest.mark.broker


@pytest.fixture
def delivery(stack: Stack, broker: LocalBroker) -> Iterator[Delivery]:
    """Provide an approved audience of a running worker, and a destination that is published."""
    require_transactions(broker)
    with receiving() as receiver:
        started_with(stack, SENT_TO_ALL)
        file = written(stack, DESTINATIONS.replace("URL", receiver.url), "destinations.yaml")
        assert stack.segops("destinations", "apply", file).exit_code == 0
        assert "is not published" not in ran(stack, "apply", written(stack, SENT_TO_ALL)).stderr
        yield Delivery(stack, receiver)


def started_with(stack: Stack, audience: str) -> None:
    """Start a worker with people, and approve the audience."""
    started(stack)
    done(stack, "apply", written(stack, audience))
    approved(stack)


def moved(stack: Stack, *, first: int, consent: bool) -> None:
    """Give or take the consent of twenty people."""
    events = []
    for number in range(first, first + 20):
        identified = customer(number)[0]
        event = json.loads(identified.value)
        event |= {"messageId": f"x{number}-{consent}", "traits": {"consent": {"marketing": consent}}}
        events.append(Sent(identified.partition, json.dumps(event).encode()))
    stack.send(events, final_ms=START_MS + 3_700_000 + first)


@rest
def test_a_destination_knows_the_members_and_those_who_leave(delivery: Delivery) -> None:
    delivery.start()
    delivery.await_equality()
    assert len(delivery.receiver.members("winback")) == shown(delivery.stack)["reach"]
    moved(delivery.stack, first=0, consent=False)
    wait_until(lambda: shown(delivery.stack)["reach"] < len(delivery.receiver.messages), "people leave", str)
    delivery.await_equality()
    assert any(each["type"] == "segops.audience.exited" for each in delivery.receiver.messages)
    assert not delivery.receiver.refused
    assert SECRET not in delivery.log().read_text()
    assert len(set(delivery.receiver.ids)) == len(delivery.receiver.ids)


#: It is durable that messages may be taken; they are taken, and that is not written.
_AFTER_REQUEST = "activate_after_request"
_OTHERS = [each for each in ACTIVATE_POINTS if each != _AFTER_REQUEST]


@pytest.mark.parametrize("point", [_AFTER_REQUEST, *map(in_rest, _OTHERS)])
def test_kills_and_faults_lose_nothing_and_flip_nothing(delivery: Delivery, point: str) -> None:
    delivery.receiver.behave = flaky(len(point))
    for round_, (first, consent) in enumerate(((0, False), (10, False), (0, True), (30, False))):
        moved(delivery.stack, first=first, consent=consent)
        killed = delivery.start(SEGOPS_CRASH_AT=f"{point}:{1 + round_ % 2}")
        if killed.wait(60) != EXIT_CODE:
            pytest.fail(delivery.diagnosis())
    delivery.receiver.behave = lambda _message: "ok"
    delivery.start()
    delivery.await_equality()
    assert not delivery.receiver.refused


@rest
def test_processes_share_the_work_and_take_over(delivery: Delivery) -> None:
    delivery.receiver.behave = flaky(7)
    first, _ = delivery.start(), delivery.start()
    wait_until(lambda: len(delivery.receiver.messages) > 10, "messages arrive", delivery.diagnosis)
    first.kill()
    moved(delivery.stack, first=5, consent=False)
    delivery.start()
    delivery.receiver.behave = lambda _message: "ok"
    delivery.await_equality()


@rest
def test_an_outage_is_waited_out(delivery: Delivery, network: FaultyNetwork) -> None:
    process = delivery.start(FAULTS_REDIRECT=network.redirection, SEGOPS_KAFKA_REQUEST_TIMEOUT="2s")
    delivery.await_equality()
    network.down = True
    moved(delivery.stack, first=5, consent=False)
    log = delivery.log().read_text
    wait_until(lambda: "waiting for Kafka" in log(), "it waits", log)
    network.down = False
    delivery.await_equality()
    assert process.poll() is None
    process.terminate()  # before the network, which it is connected through
    process.wait(30)


@rest
def test_a_refused_message_is_dead_until_a_person_answers(delivery: Delivery) -> None:
    dead = sorted(members(delivery.stack)["audience.winback"])[0]
    delivery.receiver.behave = lambda message: "422" if message["data"]["profile_id"] == dead else "ok"
    delivery.start()
    wait_until(lambda: dead in listed(delivery.stack).split(), "the message is dead", delivery.diagnosis)
    wanted = members(delivery.stack)["audience.winback"] - {dead}
    wait_until(lambda: delivery.receiver.members("winback") == wanted, "the others are told", str)
    assert "status 422" in delivery.stack.segops("deliveries", "list", "--dead").stdout
    delivery.receiver.behave = lambda _message: "ok"
    assert delivery.stack.segops("deliveries", "retry", "winback").exit_code == 0
    delivery.await_equality()
    assert dead not in listed(delivery.stack).split()
    refused = delivery.stack.segops("deliveries", "reconcile", "winback", "--to", "crm-hook", **OPERATOR)
    assert "crm-hook has no list of winback that can be read" in str(refused.exception)


def listed(stack: Stack) -> str:
    done = stack.segops("deliveries", "list", "--dead")
    assert done.exit_code == 0, done.exception
    return done.stdout


@rest
def test_an_erased_person_is_told_of_and_forgotten(delivery: Delivery) -> None:
    delivery.start()
    delivery.await_equality()
    erased = sorted(delivery.receiver.members("winback"))[0]
    assert delivery.stack.segops("erase", "--profile", erased).exit_code == 0
    delivery.stack.send([], final_ms=START_MS + 3_800_000)
    wait_until(lambda: erased not in delivery.receiver.members("winback"), "the exit is told", str)
    left = delivery.receiver.messages[-1]["data"]
    assert (left["profile_id"], left["email"], left["user_id"]) == (erased, None, None)
    wait_until(lambda: f'"{erased}"' not in remaining(delivery.stack), "nothing is kept", delivery.diagnosis)


@rest
def test_people_who_were_told_merge_split_and_are_erased_beside_kills(delivery: Delivery) -> None:
    """Each step kills the process after its first request; the next one goes on."""
    stack, receiver = delivery.stack, delivery.receiver
    delivery.start()
    delivery.await_equality()
    first, second = sorted(receiver.members("winback"))[:2]
    alias = {"type": "alias", "previousId": first.partition(":")[2], "userId": second.partition(":")[2]}
    for step, gone in (("merge", {first}), ("split", set[str]()), ("erase", {second})):
        stack.workers.pop().kill()
        dying = delivery.start(SEGOPS_CRASH_AT="activate_after_request:1")
        sent = [Sent(0, json.dumps({**alias, "messageId": "alias"}).encode())] if step == "merge" else []
        if step != "merge":
            profile = first if step == "split" else second
            command = [step, profile] if step == "split" else [step, "--profile", profile]
            assert stack.segops(*command).exit_code == 0
        stack.send(sent, final_ms=START_MS + 3_900_000)
        wait_until(lambda dying=dying: dying.poll() is not None, f"killed in {step}", delivery.diagnosis)  # type: ignore[misc]
        delivery.start()
        wait_until(
            lambda gone=gone: {first, second} - receiver.members("winback") == gone,  # type: ignore[misc]
            f"{step} is told",
            delivery.diagnosis,
        )
        delivery.await_equality()
    assert not receiver.refused


def remaining(stack: Stack) -> str:
    """Return all that the topics of the delivery hold, as after compaction."""
    topics = stack.settings.topics
    latest: dict[tuple[str, bytes], bytes] = {}
    for name, number in itertools.product(
        (topics.targets, topics.routes, topics.told), range(stack.partitions)
    ):
        for record in asyncio.run(reading.read_all(stack.settings.kafka, TopicPartition(name, number))):
            if record.value is None:
                latest.pop((name, record.key), None)
            else:
                latest[name, record.key] = record.value
    return " ".join(f"{key!r}{value!r}" for (_, key), value in latest.items())


LIMITED = SENT_TO_ALL.replace("    deliver:", "    limits: {entries: {at_most: 5, per: 1h}}\n    deliver:")


@pytest.mark.parametrize("release", ["--rate=20/s", in_rest("--discard"), in_rest("")])
def test_the_breaker_holds_what_exceeds_its_limits(delivery: Delivery, release: str) -> None:
    stack, receiver = delivery.stack, delivery.receiver
    done(stack, "apply", written(stack, LIMITED))
    approved(stack)
    delivery.start()
    wait_until(lambda: shown(stack)["state"] == "held", "the audience is held", delivery.diagnosis)
    assert "entries at once, at most 5" in shown(stack)["note"]
    assert ("breaker", "hold", "active", "held") in audit(stack)
    assert len(receiver.messages) <= 5
    printed = stack.segops("activate", "--dry-run", "--limit", "1", **OPERATOR).stdout
    assert "winback to crm-hook (held): " in printed
    assert '  "type": "segops.audience.entered",' in printed.splitlines()
    assert SECRET not in printed
    moved(stack, first=0, consent=False)
    done(stack, "release", "winback", *filter(None, [release]))
    if release != "--discard":
        delivery.await_equality()
        return
    told = partial(stack.segops, "deliveries", "list", "--format", "jsonl")
    wait_until(lambda: "discarded" in told().stdout, "all is settled", delivery.diagnosis)
    before = len(receiver.messages)
    moved(stack, first=1, consent=True)
    wait_until(lambda: len(receiver.messages) > before, "what comes afterwards is told", delivery.diagnosis)
