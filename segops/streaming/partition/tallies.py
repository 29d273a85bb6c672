"""The tallies of a partition: entries and exits of its segments by reason, in total and by minute."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from segops.core.events import Change
from segops.schemas.sizes import MINUTE_MS
from segops.schemas.tallies import (
    BUCKET_KEYS,
    BUCKETS,
    UNKNOWN,
    Bucket,
    Flow,
    Move,
    Tally,
    bucket_name,
    bucket_of,
    cut_of,
    decode_bucket,
    decode_moves,
    encode_bucket,
    encode_moves,
)
from segops.stores.base import ProfileStore, Write
from segops.streaming.partition.clock import NO_CLOCK, PartitionClock
from segops.streaming.partition.snapshot import MOVES_META


class EndedMinute(NamedTuple):
    """A minute that is over, with the members of the segment at its end."""

    segment_key: str
    minute_ms: int
    flow: Flow
    members: int


class Tallies:
    """Counts the changes that a partition publishes, and says which buckets are due at a checkpoint.

    Changes are only noted when they happen; ``cut`` counts them. ``changed``: the segments with changes since
    it was last emptied.
    """

    def __init__(self, store: ProfileStore, clock: PartitionClock, sizes: Mapping[str, int]) -> None:
        self._clock = clock
        self._minute_ms = clock.now_ms // MINUTE_MS * MINUTE_MS
        #: All minutes before this instant have been returned by ``take_ended``.
        self.ended_ms = 0
        self._noted: defaultdict[str, list[Move]] = defaultdict(list)
        self._due: set[int] = set()
        self._ending: set[str] = set()
        self.changed: set[str] = set()
        self._buckets = [Bucket(0) for _ in range(BUCKETS)]
        for number, data in stored_buckets(store).items():
            self._buckets[number] = decode_bucket(data)
        for bucket in self._buckets:
            self._ending.update(key for key, tally in bucket.tallies.items() if tally.minutes)
        found = store.meta(MOVES_META) or b""
        self._cut = max(cut_of(found), *(bucket.cut for bucket in self._buckets))
        self._count(decode_moves(found))
        #: The buckets with moves that only profiles hold yet: the changelog needs them before these profiles
        #: are written again.
        self._leading = self._encoded(self._due)
        self._is_pending = bool(found)
        self._balance(sizes)

    def _balance(self, sizes: Mapping[str, int]) -> None:
        for key in {*sizes, *self.segments()}:
            tally = self._tally(key)
            lacking = sizes.get(key, 0) - tally.net
            if lacking:
                tally.add(UNKNOWN, member=lacking > 0, count=abs(lacking))
                self._due.add(bucket_of(key))

    def segments(self) -> Iterator[str]:
        """Yield the segments that have a tally."""
        for bucket in self._buckets:
            yield from bucket.tallies

    def flow(self, segment_key: str) -> Flow:
        """Return the entries and exits of a segment since it began, as of the last cut."""
        return self._buckets[bucket_of(segment_key)].tallies.get(segment_key) or Flow()

    def _tally(self, segment_key: str) -> Tally:
        tallies = self._buckets[bucket_of(segment_key)].tallies
        return tallies.get(segment_key) or tallies.setdefault(segment_key, Tally())

    def note(self, changes: Sequence[Change]) -> None:
        """Note published changes."""
        minute_ms = self._clock.now_ms // MINUTE_MS * MINUTE_MS
        for change in changes:
            move = minute_ms, change.segment_key, change.reason, change.member
            self._noted[change.profile_id].append(move)

    def note_moves(self, moves: Iterable[tuple[str, Move]]) -> None:
        """Note published changes, each as the profile and its move."""
        for profile_id, move in moves:
            self._noted[profile_id].append(move)

    def cut(self) -> dict[str, bytes]:
        """Count what was noted; return it by profile, to be stored with the profiles of this cut."""
        self._cut += 1
        noted, self._noted = self._noted, defaultdict(list)
        self._count(chain.from_iterable(noted.values()))
        return {profile_id: encode_moves(self._cut, moves) for profile_id, moves in noted.items()}

    def _count(self, moves: Iterable[Move]) -> None:
        # In an order that does not depend on that of the profiles, which a rescan visits in any.
        for (minute_ms, key, reason, member), count in sorted(Counter(moves).items()):
            tally = self._tally(key)
            tally.add(reason, member=member, count=count)
            minute = tally.minutes.get(minute_ms) or tally.minutes.setdefault(minute_ms, Flow())
            minute.add(reason, member=member, count=count)
            self._due.add(bucket_of(key))
            self._ending.add(key)
            self.changed.add(key)

    def take_ended(self) -> list[EndedMinute]:
        """Return the minutes that were over at the cut before, in order, and forget them.

        That cut is durable: no work that a crash repeats can add to these minutes. Changes of a time without
        a clock count for the first minute with one.
        """
        until_ms, self._minute_ms = self._minute_ms, self._clock.now_ms // MINUTE_MS * MINUTE_MS
        if self._minute_ms == NO_CLOCK:
            return []
        ended = [each for key in self._ending for each in self._end_minutes(key, until_ms)]
        self._ending = {key for key in self._ending if self._tally(key).minutes}
        self.ended_ms = max(self.ended_ms, until_ms)
        return sorted(ended, key=lambda each: (each.minute_ms, each.segment_key))

    def _end_minutes(self, segment_key: str, until_ms: int) -> Iterator[EndedMinute]:
        tally = self._tally(segment_key)
        if _move_minute(tally, NO_CLOCK, self._minute_ms):
            self._due.add(bucket_of(segment_key))
        members = tally.net
        for minute_ms in sorted(tally.minutes, reverse=True):
            flow = tally.minutes[minute_ms]
            if minute_ms < until_ms:
                del tally.minutes[minute_ms]
                self._due.add(bucket_of(segment_key))
                yield EndedMinute(segment_key, minute_ms, flow, members)
            members -= flow.net

    def is_idle(self, segment_key: str) -> bool:
        """Return whether a segment has no members and no minute to be published."""
        return segment_key not in self._ending and not self.flow(segment_key).net

    def drop(self, segment_key: str) -> None:
        """Forget a segment."""
        self._buckets[bucket_of(segment_key)].tallies.pop(segment_key, None)
        self._due.add(bucket_of(segment_key))

    def take(self) -> dict[str, bytes]:
        """Return the values due at this cut by their names in the store."""
        due, self._due = self._due, set()
        meta = self._encoded(due)
        if self._is_pending:
            meta[MOVES_META], self._is_pending = b"", False
        return meta

    def take_leading(self) -> list[Write]:
        """Return the changelog records that must precede those of the profiles; once."""
        leading, self._leading = self._leading, {}
        return [Write(f"\0{name}", data, None, None) for name, data in leading.items()]

    def _encoded(self, numbers: Iterable[int]) -> dict[str, bytes]:
        encoded = {}
        for number in sorted(numbers):
            self._buckets[number].cut = self._cut
            encoded[bucket_name(number)] = encode_bucket(self._buckets[number])
        return encoded


def _move_minute(tally: Tally, minute_ms: int, to_ms: int) -> bool:
    flow = tally.minutes.pop(minute_ms, None)
    if flow is None:
        return False
    into = tally.minutes.setdefault(to_ms, Flow())
    for member, side in ((True, flow.entered), (False, flow.left)):
        for reason, count in side.items():
            into.add(reason, member=member, count=count)
    return True


def stored_buckets(store: ProfileStore) -> dict[int, bytes]:
    """Return the buckets of a store by number."""
    found = {number: store.meta(name) for number, name in enumerate(BUCKET_KEYS.values())}
    return {number: data for number, data in found.items() if data}


def emptied_buckets(store: ProfileStore) -> dict[str, bytes]:
    """Return, by name, the buckets that discard the tallies of a store and the moves of its profiles."""
    moves = store.meta(MOVES_META) or b""
    buckets = {number: decode_bucket(data) for number, data in stored_buckets(store).items()}
    cut = 1 + max([cut_of(moves), *(bucket.cut for bucket in buckets.values())])
    numbers = buckets.keys() | {bucket_of(key) for _, key, _, _ in decode_moves(moves)}
    return {bucket_name(number): encode_bucket(Bucket(cut)) for number in sorted(numbers)}
