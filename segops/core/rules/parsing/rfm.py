"""The parsers of a file's ``rfm`` block with its named grids, and of what an ``rfm`` node names.

A measure whose edges are quantiles has those of the model ``rfm``, or ``rfm.NAME`` for a named grid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any, Final

import msgspec
from msgspec import UNSET

from segops.core.features.orders import Purchases
from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.rules.counts import COUNT_OPERATORS
from segops.core.rules.parsing.context import Context
from segops.core.rules.parsing.money import read_currency
from segops.core.rules.parsing.reader import Reader
from segops.core.scoring.rfm import EDGES_OF, MEASURES, Actions, Quantiles, Rfm
from segops.core.scoring.rfm_presets import PRESETS, QUANTILES

DIGITS = MEASURES
MAX_EDGES = 9
#: The model of the population that the unnamed grid reads; ``rfm.NAME`` is that of a named one.
RFM_MODEL: Final = "rfm"
GRID_PATTERN = "^[a-z0-9][a-z0-9_-]{0,63}$"
_NAME = re.compile(GRID_PATTERN.strip("^$"))
_EXAMPLE = "{of: [Application Opened], frequency: [1, 5, 20]}"


def read_rfm(raw: Any, path: str, context: Context) -> Rfm:
    """Parse an ``rfm`` block without its named grids; a missing key keeps its default.

    Raises DefinitionError with every mistake.

    >>> read_rfm({"currency": "EUR", "frequency": [1, 3]}, "rfm", Context()).frequency
    (1, 3)
    """
    names = _grids_in(raw)
    if names and len(names) == len(raw):
        return Rfm()
    own = {key: value for key, value in raw.items() if key not in names} if names else raw
    return _grid(Reader(own, path, context), RFM_MODEL, {})


def read_grids(raw: Any, path: str, context: Context) -> dict[str, Rfm]:
    """Parse the named grids of an ``rfm`` block. Raises DefinitionError with every mistake.

    >>> block = {"opens": {"of": "Application Opened", "frequency": [1, 5]}}
    >>> read_grids(block, "rfm", Context())["opens"].actions.names
    ('Application Opened',)
    """
    block, names = Reader(raw, path, context), _grids_in(raw)
    grids = block.gather(*(partial(_named, block, name) for name in names))
    return dict(zip(names, grids, strict=True))


def _grids_in(raw: Any) -> list[Any]:
    """Return the keys of a block that name grids: those of maps that are not keys of a grid."""
    known = (*_FIELDS, *_APART)
    if not isinstance(raw, dict):
        return []
    return [key for key in raw if key not in known and isinstance(raw[key], dict)]


def _named(block: Reader, name: Any) -> Rfm:
    form = block.at(name)
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        form.fail("expected a name of at most 64 lower-case letters, digits, hyphens and underscores")
    if "of" not in form:
        form.fail(f"unknown key, or a grid without of: the events that count, such as {_EXAMPLE}")
    return _grid(form, f"{RFM_MODEL}.{name}", _ACTIONS)


def _grid(block: Reader, model_name: str, others: Mapping[str, Callable[[Reader], Any]]) -> Rfm:
    """Read a grid; ``others``: the readers of keys that only a named one has."""
    preset = {"preset": lambda reader: PRESETS[reader.known("preset", PRESETS)]}
    found = block.fields({**_FIELDS, **preset, **others, "tiers": partial(_tiers, block)})
    chosen, default = found.get("preset"), Rfm()
    edges = {name: found.get(name, getattr(default, EDGES_OF[name])) for name in MEASURES}
    if chosen is not None:
        edges = {name: found.get(name, chosen.groups) for name in MEASURES}
    rfm = Rfm(
        Purchases(found.get("period", default.purchases.period_ms), found.get("currency")),
        tiers=found.get("tiers", default.tiers if chosen is None else chosen.tiers),
        actions=_actions(found) if others else UNSET,
    )
    return _with_edges(block, rfm, edges, model_name)


def _actions(found: Mapping[str, Any]) -> Actions:
    return Actions(found["of"], found.get("where", ()), found.get("value"))


def _with_edges(block: Reader, rfm: Rfm, edges: Mapping[str, Any], model_name: str) -> Rfm:
    """Return the grid with written edges, and those of the population where a number of groups stands."""
    groups = tuple((name, edges[name]) for name in MEASURES if isinstance(edges[name], int))
    found = dict(edges)
    quantiles: Any = UNSET
    if groups:
        measured = block.context.population_edges(model_name, dict(groups))
        found |= measured or dict.fromkeys(dict(groups), ())
        quantiles = Quantiles(model_name, groups, measured is not None)
        if measured is None and not block.context.published:
            block.warn(_unmeasured(dict(groups), model_name))
    fields = {EDGES_OF[name]: found[name] for name in MEASURES}
    return msgspec.structs.replace(rfm, quantiles=quantiles, **fields)


def _unmeasured(groups: Mapping[str, int], model_name: str) -> str:
    names, command = " and ".join(groups), f"`segops models refresh {model_name}`"
    return f"{names}: the population is not measured yet, so no customer has digits; run {command}"


def _edges(read: Callable[[Reader], Any]) -> Callable[[Reader], tuple[Any, ...] | int]:
    """Return a reader of a list of edges, or of the name of quantiles, which is a number of groups."""

    def read_edges(reader: Reader) -> tuple[Any, ...] | int:
        if isinstance(reader.raw, str):
            return QUANTILES[reader.one_of(QUANTILES)]
        edges = tuple([read(edge) for edge in reader.values(f"a list of 1 to {MAX_EDGES} edges", MAX_EDGES)])
        if any(a >= b for a, b in pairwise(edges)):
            reader.fail("expected each edge to be above the previous one")
        return edges

    return read_edges


def _amount(reader: Reader) -> Decimal:
    return reader.number()


#: Key of a grid -> its reader. ``tiers`` is read apart: it depends on the numbers of edges.
_FIELDS: dict[str, Callable[[Reader], Any]] = {
    "period": Reader.positive_duration,
    "currency": read_currency,
    "recency": _edges(Reader.positive_duration),
    "frequency": _edges(lambda reader: reader.integer(0)),
    "monetary": _edges(_amount),
}


def _conditions(reader: Reader) -> tuple[tuple[model.Path, Predicate], ...]:
    where = reader.where()
    if any(test.timed for _, test in where):
        reader.fail("operators that depend on now are not allowed here: an event counts or does not")
    return where


#: Key of a named grid only -> its reader.
_ACTIONS: dict[str, Callable[[Reader], Any]] = {
    "of": Reader.names,
    "where": _conditions,
    "value": Reader.property,
}
#: The other keys of a grid.
_APART: Final = ("preset", "tiers")


def _greatest(block: Reader, key: str) -> int:
    """Return the highest digit that the edges under ``key`` allow, whether the edges are valid or not."""
    edges, preset = block.at(key).raw, block.at("preset").raw
    if isinstance(edges, list):
        return len(edges) + 1
    if isinstance(edges, str) and edges in QUANTILES:
        return QUANTILES[edges]
    if edges is None and isinstance(preset, str) and preset in PRESETS:
        return PRESETS[preset].groups
    return Rfm().greatest(key)


def _tiers(block: Reader, tiers: Reader) -> tuple[tuple[Any, ...], ...]:
    if not isinstance(tiers.raw, dict) or not tiers.raw:
        tiers.fail("expected a map of tiers, such as {champions: {recency: [5, 5], frequency: [4, 5]}}")
    limits = {name: _greatest(block, name) for name in MEASURES}
    cells = tiers.gather(*(partial(_cells, tiers, name, limits) for name in tiers.raw))
    found = zip(tiers.raw, cells, strict=True)
    return tuple((str(name), *ends) for name, boxes in found for ends in boxes)


def _cells(tiers: Reader, name: Any, limits: Mapping[str, int]) -> list[tuple[int, ...]]:
    """Read a tier, which is a box of digits or a list of boxes."""
    form = tiers.raw[name]
    boxes = form if isinstance(form, list) and form else [form]
    return [_box(tiers, name, box, limits) for box in boxes]


def _box(tiers: Reader, name: Any, form: Any, limits: Mapping[str, int]) -> tuple[int, ...]:
    """Read the lowest and highest digit of recency, then of frequency, and of monetary if it is there."""
    ends: list[int] = []
    if not isinstance(form, dict) or set(form) - {"monetary"} != {"recency", "frequency"}:
        example = "{recency: [4, 5], frequency: [1, 2]}"
        tiers.fail(f"{name}: expected recency and frequency, such as {example}")
    for key in MEASURES[: len(form)]:
        pair, limit = form[key], limits[key]
        valid = isinstance(pair, list) and len(pair) == 2 and all(type(digit) is int for digit in pair)
        if not valid or not 1 <= pair[0] <= pair[1] <= limit:
            tiers.fail(f"{name}.{key}: expected the lowest and the highest digit, from 1 to {limit}")
        ends += pair
    return tuple(ends)


def read_rfm_node(reader: Reader) -> model.RfmNode:
    """Parse the tiers, or the predicates of digits, of an ``rfm`` node, perhaps of a named grid."""
    if not isinstance(reader.raw, dict):
        rfm = reader.context.rfm
        return model.RfmNode(rfm or Rfm(), named_tiers(reader, rfm))
    rfm = grid_of(reader)
    rest = reader.with_raw({key: raw for key, raw in reader.raw.items() if key != "grid"})
    if "tier" not in rest:
        return model.RfmNode(rfm or Rfm(), (), _digits(rest))
    rest.only("tier")
    return model.RfmNode(rfm or Rfm(), named_tiers(reader.at("tier"), rfm))


def grid_of(reader: Reader) -> Rfm | None:
    """Read the grid that a node or figure names; without one it is the unnamed grid.

    The grid is None if the block is invalid.
    """
    grids = reader.context.grids
    if "grid" not in reader:
        return reader.context.rfm
    form = reader.at("grid")
    if grids is None:
        form.text()
        return None
    if not grids:
        form.fail(f"unknown grid {form.raw!r}; the file names none: rfm: {{opens: {_EXAMPLE}}}")
    return grids[form.known("grid", grids)]


def named_tiers(reader: Reader, rfm: Rfm | None) -> tuple[str, ...]:
    """Read a tier of a grid, or a list of them, in the order of their names."""
    names = reader.values("a tier or a non-empty list of tiers") if isinstance(reader.raw, list) else [reader]
    if rfm is None:
        return tuple(sorted({name.text() for name in names}))
    return tuple(sorted({name.known("tier", rfm.tier_names) for name in names}))


def _digits(reader: Reader) -> tuple[tuple[str, Predicate], ...]:
    if not reader.raw or set(reader.raw) - set(DIGITS):
        reader.fail(f"expected a tier, or a map with any of {', '.join(DIGITS)}")
    names = sorted(reader.raw)
    tests = reader.gather(*(partial(reader.at(name).condition, COUNT_OPERATORS) for name in names))
    return tuple(zip(names, tests, strict=True))
