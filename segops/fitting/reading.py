"""Orders, and tables of histories, from files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from segops.core.errors import UserError
from segops.core.scoring.buying import History
from segops.core.values import parse_instant
from segops.fitting.histories import Customer, Order
from segops.imports.model import format_of
from segops.imports.rows import RowFile

_T = TypeVar("_T")
#: Columns of a table of histories, by the names that the usual tools give them.
_SUMMARY: Final[Mapping[str, tuple[str, ...]]] = {
    "frequency": ("frequency", "x"),
    "recency": ("recency", "t_x"),
    "T": ("T",),
    "monetary_value": ("monetary_value", "zbar"),
}
_NEEDED: Final = ("frequency", "recency", "T")
_SHOWN: Final = 5


class BadRows(UserError):
    """A file has rows that no model can be fitted on; ``problems`` names each of the first ones."""

    def __init__(self, path: Path, count: int, problems: list[str]) -> None:
        more = f"\n  and {count - len(problems):,} more" if count > len(problems) else ""
        super().__init__(
            f"{path}: {count:,} invalid rows\n" + "\n".join(f"  {each}" for each in problems) + more
        )
        self.count = count
        self.problems = problems


def read_orders(path: Path, *, now_ms: int) -> list[Order]:
    """Read orders: columns ``customer``, ``date`` and, for their value, ``amount``.

    Raises UserError for a file that cannot be read, BadRows if any row has no customer, an unreadable date or
    one after ``now_ms``, or a negative amount.
    """

    def order(values: Mapping[str, Any]) -> Order:
        customer = values.get("customer")
        if customer in (None, ""):
            raise ValueError("customer: missing")
        at_ms = parse_instant(str(values.get("date", "")))
        if at_ms is None:
            raise ValueError(f"date: expected an ISO 8601 date, got {values.get('date')!r:.40}")
        if at_ms > now_ms:
            raise ValueError(f"date: {values['date']} is in the future")
        return Order(str(customer), at_ms, _number(values, "amount") if "amount" in values else None)

    return _read(path, order, ("customer", "date"))


def read_summary(path: Path) -> list[Customer]:
    """Read histories, with times in the unit of the file.

    The columns: ``frequency`` (orders after the first one), ``recency`` (from the first to the latest order),
    ``T`` (since the first order), and for their value ``monetary_value`` (the mean of the orders after the
    first one). They may be named ``x``, ``t_x``, ``T`` and ``zbar``, too.

    Raises UserError for a file that cannot be read, BadRows if any row has an impossible history.
    """

    def customer(values: Mapping[str, Any]) -> Customer:
        named = {name: next((key for key in keys if key in values), name) for name, keys in _SUMMARY.items()}
        x, last, age = (_number(values, named[name]) for name in _NEEDED)
        if x != int(x):
            raise ValueError(f"frequency: expected a whole number, got {x:g}")
        if last > age:
            raise ValueError(f"recency: {last:g} is more than T, {age:g}")
        if (x == 0) != (last == 0):
            raise ValueError(f"recency: {last:g} does not go with a frequency of {x:g}")
        value = _number(values, named["monetary_value"]) if named["monetary_value"] in values else 0.0
        return Customer(History(int(x), last, age), int(x) if value > 0 else 0, value)

    return _read(path, customer, ())


def _number(values: Mapping[str, Any], name: str) -> float:
    if name not in values:
        raise ValueError(f"{name}: missing")
    try:
        number = float(values[name])
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(f"{name}: expected a number of at least 0, got {values[name]!r:.40}")
    return number


def _read(path: Path, make: Callable[[Mapping[str, Any]], _T], columns: tuple[str, ...]) -> list[_T]:
    form = format_of(path)
    if form is None:
        raise UserError(f"{path}: expected a file named .csv, .tsv, .jsonl or .parquet")
    found: list[_T] = []
    problems: list[str] = []
    count = 0
    for line, made in _made(path, RowFile(path, form), make):
        if isinstance(made, str):
            count += 1
            problems += [f"line {line}: {made}"] if count <= _SHOWN else []
        else:
            found.append(made)
    if count:
        raise BadRows(path, count, problems)
    if not found:
        needed = f" with the columns {', '.join(columns)}" if columns else ""
        raise UserError(f"{path}: expected rows{needed}, got none")
    return found


def _made(
    path: Path, file: RowFile, make: Callable[[Mapping[str, Any]], _T]
) -> Iterator[tuple[int, _T | str]]:
    try:
        for row in file.rows():
            try:
                yield row.line, row.problem or make(row.values)
            except ValueError as error:
                yield row.line, str(error)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
