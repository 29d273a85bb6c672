"""Clauses: what is said of some events, and the nodes that clauses become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from segops.studio.durations import WindowSpan
from segops.studio.items import Mark
from segops.studio.quantities import Quantity

Node = dict[str, Any]
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Both:
    """Values that are all asked of one field, which has a single one each time: "shoes and bags"."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Clause:
    """What is said of events: a count, an aggregate, an age, days or periods.

    ``head`` is the node's head key; ``test`` its count or ``is``; ``keys`` what else stands beside.
    """

    names: tuple[str, ...]
    head: str = "did"
    field: str = ""
    where: tuple[tuple[str, Any], ...] = ()
    test: Mapping[str, Any] | None = None
    window: Mapping[str, Any] | None = None
    keys: tuple[tuple[str, Any], ...] = ()
    negated: bool = False
    #: It is said of all time, so that no window of a neighbour is meant for it.
    timeless: bool = False
    #: A number of events is what comes next: "the number of orders".
    counted: bool = False
    #: How long after the step before it happened, as said.
    gap: WindowSpan | None = None
    #: The total of a field was said without saying which.
    loose: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """A node with the tokens that its keys came from."""

    node: Node
    marks: tuple[Mark, ...] = ()


def duration(length_ms: int) -> str:
    """Return the notation of a duration: days where it has whole days, else the largest unit that fits.

    >>> duration(14 * 86_400_000), duration(172_800_000), duration(5_400_000)
    ('14d', '2d', '90m')
    """
    units = (("d", _DAY_MS), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
    return next(f"{length_ms // ms}{unit}" for unit, ms in units if length_ms % ms == 0)


def number(value: Decimal) -> int | float:
    """Return a number as JSON has it: an integer where it is one.

    >>> number(Decimal("0.5")), number(Decimal("2.0"))
    (0.5, 2)
    """
    return int(value) if value == value.to_integral_value() else float(value)


def test_of(quantity: Quantity, scale: int = 1) -> dict[str, Any]:
    """Return a quantity as the operators of a predicate; ``scale`` divides its numbers."""
    found: dict[str, Any] = {}
    for op, operand in quantity.ops:
        values = operand if isinstance(operand, tuple) else (operand,)
        read = [number(value / scale) for value in values]
        found[op] = read if isinstance(operand, tuple) else read[0]
    return found


def count_of(quantity: Quantity) -> dict[str, Any]:
    """Return a quantity as a count: "twice" is at least twice."""
    if quantity.bare:
        return {"gte": number(quantity.ops[0][1])}  # type: ignore[arg-type]
    return test_of(quantity)


def node_of(clause: Clause) -> Node:
    """Return the node of a clause.

    >>> node_of(Clause(("Order Completed",), window={"within": "60d"}, negated=True))
    {'did_not': 'Order Completed', 'within': '60d'}
    """
    joint = next((at for at, (_, value) in enumerate(clause.where) if isinstance(value, Both)), None)
    if joint is not None:
        return {"all": [node_of(each) for each in _separate(clause, joint)]}
    positive = _positive(clause)
    if not clause.negated:
        return positive
    if clause.head == "did" and clause.test in (None, {"gte": 1}):
        del positive["did"]
        positive.pop("count", None)
        return {"did_not": _names(clause.names), **positive}
    return {"not": positive}


def _separate(clause: Clause, joint: int) -> Iterable[Clause]:
    path, both = clause.where[joint]
    for value in both.values:
        yield replace(clause, where=(*clause.where[:joint], (path, value), *clause.where[joint + 1 :]))


def _positive(clause: Clause) -> Node:
    named: Node
    if clause.head == "lifecycle":
        return {"lifecycle": {"of": _names(clause.names), **dict(clause.keys)}}
    if clause.field:
        named = {clause.head: clause.field, "of": _names(clause.names)}
    else:
        named = {clause.head: _names(clause.names)}
    if clause.where:
        named["where"] = dict(clause.where)
    if clause.test is not None and not (clause.head == "did" and clause.test == {"gte": 1}):
        named["count" if clause.head == "did" else "is"] = dict(clause.test)
    return {**named, **dict(clause.keys), **(clause.window or {})}


def _names(names: tuple[str, ...]) -> str | list[str]:
    return names[0] if len(names) == 1 else list(names)


def combined(head: str, pieces: Iterable[Piece]) -> Piece:
    """Return a group of pieces under ``all`` or ``any``; a single piece stays as it is."""
    flat: list[Piece] = []
    for piece in pieces:
        flat.extend(
            each for each in _flattened(head, piece) if all(each.node != known.node for known in flat)
        )
    if len(flat) == 1:
        return flat[0]
    marks = tuple(
        (first, last, f"{head}[{at}].{key}".rstrip("."))
        for at, piece in enumerate(flat)
        for first, last, key in piece.marks
    )
    return Piece({head: [piece.node for piece in flat]}, marks)


def _flattened(head: str, piece: Piece) -> Iterable[Piece]:
    """Yield the children of a group of the same head, else the piece."""
    if list(piece.node) != [head]:
        yield piece
        return
    for at, child in enumerate(piece.node[head]):
        prefix = f"{head}[{at}]"
        own = (
            (first, last, key.removeprefix(prefix).lstrip("."))
            for first, last, key in piece.marks
            if key == prefix or key.startswith(f"{prefix}.")
        )
        yield Piece(child, tuple(own))


def negated(piece: Piece) -> Piece:
    """Return the opposite of a piece."""
    node = piece.node
    if list(node) == ["not"]:
        return Piece(node["not"], tuple((a, b, key.removeprefix("not.")) for a, b, key in piece.marks))
    if "did" in node and "count" not in node:
        return Piece(
            {"did_not": node["did"], **{key: value for key, value in node.items() if key != "did"}},
            piece.marks,
        )
    return Piece({"not": node}, tuple((a, b, f"not.{key}".rstrip(".")) for a, b, key in piece.marks))
