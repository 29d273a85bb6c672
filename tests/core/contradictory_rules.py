"""Strategies for rules and predicates that are usually contradictory or always true."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from segops.core.events import Event
from segops.core.values import format_instant

from .strategies import BASE_MS, composite, dates, durations, numbers, predicates, scalars, words
from .strategies_rhythm import overlapping_rhythms


def trait(test: dict[str, Any], path: str = "p") -> dict[str, Any]:
    return {"trait": path, "is": test}


ops = st.dictionaries(
    st.sampled_from(["eq", "ne", "lt", "lte", "gt", "gte", "in", "not_in", "between", "exists"])
    | st.sampled_from(["contains", "starts_with", "ends_with", "matches", "includes"])
    | st.sampled_from(["before", "after", "in_last", "in_next", "older_than", "newer_than"])
    | st.sampled_from(["anniversary_in_next", "age_in_years", "weekday", "month"]),
    st.none(),
    min_size=1,
    max_size=4,
)
_texts = words | dates
_ordered = st.one_of(numbers, _texts)
_elements = st.sampled_from([{"r": 1}, {"r": {"gte": 2}}, {"r": {"exists": False}}])
operands: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("eq", "ne", "includes"), scalars | dates),
    **dict.fromkeys(("lt", "lte", "gt", "gte"), _ordered),
    **dict.fromkeys(("in", "not_in"), st.lists(scalars | dates, min_size=1, max_size=3)),
    "between": st.one_of(
        st.lists(numbers, min_size=2, max_size=2).map(sorted),
        st.lists(_texts, min_size=2, max_size=2).map(sorted),
    ),
    "exists": st.booleans(),
    **dict.fromkeys(("contains", "starts_with", "ends_with"), words | st.sampled_from(["2025", "Z"])),
    "matches": st.sampled_from(["^x", "y$", "^20"]),
    **dict.fromkeys(("before", "after"), dates),
    **dict.fromkeys(("in_last", "in_next", "older_than", "newer_than", "anniversary_in_next"), durations),
    "age_in_years": st.sampled_from([0, {"gte": 0}, {"gte": 1}, {"lt": 25}]),
    "weekday": st.sampled_from(["thu", ["thu", "fri"]]),
    "month": st.sampled_from([10, [1, 2]]),
    **dict.fromkeys(("any", "all", "none"), _elements),
    "count": st.builds(lambda least, where: {"gte": least, "where": where}, st.integers(1, 2), _elements),
}


@composite
def conflicting_predicates(draw: Any) -> dict[str, Any]:
    """Draw a predicate with several operators, which often exclude each other."""
    return {name: draw(operands[name]) for name in draw(ops)}


values = st.one_of(
    scalars,
    numbers.map(lambda n: n + 0.05),
    dates,
    _texts.map(lambda text: text + "x"),
    st.lists(scalars, max_size=3),
    st.lists(st.sampled_from([{"r": 1}, {"r": 2}, {}, 1]), max_size=3),
    st.none(),
    st.just({"r": 1}),
)

_names = st.sampled_from(["A", "A", ["A", "B"]])
_lengths = st.sampled_from([{}, {"within": "2s"}, {"within": "5s"}, {"between": {"from": "6s", "to": "1s"}}])
_fixed = st.integers(0, 3).map(lambda n: {"since": format_instant(BASE_MS + n * 2_000)})
_anchored = st.sampled_from([{"since_last": "B"}, {"since_last": ["B", "Order Completed"], "same": "p"}])
_windows = _lengths | _fixed | _anchored
_wheres = st.sampled_from([{}, {}, {"where": {"p": 1}}, {"where": {"p": 1, "q": {"exists": True}}}])
_counts = st.sampled_from(
    [{}, {"count": {"gte": 2}}, {"count": {"lt": 2}}, {"count": {"ne": 1}}, {"count": {"eq": 0}}]
)
_ages = st.dictionaries(
    st.sampled_from(["older_than", "newer_than"]), st.sampled_from(["1s", "4s"]), min_size=1, max_size=1
)
_figures = st.sampled_from(
    [{"gt": 0}, {"lte": 0}, {"gte": 1}, {"exists": True}, {"eq": 1}, {"lt": 0.3}, {"gte": 0.3}]
)
#: Leaves over so few names and values that two of them often concern the same one.
overlapping_leaves = st.one_of(
    st.builds(lambda n, c, w, o: {"did": n, **c, **w, **o}, _names, _counts, _wheres, _windows),
    st.builds(lambda n, w, o: {"did_not": n, **w, **o}, _names, _wheres, _windows),
    st.builds(lambda k, n, a: {k: n, "is": a}, st.sampled_from(["first", "last"]), _names, _ages),
    st.builds(
        lambda f, n, o, i: {f: "p", "of": n, "is": i, **o},
        st.sampled_from(["sum", "avg", "min", "max", "latest", "earliest"]),
        _names,
        _windows,
        _figures,
    ),
    st.builds(
        lambda n, o, i: {"most_frequent": "p", "of": n, "is": i, **o}, _names, _lengths | _fixed, _figures
    ),
    st.builds(lambda n, c: {"distinct": "p", "of": n, "is": c["count"]}, _names, _counts.filter(bool)),
    (predicates | conflicting_predicates()).map(trait),
    _figures.map(lambda test: {"has_been": {"trait": "p", "is": test}, "for": "2s"}),
    st.sampled_from(["0s", "2s", "4s"]).map(lambda length: {"known_for": length}),
    st.sampled_from([(0, 20), (20, 100), (0, 100), (20, 21)]).map(
        lambda ends: {"bucket": {"salt": "x", "from": ends[0], "to": ends[1]}}
    ),
    st.sampled_from(
        ["champions", "hibernating", "new", {"recency": {"gte": 2}}, {"recency": {"lte": 1}}]
    ).map(lambda digits: {"rfm": digits}),
    _figures.map(lambda test: {"score": "recency_days", "is": test}),
    st.just({"sequence": [{"did": "A"}, {"did_not": "B", "within": "1s"}]}),
    overlapping_rhythms(),
)


def _composed(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    several = st.lists(inner, min_size=2, max_size=3)
    return st.one_of(
        several.map(lambda of: {"all": of}),
        several.map(lambda of: {"any": of}),
        several.map(lambda of: {"at_least": {"k": len(of), "of": of}}),
        inner.map(lambda node: {"not": node}),
    )


#: Rules that are usually contradictory or always true.
contradictory_rules = st.recursive(overlapping_leaves, _composed, max_leaves=5)
#: Leaves about the same events, any of which may exclude another.
event_leaves = st.one_of(
    st.builds(lambda c, w, o: {"did": "A", **c, **w, **o}, _counts, _wheres, _windows),
    st.builds(lambda n, w, o: {"did_not": n, **w, **o}, _names, _wheres, _windows),
    st.builds(lambda k, a: {k: "A", "is": a}, st.sampled_from(["first", "last"]), _ages),
    st.builds(lambda c: {"distinct": "p", "of": "A", "is": c["count"]}, _counts.filter(bool)),
    overlapping_rhythms(),
    st.builds(lambda o, i: {"sum": "p", "of": "A", "is": i, **o}, _windows, _figures),
)
_signed = st.one_of(event_leaves, event_leaves, event_leaves.map(lambda node: {"not": node}))
pairs = st.builds(
    lambda key, of: {key: of}, st.sampled_from(["all", "all", "any"]), st.tuples(_signed, _signed).map(list)
)
#: Streams of the names and values that the leaves above use, in steps of whole seconds.
plain_streams = st.lists(
    st.tuples(
        st.sampled_from([0, 1_000, 1_000, 3_000]),
        st.sampled_from(["A", "A", "A", "B", "Order Completed"]),
        st.dictionaries(
            st.sampled_from(["p", "p", "q", "revenue"]), st.sampled_from([1, 1, -1, 0.3]), max_size=2
        ),
    ),
    min_size=1,
    max_size=6,
).map(lambda drawn: _stream(drawn))


def _stream(drawn: list[tuple[int, str, dict[str, Any]]]) -> list[tuple[str, Any]]:
    steps: list[tuple[str, Any]] = []
    at = BASE_MS
    for number, (gap_ms, name, properties) in enumerate(drawn):
        at += gap_ms
        steps.append(("event", Event(name, at, f"m{number}", properties, properties)))
    return [*steps, ("clock", at + 10_000)]
