"""Strategies for ``since_last`` windows, over the names and properties of the random streams."""

from __future__ import annotations

from hypothesis import strategies as st

_NAMES = ("A", "B", "C", "Order Completed")
_same = st.one_of(
    st.just({}), st.just({}), st.sampled_from(["p", "q", "o.r"]).map(lambda path: {"same": path})
)
#: The keys of a ``since_last`` window, with or without ``same``.
sinces = st.tuples(
    st.one_of(
        st.sampled_from(_NAMES), st.lists(st.sampled_from(_NAMES), min_size=1, max_size=2, unique=True)
    ),
    _same,
).map(lambda pair: {"since_last": pair[0], **pair[1]})
