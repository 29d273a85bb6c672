"""Windows of nodes: from what a request says of time to the keys of the rule language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from segops.core.values import format_instant
from segops.studio.clauses import Clause, duration
from segops.studio.dates import DateWindow
from segops.studio.durations import WindowSpan

#: The kinds of windows that end now.
RECENT: Final = ("within", "in", "rate")


def instant(at_ms: int) -> str:
    """Return an instant as rules have it: whole seconds without milliseconds.

    >>> instant(1780272000000)
    '2026-06-01T00:00:00Z'
    """
    return format_instant(at_ms).replace(".000Z", "Z")


def window_keys(
    said: WindowSpan | DateWindow, zone: str, *, negated: bool = False
) -> Mapping[str, Any] | None:
    """Return the keys of a window of events, or None if what is said is none."""
    if isinstance(said, DateWindow):
        ends = (("since", said.since_ms), ("until", said.until_ms))
        return {key: instant(at_ms) for key, at_ms in ends if at_ms is not None}
    if said.kind in RECENT or (said.kind in ("for", "length") and (negated or said.kind == "for")):
        return {"within": duration(said.length_ms)} if said.length_ms else None
    if said.kind == "between":
        return {"between": {"from": duration(said.length_ms), "to": duration(said.further_ms)}}
    if said.kind == "calendar":
        unit = {"this": said.text}
        return {"calendar": unit if zone == "UTC" else {**unit, "zone": zone}}
    if said.kind == "ago" and said.op in ("lt", "lte"):
        return {"within": duration(said.length_ms)}
    return None


def age_test(said: WindowSpan) -> dict[str, Any] | None:
    """Return the ages of a first or last event that are meant, or None.

    >>> age_test(WindowSpan("ago", 86_400_000, "gt"))
    {'older_than': '1d'}
    """
    length = duration(said.length_ms) if said.length_ms else ""
    if said.kind == "between":
        return {"older_than": duration(said.further_ms), "newer_than": length}
    if not length:
        return None
    if said.kind in ("within", "rate") or (said.kind in ("ago", "in", "length") and said.op in ("lt", "lte")):
        return {"newer_than": length}
    if said.kind in ("ago", "length", "for") and said.op in ("gt", "gte"):
        return {"older_than": length}
    return {"newer_than": length} if said.kind == "in" else None


def trait_test(said: WindowSpan | DateWindow, *, yearly: bool, future: bool) -> dict[str, Any] | None:
    """Return what is asked of a date, or None; ``yearly`` dates come round, ``future`` ones lie ahead."""
    if isinstance(said, DateWindow):
        return _dated_test(said, yearly=yearly)
    length = duration(said.length_ms) if said.length_ms else ""
    if yearly:
        ahead = said.kind in ("next", "in", "within", "length", "rate") or (said.kind, said.op) == (
            "ago",
            "lt",
        )
        calendar = (
            {"week": "7d", "month": "30d", "day": "1d"}.get(said.text) if said.kind == "calendar" else None
        )
        return {"anniversary_in_next": calendar or length} if calendar or (ahead and length) else None
    if future and said.op in ("gt", "gte") and said.kind in ("next", "in", "length", "gap"):
        return None
    if said.kind == "next" or (future and said.kind in ("in", "length", "gap")):
        return {"in_next": length}
    if said.kind in ("within", "in", "rate"):
        return {"in_last": length}
    return _aged_test(said, length)


def _aged_test(said: WindowSpan, length: str) -> dict[str, Any] | None:
    if said.kind == "between":
        return {"older_than": duration(said.further_ms), "newer_than": length}
    if said.kind == "ago" and said.op:
        return {"older_than": length} if said.op in ("gt", "gte") else {"in_last": length}
    if said.kind in ("for", "length"):
        return {"in_last": length} if said.op in ("lt", "lte") else {"older_than": length}
    return None


def _dated_test(said: DateWindow, *, yearly: bool) -> dict[str, Any] | None:
    if yearly:
        return {"month": said.month} if said.month else _born(said)
    return _born(said)


def _born(said: DateWindow) -> dict[str, Any]:
    if said.since_ms is not None and said.until_ms is not None:
        return {"after": instant(said.since_ms - 1), "before": instant(said.until_ms)}
    ends = (("after", said.since_ms), ("before", said.until_ms))
    return {key: instant(at_ms) for key, at_ms in ends if at_ms is not None}


def is_gap(clause: Clause) -> bool:
    """Whether a clause says how long after the step before it happened."""
    return clause.gap is not None
