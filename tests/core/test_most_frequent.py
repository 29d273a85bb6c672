"""The most frequent value: which events are kept, beyond the limit, in a backfill and in a merge."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.features import MAX_ENTRIES, UNREADABLE, Feature, extractor, reducer_of
from segops.core.features.building import built
from segops.core.features.merging import merge_state
from segops.core.features.states import Entries
from segops.core.rules.parsing import Context, read_rule
from segops.core.segments import Definition, SegmentSet
from segops.core.views.explain import explain
from segops.core.windows import ALWAYS, Within
from tests.rest import rest

T = 1_760_000_000_000
FEATURE = Feature("most_frequent", ("A",), (), ALWAYS, ("p",))


def state_of(events: list[tuple[int, Any]], feature: Feature = FEATURE) -> Any:
    """Add events in order of arrival."""
    state: Any = None
    for time_ms, value in events:
        now_ms = max(time_ms for time_ms, _ in events)
        state = reducer_of(feature).add(state, time_ms, ([value], ()), now_ms) or state
    return state


def value_of(events: list[tuple[int, Any]]) -> Any:
    return reducer_of(FEATURE).read(state_of(events), T + 10)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", "b", "b", "a"], "a"),
        (["a", "b", "a", "b"], "b"),
        ([20, "20", 20.0], 20.0),
        ([1, True, True, 1], 1),
        ([["x", 1], ["x", 1.0], ["x"]], ["x", 1.0]),
        ([{"a": 1}, {"a": 2}, {"a": 1.0}], {"a": 1.0}),
    ],
    ids=str,
)
def test_equal_values_count_together_and_the_last_of_several_wins(values: list[Any], expected: Any) -> None:
    found = value_of([(T + number, value) for number, value in enumerate(values)])
    assert found == expected
    assert type(found) is type(expected)


def test_arrival_decides_among_values_of_one_instant_and_time_among_others() -> None:
    assert value_of([(T, "a"), (T, "b")]) == "b"
    assert value_of([(T, "a"), (T - 1, "b")]) == "a"
    assert reducer_of(FEATURE).read(None, T) is None


@rest
def test_beyond_the_limit_the_oldest_event_is_forgotten_whatever_the_order_of_arrival() -> None:
    events: list[tuple[int, Any]] = [(T + number, number) for number in range(MAX_ENTRIES + 3)]
    late = [*events[5:], *events[:5]]
    states = [
        state_of(events),
        state_of(late),
        built(reducer_of(FEATURE), [(t, ([v], ())) for t, v in events], T),
    ]
    for state in states:
        assert isinstance(state, Entries)
        assert [entry.value for entry in state.entries] == [[n] for n in range(3, MAX_ENTRIES + 3)]


def test_merge_keeps_the_latest_events_and_counts_a_shared_message_once() -> None:
    mine = [(T + 2 * number, "a") for number in range(MAX_ENTRIES)]
    theirs = [(T + 2 * number + 1, "b") for number in range(10)]
    state = merge_state(FEATURE, state_of(mine), state_of(theirs), shared=(), now_ms=T + 10**6)
    assert isinstance(state, Entries)
    assert len(state.entries) == MAX_ENTRIES
    assert [entry.value for entry in state.entries[:3]] == [["a"], ["b"], ["a"]]


@pytest.mark.parametrize(
    ("convert", "properties", "expected"),
    [
        (None, {"p": [{"q": "x"}, {}, [{"q": ["x"]}]]}, ["x", ["x"]]),
        (None, {"p": {"q": [1, 2]}}, [[1, 2]]),
        (None, {"p": []}, None),
        (None, {}, None),
        ("number", {"p": [{"q": "7"}, {"q": "x"}, {"q": 2}]}, [7, 2]),
        ("number", {"p": {"q": "7"}}, [7]),
        ("number", {"p": [{"q": "x"}]}, UNREADABLE),
    ],
)
def test_each_element_of_a_list_on_the_path_is_a_value(
    convert: str | None, properties: dict[str, Any], expected: Any
) -> None:
    take = extractor(Feature("most_frequent", ("A",), (), ALWAYS, ("p", "q"), convert=convert))
    assert take is not None
    found = take(Event("A", T, "m", properties))
    assert found == ((expected, ()) if isinstance(expected, list) else expected)


def engine_of(form: dict[str, Any]) -> Engine:
    return Engine(SegmentSet([Definition("a", "A", read_rule(form, "when", Context()))]))


def test_flips_when_an_event_leaves_the_window_and_explains_its_limit() -> None:
    engine = engine_of({"most_frequent": "p", "of": "A", "is": {"eq": "x"}, "within": "1h"})
    profile = engine.new_profile("user_id:u1")
    for number, value in enumerate("xxyy"):
        engine.on_event(profile, Event("A", T + number, f"m{number}", {"p": value}), clock_ms=T + number)
    (part,) = (each.rule for each in explain(engine.segments, profile, T + 3).segments)
    assert (part.holds, part.value, part.threshold) == (False, "y", "= x")
    assert part.note == f"only the latest {MAX_ENTRIES:,} events are counted"
    assert part.label == "most frequent of p over A within 1h = x"
    engine.on_event(profile, Event("A", T + 4, "m4", {"p": "x"}), clock_ms=T + 4)
    assert set(profile.members) == {"a"}
    # At T + 1h, one x of three leaves: two of each, and x is the latest. Then two y and one x are left.
    assert profile.due_ms == T + 1 + 3_600_000


def test_state_survives_storage() -> None:
    state = state_of(
        [(T, "a"), (T + 1, ["b", 2.5]), (T + 2, 7)], Feature("most_frequent", ("A",), (), Within(10), ("p",))
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Entries) == state
