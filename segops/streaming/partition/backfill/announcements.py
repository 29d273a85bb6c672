"""What partitions announce of their backfills, by which each decides alone, and all alike, when to go on.

A partition announces round 1 when its rows are read and those of its redirects are relayed, and of each
further round when all have announced the one before. What a partition sent before an announcement precedes
it in every log: so after round k, the rows and forwarded events have arrived that up to k redirects relayed.
The last round is one in which no partition moved rows, at least the second: a partition that announces the
second has the announcements of the first from all.

Rounds of a draft are as good, but no partition evaluates by it. Once it is published, each partition
announces that it knows, by two more rounds: what a partition sent before it knew then precedes the switch of
any other, across a redirect, too.
"""

from __future__ import annotations

from segops.schemas.backfills import DROPPED, SWITCHED, WHOLE, Announcement, BackfillRecord

#: The fewest rounds.
LEAST_ROUNDS = 2
_MAX_VERSIONS = 8


class Announcements:
    """The announcements of ``partitions`` partitions, which are kept in a durable ``record``."""

    def __init__(self, record: BackfillRecord, partitions: int) -> None:
        self._announced = record.announced
        self._drafted = record.drafted
        self._partitions = partitions

    def take(self, announcement: Announcement) -> None:
        """Note an announcement: of what a partition repeats, the first counts."""
        known = self._announced
        if announcement.of not in known:
            while len(known) >= _MAX_VERSIONS:
                self.forget(next(iter(known)))
        rounds = known.setdefault(announcement.of, {}).setdefault(announcement.partition, {})
        if announcement.round == DROPPED:
            rounds.clear()
            self._drafted.get(announcement.of, {}).pop(announcement.partition, None)
        elif announcement.round not in rounds:
            rounds[announcement.round] = announcement.moved
            if announcement.draft:
                self._drafted.setdefault(announcement.of, {})[announcement.partition] = announcement.round

    def knows(self, version: str) -> bool:
        """Return whether a partition collects history for these definitions."""
        rounds = self._announced.get(version, {}).values()
        return any(number >= 1 for of_partition in rounds for number in of_partition)

    def has_announced(self, version: str, partition: int) -> bool:
        """Return whether a partition announced a round for these definitions."""
        return bool(self._announced.get(version, {}).get(partition))

    def moved(self, version: str, number: int) -> bool | None:
        """Return whether any partition moved rows in a round; None: not all have announced it."""
        found = [rounds.get(number) for rounds in self._by_partition(version) if not _is_through(rounds)]
        return None if None in found else any(found)

    def all_know(self, version: str, number: int) -> bool:
        """Return whether no partition announced a round, or the one before it, for a draft."""
        return all(number > drafted + 1 for drafted in self._drafted.get(version, {}).values())

    def is_repeated(self, version: str, number: int) -> bool:
        """Return whether any partition announced a round for a draft: it had lost rows after others."""
        drafted = self._drafted.get(version, {})
        return any(last >= number for last in drafted.values())

    def all_switched(self, version: str) -> bool:
        """Return whether all partitions evaluate by these definitions."""
        return all(map(_is_through, self._by_partition(version)))

    def forget(self, version: str) -> None:
        """Forget what was announced for these definitions."""
        self._announced.pop(version, None)
        self._drafted.pop(version, None)

    def _by_partition(self, version: str) -> list[dict[int, bool]]:
        known = self._announced.get(version, {})
        return [known.get(number, {}) for number in range(self._partitions)]


def _is_through(rounds: dict[int, bool]) -> bool:
    return SWITCHED in rounds or WHOLE in rounds
