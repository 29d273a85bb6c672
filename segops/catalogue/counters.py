"""What is counted of events: names, properties with their types, labels and ranges, in bounded memory.

Personal data is left out before it is counted (``schemas.shown``). The text of a label is kept once it was
seen on several profiles; until then its salted hash. Profiles are counted by 64 bits that many of them share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

import msgspec
import xxhash

from segops.core.events import Event
from segops.core.values import kind, parse_datetime
from segops.schemas.shown import HIDDEN, is_personal, is_shown_value, shown_name

Scope = Literal["event", "traits"]
#: Limits: entries and fields of the catalogue, fields of an entry, labels of a field, days of an entry.
MAX_ENTRIES: Final = 1_000
MAX_ALL_FIELDS: Final = 20_000
MAX_FIELDS: Final = 200
MAX_LABELS: Final = 20
MAX_DAYS: Final = 35
#: The name of the entry of all events beyond the first ``MAX_ENTRIES``.
OTHERS: Final = "(others)"
#: Beyond so many events of an entry, the properties of every tenth are read.
FULLY_READ: Final = 10_000
SAMPLED: Final = 10
DAY_MS: Final = 86_400_000
_MAX_DEPTH: Final = 3
_MAX_LEAVES: Final = 300
#: Whole numbers from here on are taken for identifiers, telephone numbers or instants.
_MAX_NUMBER: Final = 10**9
_DOWN: Final = Context(prec=2, rounding=ROUND_FLOOR)
_UP: Final = Context(prec=2, rounding=ROUND_CEILING)
_COUNTRY: Final = frozenset(("country", "country_code", "countrycode"))


class Label(msgspec.Struct, array_like=True):
    """One text that a field had: ``profiles`` has a bit per group of profiles, ``text`` is None at first."""

    count: int
    profiles: int
    text: str | None = None


class Field(msgspec.Struct):
    """One property or trait: on how many events, with which types, with which labels, in which range.

    ``labels`` is None once there are too many, or one that may not be shown. ``low`` and ``high`` are rounded
    outwards to two digits.
    """

    count: int = 0
    types: dict[str, int] = {}
    labels: dict[str, Label] | None = {}
    low: float | None = None
    high: float | None = None
    profiles: int = 0


class Key(NamedTuple):
    """What an entry is of: the events of a name, or the traits, from one source."""

    scope: Scope
    source: str
    event: str


class Entry(msgspec.Struct):
    """The counts of one key. ``read``: the events whose properties were read; ``others``: fields left out.

    ``days``: events by the day of their time, in days since 1970.
    """

    scope: Scope
    source: str
    event: str
    count: int = 0
    read: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    days: dict[int, int] = {}
    fields: dict[str, Field] = {}
    others: int = 0

    @property
    def key(self) -> Key:
        """What the entry is of."""
        return Key(self.scope, self.source, self.event)


def bit_of(profile_id: str, salt: str) -> int:
    """Return the bit of 64 that stands for a profile, and for many others."""
    return 1 << (xxhash.xxh3_64_intdigest((salt + profile_id).encode(errors="replace")) & 63)


class Catalogue:
    """The entries of all sources. ``profiles``: on how many a label must be seen before its text is kept."""

    def __init__(self, salt: str, profiles: int) -> None:
        self.salt = salt
        self.entries: dict[Key, Entry] = {}
        self.changed: set[Key] = set()
        self._profiles = profiles
        self._fields = 0

    def add(self, entry: Entry) -> None:
        """Add an entry that was stored."""
        self.entries[entry.key] = entry
        self._fields += len(entry.fields)

    def observe(self, source: str, event: Event, profile_id: str) -> None:
        """Count an event, its properties and its traits."""
        bit = bit_of(profile_id, self.salt)
        source = shown_name(source)
        self._observe(Key("event", source, shown_name(event.name)), event.properties, event.time_ms, bit)
        if event.traits:
            self._observe(Key("traits", source, ""), event.traits, event.time_ms, bit)

    def _observe(self, key: Key, values: Mapping[str, Any], time_ms: int, bit: int) -> None:
        entry = self.entries.get(key)
        if entry is None:
            if len(self.entries) >= MAX_ENTRIES:
                key = key._replace(source=HIDDEN, event=OTHERS)
            entry = self.entries.setdefault(key, Entry(*key))
        self.changed.add(key)
        _count(entry, time_ms)
        if key.event != OTHERS and (entry.count <= FULLY_READ or entry.count % SAMPLED == 0):
            entry.read += 1
            for path, value in leaves(values):
                self._observe_field(entry, path, value, bit)

    def _observe_field(self, entry: Entry, path: tuple[str, ...], value: Any, bit: int) -> None:
        name, personal = _shown(path)
        field = entry.fields.get(name)
        if field is None:
            if len(entry.fields) >= MAX_FIELDS or self._fields >= MAX_ALL_FIELDS:
                entry.others += 1
                return
            field = entry.fields[name] = Field()
            self._fields += 1
        found = _type_of(name, value)
        field.count += 1
        field.types[found] = field.types.get(found, 0) + 1
        field.profiles |= bit
        if found == "number":
            if not personal:
                _widen(field, value)
        elif found in ("string", "iso2"):
            self._observe_text(field, value, bit, personal=personal)

    def _observe_text(self, field: Field, text: str, bit: int, *, personal: bool) -> None:
        labels = field.labels
        if labels is None:
            return
        digest = (
            None
            if personal or not is_shown_value(text)
            else xxhash.xxh32_hexdigest((self.salt + text).encode())
        )
        if digest is None or (digest not in labels and len(labels) >= MAX_LABELS):
            field.labels = None
            return
        label = labels.get(digest)
        if label is None:
            label = labels[digest] = Label(0, 0)
        label.count += 1
        label.profiles |= bit
        if label.text is None and label.profiles.bit_count() >= self._profiles:
            label.text = text


def _count(entry: Entry, time_ms: int) -> None:
    entry.count += 1
    entry.first_ms = time_ms if entry.first_ms is None else min(entry.first_ms, time_ms)
    entry.last_ms = time_ms if entry.last_ms is None else max(entry.last_ms, time_ms)
    day = time_ms // DAY_MS
    entry.days[day] = entry.days.get(day, 0) + 1
    if len(entry.days) > MAX_DAYS:
        del entry.days[min(entry.days)]


def leaves(values: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the values of an object by path, those of objects within it too, within limits."""
    pending: list[tuple[tuple[str, ...], Any]] = [((name,), value) for name, value in values.items()]
    for number, (path, value) in enumerate(pending):
        if number >= _MAX_LEAVES:
            return
        yield path, value
        if isinstance(value, dict) and len(path) < _MAX_DEPTH:
            pending += [((*path, name), below) for name, below in value.items()]


@lru_cache(maxsize=20_000)
def _shown(path: tuple[str, ...]) -> tuple[str, bool]:
    """Return a path as it is shown, and whether its values are not."""
    names = [shown_name(name) for name in path]
    return ".".join(names), HIDDEN in names or any(map(is_personal, path))


def _type_of(path: str, value: Any) -> str:
    found = kind(value)
    if found == "missing":
        return "null"
    if found != "string":
        return found
    if (
        len(value) == 2
        and value.isascii()
        and value.isupper()
        and path.lower().rpartition(".")[2] in _COUNTRY
    ):
        return "iso2"
    is_date = 10 <= len(value) <= 35 and value[4] == "-" and value[:4].isdigit() and parse_datetime(value)
    return "date" if is_date else "string"


def _widen(field: Field, value: float) -> None:
    if not abs(value) < _MAX_NUMBER:  # NaN is neither less nor more than the limit
        return
    low, high = outwards(value)
    field.low = low if field.low is None else min(field.low, low)
    field.high = high if field.high is None else max(field.high, high)


@lru_cache(maxsize=4_096)
def outwards(value: float) -> tuple[float, float]:
    """Return a number rounded down and up to two digits.

    >>> outwards(1234), outwards(-0.0456), outwards(20), outwards(0)
    ((1200.0, 1300.0), (-0.046, -0.045), (20.0, 20.0), (0.0, 0.0))
    """
    written = repr(value)
    return float(_DOWN.create_decimal(written)), float(_UP.create_decimal(written))


def merged(one: Entry, other: Entry) -> Entry:
    """Return the counts of two entries as one, with the key of the first.

    It does not matter in which order entries are merged, while they are within their limits.
    """
    days = _added(one.days, other.days)
    latest = sorted(days)[-MAX_DAYS:]
    fields, left_out = _merged_fields(one.fields, other.fields)
    return Entry(
        *one.key,
        one.count + other.count,
        one.read + other.read,
        _least(one.first_ms, other.first_ms),
        _greatest(one.last_ms, other.last_ms),
        {day: days[day] for day in latest},
        fields,
        one.others + other.others + left_out,
    )


def _merged_fields(one: Mapping[str, Field], other: Mapping[str, Field]) -> tuple[dict[str, Field], int]:
    names = [*one, *(name for name in other if name not in one)]
    kept, left_out = names[:MAX_FIELDS], names[MAX_FIELDS:]
    fields = {name: _merged_field(one.get(name, Field()), other.get(name, Field())) for name in kept}
    return fields, sum(other[name].count for name in left_out)


def _merged_field(one: Field, other: Field) -> Field:
    return Field(
        one.count + other.count,
        _added(one.types, other.types),
        _merged_labels(one.labels, other.labels),
        _least(one.low, other.low),
        _greatest(one.high, other.high),
        one.profiles | other.profiles,
    )


def _merged_labels(
    one: Mapping[str, Label] | None, other: Mapping[str, Label] | None
) -> dict[str, Label] | None:
    if one is None or other is None or len(one.keys() | other.keys()) > MAX_LABELS:
        return None
    none = Label(0, 0)
    pairs = {key: (one.get(key, none), other.get(key, none)) for key in one.keys() | other.keys()}
    return {
        key: Label(a.count + b.count, a.profiles | b.profiles, a.text if a.text is not None else b.text)
        for key, (a, b) in pairs.items()
    }


def _added(one: Mapping[Any, int], other: Mapping[Any, int]) -> dict[Any, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in one.keys() | other.keys()}


def _least(one: Any, other: Any) -> Any:
    return one if other is None else other if one is None else min(one, other)


def _greatest(one: Any, other: Any) -> Any:
    return one if other is None else other if one is None else max(one, other)
