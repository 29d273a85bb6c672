"""RFM: how many profiles each cell and tier has, by one scan, and who moved between tiers, by the changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UnsetType

from segops.config import Settings
from segops.console.people.handles import Names
from segops.core.events import Change
from segops.core.features.orders import PurchaseTotals
from segops.core.rules import model
from segops.core.rules.parsing import RFM_MODEL, Context, read_grids, read_rfm
from segops.core.rules.wording import feature_label
from segops.core.scans.sampling import Interval, interval
from segops.core.scoring.models import Model
from segops.core.scoring.rfm import Digits, Rfm
from segops.core.segments import Definition
from segops.core.values import format_duration, parse_instant
from segops.core.views.profile import ProfileView
from segops.kafka.topics import partition_counts
from segops.operations.history import decoded_change
from segops.operations.logs import PastLog
from segops.operations.scans import patient_scan
from segops.schemas.models import read_models
from segops.schemas.scans import estimate_request
from segops.schemas.segments import inline

#: The draft whose nodes are the cells; no one else uses the key.
_KEY: Final = "console-rfm-grid"
#: Profiles beyond which only a sample of about this many is counted.
_COUNTED: Final = 200_000
_SCAN_S: Final = 60.0
#: The newest changes of each partition that flows are read from.
_NEWEST: Final = 200_000


class RfmInForce(NamedTuple):
    """The RFM block that published segments read, as written (None: the default), and how many others do.

    ``rfm`` is its grid of the name ``grid``, or the unnamed one; ``grids``: the names of all named ones.
    """

    rfm: Rfm
    written: Any
    others: int
    #: The models of its quantiles.
    models: Mapping[str, Model] = {}
    grid: str = ""
    grids: tuple[str, ...] = ()


def rfm_in_force(definitions: Mapping[str, Definition], grid: str = "") -> RfmInForce:
    """Return the RFM block that most definitions read; the default one if none does.

    ``grid``: of the blocks with this named grid. The unnamed grid is taken where none has it.
    """
    # Not sorted: the first tier that fits counts.
    written = Counter(msgspec.json.encode(each.rfm) for each in definitions.values() if each.rfm is not None)
    blocks = {each: msgspec.json.decode(each) for each in written}
    grids = sorted({name for each in blocks.values() for name in each if _is_grid(name, each)})
    if not blocks:
        return RfmInForce(Rfm(), None, 0)
    found = [each for each, _ in written.most_common() if grid in blocks[each]] if grid in grids else []
    chosen = blocks[(found or [each for each, _ in written.most_common()])[0]]
    context = Context("published")
    context.models = _populations(definitions)
    rfm = read_grids(chosen, "rfm", context)[grid] if found else read_rfm(chosen, "rfm", context)
    return RfmInForce(
        rfm, chosen, len(written) - 1, context.models, grid if found else "", tuple(map(str, grids))
    )


def _is_grid(name: str, block: Mapping[str, Any]) -> bool:
    return isinstance(block[name], dict) and "of" in block[name]


def _populations(definitions: Mapping[str, Definition]) -> dict[str, Model]:
    """Return the models of the quantiles that published definitions carry."""
    carried = {name: form for each in definitions.values() for name, form in (each.models or {}).items()}
    found = {name: form for name, form in carried.items() if name.split(".")[0] == RFM_MODEL}
    return read_models(found, "published") if found else {}


def tier_node(in_force: RfmInForce, tier: str) -> dict[str, Any]:
    """Return the rule of those in a tier."""
    return {"rfm": {"grid": in_force.grid, "tier": tier} if in_force.grid else tier}


def cell_node(in_force: RfmInForce, digits: Mapping[str, int]) -> dict[str, Any]:
    """Return the rule of those with these digits."""
    return {"rfm": {**({"grid": in_force.grid} if in_force.grid else {}), **digits}}


# -- one person --------------------------------------------------------------------------------------------


def rfm_of_person(
    view: ProfileView, definitions: Mapping[str, Definition], names: Names
) -> dict[str, Any] | None:
    """Return the digits and figures of a person; None if the profile holds no orders."""
    rfm = rfm_in_force(definitions).rfm
    read = _totals(view, feature_label(rfm.feature))
    digits = None if read is None else rfm.value(read, view.now_ms)
    if read is None or digits is None:
        return None
    return {
        "recency": digits.recency,
        "frequency": digits.frequency,
        "monetary": digits.monetary,
        "greatest": {name: rfm.greatest(name) for name in ("recency", "frequency", "monetary")},
        "tier": rfm.tier(digits),
        "orders": None if names.masked else read.orders,
        "net": None if names.masked else float(read.net),
        "last_ms": read.last_ms,
        "falls_ms": rfm.next_edge(read, (), view.now_ms),
    }


def _totals(view: ProfileView, label: str) -> PurchaseTotals | None:
    """Return the orders that a profile holds: of the feature with this label, else of any."""
    found = [each for each in view.features if isinstance(each.value, dict) and "orders" in each.value]
    found.sort(key=lambda each: each.label != label)
    for each in found:
        last_ms = parse_instant(each.value.get("last") or "")
        return PurchaseTotals(last_ms, each.value["orders"], Decimal(str(each.value["net"])))
    return None


# -- the grid ----------------------------------------------------------------------------------------------


class Grid(NamedTuple):
    """The counts of one scan: per (recency, frequency), (recency, monetary) and tier; ``share`` was counted.

    ``lacks``: why all are empty, if no published definition lets profiles hold orders.
    """

    from_ms: int
    to_ms: int
    share: float
    evaluated: int
    frequency: Mapping[tuple[int, int], int]
    monetary: Mapping[tuple[int, int], int]
    tiers: Mapping[str, int]
    lacks: Sequence[str]

    def estimated(self, count: int) -> Interval:
        """Return what a count of the sample says of all profiles."""
        return interval(count, self.share)


async def read_grid(settings: Settings, in_force: RfmInForce, known: int | None) -> Grid:
    """Count all profiles, or a sample of them. Raises SegopsError as a scan does."""
    rfm = in_force.rfm
    cells = [*_cells(rfm, "frequency"), *_cells(rfm, "monetary")]
    tiers = [tier_node(in_force, name) for name in rfm.tier_names]
    rule = {"any": [*(cell_node(in_force, cell) for cell in cells), *tiers]}
    segments, models = [{"key": _KEY, "name": "RFM", "when": rule}], in_force.models
    drafts = inline(segments, "console", "segments", rfm=in_force.written, models=models)
    share = min(1.0, _COUNTED / known) if known else 1.0
    question = estimate_request(_KEY, drafts, share=share, funnel=True)
    scanned = await patient_scan(settings, question, wait_s=_SCAN_S)
    found = scanned.result
    counts = [each.holds for each in found.funnel if each.depth == 1]
    return _grid(rfm, counts, (scanned.from_ms, scanned.to_ms), share, found)


def _cells(rfm: Rfm, by: str) -> Iterator[dict[str, int]]:
    for recency, digit in _pairs(rfm, by):
        yield {"recency": recency, by: digit}


def _pairs(rfm: Rfm, by: str) -> list[tuple[int, int]]:
    digits = range(1, rfm.greatest(by) + 1)
    return [(recency, digit) for recency in range(1, rfm.greatest("recency") + 1) for digit in digits]


def _grid(rfm: Rfm, counts: Sequence[int], clocks: tuple[int, int], share: float, found: Any) -> Grid:
    frequency, monetary = _pairs(rfm, "frequency"), _pairs(rfm, "monetary")
    names = rfm.tier_names
    first, second = len(frequency), len(frequency) + len(monetary)
    return Grid(
        *clocks,
        share,
        found.evaluated,
        dict(zip(frequency, counts[:first], strict=True)),
        dict(zip(monetary, counts[first:second], strict=True)),
        dict(zip(names, counts[second:], strict=True)),
        found.incomplete,
    )


def grid_data(grid: Grid, rfm: Rfm, by: str) -> dict[str, Any]:
    """Return the cells as rows of digits, the greatest recency first, and the tiers."""
    counts = grid.frequency if by == "frequency" else grid.monetary
    total = sum(counts.values())
    most = max(counts.values(), default=0)
    rows = [
        {
            "recency": recency,
            "label": recency_text(rfm, recency),
            "cells": [_cell(grid, rfm, by, (recency, digit), most) for digit in _digits(rfm, by)],
        }
        for recency in range(rfm.greatest("recency"), 0, -1)
    ]
    return {
        "by": by,
        "columns": [{"digit": digit, "label": digit_text(rfm, by, digit)} for digit in _digits(rfm, by)],
        "rows": rows,
        "buyers": grid.estimated(total).estimate,
        "share": grid.share,
        "evaluated": grid.evaluated,
        "from_ms": grid.from_ms,
        "to_ms": grid.to_ms,
        "lacks": list(grid.lacks),
        "tiers": [_tier(grid, name, count, total) for name, count in grid.tiers.items()],
    }


def _digits(rfm: Rfm, by: str) -> range:
    return range(1, rfm.greatest(by) + 1)


def _cell(grid: Grid, rfm: Rfm, by: str, cell: tuple[int, int], most: int) -> dict[str, Any]:
    recency, digit = cell
    count = (grid.frequency if by == "frequency" else grid.monetary)[cell]
    tier = rfm.tier(Digits(recency, digit, 1)) if by == "frequency" and rfm.is_flat else None
    # Nine steps of shade: a cell's class, since no style may stand in the page.
    shade = 0 if not count else 1 + round(8 * (count / most) ** 0.5)
    return {
        "recency": recency,
        "digit": digit,
        "count": grid.estimated(count).estimate,
        "tier": tier,
        "shade": shade,
        "digits": {"recency": recency, by: digit},
    }


def _tier(grid: Grid, name: str, count: int, total: int) -> dict[str, Any]:
    found = grid.estimated(count)
    return {
        "tier": name,
        "count": found.estimate,
        "low": found.low,
        "high": found.high,
        "share": count / total if total else None,
    }


def recency_text(rfm: Rfm, digit: int) -> str:
    """Return which ages of the last order a digit of recency means.

    >>> recency_text(Rfm(), 5), recency_text(Rfm(), 3), recency_text(Rfm(), 1)
    ('less than 30d', '60d to 120d', '240d or more')
    """
    edges = [format_duration(each) for each in rfm.recency_ms]
    if not edges:
        return "not measured yet"
    number = len(edges) + 1 - digit
    if number == 0:
        return f"less than {edges[0]}"
    return f"{edges[-1]} or more" if number == len(edges) else f"{edges[number - 1]} to {edges[number]}"


def digit_text(rfm: Rfm, by: str, digit: int) -> str:
    """Return which numbers of orders, or amounts, a digit means.

    >>> digit_text(Rfm(), "frequency", 1), digit_text(Rfm(), "frequency", 4), digit_text(Rfm(), "monetary", 5)
    ('up to 1 order', '5 to 8 orders', 'more than 500')
    """
    edges: Sequence[int | Decimal] = rfm.frequency if by == "frequency" else rfm.monetary
    noun = "order" if isinstance(rfm.actions, UnsetType) else "event"
    unit = f" {noun}s" if by == "frequency" else ""
    number = digit - 1
    if not edges:
        return "not measured yet"
    if number == len(edges):
        return f"more than {edges[-1]}{unit}"
    if number == 0:
        return f"up to {edges[0]}{unit if edges[0] != 1 else f' {noun}'}" if unit else f"up to {edges[0]}"
    low, high = edges[number - 1], edges[number]
    if not unit:
        return f"above {low}, up to {high}"
    return f"{high}{unit}" if low + 1 == high else f"{low + 1} to {high}{unit}"


# -- flows -------------------------------------------------------------------------------------------------


def tier_segments(definitions: Mapping[str, Definition], rfm: Rfm) -> dict[str, str]:
    """Return the published segments that are one tier each of this RFM block: key -> tier."""
    return {
        each.key: each.when.tiers[0]
        for each in definitions.values()
        if isinstance(each.when, model.RfmNode)
        and each.when.rfm == rfm
        and len(each.when.tiers) == 1
        and each.policy is None
        and not each.paused
    }


def tier_file(in_force: RfmInForce) -> dict[str, Any]:
    """Return a segment file with a segment per tier, by which flows can be followed."""
    block = {} if in_force.written is None else {"rfm": in_force.written}
    segments = [
        {
            "key": f"rfm-{name.replace('_', '-')}",
            "name": f"RFM: {name.replace('_', ' ')}",
            "when": tier_node(in_force, name),
        }
        for name in in_force.rfm.tier_names
    ]
    return {"version": 1, **block, "segments": segments}


class Flows(NamedTuple):
    """How many moved from a tier to a tier; "" stands for none. ``since_ms``: from when on all are known."""

    moved: Mapping[tuple[str, str], int]
    since_ms: int


async def read_flows(settings: Settings, tiers: Mapping[str, str], from_ms: int, to_ms: int) -> Flows:
    """Read the moves between tiers from the membership changes in a range of time."""
    topic = settings.topics.membership_changes
    counts = await partition_counts(settings.kafka, [topic])
    log = await PastLog.open(settings, topic, range(counts[topic]), newest=_NEWEST)

    async def changes() -> AsyncIterable[Change]:
        async with aclosing(log.read()) as records:
            async for record in records:
                change = decoded_change(record.value)
                if change is not None and from_ms <= change.occurred_at < to_ms:
                    yield change

    moved = await moves(changes(), tiers)
    return Flows(moved, log.complete_since_ms)


async def moves(changes: AsyncIterable[Change], tiers: Mapping[str, str]) -> dict[tuple[str, str], int]:
    """Count moves between tiers: an exit and an entry of one profile at one instant are one move."""
    left: dict[tuple[str, int], str] = {}
    entered: dict[tuple[str, int], str] = {}
    async for change in changes:  # one that was published twice counts once
        if (tier := tiers.get(change.segment_key)) is not None:
            side = entered if change.member else left
            side[change.profile_id, change.occurred_at] = tier
    found = Counter((left.get(each, ""), entered.get(each, "")) for each in left.keys() | entered.keys())
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
