"""Strategies for published indicators."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from .strategies import composite
from .strategies_figures import figures

_changes = st.sampled_from([{}, {}, {"change_by": 0.1}, {"change_by": 1}, {"change_by": 2.5}])
_periods = st.sampled_from(
    [{}, {}, *({"at_most": 1, "per": per} for per in ("1ms", "500ms", "2s", "30s", "36h"))]
)


@composite
def published(draw: Any) -> dict[str, Any]:
    """Draw an indicator and when it is published."""
    form = draw(figures)
    change = {} if form.get("rfm") == "tier" else draw(_changes)
    return {**form, **change, **draw(_periods)}


blocks = st.dictionaries(st.sampled_from(["a", "b", "c"]), published(), min_size=1, max_size=3)
