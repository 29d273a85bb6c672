"""Edges of a population: quantiles by histograms that merge, against all values sorted."""

from __future__ import annotations

from decimal import ROUND_CEILING, Context, Decimal
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.errors import UserError
from segops.core.events import Event
from segops.core.rules import parsing
from segops.core.rules.blocks import grids_of
from segops.core.rules.model import RfmNode
from segops.core.scans import PopulationCounter, Populations, population_named, populations_read
from segops.core.scoring.models import Model, PopulationParameters
from segops.core.scoring.population import HOUR_MS, added, count_in, edges_of, quantiles, rounded_up
from segops.core.scoring.rfm import Rfm
from segops.core.segments import Definition, SegmentSet
from segops.schemas.segments import inline
from segops.testing import Customer

from .helpers import MONDAY

DAY = 86_400_000
BLOCK: dict[str, Any] = {
    "recency": "quartiles",
    "frequency": "quintiles",
    "monetary": "terciles",
    "period": "90d",
}
GROUPS = {"recency": 4, "frequency": 5, "monetary": 3}
amounts = st.one_of(
    st.integers(-2_000, 200_000), st.decimals(-50, 5_000, places=2), st.sampled_from([0, 1, 1, 2, 10**17])
)


def _sorted_edges(values: list[Any], groups: int) -> list[Any]:
    """Return the edges by all values sorted: the value at rank i/groups, counted from one."""
    listed = sorted(values)
    return [listed[ceil(Decimal(part * len(listed)) / groups) - 1] for part in range(1, groups)]


def _as_text(value: Any) -> Decimal:
    """Round up by the decimal arithmetic of another precision."""
    return Context(prec=3, rounding=ROUND_CEILING).create_decimal(min(Decimal(value), Decimal(10**15)))


@given(amounts)
def test_rounding_keeps_three_digits(value: Any) -> None:
    assert rounded_up(value) == _as_text(value)


@settings(max_examples=60)
@given(st.lists(amounts, min_size=1, max_size=40), st.sampled_from([2, 3, 4, 5, 10, 100]), st.integers(1, 4))
def test_edges_are_those_of_all_values_however_they_are_divided(
    values: list[Any], groups: int, partitions: int
) -> None:
    found: dict[str, int] = {}
    for number in range(partitions):
        mine: dict[str, int] = {}
        for value in values[number::partitions]:
            count_in(mine, value)
        found = added(mine, found)
    assert list(quantiles(found, groups)) == _sorted_edges([rounded_up(each) for each in values], groups)
    assert list(quantiles(found, groups)) == [rounded_up(each) for each in _sorted_edges(values, groups)]


@settings(max_examples=40)
@given(st.lists(st.sampled_from([1, 1, 1, 2, 3, 7]), min_size=1, max_size=60))
def test_a_digit_is_one_more_than_the_edges_strictly_below(orders: list[int]) -> None:
    counted: dict[str, int] = {}
    for number in orders:
        count_in(counted, number)
    edges = edges_of({"frequency": counted}, {"frequency": 5}, 0)["frequency"]
    rank = sorted(orders)
    for number in set(orders):
        digit = 1 + sum(edge < number for edge in edges)
        below = sum(each < number for each in rank)
        assert digit == 1 + sum(below >= ceil(Decimal(part * len(rank)) / 5) for part in range(1, 5))


def test_no_profiles_have_no_edges() -> None:
    assert quantiles({}, 5) == ()


# -- of profiles -------------------------------------------------------------------------------------------


def _definitions(**rules: Any) -> list[Definition]:
    segments = [{"key": key, "when": rule} for key, rule in rules.items()]
    opens = {"of": "Open", "frequency": "terciles"}
    return inline(segments, "f", "segments", rfm={**BLOCK, "opens": opens})


histories = st.lists(
    st.lists(st.tuples(st.integers(0, 120 * 24), st.integers(0, 500)), max_size=4), min_size=1, max_size=12
)


@settings(max_examples=25, deadline=None)
@given(histories, st.integers(1, 4))
def test_populations_equal_a_recount_over_all_profiles(
    orders: list[list[tuple[int, int]]], partitions: int
) -> None:
    engine = Engine(SegmentSet(_definitions(s={"rfm": {"recency": {"gte": 2}}})))
    now_ms = MONDAY + 120 * DAY
    counters = [
        PopulationCounter({"rfm": population_named("rfm", engine.segments.all_definitions)})
        for _ in range(partitions)
    ]
    last, frequency, monetary = [], [], []
    for number, each in enumerate(orders):
        profile = engine.new_profile(f"user_id:{number}")
        for at, (hour, amount) in enumerate(sorted(each)):
            properties = {"order_id": f"o{at}", "revenue": amount}
            time_ms = MONDAY + hour * HOUR_MS
            engine.on_event(
                profile, Event("Order Completed", time_ms, f"m{at}", properties), clock_ms=time_ms
            )
        counters[number % partitions].visit(profile, now_ms)
        inside = [amount for hour, amount in each if MONDAY + hour * HOUR_MS > now_ms - 90 * DAY]
        if each:
            last.append(max(MONDAY + hour * HOUR_MS for hour, _ in each))
            frequency.append(len(inside))
            monetary.append(sum(inside))
    found = _merged([counter.result() for counter in counters]).models["rfm"]
    assert found.profiles == len(last)
    if not last:
        return
    edges = edges_of(found.histograms, GROUPS, now_ms)
    assert edges["recency"] == tuple(now_ms - each for each in reversed(_sorted_edges(last, 4)))
    assert list(edges["frequency"]) == _sorted_edges(frequency, 5)
    assert list(edges["monetary"]) == [rounded_up(each) for each in _sorted_edges(monetary, 3)]


def _merged(found: list[Populations]) -> Populations:
    first, *rest = found
    for each in rest:
        first = each.merged(first)
    return first


def test_rules_that_read_two_grids_by_one_name_are_refused() -> None:
    one = _definitions(a={"rfm": {"recency": 2}}, b={"rfm": {"grid": "opens", "frequency": 2}})
    assert populations_read(one) == ["rfm", "rfm.opens"]
    assert population_named("rfm.opens", one).actions == grids_of(one[1].when)[0].actions
    other = inline(
        [{"key": "c", "when": {"rfm": {"recency": 2}}}], "g", "segments", rfm={**BLOCK, "period": "30d"}
    )
    with pytest.raises(UserError, match="2 different grids by the name 'rfm'"):
        population_named("rfm", [*one, *other])
    with pytest.raises(UserError, match=r"no published segment reads quantiles of 'rfm\.clicks'"):
        population_named("rfm.clicks", one)


# -- grids with edges of a population ----------------------------------------------------------------------


def _grid(edges: dict[str, tuple[Any, ...]] | None) -> Rfm:
    context = parsing.Context()
    if edges is not None:
        context.models = {"rfm": Model("rfm", "population", PopulationParameters(tuple(edges.items()), 9, 0))}
    return parsing.read_rfm(BLOCK, "rfm", context)


EDGES: dict[str, tuple[Any, ...]] = {
    "recency": (0, 5 * DAY, 5 * DAY),
    "frequency": (1, 1, 2, 4),
    "monetary": (Decimal(0), Decimal("9.5")),
}


def test_without_a_measured_population_no_customer_has_digits() -> None:
    customer = Customer()
    context = parsing.Context()
    context.rfm = parsing.read_rfm(BLOCK, "rfm", context)
    rules = {"some": {"rfm": {"recency": {"gte": 1}}}, "none": {"not": {"rfm": {"frequency": {"gte": 1}}}}}
    read = [Definition(key, key, parsing.read_rule(rule, key, context)) for key, rule in rules.items()]
    customer.engine = Engine(SegmentSet(read))
    customer.did("Order Completed", MONDAY, order_id="a", revenue=50)
    assert customer.member_of == {"none"}
    assert str(context.warnings[0]).startswith(
        "-: rfm: recency and frequency and monetary: the population is not measured yet"
    )


def test_edges_of_another_number_of_parts_do_not_count() -> None:
    assert _grid({**EDGES, "monetary": (Decimal(1),)}).unmeasured == "rfm"
    assert _grid(EDGES).unmeasured is None
    assert _grid(EDGES).monetary == EDGES["monetary"]


def test_equal_edges_leave_digits_out_and_keep_the_greatest() -> None:
    rfm = _grid(EDGES)
    assert [rfm.greatest(each) for each in ("recency", "frequency", "monetary")] == [4, 5, 3]
    customer = Customer()
    context = parsing.Context()
    context.rfm = rfm
    rules = {f"f{digit}": {"rfm": {"frequency": digit}} for digit in range(1, 6)}
    read = [Definition(key, key, parsing.read_rule(rule, key, context)) for key, rule in rules.items()]
    customer.engine = Engine(SegmentSet(read))
    seen = []
    for number in range(5):
        customer.did("Order Completed", MONDAY + number, order_id=f"o{number}", revenue=1)
        seen.append(customer.member_of)
    assert seen == [{"f1"}, {"f3"}, {"f4"}, {"f4"}, {"f5"}]


def test_new_edges_are_another_rule() -> None:
    nodes = [
        RfmNode(_grid(edges), ("champions",))
        for edges in (None, EDGES, EDGES, {**EDGES, "recency": (1, 2, 3)})
    ]
    found = [Definition("s", "s", node).identity for node in nodes]
    assert found[1] == found[2] and len(set(found)) == 3


def test_issue_of_an_unmeasured_grid_names_the_command() -> None:
    context = parsing.Context("f.yaml")
    parsing.read_grids({"opens": {"of": "A", "frequency": "deciles"}}, "rfm", context)
    assert str(context.warnings[0]) == (
        "f.yaml: rfm.opens: frequency: the population is not measured yet, so no customer has digits; "
        "run `segops models refresh rfm.opens`"
    )
