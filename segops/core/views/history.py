"""Memberships at a past instant, from the published changes and the latest state of each membership.

Changes are retained for a while only. At an instant from which on all changes are retained, a profile is a
member if its first change afterwards is an exit; without one, if its last change before is an entry; without
either, if its latest state, which is older than all retained changes, says so.
"""

from __future__ import annotations

import msgspec

from segops.core.events import Change


class PastMembership(msgspec.Struct, frozen=True):
    """One membership at an instant; times are milliseconds.

    ``since``, ``reason`` and ``event_id`` are None if the entry is no longer retained. ``until``: when the
    membership ended, or will end if nothing more happens (None: neither).
    """

    profile_id: str
    segment_key: str
    version: int
    since: int | None
    reason: str | None
    event_id: str | None
    until: int | None


class MembershipsAt:
    """Collects changes and rows, in any order, to answer who was a member of what at ``at_ms``.

    Only those of one segment, or of one profile, if given. Repeated records change nothing.
    """

    def __init__(self, at_ms: int, *, segment_key: str | None = None, profile_id: str | None = None) -> None:
        self.at_ms = at_ms
        self._segment_key = segment_key
        self._profile_id = profile_id
        self._before: dict[tuple[str, str], Change] = {}
        self._after: dict[tuple[str, str], Change] = {}
        self._rows: dict[tuple[str, str], Change] = {}

    def _selects(self, change: Change) -> bool:
        wanted = self._segment_key in (None, change.segment_key)
        return wanted and self._profile_id in (None, change.profile_id)

    def change(self, change: Change) -> None:
        """Add a published change."""
        if not self._selects(change):
            return
        key = change.profile_id, change.segment_key
        if change.occurred_at <= self.at_ms:
            known = self._before.get(key)
            if known is None or change.sequence > known.sequence:
                self._before[key] = change
        else:
            known = self._after.get(key)
            if known is None or change.sequence < known.sequence:
                self._after[key] = change

    def row(self, change: Change) -> None:
        """Add the latest change of one profile and segment, from the state topic."""
        if self._selects(change) and change.occurred_at <= self.at_ms:
            self._rows[change.profile_id, change.segment_key] = change

    @property
    def found_any(self) -> bool:
        """Whether any change or row was selected."""
        return bool(self._before or self._after or self._rows)

    @property
    def merged_into(self) -> str | None:
        """The profile that the one profile had been merged into at the instant, or None."""
        latest = max(self._before.values(), key=lambda change: change.sequence, default=None)
        return None if latest is None else latest.merged_into

    def members(self) -> list[PastMembership]:
        """Return the memberships at the instant, by profile and segment."""
        keys = sorted(self._before.keys() | self._after.keys() | self._rows.keys())
        return [found for key in keys if (found := self._membership(*key)) is not None]

    def _membership(self, profile_id: str, segment_key: str) -> PastMembership | None:
        key = profile_id, segment_key
        entry, after = self._before.get(key) or self._rows.get(key), self._after.get(key)
        member = not after.member if after is not None else entry is not None and entry.member
        if not member:
            return None
        if entry is None or not entry.member:
            assert after is not None  # noqa: S101 - only an exit implies a membership without an entry
            return PastMembership(*key, after.segment_version, None, None, None, after.occurred_at)
        return PastMembership(
            *key,
            entry.segment_version,
            entry.occurred_at,
            entry.reason,
            entry.event_id,
            entry.flips_at if after is None else after.occurred_at,
        )
