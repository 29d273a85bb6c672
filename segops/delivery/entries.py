"""The addresses of one partition: their targets, what was told of each, and how often each person was."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, get_args

import msgspec

from segops.core.delivery.deciding import Ask
from segops.core.delivery.model import Delivery, Entry, Told
from segops.schemas.delivery import BadKey, decode_entries, decode_key, decode_target, decode_told
from segops.stores.base import ProfileStore, Write

log = logging.getLogger(__name__)

#: The first part of the key of how often a person was told of entries, before the channel and the address.
ENTRIES: Final = ""
#: The first part of the key of a person's request, before the key of the entry.
REQUEST: Final = "!"

_entry = msgspec.msgpack.Decoder(Entry)
_pack = msgspec.msgpack.Encoder().encode


class Address(NamedTuple):
    """An address of a delivery."""

    delivery: Delivery
    address: str

    @property
    def id(self) -> str:
        """Its key in the store."""
        return f"{self.delivery}|{self.address}"


def address_of(entry_id: str) -> Address:
    """Return the address of a key in the store."""
    destination, audience, address = entry_id.split("|", 2)
    return Address(Delivery(destination, audience), address)


def _checked(request: tuple[str, ...]) -> tuple[str, ...]:
    """Return a request. Raises ValueError for one that no version of this program has written."""
    if len(request) != 5 or request[1] not in get_args(Ask):
        raise ValueError(f"unknown request {request[1:]}")
    return request


class Entries:
    """The entries of a partition. ``told_ms``: channel and address -> change -> when it was told.

    Nothing is forgotten before ``forget_over``: while the topics are read from their beginning, the exit of a
    member is read before what the member was told. Nor is an entry that is ``held``: an exit that comes while
    the entry is on its way to be told is due as soon as that is written.
    """

    def __init__(self, store: ProfileStore) -> None:
        self._store = store
        self._restored = False
        self._held: frozenset[str] = frozenset()
        self.told_ms: dict[tuple[str, str], dict[str, int]] = {}

    def read(self, entry_ids: Sequence[str]) -> list[Entry]:
        """Return entries in the order of their ids."""
        found = self._store.get_many(entry_ids)
        return [Entry() if data is None else _entry.decode(data) for data in found]

    def write(self, entries: Iterable[tuple[str, Entry]]) -> None:
        """Store entries; forget those that are over."""
        self._store.write(
            [
                Write(entry_id, None if each.is_over and self._forgets(entry_id) else _pack(each))
                for entry_id, each in entries
            ],
            {},
        )

    def _forgets(self, entry_id: str) -> bool:
        return self._restored and entry_id not in self._held

    @contextmanager
    def held(self, entry_ids: Sequence[str]) -> Iterator[None]:
        """Keep entries during the block, even if they are over; afterwards forget those that are."""
        ids = frozenset(entry_ids)
        self._held |= ids
        try:
            yield
        finally:
            self._held -= ids
            found = zip(entry_ids, self.read(entry_ids), strict=True)
            self.write((entry_id, entry) for entry_id, entry in found if entry.is_over)

    def forget_over(self, entry_ids: Sequence[str]) -> list[str]:
        """Forget those of the restored entries that are over; return the others."""
        self._restored = True
        found = [*zip(entry_ids, self.read(entry_ids), strict=True)]
        self.write((entry_id, entry) for entry_id, entry in found if entry.is_over)
        return [entry_id for entry_id, entry in found if not entry.is_over]

    def take_targets(self, records: Sequence[Any]) -> list[Address]:
        """Take over targets; return the addresses that they are of."""
        found: dict[Address, list[tuple[str, Any]]] = {}
        for record in records:
            try:
                destination, audience, address, profile_id = decode_key(record.key, 4)
                target = decode_target(record.value, record.headers)
            except (BadKey, msgspec.DecodeError) as error:
                log.error("skipping the target %r: %s", record.key, error)
                continue
            of = Address(Delivery(destination, audience), address)
            found.setdefault(of, []).append((profile_id, target))
        entries = self.read([each.id for each in found])
        for entry, targets in zip(entries, found.values(), strict=True):
            for profile_id, target in targets:
                entry.take(profile_id, target)
        self.write(zip((each.id for each in found), entries, strict=True))
        return [*found]

    def take_told(self, record: Any) -> tuple[str, ...] | None:
        """Take over what was told; of a person's request, return its key."""
        try:
            names = msgspec.json.decode(record.key or b"", type=tuple[str, ...])
            if names[0] == REQUEST:
                return _checked(names) if record.value is not None else None
            if names[0] == ENTRIES:
                self._take_entries(names, record.value)
            else:
                self._take_told(names, decode_told(record.value))
        except (msgspec.DecodeError, IndexError, ValueError) as error:
            log.error("skipping the record %r of what was told: %s", record.key, error)
        return None

    def _take_entries(self, names: Sequence[str], value: bytes | None) -> None:
        _, channel, address = names
        found = decode_entries(value)
        if found:
            self.told_ms[channel, address] = found
        else:
            self.told_ms.pop((channel, address), None)

    def _take_told(self, names: Sequence[str], told: Told | None) -> None:
        destination, audience, address = names
        of = Address(Delivery(destination, audience), address)
        (entry,) = self.read([of.id])
        entry.told = told
        self.write([(of.id, entry)])

    def ids(self, after: str | None, limit: int) -> list[str]:
        """Return the ids of entries, in slices."""
        return self._store.profile_ids(after, limit)
