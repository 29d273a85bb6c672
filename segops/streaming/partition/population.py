"""The population of a partition: its profiles by the day of their last event and their absence before."""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec

from segops.core.activity import ABSENT_DAYS, DAY_MS, NEW, RESURRECTED, RETURNING, split_activity
from segops.schemas.quarantine import activity_in
from segops.schemas.sizes import PopulationFigures
from segops.stores.base import ProfileStore
from segops.streaming.partition.snapshot import POPULATION_META

#: Stands for the activities before all days that the figures tell apart.
_LONG_AGO: Final = -(1 << 31)
_WEEK: Final = 7
_SLICE: Final = 1_000

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[int, int]).decode


class Population:
    """The number of profiles by activity, as of the last cut.

    Like the sizes, it is derived from the stored profiles, so a restored store has it. The number of a day
    long ago can be negative, since such days are added up now and then.
    """

    def __init__(self, store: ProfileStore, clock_ms: int) -> None:
        self._counts: Counter[int] = Counter(decode_population(store.meta(POPULATION_META)))
        self._due = False
        #: The clock at the cut before: after a crash the clock is not before it.
        self._former_ms = clock_ms

    def count(self, former: int | None, activity: int | None) -> None:
        """Count a profile whose activity has changed."""
        if former is not None:
            self._counts[former] -= 1
        if activity is not None:
            self._counts[activity] += 1
        self._due = True

    def take(self, clock_ms: int) -> dict[str, bytes]:
        """Return the value due at this cut by its name in the store."""
        former_ms, self._former_ms = self._former_ms, clock_ms
        if not self._due:
            return {}
        self._due = False
        self._add_up(former_ms // DAY_MS - ABSENT_DAYS)
        return {POPULATION_META: encode_population(self._counts)}

    def _add_up(self, until_day: int) -> None:
        old = [each for each in self._counts if split_activity(each)[0] <= until_day]
        self._counts[_LONG_AGO] = sum(map(self._counts.pop, old))

    def figures(self, clock_ms: int) -> PopulationFigures:
        """Return the figures at an instant of the partition's clock.

        A profile is active within n days if its last active day is today or one of the n - 1 days before, or,
        since events may be ahead of the clock, a later one.
        """
        today = clock_ms // DAY_MS
        kinds = [0, 0, 0]
        known = weekly = monthly = 0
        for activity, count in self._counts.items():
            day, kind = split_activity(activity)
            known += count
            monthly += count if day > today - ABSENT_DAYS else 0
            weekly += count if day > today - _WEEK else 0
            kinds[kind] += count if day >= today else 0
        return PopulationFigures(
            day_ms=today * DAY_MS,
            known=known,
            daily=sum(kinds),
            weekly=weekly,
            monthly=monthly,
            new=kinds[NEW],
            returning=kinds[RETURNING],
            resurrected=kinds[RESURRECTED],
            dormant=known - monthly,
        )


def decode_population(data: bytes | None) -> dict[int, int]:
    """Decode the output of ``encode_population``; of nothing, an empty population."""
    return _decode(data) if data else {}


def encode_population(counts: Counter[int]) -> bytes:
    """Encode the number of profiles by activity."""
    return _encode({activity: count for activity, count in sorted(counts.items()) if count})


def take_census(store: ProfileStore) -> None:
    """Count the profiles of a store that an earlier version has written, which did not count them."""
    if store.meta(POPULATION_META) is not None:
        return
    counts: Counter[int] = Counter()
    after: str | None = None
    while ids := store.profile_ids(after, _SLICE):
        after = ids[-1]
        found = (activity_in(state) for state in store.get_many(ids) if state is not None)
        counts.update(activity for activity in found if activity is not None)
    store.write([], {POPULATION_META: encode_population(counts)})
