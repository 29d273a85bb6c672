"""What a phrase can stand for in a catalogue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from segops.core.scoring.models import STANDARD_SCORES


@dataclass(frozen=True, slots=True)
class Event:
    """Events by their names; ``count`` is a number of them that the phrase says itself."""

    names: tuple[str, ...]
    count: Mapping[str, int] | None = None


_AHEAD: Final = re.compile(r"_(\d+)([hd])")
_UNITS_MS: Final = {"h": 3_600_000, "d": 86_400_000}
#: The owner of a field that is a score only together with the time that it looks ahead.
FORECAST: Final = "forecast"


@dataclass(frozen=True, slots=True)
class Field:
    """A trait, a score, or a property of events: ``owner`` is trait, score, FORECAST or property."""

    owner: str
    name: str


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a trait, or of a property that a choice of events has."""

    field: Field
    value: Any


@dataclass(frozen=True, slots=True)
class Meaning:
    """A phrase's meanings, by kind: E event, G segment, R tier, P fields, V values, L place, O object.

    A phrase may have several; the grammar takes the one that fits its neighbours.
    """

    kinds: Mapping[str, Any] = field(default_factory=dict)


def horizon_ms(score: str) -> int | None:
    """Return how far a standard score looks ahead; None for one that says no time.

    >>> horizon_ms("convert_24h"), horizon_ms("churn_risk"), horizon_ms("own_7d")
    (86400000, None, None)
    """
    match = _AHEAD.search(score) if score in STANDARD_SCORES else None
    return None if match is None else int(match[1]) * _UNITS_MS[match[2]]
