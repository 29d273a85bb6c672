"""Strategies for nodes over days, sessions and periods, as an author would write them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from .strategies import (
    composite,
    count_predicates,
    durations,
    names,
    predicates,
    time_windows,
    value_predicates,
)

#: Conditions that do not depend on now.
_settled = st.one_of(
    st.just({}),
    st.dictionaries(st.sampled_from(["p", "q", "o.r"]), value_predicates, min_size=1, max_size=2).map(
        lambda where: {"where": where}
    ),
)
_any_where = st.one_of(
    _settled,
    st.dictionaries(st.sampled_from(["p", "q"]), predicates, min_size=1, max_size=1).map(
        lambda where: {"where": where}
    ),
)
_zones = st.sampled_from(
    [{}, {"zone": "Europe/Paris"}, {"zone": "America/Sao_Paulo"}, {"zone": "Asia/Kolkata"}]
)
_gaps = st.sampled_from([{}, *({"gap": gap} for gap in ("1ms", "500ms", "501ms", "2s", "10s", "1d"))])
_counts = count_predicates()


@composite
def active_periods(draw: Any) -> dict[str, Any]:
    """Draw a number of local days, weeks or months."""
    head = draw(st.sampled_from(["active_days", "active_days", "active_weeks", "active_months"]))
    parts = (draw(_any_where), draw(_zones), draw(time_windows))
    return {head: draw(names), "is": draw(_counts), **{k: v for part in parts for k, v in part.items()}}


@composite
def sessions(draw: Any) -> dict[str, Any]:
    """Draw a number of sessions."""
    return {
        "sessions": draw(names),
        "is": draw(_counts),
        **draw(_settled),
        **draw(_gaps),
        **draw(time_windows),
    }


@composite
def _duration_predicates(draw: Any) -> dict[str, Any]:
    low, high = sorted(draw(st.lists(st.integers(0, 12), min_size=2, max_size=2)))
    operator = draw(st.sampled_from(["gte", "gt", "lte", "between"]))
    return {operator: [f"{low * 500}ms", f"{high * 500}ms"] if operator == "between" else f"{low * 500}ms"}


_figures = st.one_of(
    st.tuples(st.just("duration"), _duration_predicates()),
    st.tuples(st.just("events"), _counts.filter(lambda test: test not in ({"eq": 0}, {"lt": 1}))),
    st.tuples(st.sampled_from([{"first": "p"}, {"last": "p"}, {"first": "o.r"}]), predicates),
)


@composite
def session_figures(draw: Any) -> dict[str, Any]:
    """Draw a figure of the current or the last session."""
    figure, test = draw(_figures)
    which = draw(st.sampled_from([{}, {"which": "current"}, {"which": "last"}]))
    return {"session": figure, "of": draw(names), "is": test, **which, **draw(_settled), **draw(_gaps)}


@composite
def regularities(draw: Any) -> dict[str, Any]:
    """Draw a number of periods with an event."""
    of = draw(st.integers(2, 6))
    k = draw(st.integers(1, of))
    return {"regularly": draw(names), "every": draw(durations), "k": k, "of": of, **draw(_settled)}


@composite
def lifecycles(draw: Any) -> dict[str, Any]:
    """Draw stages of a lifecycle."""
    stages = st.sampled_from(["new", "active", "resurrected", "dormant"])
    named = draw(st.one_of(stages, st.lists(stages, min_size=1, max_size=3)))
    return {"lifecycle": {"of": draw(names), "period": draw(durations), "is": named, **draw(_settled)}}


def rhythms() -> list[st.SearchStrategy[dict[str, Any]]]:
    """Return the strategies of these nodes, for the choice of leaves."""
    return [active_periods(), sessions(), session_figures(), regularities(), lifecycles()]


_few_counts = st.sampled_from([{"gte": 2}, {"lt": 2}, {"eq": 0}, {"gte": 1}])
_few_windows = st.sampled_from([{}, {"within": "2s"}, {"within": "5s"}])


@composite
def overlapping_rhythms(draw: Any) -> dict[str, Any]:
    """Draw a node over so few events and lengths that two of them often concern the same value."""
    count, window = draw(_few_counts), draw(_few_windows)
    of, k = draw(st.sampled_from([("2s", 2), ("1s", 4)])), draw(st.integers(1, 2))
    named = draw(
        st.lists(st.sampled_from(["new", "active", "resurrected", "dormant"]), min_size=1, max_size=2)
    )
    forms: list[dict[str, Any]] = [
        {"active_days": "A", "is": count, **window},
        {"sessions": "A", "gap": "1s", "is": count, **window},
        {"session": "events", "of": "A", "gap": "2s", "is": draw(st.sampled_from([{"eq": 1}, {"gt": 1}]))},
        {"session": "duration", "of": "A", "gap": "2s", "is": {draw(st.sampled_from(["lt", "gte"])): "1s"}},
        {"regularly": "A", "every": of[0], "k": k, "of": of[1]},
        {"lifecycle": {"of": "A", "period": draw(st.sampled_from(["2s", "5s"])), "is": named}},
    ]
    return draw(st.sampled_from(forms))
