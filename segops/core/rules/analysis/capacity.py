"""Limits beyond which a count is no longer kept in a few entries, and what that costs."""

from __future__ import annotations

from segops.core.features import CAPACITIES, MAX_ENTRIES, reducer_of
from segops.core.features.feature import PANES
from segops.core.features.scanning import Scanning
from segops.core.features.sliding import SlidingSum
from segops.core.rules import model
from segops.core.rules.counts import boundaries
from segops.core.rules.execution import leaves

_MOST = CAPACITIES[-1] - 1
_CHEAPER = f"with a limit of {_MOST} at most, {CAPACITIES[-1]} are kept"


def kept_in_full(node: model.Node) -> list[tuple[str, str]]:
    """Where in a node a limit makes the engine keep every entry of a customer, and in words what that costs.

    >>> from segops.core.operators import Predicate
    >>> from segops.core.windows import Within
    >>> often = model.Did(model.Selection(("page",)), Within(1_000), Predicate((("gte", 300),)))
    >>> [place for place, _ in kept_in_full(often)]
    ['.count']
    """
    match node:
        case model.Did(count=count) if max(boundaries(count), default=0) > CAPACITIES[-1]:
            return [(".count", words) for words in _of_count(node)]
        case model.Aggregate(function="distinct", test=test) if (
            max(boundaries(test), default=0) > CAPACITIES[-1]
        ):
            return [(".is", f"keeps every different value of a customer, however many; {_CHEAPER}")]
    return []


def _of_count(node: model.Did) -> list[str]:
    feature = leaves.did(node).feature
    reducer = None if feature is None else reducer_of(feature)
    if isinstance(reducer, SlidingSum):
        late = f"of more than {MAX_ENTRIES:,} the oldest leave up to 1/{PANES} of the window late"
        return [f"keeps every entry of a customer, and {late}; {_CHEAPER} and exact"]
    if isinstance(reducer, Scanning):
        return ["keeps every entry of a customer that may yet count, however many"]
    return []
