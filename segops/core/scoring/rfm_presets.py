"""The usual grids of RFM, each as quantiles of the population and tiers.

The groups are those that the vendors name and describe in public. Where they publish no digits of a group,
its cells here follow the description. Each cell lies in one tier.
"""

from __future__ import annotations

from itertools import product
from typing import Final, NamedTuple

from segops.core.scoring.rfm import GRID

#: What a grid may write instead of edges -> the number of groups of equal size.
QUANTILES: Final[dict[str, int]] = {"terciles": 3, "quartiles": 4, "quintiles": 5, "deciles": 10}

#: Tier -> lowest and highest digit of recency, and of frequency and monetary as their mean, rounded down.
_SHOPIFY: Final[dict[str, tuple[int, int, int, int]]] = {
    "champions": (5, 5, 4, 5),
    "loyal": (3, 4, 4, 5),
    "active": (4, 5, 2, 3),
    "new": (5, 5, 1, 1),
    "promising": (3, 4, 1, 1),
    "needs_attention": (3, 3, 2, 3),
    "previously_loyal": (1, 2, 5, 5),
    "at_risk": (1, 2, 3, 4),
    "almost_lost": (1, 2, 2, 2),
    "dormant": (1, 2, 1, 1),
}

#: Tiers in order: the first that fits; the ends of recency, frequency and monetary.
_KLAVIYO: Final[tuple[tuple[str, int, int, int, int, int, int], ...]] = (
    ("champions", 3, 3, 3, 3, 2, 3),
    ("champions", 3, 3, 2, 2, 3, 3),
    ("loyal", 3, 3, 2, 3, 1, 2),
    ("loyal", 2, 2, 3, 3, 2, 3),
    ("recent", 3, 3, 1, 1, 1, 3),
    ("needs_attention", 2, 2, 1, 3, 1, 3),
    ("at_risk", 1, 1, 2, 3, 1, 3),
    ("inactive", 1, 1, 1, 1, 1, 3),
)

Tiers = tuple[tuple[str | int, ...], ...]


class Preset(NamedTuple):
    """The number of groups of each measure, and the tiers."""

    groups: int
    tiers: Tiers


def _by_mean(groups: dict[str, tuple[int, int, int, int]], greatest: int) -> Tiers:
    """Return tiers of groups of (frequency + monetary) / 2, rounded down, one per digit of frequency."""
    found: list[tuple[str | int, ...]] = []
    for (name, (low_r, high_r, low, high)), frequency in product(groups.items(), range(1, greatest + 1)):
        digits = [n for n in range(1, greatest + 1) if low <= (frequency + n) // 2 <= high]
        if digits:
            found.append((name, low_r, high_r, frequency, frequency, digits[0], digits[-1]))
    return tuple(found)


#: Name of a preset -> what it stands for.
PRESETS: Final[dict[str, Preset]] = {
    "five_by_five": Preset(5, tuple((name, *cells) for name, cells in GRID.items())),
    "shopify": Preset(5, _by_mean(_SHOPIFY, 5)),
    "klaviyo": Preset(3, _KLAVIYO),
}
