"""The final check finds every kind of difference, and reports none for equal outputs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segops.config import load
from segops.core.events import Change, change_id
from segops.demo.change_collector import ChangeCollector
from segops.demo.verify import compare, compare_state


def change(sequence: int, *, profile: str = "user_id:u1", member: bool = True, **other: Any) -> Change:
    fields = {
        "profile_id": profile,
        "segment_key": "vip",
        "segment_version": 1,
        "action": "entered" if member else "exited",
        "member": member,
        "reason": "event",
        "occurred_at": 1_000 * sequence,
        "evaluated_at": 0,
        "sequence": sequence,
        "change_id": change_id(profile, "vip", sequence),
        "event_id": f"m{sequence}",
        "flips_at": None,
        "user_id": "u1",
        "anonymous_id": None,
        "email": None,
        "traits_json": "{}",
    }
    return msgspec.convert(fields | other, Change)


EXPECTED = [change(1), change(2, member=False), change(1, profile="user_id:u2")]


def test_order_of_arrival_and_evaluation_time_are_ignored() -> None:
    received = [msgspec.structs.replace(each, evaluated_at=99) for each in reversed(EXPECTED)]
    verdict = compare(EXPECTED, received)
    assert (verdict.compared, verdict.profiles, verdict.differences) == (3, 2, [])


@pytest.mark.parametrize(
    "received, said",
    [
        (EXPECTED[:1] + EXPECTED[2:], "missing"),
        ([*EXPECTED, change(3)], "unexpected"),
        ([*EXPECTED, change(1, profile="user_id:u3")], "user_id:u3: unexpected"),
        ([*EXPECTED[:2], change(1, profile="user_id:u2", flips_at=5)], "differs in flips_at"),
        ([*EXPECTED[:2], change(1, profile="user_id:u2", traits_json="[]")], "differs in traits_json"),
    ],
)
def test_each_kind_of_difference_is_found(received: list[Change], said: str) -> None:
    (difference,) = compare(EXPECTED, received).differences
    assert said in difference


@pytest.mark.parametrize("field", [f for f in Change.__struct_fields__ if f != "evaluated_at"])
def test_every_field_is_compared(field: str) -> None:
    other = msgspec.structs.replace(EXPECTED[0])
    value = getattr(other, field)
    setattr(other, field, value + 1 if isinstance(value, int) else "another")
    assert compare(EXPECTED, [other, *EXPECTED[1:]]).differences


def rows(changes: list[Change]) -> dict[bytes, Change]:
    return {f"{each.profile_id}|{each.segment_key}".encode(): each for each in changes}


def test_the_state_is_compared_with_the_latest_changes() -> None:
    last = EXPECTED[1:]
    assert compare_state(EXPECTED, rows(last)).differences == []
    assert len(compare_state(EXPECTED, rows([EXPECTED[0], EXPECTED[2]])).differences) == 1
    assert len(compare_state(EXPECTED, rows(last[:1])).differences) == 1
    assert len(compare_state(EXPECTED[:2], rows(last)).differences) == 1


def test_a_repeated_change_is_counted_and_compared_with_the_first() -> None:
    seen: list[Change] = []
    collector = ChangeCollector(load(topics={"partitions": 1}), None, seen.append)
    for each in (change(1), change(1), change(1, reason="time")):
        collector.note(each)
    assert seen == [change(1)]
    assert collector.duplicates == 2
    assert [later.reason for _, later in collector.conflicts] == ["time"]
