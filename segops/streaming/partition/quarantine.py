"""Quarantine of unreadable profiles: their records are held until an operator releases them.

An unreadable profile is reported once. Its entry in the store keeps its bytes and is due at once; when it
fires, the bytes are published, and the next checkpoint stores the entry without them. So after any crash the
bytes are in the store and the changelog, or in the topic, or in both (ADR 0020).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from segops.core.errors import StateError
from segops.core.messages import Handover, Release
from segops.core.profile import Profile
from segops.schemas.messages import frame_of
from segops.schemas.quarantine import HeldRecord, QuarantinedProfile, name_of_bytes, quarantine_profile
from segops.schemas.records import Record
from segops.schemas.ticks import TYPE_HEADER
from segops.streaming.partition.cached_profile import CachedProfile
from segops.streaming.partition.output import Output, QuarantineRecord
from segops.streaming.partition.profile_cache import ProfileCache

#: The most records held for one profile; further ones become dead letters with this reason.
MAX_HELD: Final = 1_000
QUARANTINED: Final = "quarantined"
NOT_QUARANTINED: Final = "not_quarantined"


class QuarantinePosition(NamedTuple):
    """The clock of a partition, and its offset in profile events."""

    clock_ms: int
    offset: int


class Released(NamedTuple):
    """The result of a release: the memberships counted so far, the clock, and the records to apply."""

    members: Collection[str]
    clock_ms: int
    held: list[HeldRecord]


class Quarantine:
    """Quarantines profiles of one partition, holds records for them, and releases them.

    ``max_profiles`` counts since the partition was opened; ``max_held_bytes`` is per profile.
    """

    def __init__(
        self,
        output: Output,
        position: Callable[[], QuarantinePosition],
        *,
        max_profiles: int = 1_000,
        max_held_bytes: int = 256 << 10,
    ) -> None:
        self._output = output
        self._position = position
        self._max_profiles = max_profiles
        self._max_held_bytes = max_held_bytes
        self._count = 0

    def add(self, profile_id: str, data: bytes, reason: str) -> QuarantinedProfile:
        """Return the quarantine entry of a profile. Raises StateError when there are too many."""
        self._count += 1
        if self._count > self._max_profiles:
            text = f"more than {self._max_profiles} unreadable profiles in one partition"
            hint = "were they written by a later version? Raise the limit with SEGOPS_MAX_QUARANTINED"
            raise StateError(f"{text}: {hint}. The last error: {reason}")
        at = self._position()
        return quarantine_profile(profile_id, data, reason, since_ms=at.clock_ms, offset=at.offset)

    def publish(self, profiles: ProfileCache, entry: CachedProfile) -> None:
        """Publish the bytes of a quarantined profile, once."""
        stored = entry.quarantined
        if stored is not None and stored.data is not None:
            self._output.quarantine(
                QuarantineRecord(stored.id, "profile", stored.data, stored.of, stored.reason, stored.offset)
            )
            stored.data = None
            entry.profile.due_ms = None
            profiles.touch(entry)

    def hold(self, profiles: ProfileCache, entry: CachedProfile, record: Record, *, clock_ms: int) -> None:
        """Hold a record for a quarantined profile."""
        stored = entry.quarantined
        if stored is None:
            return
        headers = list(record.headers)
        held = HeldRecord(clock_ms, record.offset, record.timestamp, record.key, record.value, headers)
        stored.applied = entry.profile.applied = record.offset
        profiles.touch(entry)
        if len(stored.held) < MAX_HELD and stored.held_bytes + held.size <= self._max_held_bytes:
            stored.hold(held)
        else:
            held_text = f"{len(stored.held)} records ({stored.held_bytes} bytes)"
            self._output.reject(
                record, QUARANTINED, f"the profile is quarantined and already holds {held_text}"
            )

    def unread_handover(self, record: Record, error: ValueError) -> Handover:
        """Quarantine the unreadable state of a handover; return the handover without it.

        Raises ``error`` when the record is not a handover.
        """
        value = record.value or b""
        frame = frame_of(value)
        if frame is None:
            raise error
        self._output.quarantine(
            QuarantineRecord(frame.source, "handover", value, name_of_bytes(value), str(error), record.offset)
        )
        return Handover(frame.to, frame.of, frame.source, frame.sequence, None, frame.at_ms, frame.hops)

    def release(self, entry: CachedProfile, record: Record, release: Release) -> Released | None:
        """Replace a quarantine entry by the released profile; None if the release does not match the entry.

        A release without a state keeps only the messages of other profiles, which wait for answers.
        """
        stored = entry.quarantined
        if stored is None or stored.of != release.of:
            found = (
                "is not quarantined"
                if stored is None
                else f"is quarantined as {stored.of}, not as {release.of}"
            )
            self._output.dead_letter(record, NOT_QUARANTINED, f"the profile {found}")
            return None
        clock_ms, held = self._position().clock_ms, [each for each in stored.held if _is_message(each)]
        if release.state is not None:
            clock_ms, held = stored.since_ms, stored.held
        profile = release.state or Profile(stored.id, applied=stored.applied)
        profile.sequence = max(profile.sequence, stored.sequence, release.sequence)
        entry.quarantined, entry.profile = None, profile
        return Released(stored.members, clock_ms, held)


def _is_message(record: HeldRecord) -> bool:
    return bool(record.headers) and record.headers[0][0] == TYPE_HEADER
