"""Whether any value can satisfy some predicates, and fail others, at any instant.

The answer is conservative: False is certain; True means that no contradiction was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from segops.core.operators import EDGES, OPERATORS, Operand, Predicate
from segops.core.values import kind, parse_instant

#: The kinds of values. ``whole``, for counts, stands for the integers from 0 on.
ANY_KIND = ("missing", "number", "string", "boolean", "list", "object")


class Requirement(NamedTuple):
    """A predicate, and whether it must hold or fail."""

    test: Predicate
    holds: bool = True


Requirements = Sequence[Requirement]
Op = tuple[str, Operand]


def possible(requirements: Requirements, kinds: Sequence[str] = ANY_KIND) -> bool:
    """Return whether a value of one of ``kinds`` may meet all requirements.

    >>> never = (("gte", 10), ("lt", 5)), (("gt", 5), ("contains", "x"))
    >>> [possible([Requirement(Predicate(ops))]) for ops in never]
    [False, False]
    >>> possible([Requirement(Predicate((("gte", 10),))), Requirement(Predicate((("eq", 12),)), holds=False)])
    True
    """
    if any(requirement.test.__class__ is not Predicate for requirement in requirements):
        return _converted(requirements)
    if len(requirements) == 1 and len(ops := requirements[0].test.ops) == 1 and ops[0][1].__class__ is int:
        return _known(*ops[0], requirements[0].holds, tuple(kinds))
    return any(_POSSIBLE[name](requirements) for name in kinds)


def _converted(requirements: Requirements) -> bool:
    """Decide requirements of one conversion by what it returns; all others are not looked into."""
    conversions = {getattr(requirement.test, "convert", None) for requirement in requirements}
    if len(conversions) > 1 or None in conversions:
        return True
    plain = [requirement._replace(test=requirement.test.plain) for requirement in requirements]
    return possible(plain, ("missing", "number" if conversions == {"number"} else "string"))


@lru_cache(maxsize=65_536)
def _known(operator: str, operand: int, holds: bool, kinds: tuple[str, ...]) -> bool:
    """Return ``possible`` for one requirement with one integer: large rules have many equal ones."""
    requirements = (Requirement(Predicate(((operator, operand),)), holds),)
    return any(_POSSIBLE[name](requirements) for name in kinds)


def _agree(requirements: Requirements, value: Any) -> bool:
    """Whether a value meets all requirements, given that no verdict on it depends on the instant."""
    return all(requirement.test.holds(value, 0) is requirement.holds for requirement in requirements)


def some_number(requirements: Requirements) -> Fraction | None:
    """Return a number that meets all requirements, or None.

    >>> some_number([Requirement(Predicate((("gt", 3),))), Requirement(Predicate((("lt", 4),)))])
    Fraction(7, 2)
    """
    # Each operand, and one number between each two neighbours, represent all numbers.
    operands = sorted({Fraction(number) for number in _numbers(requirements)}) or [Fraction(0)]
    between = [(a + b) / 2 for a, b in pairwise(operands)]
    tried = (*operands, *between, operands[0] - 1, operands[-1] + 1)
    return next((value for value in tried if _agree(requirements, value)), None)


def _whole(requirements: Requirements) -> bool:
    near = {int(number) + shift for number in _numbers(requirements) for shift in (-1, 0, 1)}
    return any(_agree(requirements, value) for value in near | {0} if value >= 0)


def _numbers(requirements: Requirements) -> Iterable[Any]:
    for requirement in requirements:
        for _, operand in requirement.test.ops:
            yield from (item for item in _items(operand) if kind(item) == "number")


def _items(operand: Operand) -> tuple[Any, ...]:
    return operand if operand.__class__ is tuple else (operand,)


def _wanted(requirements: Requirements) -> list[Op]:
    return [op for requirement in requirements if requirement.holds for op in requirement.test.ops]


def _list(requirements: Requirements) -> bool:
    """Ignores predicates that must fail."""
    return all(name in _OF_LISTS or (name == "exists" and operand) for name, operand in _wanted(requirements))


_OF_LISTS = frozenset(("includes", "any", "all", "none", "count"))


def _string(requirements: Requirements) -> bool:
    """Considers predicates that must fail only for single strings."""
    ops = _wanted(requirements)
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
        return any(_is_as_wanted(text, ops, requirements) for text in texts)
    return _ends_fit(ops)


def _may_be_text(name: str, operand: Operand) -> bool:
    if name == "exists":
        return bool(operand)
    if name in _COMPARING:
        return any(item.__class__ is str for item in _items(operand))
    return name not in _OF_LISTS


_COMPARING = frozenset(("eq", "ne", "in", "not_in", "lt", "lte", "gt", "gte", "between"))


def _is_as_wanted(text: str, ops: Sequence[Op], requirements: Requirements) -> bool:
    for name, operand in ops:
        if not (parse_instant(text) is not None if name in EDGES else OPERATORS[name](text, operand, 0)):
            return False
    return not any(
        requirement.test.holds(text, 0)
        for requirement in requirements
        if not (requirement.holds or requirement.test.timed)
    )


def _bounds(ops: Sequence[Op]) -> tuple[str, str | None, bool]:
    """Return the lower and upper bound of strings, and whether one of them is exclusive."""
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
    """Whether prefixes agree with each other and with the lower bound, and suffixes with each other."""
    starts = [operand for name, operand in ops if name == "starts_with"]
    ends = [operand for name, operand in ops if name == "ends_with"]
    start, end = max(starts, key=len, default=""), max(ends, key=len, default="")
    low = _bounds(ops)[0]
    if not all(map(start.startswith, starts)) or not all(map(end.endswith, ends)):
        return False
    return low <= start or low.startswith(start)


def _dates_have_room(ops: Sequence[Op]) -> bool:
    """Whether a date can satisfy the operators, both the fixed ones and those relative to now."""
    after = max((operand for name, operand in ops if name == "after"), default=None)
    before = min((operand for name, operand in ops if name == "before"), default=None)
    if after is not None and before is not None and after + 1 >= before:
        return False
    spans = [_AGES[name](operand) for name, operand in ops if name in _AGES]
    most = min((high for _, high in spans if high is not None), default=None)
    return most is None or max(low for low, _ in spans if low is not None) < most


#: Operator -> the ages of a date that satisfy it, in milliseconds: from the first on, below the second.
_AGES: dict[str, Callable[[int], tuple[int, int | None]]] = {
    "in_last": lambda length: (0, length),
    "newer_than": lambda length: (0, length),
    "older_than": lambda length: (length, None),
    "in_next": lambda length: (-length, 0),
}

_POSSIBLE: dict[str, Callable[[Requirements], bool]] = {
    "missing": lambda requirements: _agree(requirements, None),
    "boolean": lambda requirements: _agree(requirements, True) or _agree(requirements, False),
    "object": lambda requirements: _agree(requirements, {}),
    "number": lambda requirements: some_number(requirements) is not None,
    "whole": _whole,
    "string": _string,
    "list": _list,
}
