"""Named grids of RFM, for random rules: of any events, with conditions, amounts, and a population to come."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from segops.core.rules.parsing import Context, read_grids
from segops.core.scoring.models import Model, PopulationParameters

#: The grids beside that of orders, with thresholds of seconds.
GRIDS: dict[str, dict[str, Any]] = {
    "acts": {
        "of": ["A", "B"],
        "where": {"q": {"ne": "x"}},
        "value": "p",
        "period": "15s",
        "recency": ["2s", "4s", "8s"],
        "frequency": [0, 1, 3],
        "monetary": [-1, 0.3, 20],
        "tiers": {
            "keen": {"recency": [3, 4], "frequency": [2, 4], "monetary": [2, 4]},
            "idle": [
                {"recency": [1, 2], "frequency": [1, 1]},
                {"recency": [1, 1], "frequency": [2, 4], "monetary": [1, 2]},
            ],
        },
    },
    "plain": {
        "of": "C",
        "period": "6s",
        "recency": ["3s"],
        "frequency": [2],
        "tiers": {"all": {"recency": [1, 2], "frequency": [1, 2]}},
    },
    "ranked": {"recency": "quartiles", "frequency": "quintiles", "monetary": "terciles", "of": ["A", "C"]},
    "waiting": {"of": "A", "recency": ["2s"], "frequency": "quintiles"},
}
_digits = st.tuples(
    st.sampled_from(["acts", "acts", "plain"]), st.sampled_from(["recency", "frequency", "monetary"])
)
grid_rules: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.sampled_from(["keen", "idle", ["idle", "keen"]]).map(
        lambda tier: {"rfm": {"grid": "acts", "tier": tier}}
    ),
    st.tuples(_digits, st.integers(1, 2)).map(lambda p: {"rfm": {"grid": p[0][0], p[0][1]: {"gte": p[1]}}}),
    st.tuples(st.sampled_from(["recency", "recency", "frequency", "monetary"]), st.integers(1, 3)).map(
        lambda pair: {"rfm": {"grid": "ranked", pair[0]: {"gte": pair[1]}}}
    ),
    st.just({"rfm": {"grid": "plain", "recency": 2, "frequency": {"lte": 1}}}),
    st.just({"rfm": {"grid": "waiting", "recency": {"gte": 1}}}),
)
grid_figures: st.SearchStrategy[dict[str, Any]] = _digits.map(lambda p: {"rfm": p[1], "grid": p[0]})
grid_tiers: st.SearchStrategy[dict[str, Any]] = st.just({"rfm": "tier", "grid": "acts"})


def measured_grids() -> Any:
    """Return the grids, parsed, of which one has the edges of a measured population, some of them equal."""
    amounts = (Decimal(0), Decimal(1))
    edges = (("recency", (0, 4_000, 4_000)), ("frequency", (1, 1, 2, 5)), ("monetary", amounts))
    context = Context("drawn")
    context.models = {"rfm.ranked": Model("rfm.ranked", "population", PopulationParameters(edges, 9, 0))}
    return read_grids(GRIDS, "rfm", context)


def grids() -> Any:
    """Return the grids, parsed."""
    return read_grids(GRIDS, "rfm", Context("drawn"))


def mixed_hysteresis(low: int) -> dict[str, Any]:
    """Return hysteresis of a tier and a digit: of a named grid for 3, else of orders, up to ``low``."""
    if low == 3:
        return {"rfm": {"enter": {"grid": "acts", "tier": "keen"}, "exit": {"grid": "acts", "recency": 1}}}
    return {"rfm": {"enter": "champions", "exit": {"recency": {"lte": low}}}}
