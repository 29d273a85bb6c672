"""Predicates over counts: the counts at which the verdict changes, and whether it ever changes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from segops.core.operators import Predicate

COUNT_OPERATORS = ("eq", "ne", "lt", "lte", "gt", "gte", "between", "in", "not_in")


def boundaries(test: Predicate) -> tuple[int, ...]:
    """Return the counts at which the verdict may differ from that on the previous count, in order.

    >>> boundaries(Predicate((("between", (2, 4)),)))
    (2, 5)
    """
    found: set[int] = set()
    for name, operand in test.ops:
        found.update(_BOUNDARIES[name](operand))
    return tuple(sorted(b for b in found if b > 0))


_BOUNDARIES: dict[str, Callable[[Any], Collection[int]]] = {
    "gte": lambda k: (k,),
    "lt": lambda k: (k,),
    "gt": lambda k: (k + 1,),
    "lte": lambda k: (k + 1,),
    "eq": lambda k: (k, k + 1),
    "ne": lambda k: (k, k + 1),
    "between": lambda ab: (ab[0], ab[1] + 1),
    "in": lambda ks: [b for k in ks for b in (k, k + 1)],
    "not_in": lambda ks: [b for k in ks for b in (k, k + 1)],
}


def threshold_verdict(test: Predicate) -> str | None:
    """Return ``never`` or ``always`` if the predicate holds for no count or for all, else None.

    >>> threshold_verdict(Predicate((("gte", 0),))), threshold_verdict(Predicate((("lt", 0),)))
    ('always', 'never')
    """
    verdicts = {test.holds(count, 0) for count in (0, *boundaries(test))}
    if len(verdicts) > 1:
        return None
    return "always" if True in verdicts else "never"
