"""The sums of a partition that follow from its stored profiles, kept while these are restored."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from segops.schemas.state import Head
from segops.schemas.tallies import bucket_name, bucket_of, cut_of, decode_bucket, decode_moves, encode_moves
from segops.stores.base import ProfileStore
from segops.streaming.partition.population import decode_population, encode_population
from segops.streaming.partition.snapshot import CHANGELOG_META, MOVES_META, POPULATION_META, SIZES_META

#: The head of a profile that does not exist.
NO_HEAD: Final[Head] = (None, b"", None, b"")


class Sums:
    """What replaced profiles change: sizes, population, and the moves of the latest cut.

    Moves of an earlier cut are in the tallies: a checkpoint that follows an incomplete one begins with them.
    """

    def __init__(self) -> None:
        self._members: defaultdict[bytes, int] = defaultdict(int)
        self._activities: defaultdict[int | None, int] = defaultdict(int)
        self._cut = 0
        self._moves: list[bytes] = []

    def replace(self, before: Head, after: Head) -> None:
        """Note that a profile with the head ``before`` has the head ``after`` now."""
        _, members_before, active_before, moves_before = before
        _, members, active, moves = after
        if members_before != members:
            self._members[members_before] -= 1
            self._members[members] += 1
        if active_before != active:
            self._activities[active_before] -= 1
            self._activities[active] += 1
        if moves and moves != moves_before:
            self._note(moves)

    def add(
        self, members: Mapping[bytes, int], activities: Mapping[int | None, int], moves: Iterable[bytes]
    ) -> None:
        """Note what replaced profiles change: numbers by members and by activity, and new moves."""
        for keys, count in members.items():
            self._members[keys] += count
        for activity, count in activities.items():
            self._activities[activity] += count
        for each in moves:
            self._note(each)

    def _note(self, moves: bytes) -> None:
        cut = cut_of(moves)
        if cut > self._cut:
            self._cut, self._moves = cut, []
        if cut == self._cut:
            self._moves.append(moves)

    def added_to(self, store: ProfileStore, logged: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the sums of the store with these changes; ``logged``: values that replace the store's."""
        meta = {SIZES_META: msgspec.json.encode(self._sizes(store))}
        stored = store.meta(POPULATION_META)
        # A store that an earlier version has filled is counted as a whole (``take_census``).
        if stored is not None or store.meta(CHANGELOG_META) is None:
            meta[POPULATION_META] = encode_population(self._population(stored))
        moves = self._pending(store, logged)
        if moves or store.meta(MOVES_META):
            meta[MOVES_META] = moves
        return meta

    def _sizes(self, store: ProfileStore) -> Counter[str]:
        sizes: Counter[str] = Counter(
            msgspec.json.decode(store.meta(SIZES_META) or b"{}", type=dict[str, int])
        )
        for keys, count in self._members.items():
            for key in keys.decode(errors="replace").splitlines():
                sizes[key] += count
        return +sizes

    def _population(self, stored: bytes | None) -> Counter[int]:
        counts = Counter(decode_population(stored))
        for activity, count in self._activities.items():
            if activity is not None:
                counts[activity] += count
        return counts

    def _pending(self, store: ProfileStore, logged: Mapping[str, bytes]) -> bytes:
        """Return the moves of the latest cut that no bucket includes."""
        self._note_stored(store.meta(MOVES_META) or b"")
        cuts: dict[int, int] = {}
        pending = []
        for move in (move for moves in self._moves for move in decode_moves(moves)):
            number = bucket_of(move[1])
            if number not in cuts:
                data = logged.get(bucket_name(number)) or store.meta(bucket_name(number))
                cuts[number] = decode_bucket(data).cut if data else 0
            if cuts[number] < self._cut:
                pending.append(move)
        return encode_moves(self._cut, pending) if pending else b""

    def _note_stored(self, moves: bytes) -> None:
        if moves:
            self._note(moves)
