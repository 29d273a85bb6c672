"""Waves of messages: in batches, with each outcome where it belongs, and without those that limits refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from segops.core.audiences.model import Audience, AudienceRecord, Limits, Rate, Release
from segops.core.delivery.deciding import terms_of
from segops.core.delivery.messages import Message, Person
from segops.core.delivery.model import DEAD, Delivery, Entry, Target, Told
from segops.delivery.board import Active
from segops.delivery.entries import Address
from segops.delivery.gates import Gate
from segops.delivery.telling import Outcomes, Planned, Teller, Wave, batches
from segops.destinations.port import (
    Accepted,
    Batch,
    DestinationAway,
    DestinationRefuses,
    Later,
    Outcome,
    Refused,
)
from segops.metrics import Metrics

CRM = Delivery("crm", "winback")


class FakeAdapter:
    """Answers each message as ``answers`` say, by address."""

    batch = Batch(2, 10_000)

    def __init__(self, answers: Mapping[str, Outcome | Exception]) -> None:
        self.answers = answers
        self.calls: list[list[str]] = []

    async def send(self, messages: Sequence[Message], _options: Mapping[str, Any]) -> list[Outcome]:
        self.calls.append([each.address for each in messages])
        found = [self.answers.get(each.address, Accepted()) for each in messages]
        for each in found:
            if isinstance(each, Exception):
                raise each
        return [each for each in found if not isinstance(each, Exception)]


class FakeBoard:
    longest_cap_ms = 100


class FakeBreaker:
    """Grants at most ``left`` messages."""

    def __init__(self, left: int = 100) -> None:
        self.left = left

    async def reserve(self, _record: AudienceRecord, _delivery: str, _kind: str, count: int) -> bool:
        if count > self.left:
            return False
        self.left -= count
        return True

    async def pace(self, _record: AudienceRecord, _delivery: str, _count: int) -> tuple[int, int]:
        return 1, 5_000


def entry(name: str, **changed: Any) -> tuple[Address, Entry]:
    target = Target(True, f"c-{name}", 1, "event", 50, 60, Person(name), 50)
    return Address(CRM, name), Entry({name: target}, **changed)


def active(adapter: FakeAdapter, *, released: Release | None = None, limits: Limits | None = None) -> Active:
    audience = Audience("winback", "at-risk", "webhook", existing="send", limits=limits or Limits())
    record = AudienceRecord(audience, "active", 1, activated_ms=1, released=released)
    return Active(CRM, terms_of(record), record, {}, adapter)  # type: ignore[arg-type]


def told(
    found: Active, entries: Sequence[tuple[Address, Entry]], breaker: FakeBreaker | None = None
) -> tuple[Outcomes, list[Planned], Outcomes, Gate]:
    async def tell() -> tuple[Outcomes, list[Planned], Outcomes, Gate]:
        metrics = Metrics(CollectorRegistry())
        teller = Teller(FakeBoard(), breaker or FakeBreaker(), metrics)  # type: ignore[arg-type]
        gate = Gate("crm", metrics, lambda: 0.0)
        settled, planned = await teller.plan(Wave(found, entries), {})
        return settled, planned, await teller.send(found, planned, gate), gate

    return asyncio.run(tell())


def test_each_outcome_is_kept_apart() -> None:
    adapter = FakeAdapter({"b": Refused("no", "r1"), "c": Later("busy", 7.0)})
    _, planned, sent, gate = told(active(adapter), [entry(name) for name in "abcd"])
    assert sorted(map(len, adapter.calls)) == [2, 2]
    found = {of.address: each for of, each in sent.told}
    known = {name: each is not None and each.member for name, each in found.items()}
    assert known == {"a": True, "b": False, "d": True}
    assert found["b"] is not None
    assert (found["b"].skipped, found["b"].detail) == (DEAD, "no (r1)")
    assert [entry_id for entry_id, _ in sent.later] == ["crm|winback|c"]
    assert gate.reason is None
    intents = [(of.address, each and each.tried) for of, each in Teller.intents(planned)]
    assert intents == [(name, "entered") for name in "abcd"]


@pytest.mark.parametrize("error", [DestinationAway("down", retry_after_s=9), DestinationRefuses("gone")])
def test_a_destination_that_takes_nothing_closes_its_gate(error: Exception) -> None:
    adapter = FakeAdapter({"a": error})
    _, _, sent, gate = told(active(adapter), [entry(name) for name in "ab"])
    assert (sent.told, sorted(sent.again)) == ([], ["crm|winback|a", "crm|winback|b"])
    assert gate.reason == str(error)
    assert gate.wait_s() >= 9


def test_an_attempt_is_written_once() -> None:
    adapter = FakeAdapter({})
    tried = Told(False, "", "a", 1, tried="entered")
    _, planned, _, _ = told(active(adapter), [entry("a", told=tried), entry("b")])
    assert [of.address for of, _ in Teller.intents(planned)] == ["b"]


LIMITS = Limits(entries=Rate(10, 1_000_000_000_000_000))


def test_nothing_is_sent_beyond_a_limit() -> None:
    adapter = FakeAdapter({})
    limited = active(adapter, limits=LIMITS)
    settled, planned, _, _ = told(limited, [entry(name) for name in "abc"], FakeBreaker(2))
    assert (planned, adapter.calls) == ([], [])
    assert settled.again == [f"crm|winback|{name}" for name in "abc"]


def test_what_is_repeated_needs_no_further_budget() -> None:
    adapter = FakeAdapter({"a": DestinationAway("down")})
    known = entry("a", told=Told(False, "", "a", 1, tried="entered"))
    _, planned, _, _ = told(active(adapter, limits=LIMITS), [known], FakeBreaker(0))
    assert [each.reserved for each in planned] == [False]
    over = Limits(entries=Rate(10, 1_000))
    settled, planned, _, _ = told(active(adapter, limits=over), [known], FakeBreaker(0))
    assert (planned, settled.again) == ([], ["crm|winback|a"])
    _, planned, _, _ = told(active(adapter, limits=over), [known], FakeBreaker(1))
    assert [each.reserved for each in planned] == [True]
    assert len(Teller.intents(planned)) == 1


def test_a_fault_of_an_adapter_stops_nothing_else() -> None:
    adapter = FakeAdapter({"a": ZeroDivisionError("a bug")})
    _, _, sent, gate = told(active(adapter), [entry(name) for name in "abc"])
    assert (len(sent.told), sorted(sent.again)) == (1, ["crm|winback|a", "crm|winback|b"])
    assert gate.reason is None or "ZeroDivisionError" in gate.reason


def test_what_was_released_needs_no_budget_and_keeps_its_rate() -> None:
    adapter = FakeAdapter({})
    _, planned, _, _ = told(active(adapter, released=Release(60)), [entry("a"), entry("b")], FakeBreaker(0))
    assert len(planned) == 2
    released = active(adapter, released=Release(60, Rate(1, 5_000)))
    settled, planned, _, _ = told(released, [entry("a"), entry("b")], FakeBreaker(0))
    assert [each.of.address for each in planned] == ["a"]
    assert [entry_id for entry_id, _ in settled.later] == ["crm|winback|b"]


def test_batches_keep_both_limits() -> None:
    planned = [
        Planned(of, each, Message("entered", "a", of.address, Person("p" * 100), "c", 1, "event", 5))
        for of, each in (entry(name) for name in "abcde")
    ]
    assert [len(each) for each in batches(planned, Batch(2, 10_000))] == [2, 2, 1]
    assert [len(each) for each in batches(planned, Batch(9, 700))] == [2, 2, 1]
    assert [len(each) for each in batches(planned, Batch(9, 10))] == [1] * 5


def test_a_gate_opens_with_growing_pauses() -> None:
    now = [0.0]
    gate = Gate("crm", Metrics(CollectorRegistry()), lambda: now[0])
    pauses = []
    for _ in range(12):
        gate.away("down", 0.0)
        pauses.append(gate.wait_s())
        now[0] += gate.wait_s()
        assert gate.wait_s() == 0
    assert all(0.25 <= each <= 60 for each in pauses)
    assert pauses[0] <= 0.5
    assert pauses[-1] >= 30
    gate.open()
    assert (gate.reason, gate.wait_s()) == (None, 0)
