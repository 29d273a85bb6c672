"""RFM: the grid of recency by frequency or monetary, its tiers, and the flows between them."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import yaml

from segops.console.board.answers import AnswerCache
from segops.console.page import Action, Context, Data, Page
from segops.console.people.asking import part
from segops.console.people.known import definitions_of, population_of
from segops.console.people.links import curl_of, link
from segops.console.people.rfm import (
    Flows,
    Grid,
    RfmInForce,
    cell_node,
    grid_data,
    read_flows,
    read_grid,
    rfm_in_force,
    tier_file,
    tier_segments,
)

_DAY_MS: Final = 86_400_000
_RANGES: Final = {"1d": 1, "7d": 7, "30d": 30, "all": 0}
#: How long the page waits for people to be counted; the count goes on, and the next page has it.
_WAIT_S: Final = 2.0
_COUNTING: Final = "the people are being counted, look again in a moment"
_grids, _flows = AnswerCache(), AnswerCache()


async def _rfm(context: Context[Any]) -> Data:
    definitions = definitions_of(context.board)
    in_force = rfm_in_force(definitions, context.query.get("grid", ""))
    by = "monetary" if context.query.get("by") == "monetary" else "frequency"
    chosen = context.query.get("range", "7d")
    chosen = chosen if chosen in _RANGES else "7d"
    tiers = tier_segments(definitions, in_force.rfm)
    (grid, missing), (flows, missing_flows) = await asyncio.gather(
        counted(context, in_force), _moved(context, tiers, chosen)
    )
    at_ms, found = grid
    shown = None if found is None else grid_data(found, in_force.rfm, by)
    for row in () if shown is None else shown["rows"]:
        for cell in row["cells"]:
            cell["builder"] = _builder(in_force, cell)
    return {
        "by": by,
        "grid": shown,
        "asked_ms": at_ms,
        "missing": missing,
        "others": in_force.others,
        "named": in_force.grid,
        "grids": _links(in_force, by, chosen),
        "may_paint": by == "frequency",
        "range": chosen,
        "ranges": [*_RANGES],
        "tier_segments": [{"key": key, "tier": tier} for key, tier in sorted(tiers.items())],
        "tiers_missing": sorted({name for name, *_ in in_force.rfm.tiers} - set(tiers.values())),
        "flows": _flow_rows(flows),
        "flows_since_ms": None if flows is None else flows.since_ms or None,
        "flows_missing": missing_flows,
        "tier_file": yaml.safe_dump(tier_file(in_force), sort_keys=False, allow_unicode=True),
        "cli": "segops estimate rfm.yaml --funnel",
        "curl": curl_of(context, "/rfm", {"by": by, "range": chosen, "grid": in_force.grid}),
    }


def _links(in_force: RfmInForce, by: str, chosen: str) -> list[Data]:
    """Return the grids of the published blocks with their addresses; none beside the unnamed one."""
    names = ("", *in_force.grids) if in_force.grids else ()
    return [
        {"name": name or "Orders", "href": link("/rfm", {"by": by, "range": chosen, "grid": name})}
        for name in names
    ]


async def counted(context: Context[Any], in_force: RfmInForce) -> tuple[tuple[int | None, Grid | None], str]:
    """Return when a grid was counted and its counts, at most a minute old; else why they are missing."""
    population = population_of(context.board)
    known = None if population is None else population.known

    async def scan() -> Grid:
        return await read_grid(context.settings, in_force, known)

    counted = _grids.dated(repr(in_force), context.now_ms, scan)
    return await part(counted, (None, None), limit_s=_WAIT_S, late=_COUNTING)


async def _moved(context: Context[Any], tiers: dict[str, str], chosen: str) -> tuple[Flows | None, str]:
    if not tiers:
        return None, ""
    to_ms = _clock_ms(context)
    from_ms = to_ms - _RANGES[chosen] * _DAY_MS if _RANGES[chosen] else 0

    async def read() -> Flows:
        return await read_flows(context.settings, tiers, from_ms, to_ms)

    found, missing = await part(_flows.dated((chosen, *tiers), context.now_ms, read), None)
    return (None if found is None else found[1]), missing


def _clock_ms(context: Context[Any]) -> int:
    """Return an instant after all changes: the clocks of partitions may be behind that of the wall."""
    population = population_of(context.board)
    clock_ms = None if population is None else population.as_of.greatest_ms
    return context.now_ms if clock_ms is None else clock_ms + 1


def _builder(in_force: RfmInForce, cell: Data) -> str:
    """Return the address of the builder with the people of a cell as a draft."""
    block = {} if in_force.written is None else {"rfm": in_force.written}
    name = f"RFM cell {cell['recency']}-{cell['digit']}"
    draft = {"key": "rfm-cell", "name": name, "when": cell_node(in_force, cell["digits"])}
    text = yaml.safe_dump({"version": 1, **block, "segments": [draft]}, sort_keys=False, allow_unicode=True)
    return link("/builder", {"text": text})


def _flow_rows(flows: Flows | None) -> list[Data]:
    if flows is None:
        return []
    return [
        {"from": left or None, "to": entered or None, "count": count}
        for (left, entered), count in flows.moved.items()
    ]


PAGES: tuple[Page[Any], ...] = (Page("/rfm", "rfm.html", "RFM", _rfm),)
ACTIONS: tuple[Action[Any, Any], ...] = ()
