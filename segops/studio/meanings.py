"""What a phrase can stand for in a catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """Events by their names; ``count`` is a number of them that the phrase says itself."""

    names: tuple[str, ...]
    count: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A trait, a score, or a property of events: ``owner`` is trait, score or property."""

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
