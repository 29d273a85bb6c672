"""A profile in memory, and the snapshot of those that changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from segops.core.activity import activity_of
from segops.core.links import timer_of
from segops.core.profile import Profile
from segops.schemas.quarantine import QuarantinedProfile, encode_quarantined, stand_in
from segops.schemas.state import encode_profile
from segops.stores.base import Write

#: The most slices in which a snapshot is encoded, and the fewest profiles of a slice.
_SLICES: Final = 4
_SLICE: Final = 100
#: The writes of a slice.
_WRITES: Final = 250


class CachedProfile:
    """A profile in memory, and what the store has of it. ``is_new``: nothing was applied to it yet.

    ``size``: the bytes of its last encoded state plus those of the events applied since. ``activity``: as
    counted in the population. ``moves``: encoded, those of the write in flight.
    """

    __slots__ = (
        "activity",
        "dated",
        "dirty",
        "is_new",
        "moves",
        "overlay_due_ms",
        "profile",
        "quarantined",
        "size",
        "stored_due_ms",
        "used",
        "write",
    )

    def __init__(self, profile: Profile, *, is_new: bool) -> None:
        self.profile = profile
        self.is_new = is_new
        #: The stored entry of a quarantined profile, for which ``profile`` is a stand-in.
        self.quarantined: QuarantinedProfile | None = None
        self.dirty = self.dated = False
        self.used = True
        self.stored_due_ms = None if is_new else timer_of(profile)
        self.overlay_due_ms: int | None = None
        self.size = 0
        self.activity, self.moves = None if is_new else activity_of(profile), b""
        #: The write in flight; ``PENDING``: to be encoded before the profile changes.
        self.write: Write | None = None

    def quarantine(self, quarantined: QuarantinedProfile) -> None:
        """Replace the profile by its quarantine entry."""
        self.quarantined, self.profile = quarantined, stand_in(quarantined)

    def encode(self) -> None:
        """Encode the write in flight. Raises UnstorableError, and changes nothing, if that is impossible."""
        profile = self.profile
        if self.quarantined is not None:
            state: bytes | None = encode_quarantined(self.quarantined)
        else:
            state = None if self.is_new else encode_profile(profile, self.moves, activity=self.activity)
        old, self.stored_due_ms = self.stored_due_ms, timer_of(profile)
        self.size, self.moves = len(state or b""), b""
        self.write = Write(profile.id, state, old, self.stored_due_ms)


PENDING: Final = Write("", None, None, None)


class ProfileSnapshot:
    """The profiles that were dirty at one moment, as of that moment."""

    def __init__(
        self, entries: list[CachedProfile], encode: Callable[[CachedProfile], None] = CachedProfile.encode
    ) -> None:
        self.entries = entries
        self._encode = encode
        self._slice = max(_SLICE, -(-len(entries) // _SLICES))
        self._rest = iter(entries)
        for entry in entries:
            entry.dirty, entry.dated, entry.write = False, False, PENDING

    def __len__(self) -> int:
        """Return the number of profiles."""
        return len(self.entries)

    def encode(self) -> bool:
        """Encode one slice; return whether more remain."""
        few = list(islice(self._rest, self._slice))
        for entry in few:
            if entry.write is PENDING:
                self._encode(entry)
        return len(few) == self._slice

    def slices(self) -> Iterator[Iterable[Write]]:
        """Yield the store writes of all profiles, in slices between which other work may run."""
        while self.encode():
            pass
        written = (entry.write for entry in self.entries if entry.write is not None)
        return slices_of(written)


def slices_of(writes: Iterable[Write]) -> Iterator[Iterable[Write]]:
    """Yield writes in slices of a few hundred."""
    rest = iter(writes)
    while few := list(islice(rest, _WRITES)):
        yield few
