"""The records that polls have read lately: each poll reads the overlap again, and writes only what is new."""

from __future__ import annotations

from collections.abc import Sequence

import xxhash

from segops.klaviyo.records import Outgoing


class Recent:
    """The records of the last poll and of the present one, as hashes."""

    def __init__(self) -> None:
        self._former: set[int] = set()
        self._present: set[int] = set()

    def begin_poll(self) -> None:
        """Forget what the last poll has not seen again: no later one will."""
        self._former, self._present = self._present, set()

    def new(self, records: Sequence[Outgoing]) -> list[Outgoing]:
        """Return the records that neither poll has read, and remember all.

        >>> recent, one, other = Recent(), Outgoing(b"k", b"1"), Outgoing(b"k", b"2")
        >>> recent.new([one]), recent.begin_poll(), recent.new([one, other]) == [other]
        ([Outgoing(key=b'k', value=b'1', headers=(), reason=None)], None, True)
        """
        found = []
        for record in records:
            mark = xxhash.xxh3_64_intdigest(record.value)
            if mark not in self._former and mark not in self._present:
                found.append(record)
            self._present.add(mark)
        return found
