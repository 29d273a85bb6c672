"""The reason of the memberships that a backfill begins."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from segops.core import rescoring
from segops.core.events import Change, IndicatorValue
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
    rescoring.give_reason(profile, (changes, values), fresh, BACKFILL)
