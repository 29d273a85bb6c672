"""A draft of a source from a sample: the format, types, likely identifiers, names and times."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from segops.core.values import kind, parse_instant
from segops.sources.model import Path

_MAX_DEPTH: Final = 5
_MAX_FIELDS: Final = 200
_MAX_DISTINCT: Final = 1_000
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
#: Plausible instants: from 2001 to 2100, in each unit.
_UNITS: Final = {
    "unix_seconds": (978_307_200, 4_102_444_800),
    "unix_millis": (978_307_200_000, 4_102_444_800_000),
    "unix_micros": (978_307_200_000_000, 4_102_444_800_000_000),
}
#: Words of names, without separators -> the type of identifier. Whole names come before endings.
_IDENTIFIERS: Final = {
    "user_id": (
        *("userid", "customerid", "memberid", "accountid", "clientid", "uid", "user.id", "customer.id"),
        *("customer", "user", "member", "account", "customernumber", "usernumber"),
    ),
    "anonymous_id": ("anonymousid", "anonid", "visitorid", "sessionid", "cookieid"),
    "device_id": ("deviceid", "device.id", "idfa", "gaid"),
    "email": ("email", "emailaddress", "mail"),
    "phone": ("phone", "phonenumber", "mobile"),
}
_TIMES: Final = (
    "timestamp",
    "occurredat",
    "eventtime",
    "eventtimestamp",
    "placedat",
    "createdat",
    "created",
    "time",
    "ts",
    "at",
    "date",
    "updatedat",
)
_NAMES: Final = ("event", "eventname", "eventtype", "action", "type", "kind")
_MESSAGES: Final = ("messageid", "eventid", "uuid", "guid", "requestid")
#: Tables and topics of people become traits.
_PEOPLE: Final = ("customer", "user", "account", "member", "contact", "profile", "client", "subscriber")
_MAX_NAMES: Final = 20


class Field(msgspec.Struct):
    """What a sample shows of a path: the kinds of its values, in how many records, and how many differ."""

    path: Path
    kinds: Counter[str]
    values: set[Any]

    @property
    def present(self) -> int:
        """The number of records with a value."""
        return self.kinds.total()

    @property
    def name(self) -> str:
        """The path as written in a mapping."""
        return ".".join(self.path)

    def type(self) -> str:
        """Return the kinds of the values, the most frequent first: ``string``, ``number, string``."""
        return ", ".join(name for name, _ in self.kinds.most_common())

    def all_are(self, check: Callable[[Any], bool]) -> bool:
        """Return whether there are values, and all of them satisfy ``check``."""
        return bool(self.values) and all(map(check, self.values))


class Draft(msgspec.Struct):
    """A drafted source as it would be written, and the fields of the sample."""

    source: dict[str, Any]
    fields: list[Field]
    records: int


def survey(values: Iterable[dict[str, Any]]) -> list[Field]:
    """Return the fields of decoded records, in the order in which they occur."""
    found: dict[Path, Field] = {}
    for value in values:
        for path, each in _leaves(value, ()):
            if path not in found and len(found) >= _MAX_FIELDS:
                continue
            field = found.setdefault(path, Field(path, Counter(), set()))
            field.kinds[kind(each)] += 1
            if each.__class__ in (str, int, float) and len(field.values) < _MAX_DISTINCT:
                field.values.add(each)
    return list(found.values())


def draft(
    topic: str, layout: dict[str, Any], values: Sequence[dict[str, Any]], *, is_table: bool = False
) -> Draft:
    """Return a source for records with these decoded values. ``layout``: its format, and what belongs to it.

    >>> order = {"customer_id": 7, "total": 3, "placed_at": "2026-03-01"}
    >>> drafted = draft("orders.v1", {"format": "json"}, [order])
    >>> drafted.source["map"]["event"], drafted.source["map"]["timestamp"], drafted.source["identifiers"]
    ('Orders', 'placed_at', {'user_id': 'customer_id'})
    """
    fields = survey(values)
    people = _is_of_people(topic)
    identifiers = dict(_identifiers(fields, people=people))
    form: dict[str, Any] = {"topic": topic, **layout, "from": "earliest"}
    if identifiers:
        form["identifiers"] = identifiers
    mapping: dict[str, Any] = {"type": "identify"} if people else {"event": _event(topic, fields)}
    when = None if people and is_table else _time(fields)
    if when is not None:
        mapping["timestamp"] = when
    message = _message(fields, len(values))
    if message is not None and not people:
        mapping["messageId"] = message
    if not identifiers:
        mapping["userId"] = "TODO"
    used = {*identifiers.values(), message, when if isinstance(when, str) else (when or {}).get("path")}
    rest = _rest(fields, used)
    if rest:
        mapping["traits" if people else "properties"] = rest
    return Draft({**form, "map": mapping}, fields, len(values))


def _leaves(value: dict[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
    for name, each in value.items():
        below = (*path, name)
        if not name or "." in name:
            continue  # no path leads there
        if each.__class__ is dict and len(below) < _MAX_DEPTH:
            yield from _leaves(each, below)
        elif each is not None:
            yield below, each


def _plain_name(path: Sequence[str]) -> str:
    return ".".join(re.sub(r"[^a-z0-9]", "", name.lower()) for name in path)


def _is_of_people(topic: str) -> bool:
    last = re.sub(r"[.-]v?[0-9]+$", "", topic.lower()).rsplit(".", 1)[-1]
    return any(last.rstrip("s") == word for word in _PEOPLE)


def _identifiers(fields: Sequence[Field], *, people: bool) -> Iterator[tuple[str, str]]:
    for type_, names in _IDENTIFIERS.items():
        names = (*names, "id") if type_ == "user_id" and people else names
        found = next((field for name in names for field in fields if _matches(field, name, type_)), None)
        if found is not None:
            yield type_, found.name


def _matches(field: Field, name: str, type_: str) -> bool:
    plain = _plain_name(field.path)
    if type_ == "email" and not field.all_are(lambda value: bool(_EMAIL.fullmatch(str(value)))):
        return False
    named = plain == name or plain.endswith("." + name)
    return named and set(field.kinds) <= {"string", "number"}


def _time(fields: Sequence[Field]) -> str | dict[str, str] | None:
    for name in _TIMES:
        for field in fields:
            if _plain_name(field.path[-1:]) == name and (found := _as_time(field)) is not None:
                return found
    return None


def _as_time(field: Field) -> str | dict[str, str] | None:
    if field.all_are(lambda value: value.__class__ is str and parse_instant(value) is not None):
        return field.name
    for unit, (low, high) in _UNITS.items():
        if field.all_are(lambda value, low=low, high=high: value.__class__ is int and low <= value <= high):  # type: ignore[misc]
            return {"path": field.name, "as": unit}
    return None


def _event(topic: str, fields: Sequence[Field]) -> str | dict[str, str]:
    for name in _NAMES:
        for field in fields:
            plain = _plain_name(field.path) == name and set(field.kinds) == {"string"}
            if plain and len(field.values) <= _MAX_NAMES:
                return {"path": field.name}
    last = re.sub(r"[.-]v?[0-9]+$", "", topic).rsplit(".", 1)[-1]
    return " ".join(word.capitalize() for word in re.split(r"[^A-Za-z0-9]+", last) if word) or "Event"


def _message(fields: Sequence[Field], records: int) -> str | None:
    for name in _MESSAGES:
        for field in fields:
            if _plain_name(field.path) == name and len(field.values) == field.present == records:
                return field.name
    return None


def _rest(fields: Sequence[Field], used: set[Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for field in fields:
        if field.name not in used:
            key = field.path[-1] if field.path[-1] not in found else "_".join(field.path)
            found[key] = field.name
    return found
