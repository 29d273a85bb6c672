"""What partitions announce of their backfills, by which each decides alone, and all alike, when to go on.

A partition announces round 1 when its rows are read and those of its redirects are relayed, and of each
further round when all have announced the one before. What a partition sent before an announcement precedes
it in every log: so after round k, the rows and forwarded events have arrived that up to k redirects relayed.
The last round is one in which no partition moved rows, at least the second: a partition that announces the
second has the announcements of the first from all.
"""

from __future__ import annotations

from segops.schemas.backfills import DROPPED, SWITCHED, WHOLE, AnnouncedRounds, Announcement

#: The fewest rounds.
LEAST_ROUNDS = 2
_MAX_VERSIONS = 8


class Announcements:
    """The announcements of ``partitions`` partitions. ``announced``, which is durable, is changed."""

    def __init__(self, announced: AnnouncedRounds, partitions: int) -> None:
        self._announced = announced
        self._partitions = partitions

    def take(self, announcement: Announcement) -> None:
        """Note an announcement: of what a partition repeats, the first counts."""
        known = self._announced
        if announcement.of not in known:
            while len(known) >= _MAX_VERSIONS:
                del known[next(iter(known))]
        rounds = known.setdefault(announcement.of, {}).setdefault(announcement.partition, {})
        if announcement.round == DROPPED:
            rounds.clear()
        else:
            rounds.setdefault(announcement.round, announcement.moved)

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

    def all_switched(self, version: str) -> bool:
        """Return whether all partitions evaluate by these definitions."""
        return all(map(_is_through, self._by_partition(version)))

    def forget(self, version: str) -> None:
        """Forget what was announced for these definitions."""
        self._announced.pop(version, None)

    def _by_partition(self, version: str) -> list[dict[int, bool]]:
        known = self._announced.get(version, {})
        return [known.get(number, {}) for number in range(self._partitions)]


def _is_through(rounds: dict[int, bool]) -> bool:
    return SWITCHED in rounds or WHOLE in rounds
