"""The parsers of conditions on the elements of a list: ``any``, ``all``, ``none`` and ``count``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from segops.core.operators import Elements, LookingElements, Predicate
from segops.core.paths import Path
from segops.core.rules.counts import COUNT_OPERATORS
from segops.core.rules.parsing.events import path_of_element

if TYPE_CHECKING:
    from segops.core.rules.parsing.reader import Reader

_EXAMPLE = "{category: shoes, price: {gte: 50}}"


def read_elements(reader: Reader) -> Elements:
    """Read the conditions that one element of a list satisfies together."""
    raw = reader.raw
    if not isinstance(raw, dict) or not raw:
        reader.fail(f"expected a non-empty map of paths to predicates, such as {_EXAMPLE}, got {raw!r}")
    names = sorted(raw, key=str)
    return _elements(tuple(reader.gather(*(partial(_condition, reader, name) for name in names))))


def read_number_of_elements(reader: Reader) -> Elements:
    """Read the predicate of a number of elements, and ``where``, the conditions on each of them."""
    raw = reader.raw
    operators = {} if not isinstance(raw, dict) else {key: raw[key] for key in raw if key != "where"}
    if not operators:
        example = "{gte: 2, where: {price: {gte: 50}}}"
        reader.fail(f"expected a predicate of a number, such as {example}, got {raw!r}")
    unknown = [key for key in operators if key not in COUNT_OPERATORS]
    if unknown:
        reader.at(unknown[0]).fail(
            f"unknown operator; expected where, or one of {', '.join(COUNT_OPERATORS)}"
        )

    def where() -> Elements:
        return read_elements(reader.at("where")) if "where" in reader else Elements(())

    number, elements = reader.gather(reader.with_raw(operators).count, where)
    return _elements(elements.where, number)


def _elements(where: tuple[tuple[Path, Predicate], ...], number: Predicate | None = None) -> Elements:
    looks = any(not path[0] for path, _ in where)
    return LookingElements(where, number) if looks else Elements(where, number)


def _condition(reader: Reader, name: Any) -> tuple[Path, Predicate]:
    condition = reader.at(name)
    path, test = path_of_element(condition, name), condition.condition()
    if test.timed:
        condition.fail("the elements of a list are tested once; use fixed dates (before, after)")
    return path, test
