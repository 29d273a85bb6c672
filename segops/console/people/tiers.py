"""A tier that is painted on a grid of RFM: its boxes, the block with it, what it takes from other tiers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from segops.console.people.rfm import RfmInForce, tier_node
from segops.core.scoring.rfm import MEASURES, Digits, Rfm

#: Recency and frequency.
Cell = tuple[int, int]
_FLAT: Final = MEASURES[:2]


def boxes_of(cells: Collection[Cell]) -> list[dict[str, list[int]]]:
    """Return boxes that cover these cells and no other one, each cell once.

    >>> boxes_of([(5, 4), (5, 5), (4, 4), (4, 5), (1, 1)])
    [{'recency': [1, 1], 'frequency': [1, 1]}, {'recency': [4, 5], 'frequency': [4, 5]}]
    """
    found: list[dict[str, list[int]]] = []
    for recency in sorted({recency for recency, _ in cells}):
        for low, high in _runs(sorted(frequency for row, frequency in cells if row == recency)):
            above = [each for each in found if each["frequency"] == [low, high]]
            if above and above[-1]["recency"][1] == recency - 1:
                above[-1]["recency"][1] = recency
            else:
                found.append({"recency": [recency, recency], "frequency": [low, high]})
    return found


def _runs(digits: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of neighbouring digits, which are sorted.

    >>> [*_runs([1, 2, 4])]
    [(1, 2), (4, 4)]
    """
    for _, run in groupby(enumerate(digits), lambda each: each[1] - each[0]):
        found = [digit for _, digit in run]
        yield found[0], found[-1]


def painted(in_force: RfmInForce, name: str, cells: Collection[Cell]) -> dict[str, Any]:
    """Return the ``rfm`` block in which a tier has these cells, before all others; empty ones go."""
    rfm = in_force.rfm
    boxes = boxes_of(cells)
    tiers: dict[str, Any] = {name: boxes[0] if len(boxes) == 1 else boxes}
    for other, ends in _others(rfm, name):
        if _has_cells(rfm, other, name, cells):
            tiers[other] = ends[0] if len(ends) == 1 else ends
    block = dict(in_force.written or {})
    if not in_force.grid:
        return {**block, "tiers": tiers}
    return {**block, in_force.grid: {**block[in_force.grid], "tiers": tiers}}


def _others(rfm: Rfm, name: str) -> Iterator[tuple[str, list[dict[str, list[int]]]]]:
    """Yield the other tiers in order, each with its boxes."""
    for other in rfm.tier_names:
        boxes = [_box(rfm, tier[1:]) for tier in rfm.tiers if tier[0] == other]
        found = [each for each in boxes if all(low <= high for low, high in each.values())]
        if other != name and found:
            yield other, found


def _box(rfm: Rfm, ends: tuple[int, ...]) -> dict[str, list[int]]:
    """Return a box without the digits that the grid lacks, as those of the usual tiers on a smaller one."""
    pairs = zip(MEASURES, ends[::2], ends[1::2], strict=False)
    return {measure: [low, min(high, rfm.greatest(measure))] for measure, low, high in pairs}


def _has_cells(rfm: Rfm, other: str, name: str, cells: Collection[Cell]) -> bool:
    """Return whether a tier keeps a cell when others are painted, the former ones of ``name`` being free."""
    rest = Rfm(tiers=tuple(each for each in rfm.tiers if each[0] != name))
    return any(
        rest.tier(each) == other for each in rfm.cells() if (each.recency, each.frequency) not in cells
    )


def changes_of(rfm: Rfm, after: Rfm) -> dict[str, Any]:
    """Return what another grid of the same digits changes: tiers that are ``lost``, and cells without one."""
    return {
        "lost": [each for each in rfm.tier_names if each not in after.tier_names],
        "holes": [list(each) for each in after.holes()],
    }


def tiers_of(rfm: Rfm) -> dict[Cell, str | None]:
    """Return the tier of each cell; where it depends on monetary, that of its lowest digit."""
    return {
        (each.recency, each.frequency): rfm.tier(Digits(each.recency, each.frequency, 1))
        for each in rfm.cells()
    }


def segment_of(in_force: RfmInForce, name: str) -> dict[str, Any]:
    """Return a segment of the people in a tier."""
    key = f"rfm-{name.replace('_', '-')}"[:64]
    return {"key": key, "name": f"RFM: {name.replace('_', ' ')}"[:200], "when": tier_node(in_force, name)}


def cells_in(query: Mapping[str, str], rfm: Rfm) -> list[Cell]:
    """Return the cells that an address names, as in ``c5-4=on``; those that the grid lacks are left out.

    >>> cells_in({"c5-4": "on", "c9-9": "on", "by": "frequency"}, Rfm())
    [(5, 4)]
    """
    known = {(each.recency, each.frequency) for each in rfm.cells()}
    return sorted(cell for cell in known if f"c{cell[0]}-{cell[1]}" in query)
