"""Strategies for dates of birth near a turn of age, and for predicates of the parts of dates and of ages."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from segops.core.values import format_instant, parse_instant

#: The years of birth; each birthday is within the minute after the beginning of the streams.
_YEARS = (2000, 2007, 2024)
_HALF_SECONDS = 140

births = st.tuples(st.sampled_from(_YEARS), st.integers(-20, _HALF_SECONDS)).map(
    lambda pair: format_instant((parse_instant(f"{pair[0]}-10-09T08:53:20Z") or 0) + pair[1] * 500)
)
_ages = st.sampled_from([0, 1, 18, {"gte": 25}, {"lt": 18}, {"between": [1, 17]}, {"in": [0, 25]}, {"ne": 1}])
_zones = st.sampled_from([{}, {"zone": "Europe/Paris"}, {"zone": "Pacific/Auckland"}])
age_predicates = st.tuples(_ages, _zones).map(lambda pair: {"age_in_years": pair[0], **pair[1]})
part_predicates = st.tuples(
    st.sampled_from(
        [{"weekday": "thu"}, {"weekday": ["mon", "fri", "sat"]}, {"month": 10}, {"month": [1, 10]}]
    ),
    _zones,
).map(lambda pair: {**pair[0], **pair[1]})
date_predicates: st.SearchStrategy[dict[str, Any]] = st.one_of(age_predicates, part_predicates)
