"""Thresholds above which every entry of a count is stored, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from segops.core.features import CAPACITIES, MAX_ENTRIES, reducer_of
from segops.core.features.feature import PANES
from segops.core.features.scanning import Scanning
from segops.core.features.since import SinceReducer
from segops.core.features.sliding import SlidingSum
from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.rules.counts import boundaries
from segops.core.rules.execution import leaves

_MOST = CAPACITIES[-1] - 1
_CHEAPER = f"up to a threshold of {_MOST}, at most {CAPACITIES[-1]} are stored"


def stored_in_full(node: model.Node) -> list[tuple[str, str]]:
    """Return the paths in a node whose threshold makes the engine store every entry, with a warning each.

    >>> from segops.core.operators import Predicate
    >>> from segops.core.windows import Within
    >>> often = model.Did(model.Selection(("page",)), Within(1_000), Predicate((("gte", 300),)))
    >>> [place for place, _ in stored_in_full(often)]
    ['.count']
    """
    warn = _IN_FULL.get(type(node))
    return [] if warn is None else list(warn(node))


def _is_above_all_capacities(test: Predicate) -> bool:
    return max(boundaries(test), default=0) > CAPACITIES[-1]


def _count(node: model.Did) -> Iterator[tuple[str, str]]:
    if _is_above_all_capacities(node.count):
        yield from ((".count", words) for words in _of_count(node))


def _distinct(node: model.Aggregate) -> Iterator[tuple[str, str]]:
    if node.function == "distinct" and _is_above_all_capacities(node.test):
        yield ".is", f"stores every distinct value of a customer, without limit; {_CHEAPER}"


def _of_count(node: model.Did) -> list[str]:
    feature = leaves.did(node).feature
    reducer = None if feature is None else reducer_of(feature)
    if isinstance(reducer, SlidingSum):
        late = f"beyond {MAX_ENTRIES:,} the oldest expire up to 1/{PANES} of the window late"
        return [f"stores every entry of a customer; {late}; {_CHEAPER}, and the count is exact"]
    if isinstance(reducer, SinceReducer):
        return [f"stores the latest {MAX_ENTRIES:,} entries of a customer, and counts no more; {_CHEAPER}"]
    if isinstance(reducer, Scanning):
        return ["stores every entry of a customer that may still count, without limit"]
    return []


#: Node whose threshold says how many entries are stored -> the warnings about it.
_IN_FULL: dict[type, Callable[[Any], Iterator[tuple[str, str]]]] = {
    model.Did: _count,
    model.Aggregate: _distinct,
    model.Frozen: lambda node: iter(stored_in_full(node.of)),
}
