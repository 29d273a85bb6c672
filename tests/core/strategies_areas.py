"""Strategies for rules about named places, near the locations of the streams."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from segops.core.rules.parsing import Context, read_areas
from segops.core.scoring.rfm import Rfm
from segops.core.values import format_instant

from .strategies_grids import grids
from .strategies_lookups import TABLES

#: A ``places`` block: the streams are at (0, -179.99), (1, 179) and (60, 10).
PLACES: dict[str, Any] = {
    "dateline": {"south": -1, "west": 179.5, "north": 0.5, "east": -179},
    "corner": {"polygon": [[59, 9], [61, 9], [61, 11], [60, 10], [59, 11]]},
    "triangle": {"polygon": [[0, 178], [2, 178], [1, 179.5]]},
    "stores": [{"lat": 0, "lon": 179.99}, {"lat": 60, "lon": 10.01, "radius": "2km"}],
    "circles": [{"lat": 0, "lon": 179.99, "radius": "3km"}, {"lat": 1, "lon": 179, "radius": "10m"}],
    "mixed": [{"polygon": [[0, 0], [1, 0], [0, 1]]}, {"south": 0, "west": 178, "north": 1, "east": 179}],
}
AREAS = read_areas(PLACES, "places", Context("places"))

_named = st.sampled_from(["dateline", "corner", "triangle", "circles", "mixed"])
_around = st.tuples(st.sampled_from(["stores", "circles"]), st.sampled_from(["600m", "3km", "200km"]))
_windows = st.one_of(st.just({}), st.integers(1, 40).map(lambda n: {"within": f"{n * 500}ms"}))
_any_windows = st.sampled_from(
    [
        {},
        {"within": "3s"},
        {"within": "20s"},
        {"between": {"from": "9s", "to": "2s"}},
        {"since": format_instant(1_760_000_005_000)},
        {"calendar": {"this": "day", "zone": "Europe/Paris"}},
    ]
).map(lambda window: {"anytime": True, **window})
area_rules: st.SearchStrategy[dict[str, Any]] = st.tuples(
    st.one_of(
        _named.map(lambda name: {"inside": name}),
        st.just({"near": "circles"}),
        _around.map(lambda pair: {"near": {"places": pair[0], "radius": pair[1]}}),
    ),
    st.one_of(_windows, _any_windows),
).map(lambda pair: {**pair[0], **pair[1]})


_lengths = st.sampled_from(["600m", "3km", "200km"])
_tests = st.one_of(
    st.tuples(st.sampled_from(["lt", "lte", "gt", "gte"]), _lengths).map(lambda pair: {pair[0]: pair[1]}),
    st.sampled_from([{"between": ["600m", "3km"]}, {"gte": "1m", "lt": "200km"}]),
)
_targets = st.sampled_from(["stores", "circles", {"places": "stores"}, {"lat": 0, "lon": 179.99}])
distance_rules: st.SearchStrategy[dict[str, Any]] = st.tuples(_targets, _tests, _windows).map(
    lambda found: {"distance_to": found[0], "is": found[1], **found[2]}
)
#: Figures that read no named place.
distances: st.SearchStrategy[dict[str, Any]] = _windows.map(
    lambda window: {"distance_to": {"lat": 0, "lon": 179.99}, **window}
)


def area_context(source: str, rfm: Rfm | None) -> Context:
    """Return a context whose rules may name ``PLACES``, look-up tables and postal codes."""
    context = Context(source, rfm, areas=AREAS)
    context.lookups, context.grids = TABLES, grids()
    return context
