"""Values at and beside the limits of predicates, for streams that tell rules apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final

from segops.core.operators import Predicate
from segops.core.values import format_instant

DAY_MS: Final = 86_400_000
_YEAR_MS: Final = 31_557_600_000
#: A text that no rule names.
OTHER: Final = "zzz"
#: How often a value is drawn that satisfies a predicate of a rule, out of ten times.
_FITTING: Final = 7

_Candidates = Callable[[Any, int], Sequence[Any]]


def around(value: Any) -> list[Any]:
    """Return a value with its neighbours.

    >>> around(5), around("x"), around(True)
    ([5, 4, 6, 4.99, 5.01], ['x'], [True, False])
    """
    if isinstance(value, bool):
        return [value, not value]
    if isinstance(value, (int, float)):
        return [value, value - 1, value + 1, value - 0.01, value + 0.01]
    return [value]


def _one(operand: Any, _now_ms: int) -> list[Any]:
    return around(operand)


def _each(operand: Any, _now_ms: int) -> list[Any]:
    return [value for each in operand for value in around(each)]


def _within(operand: Any, _now_ms: int) -> list[Any]:
    return [operand, f"a{operand}", f"{operand}b", f"a{operand}b"]


def _element(operand: Any, _now_ms: int) -> list[Any]:
    return [[operand], [OTHER, operand], [OTHER], []]


def _elements(operand: Any, now_ms: int) -> list[Any]:
    elements: list[dict[str, Any]] = [{}]
    for path, test in operand.where:
        for value in candidates(test, now_ms):
            element: Any = value
            for name in reversed(path):
                element = {name: element}
            elements.append(element)
    return [[], *([each] for each in elements), elements]


def _instant(operand: int, _now_ms: int) -> list[Any]:
    return [format_instant(operand + by) for by in (-1, 0, 1, -DAY_MS, DAY_MS)]


def _ahead(operand: int, now_ms: int) -> list[Any]:
    lengths = (operand - 1, operand, operand + 1, operand + DAY_MS, operand // 2, -1)
    return [format_instant(now_ms + length) for length in lengths]


def _ago(operand: int, now_ms: int) -> list[Any]:
    return _ahead(-operand, now_ms)


def _anniversary(operand: Any, now_ms: int) -> list[Any]:
    born_ms = now_ms - round(30 * _YEAR_MS)
    return [format_instant(born_ms + round(share * operand.length_ms))[:10] for share in (0.2, 0.9, 1.2, 3)]


def _age(operand: Any, now_ms: int) -> list[Any]:
    years = [
        value for _, each in operand.test.ops for value in (each if isinstance(each, tuple) else (each,))
    ]
    return [
        format_instant(now_ms - round((n + by) * _YEAR_MS))[:10] for n in years for by in (-0.5, 0, 0.5, 1.5)
    ]


def _days(_operand: Any, now_ms: int) -> list[Any]:
    return [format_instant(now_ms + days * DAY_MS) for days in (*range(7), *range(30, 366, 30))]


#: Operator -> values of which some satisfy it, and some just do not.
_CANDIDATES: Final[Mapping[str, _Candidates]] = {
    **dict.fromkeys(("eq", "ne", "lt", "lte", "gt", "gte"), _one),
    **dict.fromkeys(("in", "not_in", "between"), _each),
    **dict.fromkeys(("contains", "starts_with", "ends_with", "matches"), _within),
    "includes": _element,
    **dict.fromkeys(("any", "all", "none", "count"), _elements),
    "exists": lambda _operand, _now_ms: [OTHER, None],
    **dict.fromkeys(("before", "after"), _instant),
    "in_next": _ahead,
    **dict.fromkeys(("in_last", "newer_than", "older_than"), _ago),
    "anniversary_in_next": _anniversary,
    "age_in_years": _age,
    **dict.fromkeys(("weekday", "month"), _days),
}


def candidates(test: Predicate, now_ms: int) -> Iterator[Any]:
    """Yield values at and beside the limits of a predicate, at ``now_ms``.

    >>> list(candidates(Predicate((("gte", 3),)), 0))
    [3, 2, 4, 2.99, 3.01]
    """
    for name, operand in test.ops:
        yield from _CANDIDATES[name](operand, now_ms) if name in _CANDIDATES else ()


class Values:
    """Draws values of one property or trait: ``tests`` are the predicates on it, ``known`` its other values.

    ``closed``: it has no value but the known ones and those that rules name.
    """

    def __init__(self, tests: Sequence[Predicate], known: Sequence[Any], *, closed: bool) -> None:
        self._tests = tests
        self.closed = closed
        self._known = [*known, *([] if closed else [OTHER]), None]

    def draw(self, rng: Random, now_ms: int) -> Any:
        """Draw a value, more often than not one that satisfies some predicate; None stands for none."""
        if self._tests and rng.randrange(10) < _FITTING:
            test = rng.choice(self._tests)
            fitting = [value for value in self._of(test, now_ms) if test.holds(value, now_ms)]
            if fitting:
                return rng.choice(fitting)
        return rng.choice(
            [*(each for test in self._tests for each in candidates(test, now_ms)), *self._known]
        )

    def _of(self, test: Predicate, now_ms: int) -> list[Any]:
        return [*candidates(test, now_ms), *self._known]
