"""A tier painted on the grid of RFM: whom it would hold, and the edit of the ``rfm`` block as a draft."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from segops.console.drafts.publishing import document_of
from segops.console.drafts.writing import written
from segops.console.page import Action, Context, Data, NotFound, Page
from segops.console.pages.rfm import counted
from segops.console.people.known import definitions_of
from segops.console.people.links import curl_of, link
from segops.console.people.rfm import Grid, RfmInForce, rfm_in_force
from segops.console.people.tiers import Cell, cells_in, changes_of, painted, segment_of, tiers_of
from segops.core.errors import DefinitionError
from segops.core.rules.parsing import Context as Reading
from segops.core.rules.parsing import read_grids, read_rfm
from segops.core.scoring.rfm import Rfm
from segops.core.segments import Definition

_NAME: Final = re.compile("[a-z0-9_-]{1,64}")
#: The longest draft that an address carries, in characters.
_LINKED: Final = 5_000


async def _tier(context: Context[Any]) -> Data:
    definitions = definitions_of(context.board)
    in_force = rfm_in_force(definitions, context.query.get("grid", ""))
    name = context.query.get("name", "").strip().lower()
    cells = cells_in(context.query, in_force.rfm)
    wrong = _wrong(name, cells)
    common = {"name": name, "named": in_force.grid, "wrong": wrong, "cells": [list(each) for each in cells]}
    shown = {**_query(in_force, name, cells)}
    curl = curl_of(context, "/rfm/tier", shown)
    if wrong:
        return {**common, **_NOTHING, "curl": curl}
    block = painted(in_force, name, cells)
    after = _read(in_force, block)
    (_, grid), missing = await counted(context, in_force)
    readers = _readers(definitions, in_force)
    text = written({"version": 1, "rfm": block, "segments": [segment_of(in_force, name)]})
    file = _file(block, segment_of(in_force, name), [document_of(each, definitions) for each in readers])
    return {
        **common,
        "people": _people(grid, cells),
        "missing": missing,
        "rows": _rows(in_force.rfm, after, cells),
        **changes_of(in_force.rfm, after),
        "readers": [{"key": each.key, "name": each.name} for each in readers],
        "text": text,
        "builder": link("/builder", {"text": text}) if len(text) <= _LINKED else "",
        "file": file,
        "cli": "segops plan rfm.yaml",
        "curl": curl,
    }


_NOTHING: Final[Data] = {
    **dict.fromkeys(("text", "builder", "file", "missing"), ""),
    **{key: [] for key in ("rows", "lost", "holes", "readers")},
    "people": None,
    "cli": "segops plan rfm.yaml",
}


def _wrong(name: str, cells: Collection[Cell]) -> str:
    if not cells:
        return "Choose at least one cell."
    if _NAME.fullmatch(name) is None:
        return "Name the tier with 1 to 64 letters, digits, hyphens and underscores."
    return ""


def _query(in_force: RfmInForce, name: str, cells: Collection[Cell]) -> Mapping[str, str]:
    return {"grid": in_force.grid, "name": name, **{f"c{r}-{f}": "on" for r, f in cells}}


def _read(in_force: RfmInForce, block: Mapping[str, Any]) -> Rfm:
    """Return the grid of a block that was painted. Raises NotFound if it is invalid, which no painting is."""
    reading = Reading("published")
    reading.models = in_force.models
    try:
        if in_force.grid:
            return read_grids(block, "rfm", reading)[in_force.grid]
        return read_rfm(block, "rfm", reading)
    except DefinitionError as error:
        raise NotFound(f"The painted grid is invalid: {error}") from error


def _people(grid: Grid | None, cells: Collection[Cell]) -> Data | None:
    """Return how many people have these cells; None if they were not counted."""
    if grid is None:
        return None
    found = grid.estimated(sum(grid.frequency[cell] for cell in cells))
    buyers = grid.estimated(sum(grid.frequency.values())).estimate
    return {
        "estimate": found.estimate,
        "low": found.low,
        "high": found.high,
        "exact": grid.share >= 1,
        "of": buyers,
        "as_of_ms": grid.to_ms,
    }


def _rows(before: Rfm, after: Rfm, cells: Collection[Cell]) -> list[Data]:
    """Return the tiers of all cells as they would be, the greatest recency first."""
    former, found = tiers_of(before), tiers_of(after)
    frequencies = range(1, after.greatest("frequency") + 1)
    return [
        {
            "recency": recency,
            "cells": [
                {
                    "frequency": frequency,
                    "tier": found[recency, frequency],
                    "former": former[recency, frequency],
                    "painted": (recency, frequency) in cells,
                }
                for frequency in frequencies
            ],
        }
        for recency in range(after.greatest("recency"), 0, -1)
    ]


def _readers(definitions: Mapping[str, Definition], in_force: RfmInForce) -> list[Definition]:
    """Return the published segments that read the block in force, and carry it until they are published."""
    found = (each for each in definitions.values() if ":" not in each.key and each.rfm is not None)
    return [each for each in found if each.rfm == in_force.written]


def _file(block: Data, segment: Data, documents: list[dict[str, Any]]) -> str:
    """Return a segment file with the block, the new segment, and those that read the block in force."""
    blocks: dict[str, Any] = {}
    segments = [segment]
    for document in documents:
        for name, each in document.items():
            if name == "segments":
                segments += [one for one in each if one["key"] != segment["key"]]
            elif isinstance(each, dict) and name != "rfm":
                blocks.setdefault(name, {}).update(each)
    return written({"version": 1, "rfm": block, **blocks, "segments": segments})


PAGES: tuple[Page[Any], ...] = (Page("/rfm/tier", "rfm_tier.html", "RFM tier", _tier),)
ACTIONS: tuple[Action[Any, Any], ...] = ()
