"""``segops plan --watch``: each repeat as a table, or as lines, with what the followed profiles did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from segops.cli._plan_view import details, ends, notes
from segops.cli._say import Redraw, flush, say, say_all, table, warn
from segops.cli._scans import interval_text, when
from segops.core.values import format_instant
from segops.schemas.scan_views import FlappingView, FollowedView, RepeatView, SegmentPlanView

if TYPE_CHECKING:
    from rich.table import Table

_NUMBERS: Final = ("members", "then", "entering", "leaving", "enter 24 h", "leave 24 h")
_FLAPPING: Final = ("flapping", "of members", "most changes")


class Repeats:
    """Shows repeats: redrawn in place on a terminal, else as lines."""

    def __init__(self, redraw: Redraw | None, *, json: bool) -> None:
        self._redraw = None if json else redraw
        self._json = json
        self._known = 0

    def show(self, view: RepeatView) -> None:
        """Show the next repeat."""
        repeats = view.followed.repeats if view.followed else 0
        if self._json:
            say(msgspec.json.encode(view).decode())
        elif self._redraw is not None:
            self._redraw(_frame(view))
        else:
            self._print(view, None if repeats >= self._known else _restarted(view))
        self._known = repeats

    @staticmethod
    def _print(view: RepeatView, restarted: str | None) -> None:
        first = view.repeat == 1
        for line in (*(notes(view.plan) if first else ()), *filter(None, [restarted])):
            warn(line)
        say_all(_lines(view))
        for line in (*details(view.plan), *ends(view.plan)) if first else ():
            say(line, err=True)
        flush()


def _frame(view: RepeatView) -> list[str | Table]:
    """Return a repeat as it is drawn on a terminal."""
    columns = ("segment", "version", *_NUMBERS, *_FLAPPING)
    rows = [
        (each.segment_key, str(each.version), *(f"{figure:,}" for figure in _numbers(each)), *_flaps(found))
        for each, found in _pairs(view)
    ]
    about = f"repeat {view.repeat:,}"
    warnings = (f"warning: {each}" for each in notes(view.plan))
    below = (*when(view.plan), *_sample(view), *warnings, *details(view.plan), *ends(view.plan))
    return [about, table(columns, rows, figures=columns[1:]), *below]


def _lines(view: RepeatView) -> Iterator[str]:
    """Yield a line for each segment of a repeat."""
    at = format_instant(view.plan.to_ms)
    for each, found in _pairs(view):
        members, then, entering, leaving, enters, leaves = _numbers(each)
        effect = f"{members:,} members, then {then:,}: +{entering:,} -{leaving:,}"
        line = f"{at}  {each.segment_key}  {effect}, +{enters:,} -{leaves:,} in 24 h"
        yield line if found is None else f"{line}  {_flapping(found)}"


def _numbers(each: SegmentPlanView) -> Sequence[int]:
    return (each.members, each.then, each.entering, each.leaving, each.entering_24h, each.leaving_24h)


def _pairs(view: RepeatView) -> Iterator[tuple[SegmentPlanView, FlappingView | None]]:
    """Yield each segment with its flapping, None if it is unknown, or the edit removes the segment."""
    known = {each.segment_key: each for each in view.followed.segments} if view.followed else {}
    for each in view.plan.segments:
        yield each, known.get(each.segment_key)


def _flaps(found: FlappingView | None) -> Sequence[str]:
    if found is None:
        return "–", "–", "–"
    share = "–" if found.share is None else f"{found.share:.1%}"
    return interval_text(found.estimate), share, f"{found.most:,}"


def _flapping(found: FlappingView) -> str:
    share = "" if found.share is None else f" ({found.share:.1%})"
    sample = f"{found.flapping:,} of {found.members:,} members in the sample{share}"
    return f"flapping: {interval_text(found.estimate)}, {sample}, {found.most:,} changes of one at most"


def _sample(view: RepeatView) -> Iterator[str]:
    followed = view.followed
    if followed is None:
        reason = "a worker of an earlier version runs" if view.repeat > 1 else "from the next repeat on"
        yield f"flapping: {reason}"
        return
    since = format_instant(followed.from_ms)
    share = f"{followed.share:.2%}".replace(".00%", "%")
    yield f"flapping: members that left and entered again, or the reverse, between repeats since {since};"
    yield f"estimated from {followed.profiles:,} profiles, {share} of all, with the 95 % confidence interval"
    if (found := _restarted(view)) is not None:
        yield found


def _restarted(view: RepeatView) -> str | None:
    """Return what to say if some partitions do not follow their profiles since the second repeat."""
    followed: FollowedView | None = view.followed
    if followed is None or followed.repeats >= view.repeat - 1:
        return None
    return f"partitions that changed their worker follow their profiles for {followed.repeats:,} repeats only"
