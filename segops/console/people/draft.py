"""A draft of a segment from what one person did: event names, counts and windows, nothing personal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from segops.core.values import format_instant
from segops.core.views.timeline import TimelineEntry, TimelineEvent

#: Windows and counts that a draft may say; the smallest window and greatest count that fit are taken.
_WINDOWS_DAYS: Final = (7, 30, 90, 365)
_COUNTS: Final = (1, 2, 3, 5, 10, 20, 50, 100)
_MOST: Final = 4
_DAY_MS: Final = 86_400_000
#: Calls that say little of what a person wants.
_PLAIN: Final = frozenset(("identify", "group", "alias", "page", "screen"))


def draft_of(entries: Iterable[TimelineEntry], now_ms: int) -> dict[str, Any] | None:
    """Return the definition of a segment of people who did as this one; None without a telling event.

    >>> events = [TimelineEvent(0, "u", "Viewed", f"m{n}", {"page": "x"}) for n in range(4)]
    >>> draft_of(events, 10)["when"]
    {'did': 'Viewed', 'count': {'gte': 3}, 'within': '7d'}
    """
    events = [each for each in entries if isinstance(each, TimelineEvent)]
    telling = [each for each in events if each.name not in _PLAIN] or events
    names = Counter(each.name for each in telling)
    parts = [_part(name, telling, now_ms) for name, _ in names.most_common(_MOST)]
    if not parts:
        return None
    return {
        "key": "like-this-person",
        "name": "People like this one",
        "description": f"Drafted from what one person had done by {format_instant(now_ms)[:10]}.",
        "when": parts[0] if len(parts) == 1 else {"all": parts},
    }


def _part(name: str, events: Sequence[TimelineEvent], now_ms: int) -> dict[str, Any]:
    times = [each.time_ms for each in events if each.name == name]
    age_ms = now_ms - min(times)
    days = next((each for each in _WINDOWS_DAYS if age_ms < each * _DAY_MS), None)
    count = max(each for each in _COUNTS if each <= len(times))
    part: dict[str, Any] = {"did": name}
    if count > 1:
        part["count"] = {"gte": count}
    return part if days is None else {**part, "within": f"{days}d"}
