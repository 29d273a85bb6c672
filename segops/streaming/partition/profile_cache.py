"""A write-back cache of decoded profiles over the store of one partition.

Between two checkpoints a changed profile lives here only. It is never dropped before the store has it:
not while it is *dirty* (changed since the last ``collect``), and not while it is *in flight*
(collected, but the checkpoint that writes it has not come to its end).

To encode thousands of profiles takes as long as hundreds of events, which would have to wait. So a
collection is encoded bit by bit, and what is asked for meanwhile, and may be changed, just before that.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import chain, islice
from typing import Final

from segops.core.engine import Engine
from segops.core.errors import StateError, UnstorableError
from segops.core.links import timer_of
from segops.core.profile import Profile
from segops.schemas.aside import Aside, decode_aside, due_in, encode_aside, stand_in
from segops.schemas.state import decode_profile, encode_profile, salvaged
from segops.stores.base import ProfileStore, Write

_DUE_READ = 2_000  # ids of due profiles taken from the store at once
#: A collection is encoded in so many slices at most, of at least so many profiles.
_SLICES: Final = 4
_SLICE: Final = 100


class CachedProfile:
    """A profile in memory, and what the store believes about it. ``is_new``: nothing happened to it yet.

    ``size``: bytes of its state as last encoded, and of the events applied since.
    """

    __slots__ = (
        "aside",
        "dirty",
        "is_new",
        "overlay_due_ms",
        "profile",
        "size",
        "stored_due_ms",
        "used",
        "write",
    )

    def __init__(self, profile: Profile, *, is_new: bool) -> None:
        self.profile = profile
        self.is_new = is_new
        #: What is stored where the profile is set aside: ``profile`` then stands in for it.
        self.aside: Aside | None = None
        self.dirty = False
        self.used = True
        self.stored_due_ms = None if is_new else timer_of(profile)
        self.overlay_due_ms: int | None = None
        self.size = 0
        #: What is in flight of it; COLLECTED: still to be encoded, before anything happens to it.
        self.write: Write | None = None

    def put_aside(self, aside: Aside) -> None:
        """Keep what is set aside in place of the profile."""
        self.aside, self.profile = aside, stand_in(aside)

    def encode(self) -> None:
        """Fix what is in flight. StateError, and nothing is changed, for a profile that cannot be stored."""
        profile = self.profile
        if self.aside is not None:
            state: bytes | None = encode_aside(self.aside)
        else:
            state = None if self.is_new else encode_profile(profile)
        old, self.stored_due_ms = self.stored_due_ms, timer_of(profile)
        self.size = len(state or b"")
        self.write = Write(profile.id, state, old, self.stored_due_ms)


_COLLECTED: Final = Write("", None, None, None)


class Snapshot:
    """Profiles as they were when they were collected."""

    def __init__(
        self, entries: list[CachedProfile], encode: Callable[[CachedProfile], None] = CachedProfile.encode
    ) -> None:
        self.entries = entries
        self._encode = encode
        self._slice = max(_SLICE, -(-len(entries) // _SLICES))
        self._rest = iter(entries)
        for entry in entries:
            entry.dirty, entry.write = False, _COLLECTED

    def encode(self) -> bool:
        """Encode a few of them; whether there are more."""
        few = list(islice(self._rest, self._slice))
        for entry in few:
            if entry.write is _COLLECTED:
                self._encode(entry)
        return len(few) == self._slice

    @cached_property
    def writes(self) -> list[Write]:
        """The store writes for all of them."""
        while self.encode():
            pass
        return [entry.write for entry in self.entries if entry.write is not None]


class ProfileCache:
    """The profiles of one partition. ``bound``: how many clean ones may stay in memory.

    ``set_aside`` makes what takes the place of a profile that cannot be read, of its id, its bytes and the
    reason.
    """

    def __init__(
        self,
        store: ProfileStore,
        engine: Engine,
        set_aside: Callable[[str, bytes, str], Aside],
        *,
        bound: int,
    ) -> None:
        self._store = store
        self._set_aside = set_aside
        self._bound = bound
        #: Makes new profiles, and makes ready what comes from the store.
        self.engine = engine
        self._entries: dict[str, CachedProfile] = {}
        self._dirty: list[CachedProfile] = []
        self._in_flight = Snapshot([])
        self._overlay: list[tuple[int, str]] = []
        self._due_ids: deque[str] = deque()
        self._due_read_until: int | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def dirty(self) -> int:
        """How many profiles changed since the last ``collect``."""
        return len(self._dirty)

    def cached_ids(self) -> list[str]:
        """The ids in memory."""
        return list(self._entries)

    def get(self, profile_id: str) -> CachedProfile:
        """The profile, made new when there is none. After ``load`` of its id this reads no store."""
        entry = self._entries.get(profile_id)
        if entry is None:
            self.load((profile_id,))
            entry = self._entries.get(profile_id) or self._insert_new(profile_id)
        if entry.write is _COLLECTED:
            self._encode(entry)
        entry.used = True
        return entry

    def known(self, profile_ids: Iterable[str]) -> list[CachedProfile]:
        """Those of these profiles that exist, loaded by one read, without marking them as used."""
        ids = list(profile_ids)
        self.load(ids, used=False)
        found = [entry for entry in map(self._entries.get, ids) if entry is not None]
        for entry in found:
            if entry.write is _COLLECTED:
                self._encode(entry)
        return found

    def peek(self, profile_id: str) -> Profile | None:
        """The profile as it is at this moment, to be read only; None when there is none."""
        known = self.known((profile_id,))
        return known[0].profile if known and not known[0].is_new else None

    def load(self, profile_ids: Iterable[str], *, used: bool = True) -> None:
        """Bring what is stored of these into memory by one read; what is not stored stays unknown."""
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
            reason = "a stored profile is under the id of another"
        except StateError as error:
            reason = str(error)
        entry = CachedProfile(self.engine.new_profile(profile_id), is_new=False)
        entry.stored_due_ms = due_in(state)
        try:
            aside = decode_aside(state)
        except StateError as error:
            aside, reason = None, str(error)
        entry.put_aside(aside or self._set_aside(profile_id, state, reason))
        if aside is None:
            self.touch(entry)
        return entry

    def _encode(self, entry: CachedProfile) -> None:
        try:
            entry.encode()
        except UnstorableError as error:
            profile = entry.profile
            aside = self._set_aside(profile.id, salvaged(profile), str(error))
            aside.applied, aside.sequence, aside.members = (
                profile.applied,
                profile.sequence,
                [*profile.members],
            )
            entry.put_aside(aside)
            entry.encode()

    def load_batch(self, profile_ids: Iterable[str]) -> None:
        """As ``load``, and make the unknown ones, so that ``get`` only looks into memory."""
        entries = self._entries
        ids = {profile_id for profile_id in profile_ids if profile_id not in entries}
        self.load(ids)
        for profile_id in ids:
            if profile_id not in entries:
                self._insert_new(profile_id)

    def _insert_new(self, profile_id: str) -> CachedProfile:
        entry = self._entries[profile_id] = CachedProfile(self.engine.new_profile(profile_id), is_new=True)
        return entry

    def touch(self, entry: CachedProfile) -> None:
        """This profile changed: write it at the next checkpoint, and mind its new due time."""
        entry.is_new = False
        if not entry.dirty:
            entry.dirty = True
            self._dirty.append(entry)
        due = timer_of(entry.profile)
        if due is not None and due != entry.overlay_due_ms:
            entry.overlay_due_ms = due
            heapq.heappush(self._overlay, (due, entry.profile.id))

    def drop(self, entry: CachedProfile) -> None:
        """Take a profile without content from the store with the next checkpoint, if the last one has it.

        Only a profile that is durable as it is: what was read before must not be applied to nothing.
        """
        if not entry.dirty and entry.write is None:
            entry.profile.due_ms = None
            self.touch(entry)
            entry.is_new = True

    def due_ids(self, until_ms: int, limit: int) -> list[str]:
        """At most ``limit`` ids that may be due by ``until_ms``; look at the profile to know."""
        ids: list[str] = []
        overlay = self._overlay
        while len(ids) < limit and overlay and overlay[0][0] <= until_ms:
            ids.append(heapq.heappop(overlay)[1])
        if len(ids) < limit and self._may_hold_due(until_ms):
            ids.extend(self._take_stored(until_ms, limit - len(ids)))
        return ids

    def _may_hold_due(self, until_ms: int) -> bool:
        if self._due_ids:
            return True
        return self._due_read_until is None or until_ms > self._due_read_until

    def _take_stored(self, until_ms: int, limit: int) -> list[str]:
        if not self._due_ids:
            # The index is behind for what changed since the last checkpoint: reading that many more
            # makes sure that stale rows at its head cannot hide a true one.
            room = _DUE_READ + len(self._dirty) + len(self._in_flight.entries)
            rows = self._store.due(until_ms, room)
            self._due_ids.extend(profile_id for _, profile_id in rows)
            self._due_read_until = until_ms if len(rows) < room else None
        return [self._due_ids.popleft() for _ in range(min(limit, len(self._due_ids)))]

    def snapshot(self) -> Snapshot:
        """Everything dirty, as of now; ``written`` must follow.

        Only one collection may be in flight at a time.
        """
        self._in_flight, self._dirty = Snapshot(self._dirty, self._encode), []
        return self._in_flight

    def written(self) -> None:
        """The store has what was collected: drop what is over the bound, refresh the due overlay."""
        for entry in self._in_flight.entries:
            entry.overlay_due_ms = entry.write = None
        self._in_flight = Snapshot([])
        self._refresh_overlay()
        self._due_read_until = None
        if len(self._entries) > self._bound:
            self._evict()

    def _refresh_overlay(self) -> None:
        self._overlay = []
        for entry in self._dirty:
            entry.overlay_due_ms = timer_of(entry.profile)
            if entry.overlay_due_ms is not None:
                self._overlay.append((entry.overlay_due_ms, entry.profile.id))
        heapq.heapify(self._overlay)

    def _evict(self) -> None:
        """Second chance: what was not used since the last round goes first."""
        entries, over = self._entries, len(self._entries) - self._bound
        clean = [entry for entry in entries.values() if not entry.dirty]
        idle = (entry for entry in clean if not entry.used)
        busy = (entry for entry in clean if entry.used)
        for entry, _ in zip(chain(idle, busy), range(over), strict=False):
            del entries[entry.profile.id]
        for entry in entries.values():
            entry.used = False

    def stored_ids(self, after: str | None, limit: int) -> Sequence[str]:
        """Ids in the store beyond ``after``, in key order."""
        return self._store.profile_ids(after, limit)


class Scan:
    """All profiles once: those in memory as of now, then the store in slices.

    What is in memory now and not yet stored would be missed by a walk through the store alone, if the
    checkpoint wrote it behind the walker's back.
    """

    def __init__(self, profiles: ProfileCache) -> None:
        self._profiles = profiles
        self._cached = deque(profiles.cached_ids())
        self._after: str | None = None

    def take(self, limit: int) -> Sequence[str]:
        """The next ids, at most ``limit``; none when all were taken."""
        if self._cached:
            return [self._cached.popleft() for _ in range(min(limit, len(self._cached)))]
        ids = self._profiles.stored_ids(self._after, limit)
        if ids:
            self._after = ids[-1]
        return ids
