"""The reason of the memberships that a backfill begins."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from segops.core.events import Change
from segops.core.profile import Profile

#: Why a membership of a segment that was not evaluated before its backfill changed.
BACKFILL: Final = "backfill"


def give_reason(profile: Profile, changes: Iterable[Change], fresh: Collection[str]) -> None:
    """Set the reason of a profile's changes, and memberships, in the segments ``fresh`` to BACKFILL."""
    for change in changes:
        if change.segment_key in fresh:
            change.reason = BACKFILL
            member = profile.members.get(change.segment_key)
            if member is not None:
                member.reason = BACKFILL
