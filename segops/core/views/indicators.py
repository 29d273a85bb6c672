"""The published indicators of a profile, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from segops.core.indicators import Indicator
from segops.core.profile import Profile
from segops.core.rules.wording import figure_text
from segops.core.segments import SegmentSet


class IndicatorView(msgspec.Struct, frozen=True):
    """An indicator: its value now, and what was published of it last (None: no value, or never).

    ``publishes_at``: when a new value is published if nothing more happens (None: never).
    """

    indicator: str
    label: str
    version: int
    value: Any
    published: Any
    published_at: int | None
    publishes_at: int | None


def view_indicators(segments: SegmentSet, profile: Profile, now_ms: int) -> Iterator[IndicatorView]:
    """Yield the views of all indicators in force, by key."""
    for each in segments.indicators:
        last = profile.published.get(each.key)
        yield IndicatorView(
            each.name,
            figure_text(each.node.figure),
            each.version,
            _value(each, profile, now_ms),
            None if last is None else last.value,
            None if last is None else last.at_ms,
            profile.flips.get(each.key),
        )


def _value(indicator: Indicator, profile: Profile, now_ms: int) -> Any:
    try:
        return indicator.value(profile, now_ms)
    except Exception:  # as in the engine: one that fails publishes nothing
        return None
