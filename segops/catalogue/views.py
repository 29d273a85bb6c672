"""The catalogue as people and programs read it: events, their properties, types, labels and ranges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from segops.catalogue.counters import DAY_MS, OTHERS, Entry, Field, merged
from segops.schemas.shown import HIDDEN

#: Types whose values say little of their own: the others decide what a field is.
_WEAK: Final = frozenset(("null",))
#: Names that no rule would select.
_NO_EVENTS: Final = frozenset((HIDDEN, OTHERS, "identify", "group", "alias"))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WEEK: Final = 7


class FieldView(msgspec.Struct, frozen=True):
    """A property or trait. ``share``: of the events read; ``types``: of the values, the most frequent first.

    ``values``: labels that several profiles had, with their counts; None if there are too many, or some that
    are not shown. ``range``: rounded outwards to two digits.
    """

    name: str
    share: float
    types: dict[str, int]
    values: dict[str, int] | None
    range: tuple[float, float] | None

    @property
    def type(self) -> str:
        """The type of most values."""
        found = [each for each in self.types if each not in _WEAK] or list(self.types)
        return found[0] if found else "null"


class EventView(msgspec.Struct, frozen=True):
    """An event, or the traits, of the given sources together.

    ``read``: the events whose properties were read. ``per_day``: the mean of the latest seven days.
    """

    event: str
    sources: list[str]
    count: int
    read: int
    per_day: float
    first_ms: int | None
    last_ms: int | None
    days: dict[str, int]
    properties: list[FieldView]
    #: Values of properties beyond the limits of the catalogue.
    others: int


def views(
    entries: Iterable[Entry], *, source: str | None = None, profiles: int
) -> tuple[list[EventView], EventView | None]:
    """Return the events, the most frequent first, and the traits if there are any.

    ``source``: only those of this one. ``profiles``: on how many a value must have been seen to be shown.
    """
    by_event: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        if source in (None, entry.source):
            by_event.setdefault((entry.scope, entry.event), []).append(entry)
    events = [_view(found, profiles) for (scope, _), found in by_event.items() if scope == "event"]
    traits = by_event.get(("traits", ""))
    return sorted(events, key=lambda each: (-each.count, each.event)), _view(
        traits, profiles
    ) if traits else None


def _view(entries: list[Entry], profiles: int) -> EventView:
    total, *others = entries
    for each in others:
        total = merged(total, each)
    latest = (total.last_ms or 0) // DAY_MS
    week = sum(number for day, number in total.days.items() if latest - _WEEK < day <= latest)
    fields = [_field(name, field, total.read, profiles) for name, field in total.fields.items()]
    return EventView(
        total.event or "traits",
        sorted({each.source for each in entries}),
        total.count,
        total.read,
        week / _WEEK,
        total.first_ms,
        total.last_ms,
        {f"{_EPOCH + timedelta(days=day):%Y-%m-%d}": total.days[day] for day in sorted(total.days)},
        sorted(fields, key=lambda each: (-each.share, each.name)),
        total.others,
    )


def _field(name: str, field: Field, read: int, profiles: int) -> FieldView:
    types = dict(sorted(field.types.items(), key=lambda each: (-each[1], each[0])))
    values = None
    if field.labels:
        shown = [label for label in field.labels.values() if _is_shown(label, profiles)]
        values = {str(label.text): label.count for label in sorted(shown, key=lambda each: -each.count)}
    several = field.profiles.bit_count() >= profiles
    has_range = several and field.low is not None and field.high is not None
    return FieldView(
        name,
        field.count / max(read, 1),
        types,
        values or None,
        (field.low, field.high) if has_range else None,  # type: ignore[arg-type]
    )


def _is_shown(label: Any, profiles: int) -> bool:
    return label.text is not None and label.profiles.bit_count() >= profiles


def is_closed(view: FieldView) -> bool:
    """Return whether the values that are shown are all that the texts of a field ever were."""
    return view.values is not None and sum(view.values.values()) == view.types.get("string", 0)


def form_of(view: EventView) -> dict[str, Any]:
    """Return properties as ``{name: type}``, or ``{name: [values]}`` where only these occur.

    An object is left out where its own fields are listed.
    """
    names = {each.name for each in view.properties}
    parents = {name.rpartition(".")[0] for name in names}
    return {
        each.name: sorted(each.values or ()) if each.type == "string" and is_closed(each) else each.type
        for each in sorted(view.properties, key=lambda each: each.name)
        if HIDDEN not in each.name and not (each.type == "object" and each.name in parents)
    }


def catalogue_form(
    events: Iterable[EventView], traits: EventView | None, *, further: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the catalogue as one map: ``events``, ``traits``, then ``further``.

    Calls that describe a profile are not among the events: the traits say the same.
    """
    named = {each.event: form_of(each) for each in events if each.event not in _NO_EVENTS}
    return {"events": named, "traits": {} if traits is None else form_of(traits), **further}


def currency_of(events: Iterable[EventView]) -> str | None:
    """Return the most frequent shown value of properties named ``currency``."""
    counts: dict[str, int] = {}
    for event in events:
        for each in event.properties:
            if each.name.rpartition(".")[2] == "currency":
                for value, number in (each.values or {}).items():
                    counts[value] = counts.get(value, 0) + number
    return max(counts, key=lambda value: (counts[value], value), default=None)
