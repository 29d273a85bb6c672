"""Strategies for random rules, as an author would write them, and for random streams of events."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from hypothesis import strategies as st

from segops.core.events import Event
from segops.core.values import format_instant
from tests.core import strategies_events

from .strategies_areas import area_rules, distance_rules
from .strategies_dates import births, date_predicates
from .strategies_grids import GRIDS, grid_rules, mixed_hysteresis
from .strategies_lookups import code_rules, lookup_rules
from .strategies_since import sinces


def composite(build: Callable[..., Any]) -> Callable[..., st.SearchStrategy[Any]]:
    """Cache the strategies of ``st.composite`` by argument: building one costs far more than a draw."""
    return cache(st.composite(build))


NAMES = ("A", "B", "C")
ORDERS = ("Order Completed", "Order Refunded", "Order Updated", "Order Cancelled")
#: All times are within a few minutes after this, so that windows of seconds open and close often.
BASE_MS = 1_760_000_000_000
SPAN_MS = 60_000
#: Some advances of the clock are days long: scores count days.
DAYS_MS = (86_399_000, 86_400_000, 130_000_000)

names = st.one_of(
    st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True)
)
durations = st.integers(1, 40).map(lambda n: f"{n * 500}ms")
numbers = st.sampled_from([-1, 0, 0.1, 0.2, 0.3, 1, 2, 2.5, 20, 20.0])
words = st.sampled_from(["x", "y", "xy", ""])
scalars = st.one_of(numbers, words, st.booleans())
dates = st.integers(-20, 140).map(lambda n: format_instant(BASE_MS + n * 500))


def _window(draw: Any) -> dict[str, Any]:
    form = draw(st.sampled_from(["none", "within", "within", "within", "between", "fixed", "calendar"]))
    if form == "within":
        return {"within": draw(durations)}
    if form == "between":
        low = draw(st.integers(0, 20))
        return {"between": {"from": f"{(low + draw(st.integers(1, 20))) * 500}ms", "to": f"{low * 500}ms"}}
    if form == "fixed":
        begin = draw(st.integers(0, 60))
        keys = draw(st.sampled_from([("since",), ("until",), ("since", "until")]))
        ends = {"since": begin, "until": begin + draw(st.integers(1, 60))}
        return {key: format_instant(BASE_MS + ends[key] * 1_000) for key in keys}
    if form == "calendar":
        return {"calendar": {"this": draw(st.sampled_from(["day", "week"])), "zone": "Europe/Paris"}}
    return {}


time_windows = st.composite(_window)()
windows = st.one_of(*[time_windows] * 5, sinces)


def _operator(operators: list[str], operands: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(st.sampled_from(operators), operands).map(lambda pair: {pair[0]: pair[1]})


timed_predicates = st.one_of(
    _operator(["in_last", "in_next", "older_than", "newer_than"], durations),
    _operator(["before", "after"], dates),
)
value_predicates = st.one_of(
    _operator(["eq", "ne"], scalars),
    _operator(["lt", "lte", "gt", "gte"], st.one_of(numbers, words)),
    _operator(["in", "not_in"], st.lists(scalars, min_size=1, max_size=3)),
    st.tuples(numbers, numbers).map(lambda ab: {"between": [min(ab), max(ab)]}),
    st.booleans().map(lambda b: {"exists": b}),
    _operator(["contains", "starts_with", "ends_with"], words),
    scalars.map(lambda v: {"includes": v}),
    st.just({"matches": "^x"}),
    st.tuples(numbers, numbers).map(lambda ab: {"gte": min(ab), "lt": max(ab) + 1}),
)
predicates = st.one_of(value_predicates, value_predicates, timed_predicates, date_predicates)
where = st.one_of(
    st.just({}),
    st.dictionaries(
        st.sampled_from(["p", "q", "o.r"]), st.one_of(scalars, predicates), min_size=1, max_size=2
    ).map(lambda w: {"where": w}),
)


@composite
def count_predicates(draw: Any) -> dict[str, Any]:
    """Draw a predicate over a count that can both hold and fail."""
    k = draw(st.integers(1, 4))
    return draw(
        st.sampled_from(
            [
                {"gte": k},
                {"gt": k},
                {"lt": k},
                {"lte": k},
                {"eq": k},
                {"ne": k},
                {"eq": 0},
                {"between": [k, k + 1]},
                {"in": [k, k + 2]},
                {"not_in": [0, k]},
                {"gte": k, "lt": k + 2},
            ]
        )
    )


#: The aggregates that may have a ``since_last`` window, and all.
ANCHORED_AGGREGATES = ("sum", "avg", "min", "max", "distinct", "latest", "earliest")
AGGREGATES = (*ANCHORED_AGGREGATES, "most_frequent")
traits = st.sampled_from(["p", "q", "o.r"])


@composite
def aggregates(draw: Any, functions: tuple[str, ...] = AGGREGATES) -> dict[str, Any]:
    """Draw an aggregate of a property."""
    function = draw(st.sampled_from(functions))
    test = draw(
        {
            "distinct": count_predicates(),
            "latest": predicates,
            "earliest": predicates,
            "most_frequent": predicates,
        }.get(function, value_predicates)
    )
    prop = draw(st.sampled_from(["p", "q"]))
    window = draw(windows if function in ANCHORED_AGGREGATES else time_windows)
    return {function: prop, "of": draw(names), "is": test, **draw(where), **window}


@composite
def occurrences(draw: Any) -> dict[str, Any]:
    """Draw a rule on the age of the first or last event."""
    age = {draw(st.sampled_from(["older_than", "newer_than"])): draw(durations)}
    return {draw(st.sampled_from(["first", "last"])): draw(names), "is": age}


@composite
def has_beens(draw: Any) -> dict[str, Any]:
    """Draw a rule on how long a trait has satisfied a predicate."""
    return {"has_been": {"trait": draw(traits), "is": draw(predicates)}, "for": draw(durations)}


_radius_windows = st.one_of(st.just({}), durations.map(lambda d: {"within": d}))


@composite
def near_rules(draw: Any) -> dict[str, Any]:
    """Draw a circle that crosses the antimeridian."""
    radius = draw(st.sampled_from(["3km", "200km"]))
    return {
        "near": {"lat": 0, "lon": 179.99, "radius": radius},
        **draw(_radius_windows),
    }


dids = st.tuples(names, count_predicates(), where, windows).map(
    lambda p: {"did": p[0], "count": p[1], **p[2], **p[3]}
)
did_nots = st.tuples(names, where, windows).map(lambda p: {"did_not": p[0], **p[1], **p[2]})
trait_leaves = st.tuples(traits, predicates).map(lambda p: {"trait": p[0], "is": p[1]})
buckets = st.tuples(words, st.integers(0, 50), st.integers(51, 100)).map(
    lambda p: {"bucket": {"salt": p[0], "from": p[1], "to": p[2]}}
)
known_fors = durations.map(lambda d: {"known_for": d})


@composite
def sequences(draw: Any) -> dict[str, Any]:
    """Draw two to four steps with closing and inner did_not, deadlines, and references to earlier steps."""
    steps: list[dict[str, Any]] = [{"did": draw(names), **draw(_step_where(()))}]
    for _ in range(draw(st.integers(1, 3))):
        dids = tuple(number for number, step in enumerate(steps, 1) if "did" in step)
        kind = draw(st.sampled_from(["did", "did", "did_not"]))
        within = {"within": draw(durations)} if draw(st.booleans()) else {}
        steps.append({kind: draw(names), **draw(_step_where(dids)), **within})
    for step in reversed(steps):
        if "did" in step:
            break
        step.setdefault("within", "3s")
    return {
        "sequence": steps,
        **({"within": draw(durations)} if draw(st.booleans()) else {}),
        **({"strict": True} if draw(st.integers(0, 3)) == 0 else {}),
    }


@cache
def _step_where(dids: tuple[int, ...]) -> st.SearchStrategy[dict[str, Any]]:
    choices: list[st.SearchStrategy[dict[str, Any]]] = [st.just({}), st.just({})]
    choices.append(value_predicates.map(lambda test: {"where": {"p": test}}))
    if dids:
        choices.append(st.sampled_from(dids).map(lambda number: {"where": {"p": {"same_as": number}}}))
    return st.one_of(choices)


#: Thresholds of seconds, for streams of minutes.
RFM = {
    "period": "20s",
    "recency": ["2s", "5s", "9s"],
    "frequency": [1, 2, 3],
    "monetary": [0, 0.3, 20],
    "tiers": {
        "champions": {"recency": [3, 4], "frequency": [2, 4]},
        "hibernating": {"recency": [1, 1], "frequency": [1, 4]},
        "new": {"recency": [1, 4], "frequency": [1, 2]},
    },
    **GRIDS,
}
rfms = st.one_of(
    st.lists(st.sampled_from(["champions", "hibernating", "new"]), min_size=1, max_size=2).map(
        lambda names: {"rfm": names}
    ),
    st.tuples(st.sampled_from(["recency", "frequency", "monetary"]), st.integers(1, 4)).map(
        lambda pair: {"rfm": {pair[0]: {"gte": pair[1]}}}
    ),
    st.integers(2, 4).map(lambda digit: {"rfm": {"recency": digit, "monetary": {"lte": 3}}}),
    grid_rules,
)


@composite
def hystereses(draw: Any) -> dict[str, Any]:
    """Draw a score or RFM node whose enter and exit conditions exclude each other."""
    kind = draw(st.sampled_from(["score", "model", "tier", "digit", "digit", "mixed"]))
    if kind == "model":
        return draw(import_module(".strategies_scores", __package__).score_hystereses())
    if kind == "score":
        low = draw(st.sampled_from([-1, 0, 0.5, 1, 2]))
        below, above = {"lte": low}, {"gt": low + draw(st.sampled_from([0, 0.5, 1]))}
        enter, exit = draw(st.sampled_from([(below, above), (above, below)]))
        return {"score": "recency_days", "enter": enter, "exit": exit}
    if kind == "tier":
        enter, exit, *_ = draw(st.permutations(["champions", "hibernating", "new"]))
        return {"rfm": {"enter": enter, "exit": [exit]}}
    if kind == "mixed":
        return mixed_hysteresis(draw(st.integers(1, 3)))
    digit, k = draw(st.sampled_from(["recency", "recency", "frequency", "monetary"])), draw(st.integers(2, 4))
    low_k = draw(st.integers(1, k - 1))
    enter, exit = draw(st.sampled_from([({"gte": k}, {"lte": low_k}), ({"lte": low_k}, {"gte": k})]))
    return {"rfm": {"enter": {digit: enter}, "exit": {digit: exit}}}


@composite
def policies(draw: Any) -> dict[str, Any]:
    """Draw a membership block."""
    form = {"min_stay": draw(durations), "cool_down": draw(durations), "max_entries": draw(st.integers(1, 3))}
    chosen = draw(st.lists(st.sampled_from(sorted(form)), min_size=1, max_size=3, unique=True))
    return {key: form[key] for key in chosen}


@cache
def timed_rules(keys: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Return rules that time alone turns true and false, mostly ones that refer to the segments ``keys``."""
    short = st.integers(1, 12).map(lambda n: f"{n * 500}ms")
    moving = st.one_of(
        st.tuples(names, short).map(lambda p: {"did": p[0], "within": p[1]}),
        st.tuples(names, short).map(lambda p: {"did_not": p[0], "within": p[1]}),
        st.tuples(names, short, short).map(
            lambda p: {"any": [{"did": p[0], "within": p[1]}, {"last": p[0], "is": {"older_than": p[2]}}]}
        ),
        st.tuples(names, short).map(lambda p: {"did": p[0], "count": {"eq": 1}, "within": p[1]}),
    )
    if not keys:
        return st.one_of(moving, moving, hystereses())
    other = st.sampled_from(keys).map(lambda key: {"in_segment": key})
    found = st.one_of(other, other.map(lambda node: {"not": node}))
    joined = st.tuples(st.sampled_from(["all", "any"]), found, st.one_of(found, moving, hystereses()))
    return st.one_of(found, joined.map(lambda p: {p[0]: [p[1], p[2]]}))


scores = value_predicates.map(lambda test: {"score": "recency_days", "is": test})


@cache
def leaf_kinds(keys: tuple[str, ...]) -> list[st.SearchStrategy[dict[str, Any]]]:
    """Return a strategy for each kind of leaf; ``keys`` are the segments that leaves may refer to."""
    from .strategies_rhythm import rhythms  # it builds on this module

    every = [dids, dids, did_nots, aggregates(), aggregates(), occurrences(), trait_leaves, known_fors]
    every += [strategies_events.leaves, strategies_events.leaves]
    every += [has_beens(), near_rules(), buckets, sequences(), sequences(), rfms, scores]
    from .strategies_figures import comparisons, ratios

    every.append(import_module(".strategies_customer", __package__).customer_leaves)
    every.append(import_module(".strategies_lists", __package__).list_rules)
    every.append(area_rules)
    every += [lookup_rules, code_rules]
    every.append(distance_rules)
    every += rhythms()
    every += [comparisons(), comparisons(), ratios()]
    every.append(import_module(".strategies_frozen", __package__).frozen_rules())
    every.append(import_module(".strategies_times", __package__).timed_leaves)
    every += [import_module(".strategies_scores", __package__).score_rules()] * 2
    if keys:
        every.append(st.sampled_from(keys).map(lambda key: {"in_segment": key}))
    return every


@cache
def leaves(keys: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Return leaf nodes; ``keys`` are the segments that they may refer to."""
    return st.one_of(leaf_kinds(keys))


@cache
def rules(keys: tuple[str, ...] = ()) -> st.SearchStrategy[dict[str, Any]]:
    """Return rules, nested at most 5 deep, not counting the levels above a hysteresis."""

    def join(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        several = st.lists(inner, min_size=1, max_size=3)
        return st.one_of(
            several.map(lambda of: {"all": of}),
            several.map(lambda of: {"any": of}),
            several.map(lambda of: {"at_least": {"k": max(1, len(of) - 1), "of": of}}),
        )

    def grow(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        return st.one_of(join(inner), inner.map(lambda node: {"not": node}))

    plain = st.recursive(leaves(keys), grow, max_leaves=5)
    mixed = st.recursive(st.one_of(plain, hystereses()), join, max_leaves=3)
    return st.one_of(plain, mixed, timed_rules(keys), timed_rules(keys))


_values = st.one_of(numbers, numbers, scalars, dates, dates, births, st.none(), st.lists(scalars, max_size=2))
_flat = st.dictionaries(st.sampled_from(["p", "q"]), _values, max_size=2)


@composite
def properties(draw: Any) -> dict[str, Any]:
    """Draw properties or traits: some missing, some null, some dates, some nested."""
    found = draw(_flat)
    if draw(st.booleans()):
        found["o"] = {"r": draw(_values)}
    if draw(st.booleans()):
        found["revenue"] = draw(numbers)
    found |= draw(strategies_events.further)
    return found


@composite
def purchases(draw: Any, ids: tuple[Any, ...] = ("o1", "o1", "o2", 7, 7.0, None)) -> dict[str, Any]:
    """Draw the properties of an order event: few ids, some missing amounts, some invalid ones."""
    amounts = st.sampled_from([None, None, 0, 0.1, 2.5, 5, 20, 20, -5, "20", True])
    found = {
        "order_id": draw(st.sampled_from(ids)),
        "refund_id": draw(st.sampled_from([None, None, "r1", 2])),
    }
    return found | {
        name: draw(amounts) for name in draw(st.sampled_from([(), ("total",), ("revenue", "total")]))
    }


@composite
def identities(draw: Any) -> dict[str, Any]:
    """Draw the identifiers of an event; most are missing."""
    identifiers = st.sampled_from([None, None, "one", "two"])
    found = {field: draw(identifiers) for field in ("user_id", "anonymous_id", "email")}
    return found | {"email_removed": found["email"] is None and draw(st.integers(0, 3)) == 0}


_advances = st.one_of(st.integers(0, 30_000), st.sampled_from(DAYS_MS))
_maybe_traits = st.one_of(st.none(), properties())


@composite
def streams(draw: Any) -> list[tuple[str, Any]]:
    """Draw the steps of one profile: events in order, late, simultaneous, duplicate or early, and ticks."""
    steps: list[tuple[str, Any]] = []
    at = BASE_MS
    for number in range(draw(st.integers(1, 10))):
        if draw(st.integers(0, 4)) == 0:
            at += draw(_advances)
            steps.append(("clock", at))
            continue
        at += draw(st.sampled_from([0, 0, 1, 499, 500, 501, 2_000, 9_999]))
        delay_ms = draw(st.sampled_from([0, 0, 0, 0, -1, -500, -3_000, -15_000, 700]))
        time_ms = max(BASE_MS - 20_000, at + delay_ms)
        repeat = number and draw(st.integers(0, 9)) == 0
        message = f"m{draw(st.integers(0, number - 1))}" if repeat else f"m{number}"
        traits = draw(_maybe_traits)
        location = draw(st.sampled_from([None, None, (0.0, -179.99), (1.0, 179.0), (60.0, 10.0)]))
        name = draw(st.sampled_from((*NAMES, *NAMES, *ORDERS, "Order Completed")))
        found = {**draw(properties()), **(draw(purchases()) if name in ORDERS else {})}
        event = Event(name, time_ms, message, found, traits, location=location, **draw(identities()))
        event.context = draw(strategies_events.contexts)
        steps.append(("event", event))
    steps.append(("clock", at + draw(st.sampled_from([0, 5_000, 100_000, *DAYS_MS]))))
    return steps
