"""A changed threshold reads the stored state; states of former versions are merged into one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segops.core.features import CAPACITIES, State
from segops.core.features.running import ZERO
from segops.core.features.states import EventTimes, Sums
from segops.testing import Customer, Flip, flips

from .helpers import MONDAY as T
from .helpers import H, S


def did(test: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"did": "A", "within": "1h", **({"count": test} if test else {})}


def distinct(test: dict[str, Any], **window: Any) -> dict[str, Any]:
    return {"distinct": "p", "of": "A", "is": test, **window}


def six_times(**rules: dict[str, Any]) -> Customer:
    """Return a customer with six events of six values, one second apart."""
    customer = Customer(**rules)
    for number in range(6):
        customer.did("A", T + number * S, p=f"p{number}")
    customer.wait(T + 10 * S)
    return customer


NO_A = {"did_not": "A", "within": "1h"}
FIGURES = {
    "count": lambda test: did(test),
    "distinct within": lambda test: distinct(test, within="1h"),
    "distinct ever": lambda test: distinct(test),
    "distinct today": lambda test: distinct(test, calendar={"this": "day"}),
}
each_figure = pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES.keys())

States = list[tuple[int | None, State]]


@each_figure
@pytest.mark.parametrize(
    ("before", "after"), [(5, 4), (3, 4), (5, 6), (300, 5), (300, 6), (60, 2), (257, 300)]
)
def test_changed_threshold_reads_stored_state(figure: Any, before: int, after: int) -> None:
    customer = six_times(often=figure({"gte": before}))
    customer.adopt(often=figure({"gte": after}))
    assert customer.member_of == ({"often"} if after <= 6 else set())


def test_changed_threshold_reads_the_state_kept_for_a_greater_one() -> None:
    customer = six_times(some=did({"gte": 1}), often=did({"gte": 5}))
    assert flips(customer.adopt(some=did({"gte": 4}), often=did({"gte": 5}))) == []
    assert customer.member_of == {"some", "often"}


@pytest.mark.parametrize(
    "added",
    [NO_A, did({"lte": 2}), did({"lt": 1}), did({"eq": 0}), did({"eq": 3}), did({"gte": 300})],
    ids=str,
)
def test_added_threshold_changes_no_existing_membership(added: dict[str, Any]) -> None:
    customer = six_times(often=did({"gte": 5}))
    assert flips(customer.adopt(often=did({"gte": 5}), added=added)) == []
    customer.did("B", T + 5 * S + H)  # all of them have left
    assert customer.member_of == ({"added"} if holds_of_nothing(added) else set())


def holds_of_nothing(rule: dict[str, Any]) -> bool:
    customer = Customer(rule=rule)
    customer.did("B", T)
    return bool(customer.member_of)


@pytest.mark.parametrize("first", [4, 20, 300])
def test_timer_follows_stored_state(first: int) -> None:
    customer = six_times(often=did({"gte": first}))
    customer.adopt(often=did({"gte": 3}))
    # Three events remain until the fourth of six leaves the window.
    assert customer.profile.due_ms == T + 3 * S + H
    assert customer.wait(T + 2 * H) == [Flip("exited", "often", T + 3 * S + H)]


def test_greater_threshold_counts_missing_events_from_its_adoption() -> None:
    customer = six_times(often=did({"gte": 4}))
    # The four latest events are stored: the count is four until more arrive.
    assert flips(customer.adopt(often=did({"gte": 5}))) == [Flip("exited", "often", T + 10 * S)]
    assert customer.did("A", T + 10 * S) == [Flip("entered", "often", T + 10 * S)]


def test_lowering_and_raising_a_threshold_loses_nothing() -> None:
    customer = six_times(often=did({"gte": 6}))
    assert flips(customer.adopt(often=did({"gte": 2}))) == []
    assert flips(customer.adopt(often=did({"gte": 6}))) == []


def test_state_above_capacity_is_kept_and_expires() -> None:
    customer = six_times(often=did({"gte": 6}))
    customer.adopt(often=did({"gte": 1}))
    for number in range(6, 9):
        customer.did("A", T + number * S)
    (state,) = customer.profile.features.values()
    assert isinstance(state, EventTimes)
    assert state.times == [T + number * S for number in range(3, 9)]
    customer.did("A", T + 6 * S + H)
    assert state.times == [T + 8 * S, T + 6 * S + H]  # seven have expired, one was evicted
    assert customer.member_of == {"often"}


def test_counts_above_and_below_256_convert_each_other_s_state() -> None:
    customer = six_times(often=did({"gte": 6}))
    customer.adopt(often=did({"gte": 300}))
    (state,) = customer.profile.features.values()
    assert isinstance(state, Sums) and len(state.times) == 6
    for number in range(6, 300):
        customer.did("A", T + number * S)
    assert customer.member_of == {"often"}
    customer.adopt(often=did({"gte": 257}))
    (state,) = customer.profile.features.values()
    assert isinstance(state, EventTimes) and len(state.times) == 257
    assert customer.member_of == {"often"}


@each_figure
def test_state_above_capacity_does_not_grow(figure: Any) -> None:
    customer = six_times(often=figure({"gte": 6}))
    customer.adopt(often=figure({"gte": 2}))
    for number in range(6, 40):
        customer.did("A", T + number * S, p=f"p{number}")
        customer.did("A", T + number - 50, p=f"late{number}")
    (state,) = customer.profile.features.values()
    assert len(getattr(state, "times", None) or state.keys) == 6  # type: ignore[union-attr]


def former_profile(*states: tuple[int | None, State]) -> Customer:
    """Open a profile of a former version, which stored one state per capacity class."""
    customer = Customer(few=did({"gte": 3}), often=did({"gte": 5}))
    customer.did("B", T)
    feature = next(iter(customer.engine.segments.features.values()))
    ids = dict(zip((*CAPACITIES, None), feature.former_ids, strict=True))
    customer.profile.features = {ids[capacity]: state for capacity, state in states}
    customer.engine.open(customer.profile)
    return customer


@pytest.mark.parametrize(
    ("states", "times"),
    [
        ([(4, EventTimes([3, 4, 5, 6])), (16, EventTimes([1, 2, 3, 4, 5, 6]))], [1, 2, 3, 4, 5, 6]),
        # A threshold of a greater class was added later and began empty.
        ([(4, EventTimes([3, 4, 5, 6])), (16, EventTimes([6]))], [3, 4, 5, 6]),
        # An earlier version ran for a while and counted from zero.
        ([(4, EventTimes([3, 4])), (16, EventTimes([5, 6]))], [3, 4, 5, 6]),
        # Simultaneous events count as often as the state that has most of them.
        ([(1, EventTimes([7])), (4, EventTimes([7, 7, 7])), (16, EventTimes([6, 7, 7]))], [6, 7, 7, 7]),
        ([(4, EventTimes([2, 3])), (None, Sums([1, 3], [4, 5], [ZERO] * 2, 2, ZERO))], [1, 1, 2, 3]),
        ([(None, Sums([1, 3], [1, 2], [ZERO] * 2, 0, ZERO)), (4, EventTimes([2, 3]))], [1, 2, 3]),
        ([(64, EventTimes([5]))], [5]),
    ],
    ids=str,
)
def test_states_per_capacity_class_merge_into_their_union(states: States, times: list[int]) -> None:
    for order in (states, states[::-1]):
        customer = former_profile(*msgspec.msgpack.decode(msgspec.msgpack.encode(order), type=States))
        (state,) = customer.profile.features.values()
        assert state == EventTimes(times)


def test_thresholds_share_one_feature_with_the_greatest_capacity() -> None:
    tests = [{"gte": 1}, {"gte": 4}, {"lte": 20}, {"eq": 60}]
    customer = Customer(**{f"s{number}": did(test) for number, test in enumerate(tests)})
    (feature,) = customer.engine.segments.features.values()
    assert feature.capacity == 64
    for number in range(100):
        customer.did("A", T + number)
    (state,) = customer.profile.features.values()
    assert isinstance(state, EventTimes) and len(state.times) == 64
    assert customer.member_of == {"s0", "s1"}
