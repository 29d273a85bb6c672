"""Strategies for conditions on events: any event, context, lists, conversions, time of day."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_numbers = st.sampled_from([-1, 0, 0.1, 0.2, 1, 2, 2.5, "0.1", "2", "x", None, True])
_small = st.integers(1, 4)
_lengths = st.integers(1, 40).map(lambda n: f"{n * 500}ms")

#: Values of every notation of a number, a date and a text: what conversions read, and what they cannot.
_BASE_S = 1_760_000_000
_written = st.one_of(
    _numbers,
    st.integers(-5, 100).map(lambda n: _BASE_S + n),
    st.integers(-5, 100).map(lambda n: str(_BASE_S + n)),
    st.integers(-5, 200).map(lambda n: _BASE_S * 1_000 + n * 500),
    st.sampled_from(["2025-10-09", "2025-10-09T08:53:30+00:00", "2025-10-09 08:54:00 UTC", 7.0]),
)

_elements = st.one_of(
    st.dictionaries(st.sampled_from(["a", "b"]), _numbers, max_size=2),
    st.sampled_from([7, "x", None]),
    st.lists(st.dictionaries(st.just("a"), _numbers, max_size=1), max_size=2),
)
#: Some properties more: a list of objects, a key with a dot, a value of any notation, one called context.
further = st.fixed_dictionaries(
    {},
    optional={
        "l": st.one_of(st.lists(_elements, max_size=3), st.dictionaries(st.just("a"), _numbers)),
        "d.e": _numbers,
        "w": _written,
        "currency": st.sampled_from(["EUR", "USD", None, 5]),
        "context": st.fixed_dictionaries({"app": st.sampled_from([{"v": "1"}, "1"])}),
    },
)
contexts = st.one_of(
    st.none(),
    st.none(),
    st.fixed_dictionaries(
        {}, optional={"app": st.fixed_dictionaries({"v": _numbers}), "page": _numbers, "traits": _elements}
    ),
)

names = st.one_of(st.just("any_event"), st.just("any_event"), st.sampled_from(["A", "B", "C"]))
_tests = st.one_of(
    _numbers.filter(lambda v: v is not None),
    st.sampled_from([{"gte": 1}, {"lt": 2}, {"exists": True}, {"exists": False}, {"ne": 0}, {"eq": "x"}]),
)
_elements_where = st.dictionaries(st.sampled_from(["a", "b"]), _tests, min_size=1, max_size=2)
_counts = st.one_of(
    _small.map(lambda k: {"gte": k}), _small.map(lambda k: {"lt": k}), st.just({"eq": 0}), st.just({"eq": 2})
)
_of_lists = st.one_of(
    st.tuples(st.sampled_from(["any", "all", "none"]), _elements_where).map(lambda p: {p[0]: p[1]}),
    st.tuples(_counts, _elements_where).map(lambda p: {"count": {**p[0], "where": p[1]}}),
    _counts.map(lambda count: {"count": count}),
)
_of_dates = st.tuples(st.sampled_from(["in_last", "in_next", "older_than", "newer_than"]), _lengths).map(
    lambda p: {p[0]: p[1]}
)
_converted = st.one_of(
    st.tuples(st.just({"as": "number"}), st.sampled_from([{"gte": 1}, {"eq": 2}, {"exists": False}])),
    st.tuples(st.just({"as": "text"}), st.sampled_from([{"eq": "2"}, {"eq": "true"}, {"starts_with": "0"}])),
    st.tuples(st.sampled_from([{"as": "date"}, {"as": "epoch_s"}, {"as": "epoch_ms"}]), _of_dates),
    st.tuples(st.just({"as": "date"}), st.just({"eq": "2025-10-09T00:00:00.000Z"})),
).map(lambda p: {**p[0], **p[1]})
conditions = st.one_of(
    st.tuples(st.just("l"), _of_lists),
    st.tuples(st.sampled_from(["w", "p"]), _converted),
    st.tuples(st.sampled_from(["context.app.v", "context.page", r"d\.e", r"\context.app.v"]), _tests),
    st.tuples(st.just("context.traits"), _of_lists),
)
_where = st.lists(conditions, min_size=1, max_size=2).map(lambda pairs: {"where": dict(pairs)})
where = st.one_of(st.just({}), _where)

_CLOCKS = ("00:00", "08:53", "08:54", "08:55", "14:24", "24:00")
_spans = (
    st.tuples(st.sampled_from(_CLOCKS[:-1]), st.sampled_from(_CLOCKS))
    .filter(lambda p: p[0] != p[1])
    .map(lambda p: {"from": p[0], "to": p[1]})
)
_days = st.lists(st.sampled_from(["wed", "thu", "fri"]), min_size=1, max_size=2).map(lambda d: {"days": d})
_zones = st.sampled_from([{}, {"zone": "Asia/Kolkata"}])
_times = st.tuples(st.one_of(_spans, _days, st.tuples(_spans, _days).map(lambda p: p[0] | p[1])), _zones)
times_of_day = st.one_of(
    st.just({}), st.just({}), _times.map(lambda pair: {"time_of_day": {**pair[0], **pair[1]}})
)
windows = st.one_of(
    st.just({}),
    _lengths.map(lambda length: {"within": length}),
    _lengths.map(lambda length: {"within": length}),
    st.integers(1, 20).map(lambda n: {"between": {"from": f"{n * 1_000}ms", "to": f"{n * 500}ms"}}),
    st.just({"calendar": {"this": "day", "zone": "Europe/Paris"}}),
    st.sampled_from([{"since_last": "B"}, {"since_last": ["A", "C"], "same": "context.app.v"}]),
)
_time_windows = windows.filter(lambda window: "since_last" not in window)

_paths = st.sampled_from(["l.a", "l.a", "l.b", "w", r"d\.e", "context.app.v", ["properties", "d.e"], "o.r"])
_conversions = st.one_of(
    st.just({}), st.sampled_from(["number", "text", "date", "epoch_s", "epoch_ms"]).map(lambda c: {"as": c})
)
_figures = st.one_of(
    st.tuples(
        st.sampled_from(["sum", "avg", "min", "max"]), st.sampled_from([{"gte": 1}, {"lt": 2}, {"eq": 0}])
    ),
    st.tuples(st.just("distinct"), _counts),
    st.tuples(
        st.sampled_from(["latest", "earliest"]), st.one_of(_converted, _tests.map(lambda v: {"eq": 1}))
    ),
)


def _merged(forms: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    return {key: value for form in forms for key, value in form.items()}


_monies = st.sampled_from([{}, {"money": {"currency": "EUR"}}, {"money": {"currency": "EUR", "path": "l.c"}}])
_aggregates = st.tuples(_figures, _paths, names, _conversions, _monies).map(
    lambda p: {
        p[0][0]: p[1],
        "is": p[0][1],
        "of": p[2],
        **p[3],
        **(p[4] if p[0][0] in ("sum", "avg", "min", "max") else {}),
    }
)
_heads = st.one_of(
    st.tuples(names, _counts).map(lambda p: {"did": p[0], "count": p[1]}),
    names.map(lambda name: {"did": name}),
    names.map(lambda name: {"did_not": name}),
    _aggregates,
    _aggregates,
)
#: A step is settled when its event arrives.
_settled = st.one_of(st.just({}), st.tuples(st.just("l"), _of_lists).map(lambda p: {"where": {p[0]: p[1]}}))
_sequences = st.tuples(names, _settled, names, _settled, _lengths).map(
    lambda p: {"sequence": [{"did": p[0], **p[1]}, {"did": p[2], **p[3], "within": p[4]}]}
)
_most_frequent = st.tuples(
    _paths, names, _conversions, st.one_of(_converted, _tests.map(lambda v: {"eq": 1}))
).map(lambda p: {"most_frequent": p[0], "of": p[1], **p[2], "is": p[3]})
#: Figures: counts and aggregates without what tests them, and traits of any notation.
figures = st.one_of(
    st.tuples(
        st.one_of(names.map(lambda name: {"did": name}), _aggregates, _aggregates, _most_frequent),
        where,
        times_of_day,
        _time_windows,
    )
    .map(_merged)
    .map(lambda form: {key: value for key, value in form.items() if key != "is"}),
    st.sampled_from(["w", "l", r"d\.e", ["traits", "d.e"]]).map(lambda path: {"trait": path}),
)
leaves = st.one_of(
    st.tuples(_most_frequent, where, times_of_day, _time_windows).map(_merged),
    st.tuples(_heads, where, times_of_day, windows).map(_merged),
    st.tuples(_heads, where, times_of_day, windows).map(_merged),
    st.tuples(_heads, where, times_of_day, windows).map(_merged),
    st.tuples(st.sampled_from(["first", "last"]), names, where, _lengths).map(
        lambda p: {p[0]: p[1], **p[2], "is": {"older_than": p[3]}}
    ),
    st.tuples(st.sampled_from(["w", "l", r"d\.e"]), st.one_of(_converted, _of_lists)).map(
        lambda p: {"trait": p[0], "is": p[1]}
    ),
    st.tuples(_converted, _lengths).map(
        lambda p: {"has_been": {"trait": ["traits", "w"], "is": p[0]}, "for": p[1]}
    ),
    _sequences,
)
