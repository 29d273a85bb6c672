"""A write-back cache of decoded profiles over the store of one partition.

Between two checkpoints a changed profile exists only here. It is never evicted before the store has it:
neither while it is *dirty* (changed since the last ``snapshot``), nor while it is *in flight*
(in a snapshot whose checkpoint has not completed).

Encoding thousands of profiles takes as long as hundreds of events, which would have to wait. So a snapshot is
encoded in slices, and a profile that is accessed meanwhile is encoded first, since it may change.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from segops.core.activity import activity_of
from segops.core.engine import Engine
from segops.core.errors import StateError, UnstorableError
from segops.core.links import timer_of
from segops.core.profile import Profile
from segops.core.scans import HeldIds, in_sample
from segops.schemas.quarantine import (
    QuarantinedProfile,
    activity_in,
    decode_quarantined,
    due_in,
)
from segops.schemas.records import Record, profile_ids
from segops.schemas.state import decode_profile, salvaged
from segops.stores.base import Due, ProfileStore
from segops.streaming.partition.cached_profile import PENDING, CachedProfile, ProfileSnapshot

_DUE_READ = 2_000  # ids of due profiles read from the store at once
_IDS_READ = 250  # ids read at once to find those in a sample


class CacheUse(NamedTuple):
    """The number of profiles in memory, and how much of it those take that cannot be evicted.

    ``changed`` is of those changed since the last snapshot, ``unstored`` of these and of those in flight,
    both relative to the bound.
    """

    profiles: int
    changed: float
    unstored: float


class ProfileCache:
    """The profiles of one partition. ``bound``: how many clean ones may stay in memory.

    ``quarantine`` returns the quarantine entry of an unreadable profile, given its id, bytes and the reason.
    """

    def __init__(
        self,
        store: ProfileStore,
        engine: Engine,
        quarantine: Callable[[str, bytes, str], QuarantinedProfile],
        *,
        bound: int,
    ) -> None:
        self._store = store
        self._quarantine = quarantine
        self._bound = bound
        #: Creates new profiles, and opens those read from the store.
        self.engine = engine
        self._entries: dict[str, CachedProfile] = {}
        self._dirty: list[CachedProfile] = []
        self._dated: list[CachedProfile] = []
        self._in_flight = ProfileSnapshot([])
        self._overlay: list[tuple[int, str]] = []
        self._due_ids: deque[str] = deque()
        self._due_read_until: int | None = None
        #: The last row read of the store's index, which changes only at a checkpoint.
        self._due_after: Due | None = None
        #: From the first scan of a sample on, and the ids that are not in it yet.
        self._held: HeldIds | None = None
        self._unheld: Iterator[Sequence[str]] = iter(())

    def __len__(self) -> int:
        """Return the number of profiles in memory."""
        return len(self._entries)

    def use(self) -> CacheUse:
        """Return what is in memory."""
        changed, flying = len(self._dirty), len(self._in_flight.entries)
        return CacheUse(len(self), changed / self._bound, (changed + flying) / self._bound)

    @property
    def dirty(self) -> int:
        """The number of profiles changed since the last ``snapshot``."""
        return len(self._dirty)

    def take_activities(self) -> Iterator[tuple[int | None, int | None]]:
        """Yield the activities that changed since the last call: as counted before, and as they are."""
        for entry in self._dated:
            former, activity = entry.activity, activity_of(entry.profile)
            if activity != former:
                entry.activity = activity
                yield former, activity

    def carry(self, moves: Mapping[str, bytes]) -> None:
        """Store the encoded moves of changed profiles with them; ``snapshot`` must follow."""
        for profile_id, encoded in moves.items():  # few of many entries
            entry = self._entries.get(profile_id)
            if entry is not None:
                entry.moves = encoded

    def cached_ids(self) -> list[str]:
        """Return the ids in memory."""
        return list(self._entries)

    def get(self, profile_id: str) -> CachedProfile:
        """Return the profile, a new one if it is unknown. Reads no store after ``load`` of its id."""
        entry = self._entries.get(profile_id)
        if entry is None:
            self.load((profile_id,))
            entry = self._entries.get(profile_id) or self._insert_new(profile_id)
        if entry.write is PENDING:
            self._encode(entry)
        entry.used = True
        return entry

    def known(self, profile_ids: Iterable[str]) -> list[CachedProfile]:
        """Return those profiles that exist, loaded by one read, without marking them as used."""
        ids = list(profile_ids)
        self.load(ids, used=False)
        found = [entry for entry in map(self._entries.get, ids) if entry is not None]
        for entry in found:
            if entry.write is PENDING:
                self._encode(entry)
        return found

    def peek(self, profile_id: str) -> Profile | None:
        """Return the current profile, to be read only; None if it is unknown."""
        known = self.known((profile_id,))
        return known[0].profile if known and not known[0].is_new else None

    def glimpse(self, profile_ids: Sequence[str]) -> Iterator[Profile | None]:
        """Yield the known ones of these profiles, to be read only; None for one that cannot be read.

        Profiles are read from the store at once, and are not kept in memory.
        """
        entries = self._entries
        missing = [profile_id for profile_id in profile_ids if profile_id not in entries]
        stored = zip(missing, self._states_of(missing) if missing else (), strict=True)
        for profile_id in profile_ids:
            entry = entries.get(profile_id)
            if entry is None:
                state = next(stored)[1]
                if state is not None:
                    yield self._glimpsed(profile_id, state)
            elif not entry.is_new:
                yield None if entry.quarantined is not None else entry.profile

    def _states_of(self, profile_ids: Sequence[str]) -> Sequence[bytes | None]:
        """Return the states of profiles that are not among the entries."""
        return self._store.get_many(profile_ids)

    def _glimpsed(self, profile_id: str, state: bytes) -> Profile | None:
        try:
            profile = decode_profile(state)
        except StateError:
            return None
        return self.engine.open(profile) if profile.id == profile_id else None

    def load(self, profile_ids: Iterable[str], *, used: bool = True) -> None:
        """Load the stored ones of these profiles by one read."""
        entries = self._entries
        missing = list({profile_id for profile_id in profile_ids if profile_id not in entries})
        if not missing:
            return
        for profile_id, state in zip(missing, self._store.get_many(missing), strict=True):
            if state is not None:
                entry = entries[profile_id] = self._read(profile_id, state)
                entry.used = used
                entry.size = len(state)

    def _read(self, profile_id: str, state: bytes) -> CachedProfile:
        try:
            profile = decode_profile(state)
            if profile.id == profile_id:
                return CachedProfile(self.engine.open(profile), is_new=False)
            reason = "the stored profile has another id than its key"
        except StateError as error:
            reason = str(error)
        entry = CachedProfile(self.engine.new_profile(profile_id), is_new=False)
        entry.stored_due_ms, entry.activity = due_in(state), activity_in(state)
        try:
            quarantined = decode_quarantined(state)
        except StateError as error:
            quarantined, reason = None, str(error)
        entry.quarantine(quarantined or self._quarantine(profile_id, state, reason))
        if quarantined is None:
            self.touch(entry)
        return entry

    def _encode(self, entry: CachedProfile) -> None:
        try:
            entry.encode()
        except UnstorableError as error:
            profile = entry.profile
            quarantined = self._quarantine(profile.id, salvaged(profile), str(error))
            quarantined.applied, quarantined.sequence, quarantined.members = (
                profile.applied,
                profile.sequence,
                [*profile.members],
            )
            entry.quarantine(quarantined)
            entry.encode()

    def load_records(self, records: Sequence[Record], start: int) -> None:
        """Load the profiles of the records from an offset on, and create the unknown ones, for ``get``."""
        entries = self._entries
        ids = {profile_id for profile_id in profile_ids(records, start) if profile_id not in entries}
        self.load(ids)
        for profile_id in ids:
            if profile_id not in entries:
                self._insert_new(profile_id)

    def _insert_new(self, profile_id: str) -> CachedProfile:
        entry = self._entries[profile_id] = CachedProfile(self.engine.new_profile(profile_id), is_new=True)
        return entry

    def touch(self, entry: CachedProfile, *, dated: bool = True) -> None:
        """Mark a profile as changed: write it at the next checkpoint, and index its new due time.

        ``dated``: its activity may have changed.
        """
        if dated and not entry.dated:
            entry.dated = True
            self._dated.append(entry)
        if entry.is_new:
            entry.is_new = False
            if self._held is not None:
                self._held.add(entry.profile.id)
        if not entry.dirty:
            entry.dirty = True
            self._dirty.append(entry)
        due = timer_of(entry.profile)
        if due is not None and due != entry.overlay_due_ms:
            entry.overlay_due_ms = due
            heapq.heappush(self._overlay, (due, entry.profile.id))

    def drop(self, entry: CachedProfile) -> None:
        """Delete an empty profile at the next checkpoint, if its current state is durable.

        Otherwise a replay would apply records to a new profile that the old one has already applied.
        """
        if not entry.dirty and entry.write is None:
            entry.profile.due_ms = None
            self.touch(entry)
            entry.is_new = True
            if self._held is not None:
                self._held.discard(entry.profile.id)

    def due_ids(self, until_ms: int, limit: int) -> list[str]:
        """Return at most ``limit`` ids that may be due by ``until_ms``; the profile decides."""
        ids = self._take_changed(until_ms, limit)
        while len(ids) < limit and self._may_hold_due(until_ms):
            ids.extend(self._take_stored(until_ms, limit - len(ids)))
        return ids

    def _take_changed(self, until_ms: int, limit: int) -> list[str]:
        """Take at most ``limit`` changed profiles that may be due from their index, the earliest first."""
        overlay, ids = self._overlay, list[str]()
        while len(ids) < limit and overlay and overlay[0][0] <= until_ms:
            ids.append(heapq.heappop(overlay)[1])
        return ids

    def _may_hold_due(self, until_ms: int) -> bool:
        if self._due_ids:
            return True
        return self._due_read_until is None or until_ms > self._due_read_until

    def _take_stored(self, until_ms: int, limit: int) -> list[str]:
        if not self._due_ids:
            # What was read is stale until the next checkpoint, except for profiles that are in the overlay.
            rows = self._store.due(until_ms, _DUE_READ, self._due_after)
            self._due_ids.extend(profile_id for _, profile_id in rows)
            self._due_read_until = until_ms if len(rows) < _DUE_READ else None
            self._due_after = rows[-1] if rows else self._due_after
        return [self._due_ids.popleft() for _ in range(min(limit, len(self._due_ids)))]

    def snapshot(self) -> ProfileSnapshot:
        """Return a snapshot of the dirty profiles; ``written`` must follow.

        Only one snapshot may be in flight at a time.
        """
        self._in_flight, self._dirty, self._dated = ProfileSnapshot(self._dirty, self._encode), [], []
        return self._in_flight

    def written(self) -> None:
        """Note that the store has the snapshot: evict profiles over the bound, refresh the due overlay."""
        for entry in self._in_flight.entries:
            entry.overlay_due_ms = entry.write = None
        self._in_flight = ProfileSnapshot([])
        self._refresh_overlay()
        self._due_ids.clear()
        self._due_read_until = self._due_after = None
        self._shrink()

    def _refresh_overlay(self) -> None:
        self._overlay = []
        for entry in self._dirty:
            entry.overlay_due_ms = timer_of(entry.profile)
            if entry.overlay_due_ms is not None:
                self._overlay.append((entry.overlay_due_ms, entry.profile.id))
        heapq.heapify(self._overlay)

    def _shrink(self) -> None:
        """Evict profiles over the bound."""
        if len(self._entries) > self._bound:
            self._evict(len(self._entries) - self._bound)

    def _evict(self, over: int) -> None:
        """Evict so many by second chance: profiles not used since the last round go first."""
        entries = self._entries
        clean = [entry for entry in entries.values() if not entry.dirty]
        idle = (entry for entry in clean if not entry.used)
        busy = (entry for entry in clean if entry.used)
        for entry, _ in zip(chain(idle, busy), range(over), strict=False):
            self._discard(entry.profile.id)
        for entry in entries.values():
            entry.used = False

    def _discard(self, profile_id: str) -> None:
        del self._entries[profile_id]

    def each_once(self, limit: int, share: float = 1.0) -> Iterator[Sequence[str]]:
        """Yield each id in the sample of ``share`` once, at most ``limit`` at a time, or none for now.

        These are the profiles that exist now, and perhaps some that are created meanwhile: the store is read
        as the iteration proceeds. Of a sample, the ids are held in memory after the first time.
        """
        if share >= 1:
            yield from self._walk(limit)
            return
        held = self._held
        if held is None or (held.is_thin and not held.covers(share)):
            held = self._held = HeldIds()
            self._unheld = self._walk(_IDS_READ)
        while self._hold_next(held):
            yield ()
        if held.covers(share):
            ids = held.within(share)
            yield from (ids[at : at + limit] for at in range(0, len(ids), limit))
            return
        for read in self._walk(_IDS_READ):
            found = [profile_id for profile_id in read if in_sample(profile_id, share)]
            yield from (found[at : at + limit] for at in range(0, len(found) or 1, limit))

    def _hold_next(self, held: HeldIds) -> bool:
        """Hold the next ids that are in the sample; return whether there were any ids."""
        ids = next(self._unheld, None)
        for profile_id in ids or ():
            entry = self._entries.get(profile_id)
            if entry is None or not entry.is_new:  # deleted ones are in the store until the next checkpoint
                held.add(profile_id)
        return ids is not None

    def _walk(self, limit: int) -> Iterator[Sequence[str]]:
        """Yield each id once: those in memory now, then those in the store, which is read meanwhile."""
        cached = self.cached_ids()
        yield from (cached[at : at + limit] for at in range(0, len(cached), limit))
        seen, after = set(cached), None
        while ids := self.stored_ids(after, limit):
            after = ids[-1]
            yield [profile_id for profile_id in ids if profile_id not in seen]

    def stored_ids(self, after: str | None, limit: int) -> Sequence[str]:
        """Return ids in the store greater than ``after``, in key order."""
        return self._store.profile_ids(after, limit)


class Scan:
    """An iteration over all profiles: those in memory at its start, then the store in slices.

    A walk through the store alone would miss a profile that is only in memory now, if a checkpoint wrote it
    behind the walk's position.
    """

    def __init__(self, profiles: ProfileCache) -> None:
        self._profiles = profiles
        self._cached = deque(profiles.cached_ids())
        self._after: str | None = None

    def take(self, limit: int) -> Sequence[str]:
        """Return the next ids, at most ``limit``; empty at the end."""
        if self._cached:
            return [self._cached.popleft() for _ in range(min(limit, len(self._cached)))]
        ids = self._profiles.stored_ids(self._after, limit)
        if ids:
            self._after = ids[-1]
        return ids
