"""The memberships, indicators and identifiers as the compacted topics have them, in a store.

======================================  ==============================================================
``l`` + identifier                      the id of the profile that it was merged into; empty for its own
``p`` + profile id                      its memberships and indicators (JSON)
``s`` + segment + ``|`` + profile id    since and until when it is a member (JSON)
======================================  ==============================================================

Each topic has keys of its own, so that the order of records of different topics does not matter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from segops.core.errors import StateError
from segops.core.segments import Definition
from segops.schemas.state import redirect_of
from segops.stores.base import ProfileStore, Write

log = logging.getLogger(__name__)

_LINK: Final = "l"
_PROFILE: Final = "p"
_MEMBER: Final = "s"
#: A profile was merged at most this often in a row; more is a cycle of records that no worker wrote.
_MAX_MERGES: Final = 100

_T = TypeVar("_T")

#: Key of a record -> its value, None if it was deleted.
Records = Mapping[bytes, bytes | None]


class Stay(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Since when a profile is a member, and until when if nothing more happens (ms UTC; None: no end)."""

    since: int
    until: int | None


class Stored(msgspec.Struct, array_like=True, gc=False):
    """What is stored of a profile: segment -> stay, indicator -> value as published."""

    memberships: dict[str, Stay] = {}
    indicators: dict[str, msgspec.Raw] = {}


class Member(NamedTuple):
    """A member of a segment."""

    profile_id: str
    stay: Stay


class Found(NamedTuple):
    """The profile that an identifier leads to: exposed memberships, and published indicators."""

    profile_id: str
    memberships: Mapping[str, Stay]
    indicators: Mapping[str, msgspec.Raw]


class Page(NamedTuple):
    """Members of a segment in the order of their ids; ``after``: where the next page begins, if any."""

    members: Sequence[Member]
    after: str | None


class _Row(msgspec.Struct):
    member: bool
    occurred_at: int
    flips_at: int | None = None


class _Value(msgspec.Struct):
    value: msgspec.Raw


class Shown(NamedTuple):
    """What may be shown, by the published definitions; retired ones are in none of these."""

    segments: frozenset[str] = frozenset()
    exposed: frozenset[str] = frozenset()
    indicators: frozenset[str] = frozenset()

    @classmethod
    def of(cls, definitions: Iterable[Definition]) -> Shown:
        """Return what these definitions let be shown."""
        listed = list(definitions)
        segments = [each for each in listed if not each.is_indicator]
        return cls(
            frozenset(each.key for each in segments),
            frozenset(each.key for each in segments if each.expose),
            frozenset(each.name for each in listed if each.is_indicator),
        )


_row = msgspec.json.Decoder(_Row)
_value = msgspec.json.Decoder(_Value)
_stored = msgspec.json.Decoder(Stored)
_stay = msgspec.json.Decoder(Stay)
_encode: Final = msgspec.json.Encoder().encode


class View:
    """Answers from a store, which is empty at first. ``shown``: what it may show."""

    def __init__(self, store: ProfileStore) -> None:
        self._store = store
        self.shown = Shown()

    # -- reading ---------------------------------------------------------------------------------------

    def find(self, identifier: str) -> Found | None:
        """Return what may be shown of the profile that an identifier leads to; None if it is unknown."""
        for _ in range(_MAX_MERGES):
            link, data = self._store.get_many([_LINK + identifier, _PROFILE + identifier])
            if not link:
                return None if link is None and data is None else self._found(identifier, data)
            identifier = link.decode()
        return None

    def _found(self, profile_id: str, data: bytes | None) -> Found:
        if data is None:
            return Found(profile_id, {}, {})
        stored, shown = _stored.decode(data), self.shown
        return Found(
            profile_id,
            {key: stay for key, stay in stored.memberships.items() if key in shown.exposed},
            {name: value for name, value in stored.indicators.items() if name in shown.indicators},
        )

    def members(self, segment: str, after: str, limit: int) -> Page:
        """Return at most ``limit`` members of a segment with ids greater than ``after``.

        Pages of one pass list each profile once, and those that are members from its begin to its end.
        """
        prefix = f"{_MEMBER}{segment}|"
        ids = self._store.profile_ids(prefix + after, limit + 1)
        listed = [each for each in ids if each.startswith(prefix)]
        page = listed[:limit]
        stays = self._store.get_many(page)
        members = [
            Member(each.removeprefix(prefix), _stay.decode(stay))
            for each, stay in zip(page, stays, strict=True)
            if stay is not None
        ]
        return Page(members, members[-1].profile_id if len(listed) > limit else None)

    # -- the topics ------------------------------------------------------------------------------------

    def take_memberships(self, records: Records) -> None:
        """Take over rows of the state topic."""
        found: dict[str, dict[str, Stay | None]] = {}
        for profile_id, segment, value in _by_profile(records, _stay_of):
            found.setdefault(profile_id, {})[segment] = value
        writes = []
        for profile_id, stored in self._read([*found]):
            for segment, stay in found[profile_id].items():
                if _set(stored.memberships, segment, stay):
                    row_id = f"{_MEMBER}{segment}|{profile_id}"
                    writes.append(Write(row_id, None if stay is None else _encode(stay)))
            writes.append(_write_of(profile_id, stored))
        self._store.write(writes, {})

    def take_indicators(self, records: Records) -> None:
        """Take over values of the indicators topic."""
        found: dict[str, dict[str, msgspec.Raw | None]] = {}
        for profile_id, name, value in _by_profile(records, _value_of):
            found.setdefault(profile_id, {})[name] = value
        writes = []
        for profile_id, stored in self._read([*found]):
            for name, value in found[profile_id].items():
                _set(stored.indicators, name, value)
            writes.append(_write_of(profile_id, stored))
        self._store.write(writes, {})

    def take_profiles(self, records: Records) -> None:
        """Take over which profiles there are, and into which they were merged, from the changelog."""
        links: dict[str, bytes | None] = {}
        for key, value in records.items():
            if not key.startswith(b"\0"):  # the changelog holds more than profiles
                try:
                    links[_LINK + key.decode()] = None if value is None else _link_of(value)
                except (StateError, UnicodeDecodeError) as error:
                    log.error("skipping the profile %r: %s", key, error)
        known = self._store.get_many([*links])
        changed = [each for each, link in zip(links.items(), known, strict=True) if each[1] != link]
        self._store.write([Write(*each) for each in changed], {})

    def _read(self, profile_ids: Sequence[str]) -> Iterable[tuple[str, Stored]]:
        """Return what is stored of profiles, each with its id."""
        found = self._store.get_many([_PROFILE + each for each in profile_ids])
        stored = (Stored({}, {}) if data is None else _stored.decode(data) for data in found)
        return zip(profile_ids, stored, strict=True)


def _link_of(value: bytes) -> bytes:
    return (redirect_of(value) or "").encode()


def _set(values: dict[str, _T], name: str, value: _T | None) -> bool:
    """Set a value, or remove it (None); return whether that changed anything."""
    if value is None:
        return values.pop(name, None) is not None
    changed = values.get(name) != value
    values[name] = value
    return changed


def _write_of(profile_id: str, stored: Stored) -> Write:
    holds = stored.memberships or stored.indicators
    return Write(_PROFILE + profile_id, _encode(stored) if holds else None)


def _by_profile(records: Records, read: Callable[[bytes], _T | None]) -> Iterable[tuple[str, str, _T | None]]:
    """Yield the profile id, the name behind it and the value of each readable record."""
    for key, value in records.items():
        try:
            profile_id, bar, name = key.decode().rpartition("|")
            if bar:
                yield profile_id, name, None if value is None else read(value)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.error("skipping the record %r: %s", key, error)


def _stay_of(value: bytes) -> Stay | None:
    row = _row.decode(value)
    return Stay(row.occurred_at, row.flips_at) if row.member else None


def _value_of(value: bytes) -> msgspec.Raw | None:
    found = _value.decode(value).value
    return None if found == b"null" else msgspec.Raw(bytes(found))
