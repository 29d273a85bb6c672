"""The readers of the operands of ``weekday``, ``month`` and ``age_in_years``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segops.core.operators import Predicate
from segops.core.rules.counts import COUNT_OPERATORS, threshold_verdict

if TYPE_CHECKING:
    from segops.core.rules.parsing.reader import Reader

#: The days of the week, Monday first: the first one is number 1.
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
#: Limit on ages, in years: dates have years of four digits.
MAX_YEARS: Final = 9_999


def read_weekdays(reader: Reader) -> tuple[int, ...]:
    """Read a day of the week, or a non-empty list of them; return their numbers, from 1 for Monday."""
    days = [
        WEEKDAYS.index(each.one_of(WEEKDAYS)) + 1 for each in _one_or_more(reader, "days, such as [sat, sun]")
    ]
    return tuple(sorted(set(days)))


def read_months(reader: Reader) -> tuple[int, ...]:
    """Read the number of a month, or a non-empty list of them."""
    months = [each.integer(1, 12, "12") for each in _one_or_more(reader, "months, such as [1, 12]")]
    return tuple(sorted(set(months)))


def _one_or_more(reader: Reader, expected: str) -> list[Reader]:
    return reader.values(f"a non-empty list of {expected}") if isinstance(reader.raw, list) else [reader]


def read_age(reader: Reader) -> Predicate:
    """Read a number of years, or a predicate of them that some age satisfies."""
    test = reader.condition(COUNT_OPERATORS)
    if threshold_verdict(test) == "never":
        reader.fail("never holds: an age is an integer of at least 0")
    for _, operand in test.ops:
        if max(operand if isinstance(operand, tuple) else (operand,)) > MAX_YEARS:
            reader.fail(f"expected ages of at most {MAX_YEARS:,} years")
    return test
