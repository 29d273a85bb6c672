"""The profiles of a partition where the kernel runs: in the kernel, or, decoded, in Python.

A profile is in one of the two. Python takes a profile from the kernel to do what the kernel does not, and
``give_back`` returns those that the kernel can hold.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from segops.core.engine import Engine
from segops.core.links import is_waiting
from segops.schemas.quarantine import QuarantinedProfile
from segops.schemas.state import decode_profile, encode_exactly
from segops.stores.base import ProfileStore, Write
from segops.streaming.partition.cached_profile import PENDING, CachedProfile, ProfileSnapshot
from segops.streaming.partition.profile_cache import CacheUse, ProfileCache

_SLICE = 500  # profiles that the kernel encodes at once
_LATEST_MS = (1 << 63) - 1  # no due time is later

#: Returns the kernel's part of a partition, which evaluates by the segments of an engine.
MakeNative = Callable[[Engine], Any]


class NativeSnapshot(ProfileSnapshot):
    """A snapshot of the profiles in Python and of those in the kernel."""

    def __init__(
        self, entries: list[CachedProfile], encode: Callable[[CachedProfile], None], native: Any
    ) -> None:
        super().__init__(entries, encode)
        self._native = native
        self._of_kernel: int = native.collect()

    def __len__(self) -> int:
        """Return the number of profiles."""
        return len(self.entries) + self._of_kernel

    def encode(self) -> bool:
        """Encode one slice; return whether more remain."""
        more: bool = super().encode() or self._native.encode(_SLICE)
        return more

    def slices(self) -> Iterator[Iterable[Write]]:
        """Yield the store writes of all profiles in slices, so that not all of them are in memory at once."""
        yield from super().slices()
        for start in range(0, self._of_kernel, _SLICE):
            yield NativeWrites(self._native, start, start + _SLICE)


class NativeWrites:
    """Store writes of the kernel, which become objects of Python only where they are iterated over."""

    def __init__(self, native: Any, start: int, end: int) -> None:
        self._native, self._start, self._end = native, start, end

    def __iter__(self) -> Iterator[Write]:
        """Yield the writes."""
        return iter(self._native.writes(Write, self._start, self._end))

    def append_to(self, outbox: Any, timestamp: int) -> None:
        """Append them to an outbox of the kernel, as of a timestamp in milliseconds."""
        outbox.append_snapshot(timestamp, self._native, self._start, self._end)


class NativeProfiles(ProfileCache):
    """A cache of profiles most of which are in the kernel: in ``native``.

    ``bound`` is that of those in Python; ``max_bytes`` is about the memory of those in the kernel.
    """

    def __init__(
        self,
        store: ProfileStore,
        engine: Engine,
        quarantine: Callable[[str, bytes, str], QuarantinedProfile],
        *,
        bound: int,
        max_bytes: int,
        make_native: MakeNative,
    ) -> None:
        self._make_native, self.native = make_native, make_native(engine)
        self._engine, self._max_bytes = engine, max_bytes
        super().__init__(store, engine, quarantine, bound=bound)
        #: The kernel's part that the snapshot in flight is of.
        self._written_native = self.native
        #: The profiles that Python has taken since ``give_back``.
        self._taken: dict[str, None] = {}
        #: Profiles of the batch that the store does not have.
        self._absent: set[str] = set()

    def __len__(self) -> int:
        return len(self._entries) + len(self.native)

    def use(self) -> CacheUse:
        of_python, native = super().use(), self.native
        changed = of_python.changed + native.changed_bytes / self._max_bytes
        return CacheUse(len(self), changed, of_python.unstored + native.unstored_bytes / self._max_bytes)

    @property
    def dirty(self) -> int:
        return len(self._dirty) + int(self.native.dirty)

    @property
    def engine(self) -> Engine:
        """The engine in force. With another one, Python first gets all profiles that the store lacks."""
        return self._engine

    @engine.setter
    def engine(self, engine: Engine) -> None:
        if engine is self._engine:
            return
        self._take_index()
        for profile_id in self.native.unstored():
            self._check_out(profile_id)
        self._engine, self.native = engine, self._make_native(engine)
        for profile_id in self._entries:
            self.native.note_away(profile_id)

    def _take_index(self) -> None:
        """Take the due times that the kernel has indexed; former ones count among those that may be due."""
        self._overlay += self.native.take_due(_LATEST_MS, _LATEST_MS, None)
        heapq.heapify(self._overlay)

    # -- reading -------------------------------------------------------------------------------------------

    def get(self, profile_id: str) -> CachedProfile:
        self._taken[profile_id] = None
        return super().get(profile_id)

    def known(self, profile_ids: Iterable[str]) -> list[CachedProfile]:
        found = super().known(profile_ids)
        for entry in found:  # each may be changed, and may be one that the kernel can hold from then on
            self._taken[entry.profile.id] = None
        return found

    def load(self, profile_ids: Iterable[str], *, used: bool = True) -> None:
        entries = self._entries
        missing = {profile_id for profile_id in profile_ids if profile_id not in entries}
        rest = [each for each in missing if not self._check_out(each) and each not in self._absent]
        super().load(rest, used=used)
        for profile_id in rest:
            if profile_id in entries:
                self._take(profile_id)

    def load_records(self, records: Any, start: int) -> None:
        """Load their profiles into the kernel, or decoded if it cannot hold them. Unknown ones are absent."""
        self._absent = self._load_natives(self.native.missing(records, start), used=True)

    def load_due(self, profile_ids: list[str]) -> None:
        """Load due profiles as ``load_records`` does, without marking them as used."""
        self._load_natives(self.native.unknown(profile_ids), used=False)

    def _load_natives(self, ids: list[str], *, used: bool) -> set[str]:
        """Load profiles that are neither here nor in the kernel; return those that the store lacks."""
        if not ids:
            return set()
        states = self._store.get_many(ids)
        refused, absent = self.native.load(ids, states, used)
        for profile_id, state in ((ids[at], states[at]) for at in refused):
            entry = self._entries[profile_id] = self._read(profile_id, state or b"")
            entry.used, entry.size = used, len(state or b"")
            self._take(profile_id)
        return {ids[at] for at in absent}

    def note_created(self) -> None:
        """Hold the ids of the profiles that the kernel has created, if ids are held (``HeldIds``)."""
        created, held = self.native.take_created(), self._held
        if held is not None:
            for profile_id in created:
                held.add(profile_id)

    def _insert_new(self, profile_id: str) -> CachedProfile:
        self._take(profile_id)
        return super()._insert_new(profile_id)

    def _states_of(self, profile_ids: Sequence[str]) -> Sequence[bytes | None]:
        native = self.native
        stored = iter(super()._states_of([each for each in profile_ids if not native.has(each)]))
        return [native.state(each) if native.has(each) else next(stored) for each in profile_ids]

    def cached_ids(self) -> list[str]:
        return [*self._entries, *self.native.ids()]

    # -- taking and giving back ------------------------------------------------------------------------------

    def _take(self, profile_id: str) -> None:
        self._taken[profile_id] = None
        self.native.note_away(profile_id)

    def _check_out(self, profile_id: str) -> bool:
        found = self.native.check_out(profile_id)
        if found is None:
            return False
        state, (dirty, dated, used, *rest) = found
        entry = CachedProfile(self.engine.open(decode_profile(state)), is_new=False)
        entry.dirty, entry.dated, entry.used = dirty, dated, used
        entry.stored_due_ms, entry.overlay_due_ms, entry.size, entry.activity = rest
        if dirty:
            self._dirty.append(entry)
        if dated:
            self._dated.append(entry)
        self._entries[profile_id], self._taken[profile_id] = entry, None
        return True

    def give_back(self) -> None:
        """Return to the kernel the profiles taken since the last call, as far as it can hold them."""
        taken, self._taken = self._taken, {}
        for profile_id in taken:
            entry = self._entries.get(profile_id)
            if entry is not None and self._is_plain(entry):
                self._check_in(profile_id, entry)

    def give_back_one(self, key: bytes | None) -> bool:
        """Return the profile of a record's key to the kernel at once; return whether it can hold it."""
        profile_id = (key or b"").decode()
        if profile_id not in self._taken:
            return False  # it was tried since Python had it last
        del self._taken[profile_id]
        entry = self._entries.get(profile_id)
        return entry is not None and self._is_plain(entry) and self._check_in(profile_id, entry)

    def _is_plain(self, entry: CachedProfile) -> bool:
        """Whether it is worth trying: the kernel holds redirects, and profiles with nothing to merge."""
        profile, links = entry.profile, entry.profile.links
        if entry.quarantined is not None or entry.is_new:
            return False
        if profile.merged_into is not None:
            return True
        if profile.evaluated_by != self.engine.version or (links is not None and links.sources):
            return False
        return profile.first_ms is not None or is_waiting(profile)

    def _check_in(self, profile_id: str, entry: CachedProfile) -> bool:
        if entry.write is PENDING:
            self._encode(entry)
        state = encode_exactly(entry.profile)
        of_store = (entry.stored_due_ms, entry.overlay_due_ms, entry.size, entry.activity)
        known = (entry.dirty, entry.dated, entry.used, *of_store)
        if state is None or not self.native.check_in(profile_id, state, known):
            return False
        if entry.dirty:
            _remove(self._dirty, entry)
        if entry.dated:
            _remove(self._dated, entry)
        del self._entries[profile_id]
        return True

    # -- writing ---------------------------------------------------------------------------------------------

    def take_activities(self) -> Iterator[tuple[int | None, int | None]]:
        return chain(super().take_activities(), self.native.take_activities())

    def carry(self, moves: Mapping[str, bytes]) -> None:
        native = self.native
        super().carry({each: encoded for each, encoded in moves.items() if not native.carry(each, encoded)})

    def snapshot(self) -> ProfileSnapshot:
        self._in_flight, self._written_native = (
            NativeSnapshot(self._dirty, self._encode, self.native),
            self.native,
        )
        self._dirty, self._dated = [], []
        return self._in_flight

    def written(self) -> None:
        self.native.written()
        if self._written_native is not self.native:  # of former definitions
            self._written_native.written()
        self._absent = set()
        super().written()

    def _shrink(self) -> None:
        self.native.shrink(self._max_bytes)
        super()._shrink()

    def _discard(self, profile_id: str) -> None:
        super()._discard(profile_id)
        self.native.forget(profile_id)

    def _take_changed(self, until_ms: int, limit: int) -> list[str]:
        overlay, ids = self._overlay, list[str]()
        while len(ids) < limit:
            first = overlay[0] if overlay and overlay[0][0] <= until_ms else None
            ids += (profile_id for _, profile_id in self.native.take_due(until_ms, limit - len(ids), first))
            if first is None or len(ids) == limit:
                break
            ids.append(heapq.heappop(overlay)[1])
        return ids


def _remove(entries: list[CachedProfile], entry: CachedProfile) -> None:
    """Remove an entry, most likely one of the last."""
    del entries[next(at for at in range(len(entries) - 1, -1, -1) if entries[at] is entry)]
