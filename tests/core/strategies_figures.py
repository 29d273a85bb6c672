"""Strategies for random figures, and for the nodes that compare them."""

from __future__ import annotations

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from segops.core.errors import DefinitionError
from segops.core.rules.parsing import Context, read_rule
from tests.core import strategies_events

from .strategies import (
    AGGREGATES,
    composite,
    count_predicates,
    names,
    numbers,
    time_windows,
    traits,
    value_predicates,
    where,
)
from .strategies_areas import distances
from .strategies_grids import grid_figures, grid_tiers, grids

_counts = st.tuples(names, where, time_windows).map(lambda p: {"did": p[0], **p[1], **p[2]})
_functions = st.sampled_from(AGGREGATES)
_aggregates = st.tuples(_functions, st.sampled_from(["p", "q"]), names, where, time_windows).map(
    lambda p: {p[0]: p[1], "of": p[2], **p[3], **p[4]}
)
_days = st.tuples(st.sampled_from(["days_since_first", "days_since_last"]), names, where).map(
    lambda p: {p[0]: p[1], **p[2]}
)
_digits = st.sampled_from(["recency", "frequency", "monetary"]).map(lambda name: {"rfm": name})
_digits = st.one_of(_digits, grid_figures)
_ages = st.one_of(_days, _days, st.just({"score": "recency_days"}))
_traits = traits.map(lambda path: {"trait": path})
_levels = st.one_of(_counts, _counts, _aggregates, _aggregates, _traits, _digits, strategies_events.figures)
tiers = st.one_of(st.just({"rfm": "tier"}), grid_tiers)
_levels = st.one_of(*[_levels] * 6, distances)
quotients = (
    st.tuples(_levels, _levels)
    .filter(lambda pair: pair[0] != pair[1])
    .map(lambda pair: {"ratio": {"of": pair[0], "to": pair[1]}})
)
_levels = st.one_of(*[_levels] * 6, quotients, tiers)
figures = st.one_of(_levels, _levels, _levels, _ages)


@composite
def comparisons(draw: Any) -> dict[str, Any]:
    """Draw a comparison of two figures, or of a figure with a number."""
    left, right = draw(figures), draw(st.one_of(figures, figures, numbers))
    operator = draw(st.sampled_from(["eq", "ne", "lt", "lte", "gt", "gte"]))
    form = {"compare": [left, operator, right]}
    assume(_differ(form))
    return form


@composite
def ratios(draw: Any) -> dict[str, Any]:
    """Draw a ratio of two figures, of which at most one is in days."""
    sides = draw(
        st.one_of(*(st.tuples(*pair) for pair in ((_levels, _levels), (_ages, _levels), (_levels, _ages))))
    )
    test = draw(
        st.one_of(value_predicates, st.sampled_from([{"gte": 0.5}, {"lt": 1}, {"eq": 1}, {"gt": 0.3}]))
    )
    form = {"ratio": {"of": sides[0], "to": sides[1], "is": test}}
    assume(_differ(form))
    return form


def _differ(form: dict[str, Any]) -> bool:
    """Return whether the two figures of a node are not the same one, written in two ways."""
    try:
        context = Context()
        context.grids = grids()
        read_rule(form, "s", context)
    except DefinitionError as error:
        return "the same one twice" not in str(error)
    return True


#: Indicators that ``indicator_rules`` name.
INDICATORS: dict[str, dict[str, Any]] = {
    "count": {"did": "A", "within": "5s"},
    "kinds": {"distinct": "p", "of": ["A", "B"], "within": "7s"},
    "mean": {"avg": "p", "of": "B", "between": {"from": "9s", "to": "2s"}},
    "trait": {"trait": "q"},
    "idle": {"days_since_last": "A"},
    "digit": {"rfm": "recency"},
    "score": {"score": "recency_days"},
    "rate": {"ratio": {"of": {"did": "A", "within": "5s"}, "to": {"did": "B", "within": "8s"}}},
    "frozen": {"sum": "p", "of": "A", "within": "1d", "refresh": {"every": "day", "at": "08:54"}},
    "tier": {"rfm": "tier"},
}
_counted = st.tuples(st.sampled_from(["count", "kinds", "idle", "digit"]), count_predicates())
_tested = st.tuples(st.sampled_from(["mean", "trait", "score", "rate", "frozen"]), value_predicates)
_named = st.sampled_from(["new", "champions", ["champions", "hibernating"]]).map(
    lambda tiers: {"indicator": "tier", "is": tiers}
)
_others = st.sampled_from([{"did": "C"}, {"sum": "p", "of": "C", "within": "3s"}, {"latest": "q", "of": "A"}])
_of_indicators = st.sampled_from(sorted(INDICATORS.keys() - {"frozen"})).map(lambda key: {"indicator": key})
indicator_rules = st.one_of(
    st.one_of(_counted, _tested).map(lambda pair: {"indicator": pair[0], "is": pair[1]}),
    _named,
    st.tuples(_of_indicators, st.sampled_from(["lt", "gte"]), _others).map(lambda p: {"compare": list(p)}),
)
