"""Strategies for rules about static lists, the lists in force, and what a profile is on."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from segops.core.rules.model import ListInForce

from .strategies import BASE_MS

#: Lists that expire before, during and after the streams, or never; the last one is not uploaded.
LISTS = {
    "never-ends": ListInForce(2),
    "replaced": ListInForce(3),
    "ended": ListInForce(2, BASE_MS - 30_000),
    **{f"ends-{seconds}": ListInForce(2, BASE_MS + seconds * 1_000) for seconds in (1, 2, 5, 10, 20, 100)},
}
#: The versions that name the profile: of ``replaced``, the one in force does not.
LISTINGS = {key: [1, 2] for key in LISTS} | {"not-begun": [1]}

list_rules: st.SearchStrategy[dict[str, Any]] = st.sampled_from([*LISTINGS, "unknown"]).map(
    lambda key: {"list": key}
)
