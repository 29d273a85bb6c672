"""The parsers of a file's ``rfm`` block, and of the tiers or digits that an ``rfm`` node names."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any

from segops.core.features.orders import Purchases
from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.rules.counts import COUNT_OPERATORS
from segops.core.rules.parsing.context import Context
from segops.core.rules.parsing.money import read_currency
from segops.core.rules.parsing.reader import Reader
from segops.core.scoring.rfm import Rfm

DIGITS = ("recency", "frequency", "monetary")
MAX_EDGES = 9


def read_rfm(raw: Any, path: str, context: Context) -> Rfm:
    """Parse an ``rfm`` block; a missing key keeps its default. Raises DefinitionError with every mistake.

    >>> read_rfm({"currency": "EUR", "frequency": [1, 3]}, "rfm", Context()).frequency
    (1, 3)
    """
    default = Rfm()
    block = Reader(raw, path, context)
    found = block.fields({**_FIELDS, "tiers": partial(_tiers, block)})
    return Rfm(
        Purchases(found.get("period", default.purchases.period_ms), found.get("currency")),
        found.get("recency", default.recency_ms),
        found.get("frequency", default.frequency),
        found.get("monetary", default.monetary),
        found.get("tiers", default.tiers),
    )


def _edges(read: Callable[[Reader], Any]) -> Callable[[Reader], tuple[Any, ...]]:
    def read_edges(reader: Reader) -> tuple[Any, ...]:
        edges = tuple([read(edge) for edge in reader.values(f"a list of 1 to {MAX_EDGES} edges", MAX_EDGES)])
        if any(a >= b for a, b in pairwise(edges)):
            reader.fail("expected each edge to be above the previous one")
        return edges

    return read_edges


def _amount(reader: Reader) -> Decimal:
    return reader.number()


#: Key of the block -> its reader. ``tiers`` is read apart: it depends on the numbers of edges.
_FIELDS: dict[str, Callable[[Reader], Any]] = {
    "period": Reader.positive_duration,
    "currency": read_currency,
    "recency": _edges(Reader.positive_duration),
    "frequency": _edges(lambda reader: reader.integer(0)),
    "monetary": _edges(_amount),
}


def _greatest(block: Reader, key: str, default: tuple[int, ...]) -> int:
    """Return the highest digit that the edges under ``key`` allow, whether the edges are valid or not."""
    edges = block.at(key, list(default)).raw
    return len(edges if isinstance(edges, list) else default) + 1


def _tiers(block: Reader, tiers: Reader) -> tuple[tuple[str, int, int, int, int], ...]:
    if not isinstance(tiers.raw, dict) or not tiers.raw:
        tiers.fail("expected a map of tiers, such as {champions: {recency: [5, 5], frequency: [4, 5]}}")
    default = Rfm()
    limits = (
        _greatest(block, "recency", default.recency_ms),
        _greatest(block, "frequency", default.frequency),
    )
    cells = tiers.gather(*(partial(_cells, tiers, name, limits) for name in tiers.raw))
    return tuple((str(name), *ends) for name, ends in zip(tiers.raw, cells, strict=True))


def _cells(tiers: Reader, name: Any, limits: tuple[int, int]) -> tuple[int, ...]:
    """Read a tier: the lowest and highest digit of recency, then of frequency."""
    form, ends = tiers.raw[name], []
    if not isinstance(form, dict) or set(form) != {"recency", "frequency"}:
        example = "{recency: [4, 5], frequency: [1, 2]}"
        tiers.fail(f"{name}: expected recency and frequency, such as {example}")
    for key, limit in zip(("recency", "frequency"), limits, strict=True):
        pair = form[key]
        valid = isinstance(pair, list) and len(pair) == 2 and all(type(digit) is int for digit in pair)
        if not valid or not 1 <= pair[0] <= pair[1] <= limit:
            tiers.fail(f"{name}.{key}: expected the lowest and the highest digit, from 1 to {limit}")
        ends += pair
    return tuple(ends)


def read_rfm_node(reader: Reader) -> model.RfmNode:
    """Parse the tiers, or the predicates of digits, of an ``rfm`` node."""
    rfm = reader.context.rfm
    if isinstance(reader.raw, dict):
        return model.RfmNode(rfm or Rfm(), (), _digits(reader))
    return model.RfmNode(rfm or Rfm(), named_tiers(reader))


def named_tiers(reader: Reader) -> tuple[str, ...]:
    """Read a tier or a list of tiers, in the order of their names."""
    rfm = reader.context.rfm
    names = reader.values("a tier or a non-empty list of tiers") if isinstance(reader.raw, list) else [reader]
    if rfm is None:
        return tuple(sorted({name.text() for name in names}))
    known = [name for name, *_ in rfm.tiers]
    return tuple(sorted({name.known("tier", known) for name in names}))


def _digits(reader: Reader) -> tuple[tuple[str, Predicate], ...]:
    if not reader.raw or set(reader.raw) - set(DIGITS):
        reader.fail(f"expected a tier, or a map with any of {', '.join(DIGITS)}")
    names = sorted(reader.raw)
    tests = reader.gather(*(partial(reader.at(name).condition, COUNT_OPERATORS) for name in names))
    return tuple(zip(names, tests, strict=True))
