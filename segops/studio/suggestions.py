"""Suggestions of segments: those that the names of a catalogue allow, ranked by what a measurement found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from segops.core.segments import Definition
from segops.schemas.written import read_yaml
from segops.studio.catalogue import StudioCatalogue
from segops.studio.checks import sentence
from segops.studio.rules import check_rule
from segops.templates import definition_of, load_template

#: The keys of nodes whose values are names of events.
_EVENTS: Final = ("did", "did_not", "of", "first", "last", "since_last")
#: The keys of nodes whose values are names of properties.
_PROPERTIES: Final = ("sum", "avg", "min", "max", "distinct", "latest", "earliest", "most_frequent")
#: The share of profiles below and above which a segment is hardly worth a campaign of its own.
_SMALL: Final = 0.005
_LARGE: Final = 0.4


class _Entry(BaseModel):
    """A suggestion as written in this package: the rule of a template, or one of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    why: str = Field(min_length=1)
    worth: int = Field(ge=1, le=5)
    template: str | None = None
    when: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one(self) -> _Entry:
        if (self.template is None) == (self.when is None):
            raise ValueError("expected either template or when")
        return self

    @property
    def rule(self) -> dict[str, Any]:
        """The rule, in the names of the templates."""
        if self.when is not None:
            return self.when
        found: dict[str, Any] = definition_of(load_template(str(self.template))).written
        return found


class _Library(BaseModel):
    """All suggestions, and what names may stand for those in their rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    events: dict[str, list[str]]
    properties: dict[str, list[str]]
    traits: dict[str, list[str]]
    suggestions: list[_Entry]


class Candidate(NamedTuple):
    """A segment that a catalogue allows: ``sentence`` is its rule in words, ``why`` what it is good for.

    ``worth``: from 1 (nice to know) to 5 (act now).
    """

    key: str
    definition: Definition
    sentence: str
    why: str
    worth: int


class Size(NamedTuple):
    """The measured members of a segment among ``profiles``, with the bounds of the 95 % interval.

    ``notes``: what the figure lacks.
    """

    members: int
    low: int
    high: int
    profiles: int
    notes: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The share of all profiles."""
        return self.members / self.profiles if self.profiles else 0.0


class Suggestion(msgspec.Struct, frozen=True):
    """A suggested segment with its size, in the form that is printed as JSON."""

    key: str
    rule: dict[str, Any]
    sentence: str
    size: int
    low: int
    high: int
    share: float
    why: str
    notes: list[str]


@cache
def _library() -> _Library:
    written = (files(__package__) / "data" / "suggestions.yaml").read_text("utf-8")
    return _Library.model_validate(read_yaml(written))


def candidates(catalogue: StudioCatalogue, *, prefix: str = "") -> list[Candidate]:
    """Return the suggestions whose events, properties and traits the catalogue has, by these or other names.

    ``prefix``: what the keys of their definitions begin with.
    """
    found = (_candidate(entry, catalogue, prefix) for entry in _library().suggestions)
    return [each for each in found if each is not None]


def _candidate(entry: _Entry, catalogue: StudioCatalogue, prefix: str) -> Candidate | None:
    rule = renamed(entry.rule, catalogue)
    definition = check_rule(rule, catalogue, prefix + entry.key).definition
    if definition is None:
        return None
    return Candidate(entry.key, definition, sentence(definition.when), entry.why, entry.worth)


def renamed(rule: Any, catalogue: StudioCatalogue) -> Any:
    """Return a rule in the names of a catalogue; what it has no name for stays.

    >>> shop = StudioCatalogue.from_document({"events": {"Purchase": {"total": "number"}}}, "shop")
    >>> renamed({"sum": "revenue", "of": "Order Completed", "is": {"gt": 5}}, shop)
    {'sum': 'total', 'of': 'Purchase', 'is': {'gt': 5}}
    """
    if isinstance(rule, list):
        return [renamed(each, catalogue) for each in rule]
    if not isinstance(rule, dict):
        return rule
    events = [_event(name, catalogue) for key in _EVENTS for name in _names(rule.get(key))]
    properties = {name for event in events for name in catalogue.events.get(event, ())}
    return {key: _part(key, value, properties, catalogue) for key, value in rule.items()}


def _part(key: str, value: Any, properties: Iterable[str], catalogue: StudioCatalogue) -> Any:
    library = _library()
    if key in _EVENTS and isinstance(value, str):
        return _event(value, catalogue)
    if key in _EVENTS and isinstance(value, list) and len(list(_names(value))) == len(value):
        return [_event(name, catalogue) for name in value]
    if key in _PROPERTIES and isinstance(value, str):
        return _known(value, library.properties, properties)
    if key == "where":
        return {_known(name, library.properties, properties): test for name, test in value.items()}
    if key == "trait" and isinstance(value, str):
        return _known(value, library.traits, catalogue.traits)
    return renamed(value, catalogue)


def _names(value: Any) -> Iterator[str]:
    yield from (each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str))


def _event(name: str, catalogue: StudioCatalogue) -> str:
    return _known(name, _library().events, catalogue.events)


def _known(name: str, others: Mapping[str, Sequence[str]], known: Iterable[str]) -> str:
    listed = set(known)
    return next((each for each in [name, *others.get(name, ())] if each in listed), name)


def ranked(found: Iterable[Candidate], sizes: Mapping[str, Size]) -> list[Suggestion]:
    """Return the measured suggestions with members, the most rewarding first.

    The rank is the worth, less the further the share of profiles is below 0.5 % or above 40 %, where a
    segment is too small or says too little; figures that lack something come last.
    """
    measured = [(each, sizes[each.key]) for each in found if each.key in sizes and sizes[each.key].members]
    measured.sort(key=lambda pair: (bool(pair[1].notes), -reward(pair[0].worth, pair[1].share), pair[0].key))
    return [_suggestion(each, size) for each, size in measured]


def reward(worth: int, share: float) -> float:
    """Return the rank of a segment with this share of all profiles.

    >>> reward(4, 0.1), reward(4, 0.8), reward(4, 0.0005)
    (4.0, 2.0, 0.4)
    """
    if share > _LARGE:
        return worth * _LARGE / share
    return worth * min(1.0, share / _SMALL)


def _suggestion(each: Candidate, size: Size) -> Suggestion:
    return Suggestion(
        each.key,
        each.definition.written,
        each.sentence,
        size.members,
        size.low,
        size.high,
        round(size.share, 6),
        each.why,
        list(size.notes),
    )
