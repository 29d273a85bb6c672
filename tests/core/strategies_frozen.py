"""Strategies for nodes with a refresh, some of which fall between the events of the streams."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from segops.core.rules.parsing import REFRESHED

from . import strategies_events
from .strategies import aggregates, composite, did_nots, dids, names, occurrences, rfms
from .strategies_figures import comparisons, ratios
from .strategies_rhythm import rhythms

#: The streams begin at 08:53:20Z on Thursday, 2025-10-09.
refreshes: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({"every": "hour"}),
    st.sampled_from(["08:53", "08:54", "08:54", "08:54", "08:55"]).map(lambda at: {"every": "day", "at": at}),
    st.sampled_from(["10:54", "10:55"]).map(lambda at: {"every": "day", "at": at, "zone": "Europe/Paris"}),
    st.sampled_from([{"every": "week"}, {"every": "month", "at": "08:54"}]),
)
_leaves = st.one_of(
    dids,
    did_nots,
    aggregates(),
    aggregates(),
    occurrences(),
    rfms,
    strategies_events.leaves,
    comparisons(),
    ratios(),
    *rhythms(),
)


_HEADS = frozenset(REFRESHED)
_NO_EVENTS = ("trait", "score", "distance_to")


def _is_over_events(form: dict[str, Any]) -> bool:
    if _HEADS.isdisjoint(form):
        return False
    sides = form.get("compare", form.get("ratio", ()))
    sides = list(sides.values()) if isinstance(sides, dict) else sides
    text = json.dumps([side for side in sides if isinstance(side, dict)])
    return not any(f'"{head}":' in text for head in _NO_EVENTS)


#: Windows in which the events of the streams still count at a refresh after them.
_long = st.sampled_from([{}, {"within": "45s"}, {"within": "1d"}])
_simple = st.one_of(
    st.tuples(names, _long).map(lambda p: {"did": p[0], **p[1]}),
    st.tuples(names, _long).map(lambda p: {"did_not": p[0], **p[1]}),
    st.tuples(names, _long).map(lambda p: {"sum": "p", "of": p[0], "is": {"gte": 0.1}, **p[1]}),
)


@composite
def frozen_rules(draw: Any) -> dict[str, Any]:
    """Draw a node about events as of a refresh; half of them are simple ones that refreshes often change."""
    leaf = draw(st.one_of(_simple, _leaves.filter(_is_over_events)))
    return {**leaf, "refresh": draw(refreshes)}
