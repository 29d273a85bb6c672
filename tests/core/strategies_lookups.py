"""Strategies for rules that look values up in tables, and for locations by postal code."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from segops.core.rules.parsing import Context
from segops.core.values import format_instant
from segops.schemas.lookups import Blocks, read_tables

_BASE_MS = 1_760_000_000_000
_DATES = [format_instant(_BASE_MS + ms) for ms in (-9_000, 4_000, 12_500, 40_000)]
#: The keys are values of the streams, as texts; not all values of the streams are keys.
LOOKUPS: dict[str, Any] = {
    "words": {
        "rows": {
            "x": {"kind": "x", "n": 1, "at": _DATES[0], "next": 2, "deep": {"n": 2.5}},
            "y": {"kind": "y", "n": "2", "at": _DATES[1], "next": "x", "deep": {"n": "1"}},
            "xy": {"kind": "xy", "n": None, "at": "soon", "next": "nowhere"},
            "1": {"kind": "x", "n": 0.1, "at": _DATES[2], "next": "y", "deep": {"n": 7}},
            "2": {"kind": True, "n": 20, "at": _DATES[3], "deep": {}},
            "20": {"kind": "y", "n": 0.2, "next": 20},
            "0.1": {"kind": "", "n": -1, "at": _DATES[1]},
            "true": {"kind": "x", "n": 1, "deep": [1]},
            "0": {"kind": "x", "n": 2, "at": _DATES[2], "next": 1},
            "-1": {"kind": "y", "n": 1, "deep": {"n": 1}},
            "0.2": {"kind": "x", "n": 3, "at": _DATES[3]},
            "2.5": {"kind": "x", "n": 1, "next": 0},
        }
    },
    "numbers": {"rows": {"1": {"n": 2}, "2": {"n": 1}, "x": {"n": 3}, "0": {"n": 0}}},
}
#: Near the areas of ``strategies_areas``, and far from them.
POSTAL_CODES: dict[str, Any] = {
    "rows": {
        "x": {"lat": 0, "lon": -179.99},
        "1": {"lat": 1, "lon": 179},
        "2": {"lat": "60", "lon": "10"},
        "20": {"lat": 45, "lon": 45},
        "true": {"lat": 0, "lon": 179.99},
    }
}
BLOCKS = Blocks(LOOKUPS, POSTAL_CODES)
TABLES = read_tables(BLOCKS, Context("lookups"))

#: Most often ``revenue``, a number that half of all events have.
_KEYS = (
    "revenue",
    "revenue",
    "revenue",
    "p",
    "q",
    "o.r",
    "w",
    "context.app.v",
    "words[revenue].next",
    r"d\.e",
)
_lengths = st.integers(1, 40).map(lambda n: f"{n * 500}ms")
_names = st.sampled_from(["A", "B", ["A", "C"], "any_event", "any_event"])
_columns = st.sampled_from(["words[{}].n", "words[{}].n", "words[{}].deep.n", "numbers[{}].n"])
_numbers = st.one_of(
    st.sampled_from([{"gte": 1}, {"lt": 2}, {"eq": 2}, {"exists": False}, {"ne": 1}]),
    st.sampled_from([{"as": "number", "gte": 1}, {"as": "text", "eq": "2"}]),
)
_kinds = st.sampled_from(["x", {"eq": "y"}, {"ne": "x"}, {"in": ["x", ""]}, {"exists": False}, True])
_times = st.one_of(
    st.tuples(st.sampled_from(["in_last", "in_next", "older_than", "newer_than"]), _lengths).map(
        lambda pair: {pair[0]: pair[1]}
    ),
    st.sampled_from([{"before": _DATES[2]}, {"after": _DATES[0]}]),
)
_key = st.sampled_from(_KEYS)
_numbered = st.tuples(_columns, _key).map(lambda pair: pair[0].format(pair[1]))
_pairs = st.one_of(
    st.tuples(_numbered, _numbers),
    st.tuples(_key.map("words[{}].kind".format), _kinds),
    st.tuples(_key.map("words[{}].at".format), _times),
    st.tuples(
        st.just("l"),
        st.tuples(
            st.sampled_from(["any", "all", "none"]),
            st.dictionaries(st.sampled_from(["words[a].n", "words[b].kind", "a"]), _kinds, min_size=1),
        ).map(lambda pair: {pair[0]: pair[1]}),
    ),
)
_where = st.one_of(
    _pairs.map(lambda pair: {"where": dict([pair])}),
    st.lists(_pairs, min_size=1, max_size=2).map(lambda pairs: {"where": dict(pairs)}),
)
_settled = st.tuples(_key.map("words[{}].kind".format), _kinds).map(
    lambda pair: {"where": {pair[0]: pair[1]}}
)
_windows = st.one_of(
    st.just({}),
    _lengths.map(lambda length: {"within": length}),
    _lengths.map(lambda length: {"within": length}),
    st.integers(1, 20).map(lambda n: {"between": {"from": f"{n * 1_000}ms", "to": f"{n * 500}ms"}}),
    st.just({"calendar": {"this": "day", "zone": "Europe/Paris"}}),
    st.just({"since_last": "B"}),
)
_counts = st.sampled_from([{"gte": 1}, {"gte": 2}, {"eq": 0}, {"lt": 3}])
_paths = st.one_of(_numbered, st.sampled_from(["words[l.a].n", "numbers[l.b].n", "words[words[l.a].next].n"]))
_aggregates = st.one_of(
    st.tuples(
        st.sampled_from(["sum", "avg", "min", "max"]),
        st.sampled_from([{"gte": 1}, {"lt": 2}, {"eq": 2}, {"gte": 0}, {"lt": 25}]),
    ),
    st.tuples(st.just("distinct"), st.sampled_from([{"gte": 1}, {"gte": 2}, {"eq": 0}])),
    st.tuples(st.sampled_from(["latest", "earliest"]), _numbers),
)


def _merged(forms: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    return {key: value for form in forms for key, value in form.items()}


_figures = st.tuples(_aggregates, _paths, _names).map(
    lambda drawn: {drawn[0][0]: drawn[1], "is": drawn[0][1], "of": drawn[2]}
)
_heads = st.one_of(
    st.tuples(_names, _counts).map(lambda pair: {"did": pair[0], "count": pair[1]}),
    _names.map(lambda name: {"did_not": name}),
    _figures,
)
_frequent = st.tuples(_paths, _names, _numbers).map(
    lambda drawn: {"most_frequent": drawn[0], "of": drawn[1], "is": drawn[2]}
)
_sequences = st.tuples(_names, _settled, _names, _settled, _lengths).map(
    lambda p: {"sequence": [{"did": p[0], **p[1]}, {"did": p[2], **p[3], "within": p[4]}]}
)
_sessions = st.tuples(_names, _key.map("words[{}].kind".format), _kinds).map(
    lambda p: {"session": {"first": p[1]}, "of": p[0], "gap": "3s", "is": _predicate(p[2])}
)


def _predicate(test: Any) -> Any:
    return test if isinstance(test, dict) else {"eq": test}


lookup_rules: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.tuples(_figures, _windows).map(_merged),
    st.tuples(_heads, _where, _windows).map(_merged),
    st.tuples(_frequent, _where).map(_merged),
    st.tuples(st.sampled_from(["first", "last"]), _names, _where, _lengths).map(
        lambda p: {p[0]: p[1], **p[2], "is": {"older_than": p[3]}}
    ),
    _sequences,
    _sessions,
)

_located = st.one_of(
    st.sampled_from(["dateline", "corner", "triangle", "circles", "mixed"]).map(
        lambda name: {"inside": name}
    ),
    st.sampled_from(["600m", "3km", "200km"]).map(
        lambda radius: {"near": {"lat": 0, "lon": 179.99, "radius": radius}}
    ),
    st.just({"near": {"places": "stores", "radius": "3km"}}),
)
_location_windows = st.sampled_from(
    [
        {},
        {"within": "3s"},
        {"within": "20s"},
        {"anytime": True},
        {"anytime": True, "within": "9s"},
        {"anytime": True, "between": {"from": "9s", "to": "2s"}},
    ]
)
code_rules: st.SearchStrategy[dict[str, Any]] = st.tuples(
    _located,
    st.sampled_from(["revenue", "revenue", "p", "q", "w", ["context", "app", "v"], "words[revenue].next"]),
    _location_windows,
).map(lambda drawn: {**drawn[0], "located_by": drawn[1], **drawn[2]})
