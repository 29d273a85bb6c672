"""Checking the ``rfm`` block of a segment file, and the nodes that read it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

from segops.core.features.orders import Purchases
from segops.core.operators import Predicate
from segops.core.rules.parsing.predicates import COUNT_OPERATORS, Refused, check_test
from segops.core.rules.parsing.sequences import Reporter
from segops.core.scoring.rfm import Rfm
from segops.core.values import exact, kind, parse_duration

DIGITS = ("recency", "frequency", "monetary")
KEYS = ("period", "currency", *DIGITS, "tiers")
MAX_EDGES = 9


def check_rfm(reporter: Reporter, raw: Any, path: str) -> Rfm:
    """The checked form of an ``rfm`` block; what it does not name is as in the defaults."""
    if not isinstance(raw, dict) or not raw:
        reporter.refuse(path, f"a map of any of {', '.join(KEYS)} is wanted")
        return Rfm()
    for key in raw:
        if key not in KEYS:
            reporter.refuse(f"{path}.{key}", f"unknown key; here: {', '.join(KEYS)}")
    default = Rfm()

    def part(key: str, check: Callable[[Any], Any], otherwise: Any) -> Any:
        try:
            return check(raw[key]) if key in raw else otherwise
        except ValueError as error:
            reporter.refuse(f"{path}.{key}", str(error))
            return otherwise

    recency = part("recency", lambda edges: _edges(edges, _positive_duration), default.recency_ms)
    frequency = part("frequency", lambda edges: _edges(edges, _whole), default.frequency)
    limits = len(recency) + 1, len(frequency) + 1
    return Rfm(
        Purchases(
            part("period", _positive_duration, default.purchases.period_ms), part("currency", _currency, None)
        ),
        recency,
        frequency,
        part("monetary", lambda edges: _edges(edges, _amount), default.monetary),
        part("tiers", lambda tiers: _tiers(tiers, limits), default.tiers),
    )


def _edges(raw: Any, check: Callable[[Any], Any]) -> tuple[Any, ...]:
    if not isinstance(raw, list) or not 1 <= len(raw) <= MAX_EDGES:
        raise ValueError(f"a list of 1 to {MAX_EDGES} rising edges is wanted")
    edges = tuple(check(edge) for edge in raw)
    if any(a >= b for a, b in pairwise(edges)):
        raise ValueError("each edge is above the one before")
    return edges


def _positive_duration(raw: Any) -> int:
    length = parse_duration(raw)
    if length == 0:
        raise ValueError("a duration of 0 holds nothing")
    return length


def _whole(raw: Any) -> int:
    if type(raw) is not int or raw < 0:
        raise ValueError(f"a whole number from 0 up is wanted, not {raw!r}")
    return raw


def _amount(raw: Any) -> Decimal:
    if kind(raw) != "number":
        raise ValueError(f"a number is wanted, not {raw!r}")
    return exact(raw)


def _currency(raw: Any) -> str:
    if not isinstance(raw, str) or len(raw) != 3 or not raw.isupper():
        raise ValueError(f"{raw!r} is no currency; write its three letters, as in EUR")
    return raw


def _tiers(raw: Any, limits: tuple[int, int]) -> tuple[tuple[str, int, int, int, int], ...]:
    if not isinstance(raw, dict) or not raw:
        raise ValueError("a map of tiers is wanted, as in {champions: {recency: [5, 5], frequency: [4, 5]}}")
    return tuple((str(name), *_cells(name, form, limits)) for name, form in raw.items())


def _cells(name: Any, form: Any, limits: tuple[int, int]) -> tuple[int, int, int, int]:
    if not isinstance(form, dict) or set(form) != {"recency", "frequency"}:
        raise ValueError(
            f"{name}: recency and frequency are wanted, as in {{recency: [4, 5], frequency: [1, 2]}}"
        )
    ranges = []
    for key, limit in zip(("recency", "frequency"), limits, strict=True):
        pair = form[key]
        valid = isinstance(pair, list) and len(pair) == 2 and all(type(digit) is int for digit in pair)
        if not valid or not 1 <= pair[0] <= pair[1] <= limit:
            raise ValueError(f"{name}.{key}: the lowest and the highest digit from 1 to {limit} are wanted")
        ranges += pair
    return ranges[0], ranges[1], ranges[2], ranges[3]


def lint_rfm(rfm: Rfm) -> list[str]:
    """What is odd about the grid: tiers that nobody can be in, and digits that belong to no tier."""
    found = [f"nobody can be in {name}: tiers before it take all its cells" for name in rfm.dead_tiers()]
    if holes := rfm.holes():
        found.append("in no tier: " + ", ".join(f"recency {r} frequency {f}" for r, f in holes))
    return found


def check_tiers(raw: Any, rfm: Rfm) -> tuple[str, ...]:
    """The tiers that a node names. Raises ValueError for one that there is not."""
    names = raw if isinstance(raw, list) else [raw]
    known = [name for name, *_ in rfm.tiers]
    if not names:
        raise ValueError("a tier, or a list of at least one, is wanted")
    for name in names:
        if name not in known:
            raise ValueError(f"there is no tier {name!r}; here: {', '.join(known)}")
    return tuple(sorted(set(names)))


def check_digits(raw: dict[Any, Any]) -> tuple[tuple[str, Predicate], ...]:
    """The tests of digits that a node names. Raises Refused."""
    if not raw or set(raw) - set(DIGITS):
        raise Refused("", f"a tier, or a map of any of {', '.join(DIGITS)}, is wanted")
    tests = []
    for name in sorted(raw):
        form = raw[name] if isinstance(raw[name], dict) else {"eq": raw[name]}
        try:
            tests.append((str(name), check_test(form, COUNT_OPERATORS)))
        except Refused as refused:
            first, *more = ((f".{name}{where}", reason) for where, reason in refused.parts)
            raise Refused(*first, *more) from None
    return tuple(tests)
