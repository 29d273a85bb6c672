"""The reason of the memberships that a backfill begins."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from segops.core.events import Change, IndicatorValue
from segops.core.indicators import INDICATOR_PREFIX
from segops.core.profile import Profile

#: Why a membership of a segment that was not evaluated before its backfill changed.
BACKFILL: Final = "backfill"


def give_reason(
    profile: Profile,
    changes: Iterable[Change],
    fresh: Collection[str],
    values: Iterable[IndicatorValue] = (),
) -> None:
    """Set the reason of what concerns the segments and indicators ``fresh`` to BACKFILL."""
    for value in values:
        if f"{INDICATOR_PREFIX}{value.indicator}" in fresh:
            value.reason = BACKFILL
    for change in changes:
        if change.segment_key in fresh:
            change.reason = BACKFILL
            member = profile.members.get(change.segment_key)
            if member is not None:
                member.reason = BACKFILL
