"""Whether any value at all can satisfy some tests, and fail others, at any instant.

The answer errs on one side only: False is certain, and where it is True there may be no such value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from segops.core.operators import EDGES, OPERATORS, Operand, Predicate
from segops.core.values import kind, parse_instant

#: What a value can be. ``whole`` stands for the whole numbers from 0 up, of which a count is one.
ANY_KIND = ("missing", "number", "string", "boolean", "list", "object")


class Requirement(NamedTuple):
    """A test, and whether it is to hold."""

    test: Predicate
    holds: bool = True


Claims = Sequence[Requirement]
Op = tuple[str, Operand]


def possible(claims: Claims, kinds: Sequence[str] = ANY_KIND) -> bool:
    """Whether a value of one of ``kinds`` may be as all claims want it.

    >>> never = (("gte", 10), ("lt", 5)), (("gt", 5), ("contains", "x"))
    >>> [possible([Requirement(Predicate(ops))]) for ops in never]
    [False, False]
    >>> possible([Requirement(Predicate((("gte", 10),))), Requirement(Predicate((("eq", 12),)), holds=False)])
    True
    """
    if len(claims) == 1 and len(ops := claims[0].test.ops) == 1 and ops[0][1].__class__ is int:
        return _known(*ops[0], claims[0].holds, tuple(kinds))
    return any(_POSSIBLE[name](claims) for name in kinds)


@lru_cache(maxsize=65_536)
def _known(operator: str, operand: int, holds: bool, kinds: tuple[str, ...]) -> bool:
    """``possible`` of one claim on one integer, of which rules have very many alike."""
    claims = (Requirement(Predicate(((operator, operand),)), holds),)
    return any(_POSSIBLE[name](claims) for name in kinds)


def _agree(claims: Claims, value: Any) -> bool:
    """For values on which no verdict depends on the instant."""
    return all(claim.test.holds(value, 0) is claim.holds for claim in claims)


def some_number(claims: Claims) -> Fraction | None:
    """A number that is as all claims want it, or None: there is none.

    >>> some_number([Requirement(Predicate((("gt", 3),))), Requirement(Predicate((("lt", 4),)))])
    Fraction(7, 2)
    """
    # One number of each span between two operands, and each operand, stands for all.
    operands = sorted({Fraction(number) for number in _numbers(claims)}) or [Fraction(0)]
    between = [(a + b) / 2 for a, b in pairwise(operands)]
    tried = (*operands, *between, operands[0] - 1, operands[-1] + 1)
    return next((value for value in tried if _agree(claims, value)), None)


def _whole(claims: Claims) -> bool:
    near = {int(number) + shift for number in _numbers(claims) for shift in (-1, 0, 1)}
    return any(_agree(claims, value) for value in near | {0} if value >= 0)


def _numbers(claims: Claims) -> Iterable[Any]:
    for claim in claims:
        for _, operand in claim.test.ops:
            yield from (item for item in _items(operand) if kind(item) == "number")


def _items(operand: Operand) -> tuple[Any, ...]:
    return operand if operand.__class__ is tuple else (operand,)


def _wanted(claims: Claims) -> list[Op]:
    return [op for claim in claims if claim.holds for op in claim.test.ops]


def _list(claims: Claims) -> bool:
    """What a list may not be is left out of account."""
    return all(name == "includes" or (name == "exists" and operand) for name, operand in _wanted(claims))


def _string(claims: Claims) -> bool:
    """Of what a text may not be, only what it says of single texts is taken into account."""
    ops = _wanted(claims)
    if not all(_may_be_text(name, operand) for name, operand in ops) or not _dates_have_room(ops):
        return False
    low, high, strict = _bounds(ops)
    if high is not None and (low > high or (low == high and strict)):
        return False
    only = [set(_items(operand)) for name, operand in ops if name in ("eq", "in")]
    if high is not None and low == high:
        only.append({low})
    if only:
        texts = [text for text in set.intersection(*only) if text.__class__ is str]
        return any(_is_as_wanted(text, ops, claims) for text in texts)
    return _ends_fit(ops)


def _may_be_text(name: str, operand: Operand) -> bool:
    if name == "exists":
        return bool(operand)
    if name in _COMPARING:
        return any(item.__class__ is str for item in _items(operand))
    return name != "includes"


_COMPARING = frozenset(("eq", "ne", "in", "not_in", "lt", "lte", "gt", "gte", "between"))


def _is_as_wanted(text: str, ops: Sequence[Op], claims: Claims) -> bool:
    for name, operand in ops:
        if not (parse_instant(text) is not None if name in EDGES else OPERATORS[name](text, operand, 0)):
            return False
    return not any(claim.test.holds(text, 0) for claim in claims if not (claim.holds or claim.test.timed))


def _bounds(ops: Sequence[Op]) -> tuple[str, str | None, bool]:
    """The least and the greatest text, and whether one of them is itself left out."""
    lows = [("", False)] + [(operand, name == "gt") for name, operand in ops if name in _LOWER]
    highs = [(operand, name == "lt") for name, operand in ops if name in ("lt", "lte")]
    for name, operand in ops:
        if name == "between":
            lows, highs = [*lows, (operand[0], False)], [*highs, (operand[1], False)]
    low = max(text for text, _ in lows)
    high = min((text for text, _ in highs), default=None)
    return low, high, any(strict and text in (low, high) for text, strict in (*lows, *highs))


_LOWER = frozenset(("gt", "gte", "starts_with"))


def _ends_fit(ops: Sequence[Op]) -> bool:
    """Whether beginnings agree with each other and with the least text, and endings with each other."""
    starts = [operand for name, operand in ops if name == "starts_with"]
    ends = [operand for name, operand in ops if name == "ends_with"]
    start, end = max(starts, key=len, default=""), max(ends, key=len, default="")
    low = _bounds(ops)[0]
    if not all(map(start.startswith, starts)) or not all(map(end.endswith, ends)):
        return False
    return low <= start or low.startswith(start)


def _dates_have_room(ops: Sequence[Op]) -> bool:
    """Whether a date can lie where the operators want it, by itself and as seen from now."""
    after = max((operand for name, operand in ops if name == "after"), default=None)
    before = min((operand for name, operand in ops if name == "before"), default=None)
    if after is not None and before is not None and after + 1 >= before:
        return False
    spans = [_AGES[name](operand) for name, operand in ops if name in _AGES]
    most = min((high for _, high in spans if high is not None), default=None)
    return most is None or max(low for low, _ in spans if low is not None) < most


#: Operator -> the ages of a date that it wants, in milliseconds: from the first on, below the second.
_AGES: dict[str, Callable[[int], tuple[int, int | None]]] = {
    "in_last": lambda length: (0, length),
    "newer_than": lambda length: (0, length),
    "older_than": lambda length: (length, None),
    "in_next": lambda length: (-length, 0),
}

_POSSIBLE: dict[str, Callable[[Claims], bool]] = {
    "missing": lambda claims: _agree(claims, None),
    "boolean": lambda claims: _agree(claims, True) or _agree(claims, False),
    "object": lambda claims: _agree(claims, {}),
    "number": lambda claims: some_number(claims) is not None,
    "whole": _whole,
    "string": _string,
    "list": _list,
}
