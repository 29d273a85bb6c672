"""The rule language as the builder shows it: the schema of segment files, and its nodes in plain words.

The builder makes its forms from the schema, so that it offers all that a rule can say and nothing else. What
is here only decides how nodes are called, in which order they are offered, and how a new one begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec

from segops.core.scoring import SCORERS
from segops.core.scoring.rfm import GRID
from segops.schemas.json_schema import json_schema


class Head(NamedTuple):
    """A node of the language: ``group`` of the picker, ``label`` in it, and the rule that a new one is."""

    group: str
    label: str
    starter: Mapping[str, Any]


_COMBINE, _DO, _AMOUNT, _RHYTHM = "Combine", "What they did", "How much", "Rhythm"
_ARE, _SITE, _COMPARE = "Who they are", "Where they are", "Figures compared"

_STAGE: Final = {"of": "", "period": "28d", "is": "active"}
_PRESENT: Final = {"trait": "", "is": {"exists": True}}
_SHARE: Final = {"of": {"did": "", "within": "30d"}, "to": {"did": ""}}

#: Head -> how it is offered, in the order of the picker.
HEADS_SHOWN: Final[Mapping[str, Head]] = {
    "did": Head(_DO, "Did", {"did": "", "within": "30d"}),
    "did_not": Head(_DO, "Did not", {"did_not": "", "within": "30d"}),
    "sequence": Head(_DO, "Did in order", {"sequence": [{"did": ""}, {"did": "", "within": "1h"}]}),
    "first": Head(_DO, "First time", {"first": "", "is": {"older_than": "365d"}}),
    "last": Head(_DO, "Last time", {"last": "", "is": {"older_than": "30d"}}),
    "sum": Head(_AMOUNT, "Total of", {"sum": "", "of": "", "is": {"gte": 100}, "within": "90d"}),
    "avg": Head(_AMOUNT, "Average of", {"avg": "", "of": "", "is": {"gte": 50}, "within": "90d"}),
    "min": Head(_AMOUNT, "Smallest", {"min": "", "of": "", "is": {"gte": 10}}),
    "max": Head(_AMOUNT, "Largest", {"max": "", "of": "", "is": {"gte": 100}}),
    "distinct": Head(_AMOUNT, "Different values of", {"distinct": "", "of": "", "is": {"gte": 3}}),
    "latest": Head(_AMOUNT, "Latest value of", {"latest": "", "of": "", "is": {"exists": True}}),
    "earliest": Head(_AMOUNT, "Earliest value of", {"earliest": "", "of": "", "is": {"exists": True}}),
    "most_frequent": Head(_AMOUNT, "Favourite", {"most_frequent": "", "of": "", "is": {"exists": True}}),
    "active_days": Head(_RHYTHM, "Days active", {"active_days": "", "is": {"gte": 3}, "within": "7d"}),
    "active_weeks": Head(_RHYTHM, "Weeks active", {"active_weeks": "", "is": {"gte": 3}, "within": "35d"}),
    "active_months": Head(_RHYTHM, "Months active", {"active_months": "", "is": {"gte": 3}}),
    "sessions": Head(_RHYTHM, "Number of sessions", {"sessions": "", "is": {"gte": 3}, "within": "30d"}),
    "session": Head(_RHYTHM, "A session", {"session": "duration", "of": "", "is": {"gte": "10m"}}),
    "regularly": Head(_RHYTHM, "Regularly did", {"regularly": "", "every": "7d", "k": 3, "of": 4}),
    "lifecycle": Head(
        _RHYTHM, "Life-cycle stage", {"lifecycle": {"of": "", "period": "28d", "is": "active"}}
    ),
    "trait": Head(_ARE, "Trait", {"trait": "", "is": {"exists": True}}),
    "has_been": Head(
        _ARE, "Trait has been", {"has_been": {"trait": "", "is": {"exists": True}}, "for": "14d"}
    ),
    "changed": Head(_ARE, "Trait changed", {"changed": {"trait": "", "to": ""}, "within": "30d"}),
    "in_segment": Head(_ARE, "Is in segment", {"in_segment": ""}),
    "list": Head(_ARE, "Is on list", {"list": ""}),
    "rfm": Head(_ARE, "RFM", {"rfm": ["champions"]}),
    "score": Head(_ARE, "Score", {"score": "recency_days", "is": {"gte": 30}}),
    "score_percentile": Head(
        _ARE, "Percentile of a score", {"score_percentile": "recency_days", "is": {"gte": 90}}
    ),
    "identified": Head(_ARE, "Is known by name", {"identified": True}),
    "has_identifier": Head(_ARE, "Has an identifier", {"has_identifier": "email"}),
    "known_for": Head(_ARE, "Known for", {"known_for": "30d"}),
    "bucket": Head(_ARE, "Share of customers", {"bucket": {"salt": "share-1", "from": 0, "to": 10}}),
    "near": Head(_SITE, "Near a point", {"near": {"lat": 48.8566, "lon": 2.3522, "radius": "5km"}}),
    "inside": Head(_SITE, "Inside a place", {"inside": ""}),
    "distance_to": Head(_SITE, "Distance to a place", {"distance_to": "", "is": {"lte": "10km"}}),
    "compare": Head(_COMPARE, "Compare figures", {"compare": [{"did": ""}, "gt", 3]}),
    "ratio": Head(_COMPARE, "Ratio", {"ratio": {**_SHARE, "is": {"gte": 0.5}}}),
    "indicator": Head(_COMPARE, "Indicator", {"indicator": "", "is": {"gte": 1}}),
    "all": Head(_COMBINE, "All of these", {"all": [{"did": ""}]}),
    "any": Head(_COMBINE, "Any of these", {"any": [{"did": ""}]}),
    "at_least": Head(_COMBINE, "At least some of these", {"at_least": {"k": 1, "of": [{"did": ""}]}}),
    "not": Head(_COMBINE, "Exclude", {"not": {"did": ""}}),
}

#: Operator of a predicate -> its words in the picker.
OPERATORS_SHOWN: Final[Mapping[str, str]] = {
    "eq": "equals",
    "ne": "is not",
    "in": "is one of",
    "not_in": "is none of",
    "lt": "less than",
    "lte": "at most",
    "gt": "more than",
    "gte": "at least",
    "between": "between",
    "contains": "contains",
    "starts_with": "starts with",
    "ends_with": "ends with",
    "matches": "matches",
    "includes": "list includes",
    "any": "an element with",
    "all": "each element with",
    "none": "no element with",
    "count": "number of elements",
    "exists": "is present",
    "before": "before",
    "after": "after",
    "in_last": "in the last",
    "in_next": "in the next",
    "older_than": "longer ago than",
    "newer_than": "less long ago than",
    "anniversary_in_next": "comes round within",
    "age_in_years": "years since",
    "weekday": "on weekdays",
    "month": "in months",
    "as": "read as",
    "zone": "time zone",
    "where": "with",
}


def new_form() -> dict[str, Any]:
    """Return the document that a new segment begins with.

    >>> new_form()["segments"][0]["when"]
    {'all': [{'did': '', 'within': '30d'}]}
    """
    rule = {"all": [dict(HEADS_SHOWN["did"].starter)]}
    return {"version": 1, "segments": [{"key": "new-segment", "name": "New segment", "when": rule}]}


@cache
def language_text() -> str:
    """Return the schema and the words as JSON: the order of keys is that in which the browser offers them."""
    return msgspec.json.encode(_language()).decode()


def _language() -> Mapping[str, Any]:
    return {
        "schema": json_schema(),
        "heads": [{"head": name, **head._asdict()} for name, head in HEADS_SHOWN.items()],
        "operators": OPERATORS_SHOWN,
        "scores": sorted(SCORERS),
        "tiers": [
            {"tier": tier, "recency": cells[:2], "frequency": cells[2:]} for tier, cells in GRID.items()
        ],
    }
