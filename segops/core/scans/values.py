"""The values that leaves of a rule compare: an even sample of each, of any number of profiles."""

from __future__ import annotations

from heapq import heappush, heapreplace
from typing import Final

import msgspec

from segops.core.rules import model

#: The most values of one leaf, and the most leaves of one rule.
MAX_VALUES: Final = 500
MAX_LEAVES: Final = 8
#: Aggregates of numbers whose values are known in full.
_NUMERIC: Final = ("sum", "avg", "min", "max")


class LeafValues(msgspec.Struct):
    """The values of the leaf at ``position``, depth first, of the profiles with the smallest hashes.

    ``values``: the hash of each profile, and its value.
    """

    position: int
    values: list[tuple[int, float]]

    def merged(self, other: LeafValues) -> LeafValues:
        """Return the values of both."""
        return LeafValues(self.position, sorted([*self.values, *other.values])[:MAX_VALUES])


def measured_leaves(rule: model.Node) -> dict[int, model.Node]:
    """Return the leaves that compare a number, by their position among the nodes of a rule, depth first."""
    found = {at: node for at, node in enumerate(model.below(rule)) if _is_measured(model.thawed(node))}
    return dict(list(found.items())[:MAX_LEAVES])


def _is_measured(node: model.Node) -> bool:
    if isinstance(node, model.Aggregate):
        return node.function in _NUMERIC
    return isinstance(node, (model.ScoreNode, model.Ratio, model.Distance))


class ValueSample:
    """The values of one leaf so far."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, float]] = []

    def add(self, order: int, value: object) -> None:
        """Add the value of the profile with a hash, if it is a number."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return
        if len(self._heap) < MAX_VALUES:
            heappush(self._heap, (-order, float(value)))
        elif -order > self._heap[0][0]:
            heapreplace(self._heap, (-order, float(value)))

    def result(self, position: int) -> LeafValues:
        """Return the values of the leaf at a position, by hash."""
        return LeafValues(position, sorted((-order, value) for order, value in self._heap))
