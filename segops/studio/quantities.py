"""Quantities: "at least twice", "between 50 and 100 euros", "3 or more", "above one half", "within 5 km"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from segops.studio.durations import COMPARISON, COMPARISONS, NUMBER

_CURRENCIES: Final = {
    "EUR": "euros?|eurs?",
    "USD": "dollars?|usd|bucks?|us dollars?",
    "GBP": "pounds?|gbp|quid|pounds? sterling|sterling",
    "CHF": "francs?|chf|swiss francs?",
    "JPY": "yen|jpy",
    "SEK": "sek|kronor",
    "PLN": "zloty|pln",
}
_UNITS: Final = {
    "times": "times?|x|occasions?|separate times|separate occasions",
    "percent": "percent|per cent|pct|percentage points?",
    "stars": "stars?",
    "years": "years? old|years? of age|yrs? old|years?-old|years? olds?|yo",
    "km": "km|kms|kilomet(?:re|er)s?|ks",
    "mi": "miles?|mi",
    "m": "met(?:re|er)s?",
}
_MONEY: Final = "|".join(_CURRENCIES.values())
_UNIT: Final = f"(?P<unit>{_MONEY}|{'|'.join(_UNITS.values())})"
_SIGN: Final = f"(?:(?P<sign>{_MONEY}) )?"
_WORTH: Final = "(?:worth )?"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A predicate of numbers as said: operators with their operands, and the unit, which may be a currency."""

    ops: tuple[tuple[str, Decimal | tuple[Decimal, ...]], ...]
    unit: str = ""
    bare: bool = False

    @property
    def currency(self) -> str:
        """The currency, if the unit is one."""
        return self.unit if self.unit in _CURRENCIES else ""


_Groups = Mapping[str, str | None]


def unit_of(text: str) -> str:
    """Return the name of a unit: a currency, times, percent, stars, years or a length.

    >>> unit_of("euros"), unit_of("miles"), unit_of("")
    ('EUR', 'mi', '')
    """
    for name, words in {**_CURRENCIES, **_UNITS}.items():
        if text and re.fullmatch(words, text):
            return name
    return ""


def _unit(groups: _Groups) -> str:
    return unit_of(groups.get("unit") or groups.get("unit2") or groups.get("sign") or "")


def _compared(groups: _Groups) -> Quantity:
    op = COMPARISONS[groups["op"] or ""]
    return Quantity(((op, Decimal(groups["n"] or 0)),), _unit(groups))


def _after(op: str) -> Callable[[_Groups], Quantity]:
    return lambda groups: Quantity(((op, Decimal(groups["n"] or 0)),), _unit(groups))


def _range(groups: _Groups) -> Quantity | None:
    low, high = Decimal(groups["low"] or 0), Decimal(groups["high"] or 0)
    return Quantity((("between", (low, high)),), _unit(groups))


def _either(groups: _Groups) -> Quantity:
    low, high = Decimal(groups["low"] or 0), Decimal(groups["high"] or 0)
    return Quantity((("in", (low, high)),), _unit(groups))


def _bare(groups: _Groups) -> Quantity:
    return Quantity((("eq", Decimal(groups["n"] or 0)),), _unit(groups), bare=True)


def _two(groups: _Groups) -> Quantity | None:
    first = COMPARISONS[groups["op"] or ""], Decimal(groups["low"] or 0)
    second = COMPARISONS[groups["op2"] or ""], Decimal(groups["high"] or 0)
    if first[0][0] == second[0][0] or (first[0][0] == "g") != (first[1] <= second[1]):
        return None
    return Quantity((first, second), _unit(groups))


_N: Final = f"(?P<n>{NUMBER})"
_U: Final = f"(?: {_UNIT})?"
_LOW: Final = f"(?P<low>{NUMBER})(?: (?:{_MONEY}|times?|percent|stars?))?"
_HIGH: Final = f"(?P<high>{NUMBER})"
_OP: Final = f"(?:is |are |was |were |of |being )?(?P<op>{COMPARISON})"
_OP2: Final = f"(?P<op2>{COMPARISON})"
_MONEYS: Final = f"(?:(?:{_MONEY}) )?"

#: The pattern of an age that is said of a group: "under 25s".
AGES: Final = r"(?<!for )(?<!in )(?<!within )(?P<op>under|over|below|above) (?P<n>[1-9]\d) s"


def ages(groups: _Groups) -> Quantity:
    """Return the age of "under 25s"."""
    return Quantity(((COMPARISONS[groups["op"] or ""], Decimal(groups["n"] or 0)),), "years")


#: Patterns of quantities with their builders, the more specific first.
QUANTITIES: Final[tuple[tuple[str, Callable[[_Groups], Quantity | None]], ...]] = (
    (rf"(?:anywhere |somewhere )?between {_SIGN}{_LOW} (?:and|to) {_MONEYS}{_HIGH}{_U}", _range),
    (rf"{_OP} {_SIGN}(?P<low>{NUMBER}) (?:and|but) {_OP2} {_HIGH}{_U}", _two),
    (rf"(?:from )?{_SIGN}{_LOW} (?:to|-) {_MONEYS}{_HIGH}{_U}", _range),
    (rf"{_SIGN}{_LOW} or {_MONEYS}{_HIGH}{_U}", _either),
    (
        rf"{_SIGN}{_N}{_U} (?:or (?:more|above|higher|over|better|up|greater|longer)(?! than)|and (?:more|above|over|up|higher)(?! than| \d)|\+|plus|upwards|minimum|at least(?! \d)|at a minimum){_U.replace('unit', 'unit2')}",
        _after("gte"),
    ),
    (
        rf"{_SIGN}{_N}{_U} (?:or (?:less|fewer|below|lower|under|worse)(?! than)|and (?:below|under|less)(?! than| \d)|maximum|max|tops|at most|at the most){_U.replace('unit', 'unit2')}",
        _after("lte"),
    ),
    (rf"{_SIGN}{_N}{_U} (?:only|exactly|precisely|flat)", _after("eq")),
    (rf"{_OP} (?:an? )?{_WORTH}{_SIGN}{_N}{_U}", _compared),
    (rf"{_SIGN}{_N}{_U}", _bare),
)
