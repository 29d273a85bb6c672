"""Random definitions that the kernel evaluates itself, and streams that flip them often.

Hypothesis draws every node of the language; these cases are drawn faster and go deeper into what is native.
"""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from segops.core.events import Event
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from tests.core.strategies import BASE_MS
from tests.core.test_equivalence import make_definition

from .score_leaves import model_score, score

_NAMES = ("A", "B", "page", "identify")
_VALUES: tuple[Any, ...] = (
    *(-1, 0, 0.1, 0.2, 0.3, 1, 2, 2.5, 20, 20.0, 1e-5, 3e-7, 123456789012345678, 0.30000000000000004),
    *("x", "y", "xy", "", "ü", '\n"', True, False, None),
)
_ODD: tuple[Any, ...] = (
    [1, 2],
    {"r": 1},
    {"r": "x"},
    1e300,
    -0.0,
    "2025-10-09",
    "soon",
    "2025-10-09T08:53:30.000Z",
)
_ORDERS = ("Order Completed", "Order Completed", "Order Refunded", "Order Updated", "Order Cancelled")
_NUMBERS = (-1, 0, 0.1, 0.3, 0.6, 1, 2.5, 3, 20, 41)


def _length(rng: Random) -> str:
    return f"{rng.randint(1, 40) * 500}ms"


def _window(rng: Random) -> dict[str, Any]:
    roll = rng.random()
    if roll < 0.65:
        return {"within": _length(rng)}
    if roll < 0.8:
        begin = rng.randrange(60)
        return {
            "since": format_instant(BASE_MS + begin * 1_000),
            "until": format_instant(BASE_MS + (begin + rng.randint(1, 60)) * 1_000),
        }
    if roll < 0.87:
        zone = rng.choice(("UTC", "Europe/Paris", "Asia/Kathmandu"))
        return {"calendar": {"this": rng.choice(("day", "week", "month", "year")), "zone": zone}}
    return {}


def _literal(rng: Random) -> Any:
    return rng.choice([value for value in _VALUES if value is not None])


def _predicate(rng: Random) -> dict[str, Any]:
    number, literals = rng.choice(_NUMBERS), [_literal(rng) for _ in range(2)]
    pairs: list[dict[str, Any]] = [
        {rng.choice(("eq", "ne")): literals[0]},
        {rng.choice(("lt", "lte", "gt", "gte")): number},
        {rng.choice(("in", "not_in")): literals},
        {"between": sorted((number, rng.choice(_NUMBERS)))},
        {"exists": rng.random() < 0.5},
        {rng.choice(("contains", "starts_with", "ends_with")): rng.choice(("x", "y", "xy"))},
        {"gte": number, "lt": number + 3},
        {"matches": rng.choice(("^x", "y$", "."))},
        {"includes": rng.choice((1, "x"))},
    ]
    return rng.choice(pairs)


def _where(rng: Random) -> dict[str, Any]:
    if rng.random() < 0.6:
        return {}
    test = rng.choice(("x", "y", 1)) if rng.random() < 0.5 else _predicate(rng)
    return {"where": {rng.choice(("p", "q", "o.r", "name")): test}}


def _count(rng: Random) -> dict[str, Any]:
    k = rng.randint(1, 4)
    return rng.choice(
        (
            {"gte": k},
            {"gt": k},
            {"lt": k},
            {"lte": k},
            {"eq": k},
            {"eq": 0},
            {"between": [k, k + 1]},
            {"gte": 300},
        )
    )


def _numeric(rng: Random) -> dict[str, Any]:
    number = rng.choice(_NUMBERS)
    return rng.choice(
        (
            {"gte": number},
            {"lt": number},
            {"eq": number},
            {"between": sorted((number, 20))},
            {"in": [number, 1]},
            {"exists": False},
        )
    )


#: The first whole minute in a stream.
_MINUTE = format_instant(BASE_MS // 60_000 * 60_000 + 60_000)[11:16]
#: Heads of leaves that may be read at refreshes.
_FREEZABLE = (
    *("did", "did_not", "sum", "avg", "min", "max", "distinct", "latest", "earliest", "most_frequent"),
    *("first", "last", "rfm", "active_days", "active_weeks", "sessions", "session", "regularly", "lifecycle"),
)


def _leaf(rng: Random, others: list[str]) -> dict[str, Any]:
    """Return a leaf; some are read at refreshes only, of which one is in the stream."""
    leaf = _live_leaf(rng, others)
    if rng.random() < 0.85 or not any(head in leaf for head in _FREEZABLE):
        return leaf
    return {**leaf, "refresh": rng.choice(({"every": "day", "at": _MINUTE}, {"every": "hour"}))}


def _live_leaf(rng: Random, others: list[str]) -> dict[str, Any]:
    of = rng.choice((*_NAMES, ["A", "B"]))
    path = rng.choice(("p", "q", "o.r"))
    about = {"of": of, **_where(rng), **_window(rng)}
    leaves: list[dict[str, Any]] = [
        {"did": of, "count": _count(rng), **_where(rng), **_window(rng)},
        {"did": of, "count": _count(rng), **_where(rng), **_window(rng)},
        {"did_not": of, **_where(rng), **_window(rng)},
        {rng.choice(("sum", "avg")): path, "is": _numeric(rng), **about},
        {rng.choice(("min", "max")): path, "is": _numeric(rng), **about},
        {rng.choice(("latest", "earliest")): path, "is": _predicate(rng), **about},
        {"distinct": path, "is": _count(rng), **about},
        {
            rng.choice(("first", "last")): of,
            **_where(rng),
            "is": {rng.choice(("older_than", "newer_than")): _length(rng)},
        },
        {"trait": path, "is": _predicate(rng)},
        {"trait": "d", "is": {rng.choice(("in_last", "older_than", "newer_than", "in_next")): _length(rng)}},
        {"known_for": _length(rng)},
        {"has_been": {"trait": path, "is": _predicate(rng)}, "for": _length(rng)},
        {"changed": {"trait": path, "to": _predicate(rng)}, **_window(rng)},
        {"near": {"lat": 0, "lon": 179.99, "radius": "3km"}, "within": _length(rng)},
        {"bucket": {"salt": "s", "from": 0, "to": 50}},
        {"has_identifier": rng.choice(("email", "anonymous_id", "user_id"))},
    ]
    leaves += [
        _sequence(rng),
        _anchored(rng, of, path),
        score(rng),
        model_score(rng),
        _between(rng, of, path),
    ]
    leaves += [_figures(rng), _figures(rng), _rhythm(rng, of), _rhythm(rng, of)]
    if others:
        leaves.append({"in_segment": rng.choice(others)})
    return rng.choice(leaves)


def _sequence(rng: Random) -> dict[str, Any]:
    """Return two to four steps, with deadlines, gaps and references."""
    steps: list[dict[str, Any]] = [{"did": rng.choice(_NAMES[:2]), **_where(rng)}]
    for _ in range(rng.randint(1, 3)):
        step: dict[str, Any] = {rng.choice(("did", "did", "did_not")): rng.choice(_NAMES[:3])}
        if rng.random() < 0.4:
            step["within"] = _length(rng)
        if rng.random() < 0.3:
            step["where"] = {"p": rng.choice(({"same_as": 1}, {"gte": 1}, "x"))}
        steps.append(step)
    for step in reversed(steps):
        if "did" in step:
            break
        step.setdefault("within", "3s")
    more = {"within": _length(rng)} if rng.random() < 0.4 else {}
    return {"sequence": steps, **more, **({"strict": True} if rng.random() < 0.2 else {})}


def _anchored(rng: Random, of: Any, path: str) -> dict[str, Any]:
    """Return a leaf about the events since another one."""
    window: dict[str, Any] = {"since_last": rng.choice(_NAMES)}
    leaves: list[dict[str, Any]] = [
        {"did": of, "count": _count(rng), **_where(rng), **window},
        {"did_not": of, **_where(rng), **window},
        {
            rng.choice(("sum", "avg", "min", "max")): path,
            "of": of,
            "is": _numeric(rng),
            **_where(rng),
            **window,
        },
        {rng.choice(("latest", "earliest")): path, "of": of, "is": _predicate(rng), **window},
        {"distinct": path, "of": of, "is": _count(rng), **_where(rng), **window},
    ]
    return rng.choice(leaves)


def _between(rng: Random, of: Any, path: str) -> dict[str, Any]:
    """Return a leaf about a time that slides."""
    low = rng.randint(0, 20)
    window = {"between": {"from": f"{(low + rng.randint(1, 20)) * 500}ms", "to": f"{low * 500}ms"}}
    about = {"of": of, **_where(rng), **window}
    leaves: list[dict[str, Any]] = [
        {"did": of, "count": _count(rng), **_where(rng), **window},
        {rng.choice(("sum", "avg")): path, "is": _numeric(rng), **about},
        {rng.choice(("min", "max")): path, "is": _numeric(rng), **about},
        {rng.choice(("latest", "earliest")): path, "is": _predicate(rng), **about},
        {"most_frequent": path, "is": _predicate(rng), **about},
        {"most_frequent": path, "of": of, "is": _predicate(rng), **_where(rng), **_window(rng)},
        {rng.choice(("latest", "earliest", "most_frequent")): "at", "is": {"in_last": _length(rng)}, **about},
        {"distinct": path, "is": _count(rng), **about},
    ]
    return rng.choice(leaves)


def _figure(rng: Random) -> dict[str, Any]:
    """Return a figure of any window."""
    of, path = rng.choice((*_NAMES, ["A", "B"])), rng.choice(("p", "q", "o.r"))
    low = rng.randint(0, 20)
    between = {"between": {"from": f"{(low + rng.randint(1, 20)) * 500}ms", "to": f"{low * 500}ms"}}
    window = between if rng.random() < 0.3 else _window(rng)
    figures: list[dict[str, Any]] = [
        {"did": of, **_where(rng), **window},
        {rng.choice(("sum", "avg", "min", "max")): path, "of": of, **_where(rng), **window},
        {
            rng.choice(("distinct", "latest", "earliest", "most_frequent")): path,
            "of": of,
            **_where(rng),
            **window,
        },
        {"trait": path},
        {rng.choice(("days_since_first", "days_since_last")): of},
        {"score": "recency_days"},
        {"ratio": {"of": {"did": "A", **window}, "to": {"distinct": path, "of": of, **window}}},
    ]
    return rng.choice(figures)


def _figures(rng: Random) -> dict[str, Any]:
    """Return a comparison of two figures, or of one with a number, or a test of a ratio."""
    left, right = _figure(rng), rng.choice((_figure(rng), _figure(rng), rng.choice(_NUMBERS)))
    if rng.random() < 0.15 and isinstance(right, dict):
        left, right = [{**each, "refresh": {"every": "day", "at": _MINUTE}} for each in (left, right)]
    if rng.random() < 0.3 and isinstance(right, dict):
        return {"ratio": {"of": left, "to": right, "is": _numeric(rng)}}
    return {"compare": [left, rng.choice(("eq", "ne", "lt", "lte", "gt", "gte")), right]}


def _rhythm(rng: Random, of: Any) -> dict[str, Any]:
    """Return a leaf about active days, sessions or periods."""
    low = rng.randint(0, 20)
    between = {"between": {"from": f"{(low + rng.randint(1, 20)) * 500}ms", "to": f"{low * 500}ms"}}
    window = between if rng.random() < 0.3 else _window(rng)
    gap, which = {"gap": f"{rng.randint(1, 8) * 500}ms"}, {"which": rng.choice(("current", "last"))}
    periods, path = rng.randint(2, 9), rng.choice(("p", "q", "o.r"))
    stages = rng.sample(("new", "active", "resurrected", "dormant"), rng.randint(1, 2))
    head = rng.choice(("active_days", "active_weeks", "active_months"))
    zone = {"zone": rng.choice(("UTC", "Asia/Kathmandu"))}
    leaves: list[dict[str, Any]] = [
        {head: of, **_where(rng), **zone, **window, "is": _count(rng)},
        {"sessions": of, **gap, **_where(rng), **window, "is": _count(rng)},
        {"session": "duration", "of": of, **gap, **which, "is": {rng.choice(("gte", "lt")): _length(rng)}},
        {"session": "events", "of": of, **gap, **which, "is": _count(rng)},
        {"session": {rng.choice(("first", "last")): path}, "of": of, **gap, **which, "is": _predicate(rng)},
        {"session": {"last": "at"}, "of": of, **gap, **which, "is": {"older_than": _length(rng)}},
        {
            "regularly": of,
            **_where(rng),
            "every": f"{rng.randint(1, 10) * 400}ms",
            "k": rng.randint(1, periods),
            "of": periods,
        },
        {"lifecycle": {"of": of, "period": _length(rng), "is": stages}},
        {"score_percentile": "recency_days", "is": {rng.choice(("gte", "lt")): rng.choice((0, 50, 90))}},
    ]
    return rng.choice(leaves)


def _rule(rng: Random, others: list[str], depth: int = 2) -> dict[str, Any]:
    if depth == 0 or rng.random() < 0.5:
        return _leaf(rng, others)
    of = [_rule(rng, others, depth - 1) for _ in range(rng.randint(2, 3))]
    return rng.choice(({"all": of}, {"any": of}, {"at_least": {"k": 2, "of": of}}, {"not": of[0]}))


def segments(rng: Random) -> SegmentSet:
    """Return a set of up to eight segments. Rules that cannot be read are left out."""
    forms: dict[str, dict[str, Any]] = {}
    definitions = []
    for number in range(rng.randint(1, 8)):
        try:
            definition = make_definition(f"s{number}", form := _rule(rng, [*forms]), _limits(rng))
        except Exception:  # a rule that can never hold, or always does
            continue
        forms[definition.key] = form
        definitions.append(msgspec.structs.replace(definition, written=form))
    return SegmentSet(definitions)


def _limits(rng: Random) -> dict[str, Any] | None:
    if rng.random() < 0.9:
        return None
    form = {"min_stay": _length(rng), "cool_down": _length(rng), "max_entries": rng.randint(1, 3)}
    return {key: form[key] for key in rng.sample(sorted(form), rng.randint(1, 3))}


def steps(rng: Random, number: int = 40) -> list[tuple[str, Any]]:
    """Return events of a minute or so, late and early ones among them, and ticks."""
    found: list[tuple[str, Any]] = []
    at = BASE_MS
    slow = rng.random() < 0.3  # orders of several days, and timers of scores that fire
    for each in range(number):
        at += rng.choice((0, 0, 1, 499, 500, 501, 2_000, 9_999))
        at += rng.choice((0, 20_000_000, 86_400_000, 1_000_000_000)) if slow else 0
        if rng.random() < 0.2:
            at += rng.choice((0, 0, 5_000, 20_000))
            found.append(("clock", at))
            continue
        time_ms = max(BASE_MS - 20_000, at + rng.choice((0, 0, 0, 0, -1, -500, -3_000, -15_000, 700)))
        values = _VALUES if rng.random() < 0.9 else (*_VALUES, *_ODD)
        properties = {name: rng.choice(values) for name in ("p", "q", "n") if rng.random() < 0.7}
        if rng.random() < 0.3:
            properties["o"] = {"r": rng.choice(values)}
        elif rng.random() < 0.05:
            properties["o"] = [{"r": rng.choice(values)} for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.2:
            properties["at"] = _date(rng)
        traits = None
        if rng.random() < 0.3:
            traits = {name: rng.choice(values) for name in ("p", "q", "z") if rng.random() < 0.5}
            traits |= {"o": {"r": rng.choice(values), "a": [1, {"k": 0.1}]}} if rng.random() < 0.2 else {}
            traits |= {"d": _date(rng)} if rng.random() < 0.3 else {}
        name = rng.choice(("A", "B"))
        if rng.random() < (0.5 if slow else 0.15):
            name = rng.choice(_ORDERS)
            properties |= _order(rng)
        location = rng.choice((None, None, (0.0, -179.99), (60, 10.5)))
        found.append(
            (
                "event",
                Event(name, time_ms, f"m{each}", properties, traits, location=location),
            )
        )
    found.append(("clock", at + rng.choice((0, 5_000, 100_000, 90_000_000))))
    return found


def _order(rng: Random) -> dict[str, Any]:
    """Return the properties of an event about an order: few ids, some without an amount."""
    found = {
        "order_id": rng.choice(("o1", "o1", "o2", 7, 7.0, None, f"n{rng.randrange(99)}")),
        "refund_id": rng.choice((None, None, "r1", 2)),
    }
    amounts = rng.choice(((), ("total",), ("revenue", "total")))
    return found | {name: rng.choice((None, 0, 0.1, 2.5, 5, 20, -5, "20")) for name in amounts}


def _date(rng: Random) -> str:
    text = format_instant(BASE_MS + rng.randint(-20, 140) * 500)
    return rng.choice((text, text, text, text[:-5] + "Z", text[:10], text.replace("T", " "), "soon"))
