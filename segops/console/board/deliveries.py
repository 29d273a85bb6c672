"""Deliveries in numbers of addresses, folded from what audiences want and what destinations were told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from segops.core.delivery.model import Delivery
from segops.delivery.views import Tally

_key = msgspec.json.Decoder(tuple[str, ...]).decode
#: The number of parts of a key: of what was told, and of a target, which names the profile, too.
_TOLD, _TARGET = 3, 4


class _Told(msgspec.Struct):
    """What is read of what a destination was told."""

    member: bool
    skipped: str = ""


_told = msgspec.json.Decoder(_Told).decode
#: An address of a delivery, as 64 bits of its hash: among a million of them, two are taken for one with a
#: probability of about 1 in 30 million.
_Address = int


class Deliveries:
    """Keeps what counts of each address: about 200 bytes."""

    def __init__(self) -> None:
        self._wanted: dict[Delivery, Counter[_Address]] = {}
        self._told: dict[Delivery, dict[_Address, tuple[bool, str]]] = {}
        self._members: Counter[Delivery] = Counter()
        self._skipped: dict[Delivery, Counter[str]] = {}
        self._targets: set[int] = set()
        #: Records that could not be read.
        self.unreadable = 0

    def take_target(self, _partition: int, record: Any) -> None:
        """Take a record of a target."""
        self._take(record, _TARGET, self._target)

    def take_told(self, _partition: int, record: Any) -> None:
        """Take a record of what was told; requests and the entries of people do not count."""
        self._take(record, _TOLD, self._tell)

    def _take(self, record: Any, length: int, apply: Callable[[tuple[str, ...], bytes | None], None]) -> None:
        try:
            names = _key(record.key or b"")
            if len(names) == length and names[0] not in ("", "!"):
                apply(names, record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.unreadable += 1

    def _target(self, names: tuple[str, ...], value: bytes | None) -> None:
        delivery, address = Delivery(names[0], names[1]), hash(names[2])
        target, counts = hash(names), self._wanted.setdefault(delivery, Counter())
        if value is not None and target not in self._targets:
            self._targets.add(target)
            counts[address] += 1
        elif value is None and target in self._targets:
            self._targets.remove(target)
            counts[address] -= 1
            if not counts[address]:
                del counts[address]

    def _tell(self, names: tuple[str, ...], value: bytes | None) -> None:
        delivery, address = Delivery(names[0], names[1]), hash(names[2])
        known, skipped = self._told.setdefault(delivery, {}), self._skipped.setdefault(delivery, Counter())
        member, reason = known.pop(address, (False, ""))
        self._members[delivery] -= member
        skipped[reason] -= 1
        if value is not None:
            found = _told(value)
            known[address] = found.member, found.skipped
            self._members[delivery] += found.member
            skipped[found.skipped] += 1

    def tallies(self) -> Mapping[Delivery, Tally]:
        """Return each delivery in numbers, in order."""
        found = sorted({*self._wanted, *self._told}, key=lambda of: (of.audience, of.destination))
        return {each: self._tally(each) for each in found}

    def _tally(self, delivery: Delivery) -> Tally:
        skipped = {why: n for why, n in self._skipped.get(delivery, {}).items() if why and n > 0}
        return Tally(
            delivery,
            len(self._wanted.get(delivery, ())),
            self._members[delivery],
            dict(sorted(skipped.items())),
        )
