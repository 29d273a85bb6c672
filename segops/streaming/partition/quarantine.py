"""Profiles of a partition that cannot be read: set aside with what comes for them, until they are released.

One is told of once: what takes its place in the store keeps its bytes and is due at once; when its turn
comes the bytes are published, and left out from the next checkpoint on. So whatever crashes, the bytes are in
the store and the changelog, or in the topic, or in both (ADR 0020).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from segops.core.errors import StateError
from segops.core.messages import Handover, Release
from segops.core.profile import Profile
from segops.schemas.aside import Aside, HeldRecord, name_of_bytes, set_aside
from segops.schemas.messages import frame_of
from segops.schemas.records import Record
from segops.schemas.ticks import TYPE_HEADER
from segops.streaming.partition.output import Letter, Output
from segops.streaming.partition.profile_cache import CachedProfile, ProfileCache

#: Records held for a profile at most; further ones become dead letters of this reason.
MAX_HELD: Final = 1_000
QUARANTINED: Final = "quarantined"
NOT_QUARANTINED: Final = "not_quarantined"


class QuarantinePosition(NamedTuple):
    """Where a partition is: the clock, and the offset in its profile events."""

    clock_ms: int
    offset: int


class Released(NamedTuple):
    """What comes of a release: the memberships counted until now, the clock, and the records to apply."""

    members: Collection[str]
    clock_ms: int
    held: list[HeldRecord]


class Quarantine:
    """Sets the profiles of one partition aside, keeps records for them, and releases them."""

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

    def set_aside(self, profile_id: str, data: bytes, reason: str) -> Aside:
        """What takes the place of a profile. StateError when there are more than may be."""
        self._count += 1
        if self._count > self._max_profiles:
            text = f"more than {self._max_profiles} profiles of a partition cannot be read"
            hint = "were they written by a later version? SEGOPS_MAX_QUARANTINED allows for more"
            raise StateError(f"{text}: {hint}. The last one: {reason}")
        at = self._position()
        return set_aside(profile_id, data, reason, since_ms=at.clock_ms, offset=at.offset)

    def publish(self, profiles: ProfileCache, entry: CachedProfile) -> None:
        """Publish what is due."""
        aside = entry.aside
        if aside is not None and aside.data is not None:
            self._output.set_aside(
                Letter(aside.id, "profile", aside.data, aside.of, aside.reason, aside.offset)
            )
            aside.data = None
            entry.profile.due_ms = None
            profiles.touch(entry)

    def hold(self, profiles: ProfileCache, entry: CachedProfile, record: Record, *, clock_ms: int) -> None:
        """Keep a record for a profile that is set aside."""
        aside = entry.aside
        if aside is None:
            return
        headers = list(record.headers)
        held = HeldRecord(clock_ms, record.offset, record.timestamp, record.key, record.value, headers)
        aside.applied = entry.profile.applied = record.offset
        profiles.touch(entry)
        if len(aside.held) < MAX_HELD and aside.held_bytes + held.size <= self._max_held_bytes:
            aside.hold(held)
        else:
            what = f"{len(aside.held)} records of {aside.held_bytes} bytes"
            self._output.reject(
                record, QUARANTINED, f"the profile is set aside, and {what} wait for it already"
            )

    def unread_handover(self, record: Record, error: ValueError) -> Handover:
        """Set aside the state that a hand-over brings; the hand-over without it.

        Raises ``error`` where the record is no hand-over.
        """
        value = record.value or b""
        frame = frame_of(value)
        if frame is None:
            raise error
        self._output.set_aside(
            Letter(frame.loser, "handover", value, name_of_bytes(value), str(error), record.offset)
        )
        return Handover(frame.to, frame.of, frame.loser, frame.sequence, None, frame.at_ms, frame.hops)

    def release(self, entry: CachedProfile, record: Record, release: Release) -> Released | None:
        """Put a profile in the place of what is set aside; None where that is not what is set aside.

        Without a state these are the messages of other profiles only: they wait for answers.
        """
        aside = entry.aside
        if aside is None or aside.of != release.of:
            found = (
                "is not set aside" if aside is None else f"is set aside as {aside.of}, not as {release.of}"
            )
            self._output.dead_letter(record, NOT_QUARANTINED, f"the profile {found}")
            return None
        clock_ms, held = self._position().clock_ms, [each for each in aside.held if _is_message(each)]
        if release.state is not None:
            clock_ms, held = aside.since_ms, aside.held
        profile = release.state or Profile(aside.id, applied=aside.applied)
        profile.sequence = max(profile.sequence, aside.sequence, release.sequence)
        entry.aside, entry.profile = None, profile
        return Released(aside.members, clock_ms, held)


def _is_message(record: HeldRecord) -> bool:
    return bool(record.headers) and record.headers[0][0] == TYPE_HEADER
