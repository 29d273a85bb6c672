"""The activity of a profile by day: when it was active last, and whether it was new or absent before.

A day is a UTC day: the number of days since 1970-01-01. A profile is active on the days of its events.
"""

from __future__ import annotations

from typing import Final

from segops.core.profile import Profile

DAY_MS: Final = 86_400_000
#: A profile without an event for this many days is dormant, and resurrected by its next one.
ABSENT_DAYS: Final = 30

NEW, RETURNING, RESURRECTED = range(3)
_KIND_BITS: Final = 2
_KINDS: Final = (1 << _KIND_BITS) - 1


def activity_of(profile: Profile) -> int | None:
    """Return the last active day and how the profile came to be active then, as one number; None without.

    Only profiles with events have an activity: no redirects, no erased ones. A profile stored by a version
    that did not record the active day before the last one counts as returning, unless its first event is of
    its last day.

    >>> split_activity(activity_of(Profile("u", first_ms=0, latest_ms=40 * DAY_MS, former_day=9)))
    (40, 2)
    """
    first_ms, former = profile.first_ms, profile.former_day
    if first_ms is None:
        return None
    day = profile.latest_ms // DAY_MS
    if former is None:
        kind = NEW if first_ms // DAY_MS == day else RETURNING
    else:
        kind = RESURRECTED if day - former > ABSENT_DAYS else RETURNING
    return day << _KIND_BITS | kind


def split_activity(activity: int) -> tuple[int, int]:
    """Return the day, and ``NEW``, ``RETURNING`` or ``RESURRECTED``."""
    return activity >> _KIND_BITS, activity & _KINDS


def is_another_day(activity: int | None, time_ms: int) -> bool:
    """Return whether an event of this time may change the activity of a profile: it is not of its last day.

    >>> [is_another_day(each, 40 * DAY_MS) for each in (None, 40 << _KIND_BITS, 39 << _KIND_BITS)]
    [True, False, True]
    """
    return activity is None or time_ms // DAY_MS != activity >> _KIND_BITS


def note_day(profile: Profile, time_ms: int) -> None:
    """Note the day of an event in a profile that has others; ``latest_ms`` is still that of the others."""
    latest, day = profile.latest_ms // DAY_MS, time_ms // DAY_MS
    if day > latest:
        profile.former_day = latest
    elif day < latest and (profile.former_day is None or day > profile.former_day):
        profile.former_day = day


def merged_former_day(one: Profile, other: Profile) -> int | None:
    """Return the last active day, before the very last, of two profiles together."""
    known = [each for each in (one, other) if each.first_ms is not None]
    days = {each.latest_ms // DAY_MS for each in known}
    days |= {each.former_day for each in known if each.former_day is not None}
    return max(days - {max(days)}, default=None) if days else None
