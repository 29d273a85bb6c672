"""Answers to the kernel's questions: what fails is a failure of the rule, or leaves the event to Python."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec

from segops.core.events import Event
from segops.core.identifiers import Rules
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.kernel.answers import Answers
from segops.kernel.tables import Limits, exported
from segops.testing import definition

LIMITS = Limits((), (), Rules(), 1_000)
_pack = msgspec.msgpack.encode


def answers(form: dict[str, Any], event: Event | None = None) -> Answers:
    of = SegmentSet([definition("s", form)])
    return Answers(of, exported(of, LIMITS), lambda _value, _time_ms, _id: event or Event("A", 5, "m", {}))


def test_a_rule_is_judged_on_the_parts_that_it_reads() -> None:
    asked = answers({"known_for": "10ms"})
    stored = _pack(Profile("user_id:u", first_ms=100))
    assert asked.verdict(0, stored, 105) == (False, 110)
    assert asked.take()[0] == {"asked_rule": 1}


def test_a_rule_that_fails_is_counted() -> None:
    class Failing:
        def holds(self, _profile: Profile, _now_ms: int) -> bool:
            raise ZeroDivisionError

    asked = answers({"known_for": "10ms"})
    asked._segments = SimpleNamespace(segments=[SimpleNamespace(key="s", rule=Failing())])  # type: ignore[assignment]
    assert asked.verdict(0, _pack(Profile("user_id:u")), 5) is None
    assert asked.take()[1] == {"s": 1}
    assert not any(asked.take())


def test_an_event_with_an_unreadable_value_is_pythons() -> None:
    form = {"sum": "p", "of": "A", "between": {"from": "9s", "to": "1s"}, "is": {"gte": 3}}
    event = Event("A", 5, "m", {"p": "x"})
    assert answers(form, event).feed(b"", (5, 5, "0:1"), [(0, None)]) is None
    found = answers(form, Event("A", 5, "m", {"p": 2})).feed(b"", (5, 5, "0:1"), [(0, None)])
    assert found is not None and found[0] is not None
    assert msgspec.msgpack.decode(found[0][0]) == [7, [[5, 2, []]]]


def test_what_expired_is_gone_also_if_the_event_adds_nothing() -> None:
    form = {"did": "A", "count": {"gte": 2}, "between": {"from": "9s", "to": "1s"}}
    asked = answers(form, Event("A", -90_000, "m", {}))
    state = _pack([7, [[5, None, []]]])
    found = asked.feed(b"", (-90_000, 5, "0:1"), [(0, state)])
    assert found == [(state, None, None, None)]


def test_a_value_is_tested_and_when_that_changes() -> None:
    form = {"latest": "p", "of": "A", "is": {"in_last": "3s"}}
    asked = answers(form)
    date = _pack("1970-01-01T00:00:01Z")
    assert asked.test(0, date, 500) == (False, 1_000)
    assert asked.test(0, date, 1_000) == (True, 4_000)
    assert asked.test(0, _pack([1]), 0) == (False, None)
