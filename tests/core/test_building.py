"""A state built of many events at once equals the one that adding them one after the other gives."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.features import Feature, building, orders, reducer_of, sequence, sliding
from segops.core.features.building import built
from segops.core.features.orders import OrderStatement, Purchases
from segops.core.features.purchases import LIFETIME_MS
from segops.core.features.sequence import Sequence, SequenceStep
from segops.core.features.states import Orders, State
from segops.core.operators import Predicate
from segops.core.values import format_instant
from segops.core.windows import ALWAYS, Between, Calendar, Fixed, SinceLast, Within
from tests.rest import examples

DAY = 86_400_000
LENGTH = 40
STEPS = (SequenceStep(("A",), (), None, False), SequenceStep(("B",), (), 9, False, ((("p",), 0),)))
TIMED = ((("q",), Predicate((("older_than", 20),))),)
WINDOWS = (Within(LENGTH), ALWAYS, Fixed(20, 60), Calendar("day", "UTC"), Between(50, 10), SinceLast(("B",)))
KINDS = ("count", "sum", "min", "max", "distinct", "latest", "earliest", "most_frequent", "first", "last")

integers = st.integers(-3, 9)
kinds_of_values: dict[str, st.SearchStrategy[Any]] = {
    "sum": st.one_of(integers, st.sampled_from([0.1, 2.5])),
    "distinct": st.sampled_from(["sa", "sb", "sc", "sd", "n1"]),
    "count": st.none(),
    "most_frequent": st.lists(integers, min_size=1, max_size=2),
}
statements = st.builds(
    OrderStatement,
    st.sampled_from(["orders", "orders", *("refunds", "updates", "whole_refunds", "cancellations")]),
    st.sampled_from(["o1", "o2", "o3", ""]),
    integers.map(Decimal),
    st.integers(1, 3),
).filter(lambda statement: statement.part == "orders" or statement.order_id != "")


def features() -> list[tuple[str, Feature, st.SearchStrategy[Any]]]:
    """Return each family and kind with the values of its events."""
    found = []
    for kind in KINDS:
        for window in WINDOWS:
            if kind in ("first", "last") and isinstance(window, Within):
                continue  # no rule reads them
            if kind == "most_frequent" and isinstance(window, SinceLast):
                continue  # refused
            plain = kinds_of_values.get(kind, integers)
            path = None if kind == "count" else ("p",)
            for capacity in (2, None) if kind in ("count", "distinct") else (None,):
                feature = Feature(kind, ("A",), (), window, path, capacity)
                read = _PAIRED.get(type(window), pairs if feature.keeps_events else _plain)(plain)
                found.append((f"{kind} {window} {capacity}", feature, read))
    dates = st.integers(0, 90).map(format_instant)
    timed_count = Feature("count", ("A",), TIMED, Within(LENGTH), None, 2)
    found.append(("timed", timed_count, st.tuples(st.none(), st.tuples(dates))))
    links = st.tuples(st.integers(1, 3), st.tuples(integers))
    for within_ms in (None, LENGTH):
        steps = Feature("sequence", ("A", "B"), (), ALWAYS, sequence=Sequence(STEPS, within_ms))
        found.append((f"sequence {within_ms}", steps, links))
    for window in WINDOWS:
        found.append((f"sessions {window}", Feature("sessions", ("A",), (), window, length_ms=5), st.none()))
    session = Feature("session", ("A",), (), ALWAYS, ("p",), length_ms=5)
    periods = Feature("periods", ("A",), (), Within(LENGTH), length_ms=10)
    found += [("session", session, st.tuples(integers)), ("periods", periods, st.none())]
    found.append(("lifecycle", Feature("lifecycle", ("A",), (), ALWAYS, length_ms=9), st.none()))
    history = Feature("history", (), (), Within(LENGTH), ("p",))
    return [*found, ("history", history, st.one_of(st.none(), integers))]


def pairs(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return values.map(lambda value: (value, ()))


def _plain(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return values


def anchored(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    after = st.tuples(values, st.just((False, None)))
    return st.one_of(after, after, after, st.just((None, (True, None))))


#: Window -> the values that its reducers add.
_PAIRED = {Between: pairs, SinceLast: anchored}


advances = st.sampled_from([0, 0, 1, 3, 7, 25, DAY])
times = st.lists(advances, min_size=1, max_size=40).map(
    lambda steps: [sum(steps[: number + 1]) for number in range(len(steps))]
)


def added(feature: Feature, events: list[tuple[int, Any]]) -> State | None:
    """Add one event after the other, each at the greatest time so far."""
    reducer, state, now_ms = reducer_of(feature), None, events[0][0]
    for time_ms, value in events:
        now_ms = max(now_ms, time_ms)
        state = reducer.add(state, time_ms, value, now_ms) or state
    return state


def assert_equal(feature: Feature, events: list[tuple[int, Any]], now_ms: int) -> None:
    reducer = reducer_of(feature)
    state, expected = built(reducer, events, now_ms), added(feature, events)
    for later in (0, 1, 5, LENGTH - 1, LENGTH, DAY):
        found = reducer.read(state, now_ms + later)
        assert found == reducer.read(expected, now_ms + later) or feature.kind == "history"
    value = events[-1][1]
    mine, theirs = (reducer.add(each, now_ms, value, now_ms) or each for each in (state, expected))
    assert reducer.read(mine, now_ms) == reducer.read(theirs, now_ms) or feature.kind == "history"


FEATURES = features()


@pytest.mark.parametrize(("feature", "values"), [each[1:] for each in FEATURES], ids=[e[0] for e in FEATURES])
@examples(25, of=100)
@given(times, st.data(), st.integers(0, LENGTH + 5))
def test_built_state_reads_as_the_added_one(
    feature: Feature, values: st.SearchStrategy[Any], found: list[int], data: Any, later: int
) -> None:
    events = [(time_ms, data.draw(values)) for time_ms in found]
    assert_equal(feature, events, found[-1] + later)


@given(times, st.data(), st.integers(0, LENGTH + 5))
def test_built_orders_equal_the_added_ones(found: list[int], data: Any, later: int) -> None:
    """Orders come in order of arrival: their times may be late."""
    late = st.sampled_from([0, 0, 0, 1, 5, LENGTH - 1, LENGTH, LENGTH + 9])
    events = [(time_ms - data.draw(late), data.draw(statements)) for time_ms in found]
    kind, period_ms = data.draw(st.sampled_from([("orders", LENGTH), ("purchases", LIFETIME_MS)]))
    feature = Feature(kind, ("Order Completed",), (), ALWAYS, purchases=Purchases(period_ms))
    reducer, now_ms = reducer_of(feature), found[-1] + later
    assert isinstance(reducer, orders.OrdersReducer)
    state, expected = built(reducer, events, now_ms), added(feature, events)
    assert isinstance(state, Orders)
    assert isinstance(expected, Orders)
    assert ordered(state) == ordered(expected)


def ordered(state: Orders) -> dict[str, Any]:
    """Return the fields of a state: rows of one instant are in no order."""
    fields = msgspec.structs.asdict(state)
    return {name: sorted(map(str, rows)) if isinstance(rows, list) else rows for name, rows in fields.items()}


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sliding, "MAX_ENTRIES", 8)
    monkeypatch.setattr(building, "MAX_ENTRIES", 8)
    monkeypatch.setattr(sequence, "MAX_LINKS", 4)


BEYOND: list[tuple[Feature, Callable[[int], Any]]] = [
    (Feature("sum", ("A",), (), Within(900), ("p",)), float),
    (Feature("count", ("A",), (), Within(900)), lambda _: None),
    (Feature("earliest", ("A",), (), Within(900), ("p",)), int),
    (Feature("sequence", ("A", "B"), (), ALWAYS, sequence=Sequence(STEPS)), lambda n: (n % 3, (n % 2,))),
]


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize(("feature", "value"), BEYOND)
def test_beyond_the_entries_that_are_kept_both_fold_alike(
    feature: Feature, value: Callable[[int], Any]
) -> None:
    events = [(number * 11, value(number)) for number in range(60)]
    reducer = reducer_of(feature)
    assert built(reducer, events, 660) == added(feature, events)
