"""Strategies for rules about the customer: changes of traits, and identifiers."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from .strategies import scalars, time_windows, traits, value_predicates

_types = st.sampled_from(["user_id", "anonymous_id", "email", "device_id"])
identifier_rules: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.booleans().map(lambda known: {"identified": known}),
    _types.map(lambda kind: {"has_identifier": kind}),
    st.lists(_types, min_size=1, max_size=2).map(lambda kinds: {"has_identifier": kinds}),
)

_exists = st.booleans().map(lambda present: {"exists": present})
_sides = st.one_of(scalars, value_predicates, _exists, _exists)


@st.composite
def changed_rules(draw: Any) -> dict[str, Any]:
    """Draw a change of a trait to a value, from one, or both, that is not the same value twice."""
    keys = draw(st.sampled_from([("from",), ("to",), ("to",), ("from", "to")]))
    sides = {key: draw(_sides) for key in keys}
    tests = [side if isinstance(side, dict) else {"eq": side} for side in sides.values()]
    if len(tests) == 2 and tests[0] == tests[1]:
        del sides["from"]
    return {"changed": {"trait": draw(traits), **sides}, **draw(time_windows)}


customer_leaves = st.one_of(identifier_rules, changed_rules(), changed_rules())
