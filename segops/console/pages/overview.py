"""The overview: how segops fares now, what moves, and what needs a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import nsmallest
from typing import Any, Final

from segops.analytics.intervals import DAY_MS, HOUR_MS, MINUTE_MS
from segops.console.board.board import Board
from segops.console.board.reasons import Flows
from segops.console.page import Action, Context, Data, Page
from segops.console.pages._board import REASONS, condition, is_segment
from segops.console.rendering import compact, duration, instant, number

_MOVERS: Final = 8
#: Range of the changes by reason -> its steps, and how many there are.
_RANGES: Final = {"1h": (MINUTE_MS, 60), "24h": (HOUR_MS, 24)}
#: A partition's clock that is so old is a problem; so is a worker's poll.
_OLD_CLOCK_MS: Final = 60_000
_LONG_AGO_MS: Final = 90 * DAY_MS
_STALE_MS: Final = 15_000
_MANY_LAG: Final = 100_000


async def _overview(context: Context[Board]) -> Data:
    board, now_ms = context.board, context.now_ms
    span = context.query.get("range", "1h")
    span = span if span in _RANGES else "1h"
    return {
        **condition(board),
        "range": span,
        "ranges": [*_RANGES],
        "tiles": tiles(board, now_ms),
        "series": [(each.at_ms, round(each.events, 1)) for each in board.vitals_watch.points],
        "vitals_ms": board.vitals.at_ms,
        "stale_ms": _STALE_MS,
        "changes": changes(board, span),
        "movers": movers(board),
        "health": health(board, now_ms),
        "workers": [each._asdict() for each in board.workers],
        "firing": [_alert(each) for each in board.alerts.view(firing=True).alerts[:20]],
        "empty": not any(is_segment(key, each) for key, each in board.definitions.items()),
        "cli": "segops watch",
        "curl": f"curl {context.settings.console.address}/index.json",
    }


def tiles(board: Board, now_ms: int) -> list[dict[str, Any]]:
    """Return the figures at the top, each with its key in the live stream."""
    vitals, population = board.vitals, board.sizes.population()
    known = None if population is None else population.known
    lag_tone = "warn" if (vitals.lag or 0) > _MANY_LAG else ""
    segments = sum(is_segment(key, each) for key, each in board.definitions.items())
    return [
        _tile("events", "Events per second", number(vitals.events_per_s), hint="over ten seconds"),
        _tile("p50", "Event to change", _ms(vitals.p50_ms), hint="median of the last minute"),
        _tile("p99", "Slowest 1 %", _ms(vitals.p99_ms), hint="from event to change"),
        _tile("lag", "Lag", compact(vitals.lag), unit="records", hint="not processed yet", tone=lag_tone),
        _tile("people", "People", compact(known), hint="profiles known"),
        _tile("segments", "Segments", number(segments), hint="published"),
    ]


def _tile(
    key: str, label: str, value: str, *, unit: str = "", hint: str = "", tone: str = ""
) -> dict[str, Any]:
    return {"key": key, "label": label, "value": value, "unit": unit, "hint": hint, "tone": tone}


def _ms(value: float | None) -> str:
    """Write a delay: its digits say no more than the buckets of its histogram."""
    if value is None:
        return "–"
    return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.0f} ms"


def changes(board: Board, span: str) -> dict[str, Any]:
    """Return the entries and exits of all segments by reason, in the steps of a range."""
    step_ms, count = _RANGES[span]
    newest_ms = board.reasons.newest_ms // step_ms * step_ms
    if not newest_ms:
        return {"step_ms": step_ms, "steps": [], "names": [], "totals": []}
    starts = range(newest_ms - (count - 1) * step_ms, newest_ms + step_ms, step_ms)
    steps = board.reasons.steps(starts, step_ms)
    totals = _totals(steps)
    return {
        "step_ms": step_ms,
        "steps": [{"start_ms": each.start_ms, "up": each.entered, "down": each.left} for each in steps],
        "names": [each["reason"] for each in totals],
        "totals": totals,
    }


def _totals(steps: Sequence[Flows]) -> list[dict[str, Any]]:
    names = {name for each in steps for name in (*each.entered, *each.left)}
    found = [
        {
            "reason": name,
            "words": REASONS.get(name, name),
            "entered": sum(each.entered.get(name, 0) for each in steps),
            "left": sum(each.left.get(name, 0) for each in steps),
        }
        for name in names
    ]
    return sorted(found, key=lambda each: (-each["entered"] - each["left"], each["reason"]))


def movers(board: Board) -> list[dict[str, Any]]:
    """Return the segments that most people entered or left within 24 hours."""
    known = board.definitions
    rows = (each for key, each in board.rows.items() if key in known and is_segment(key, known[key]))
    most = nsmallest(_MOVERS, rows, key=lambda each: (-each.adds - each.drops, each.key))
    return [
        {
            "key": each.key,
            "name": board.definitions[each.key].name,
            "members": each.members,
            "adds": each.adds,
            "drops": each.drops,
            "net": each.adds - each.drops,
        }
        for each in most
        if each.adds or each.drops
    ]


def health(board: Board, now_ms: int) -> list[dict[str, Any]]:
    """Return what an operator looks at: name, value in words, tone, and what it means."""
    vitals, clock_ms = board.vitals, board.vitals.clock_ms or board.sizes.as_of.least_ms
    closed = [name for name, gate in board.gates.items() if gate["state"] == "closed"]
    answering = f"{vitals.reached} of {vitals.known} answer" if vitals.known else "none is known"
    dead = sum(each.dead for each in board.deliveries.values())
    return [
        _fact("workers", "Workers", answering, bad=vitals.reached < max(1, vitals.known)),
        _fact("watermark", "Watermark", _age(clock_ms, now_ms), warn=_is_behind(clock_ms, now_ms)),
        _fact(
            "recovering", "Recovering", _counted(vitals.recovering, "partition"), warn=bool(vitals.recovering)
        ),
        _fact("overdue", "Overdue timers", number(vitals.overdue), warn=bool(vitals.overdue)),
        _fact(
            "letters", "Dead letters", number(board.dead_letters), warn=board.dead_letters > 0, href="/data"
        ),
        _fact("refused", "Refused messages", number(dead), warn=dead > 0, href="/destinations"),
        _fact(
            "closed",
            "Closed destinations",
            ", ".join(closed) or "none",
            bad=bool(closed),
            href="/destinations",
        ),
        _fact("history", "History still to read", _left(vitals.backfill_left)),
    ]


def _fact(
    key: str, label: str, value: str, *, warn: bool = False, bad: bool = False, href: str = ""
) -> dict[str, Any]:
    tone = "bad" if bad else "warn" if warn else "good"
    return {"key": key, "label": label, "value": value, "tone": tone, "href": href, "hint": _HINTS[key]}


_HINTS: Final[Mapping[str, str]] = {
    "workers": "they evaluate the segments",
    "watermark": "the clocks of all partitions",
    "recovering": "restored after a restart or a move",
    "overdue": "over 5 s late, in the last minute",
    "letters": "events that could not be applied",
    "refused": "what destinations did not take",
    "closed": "they take nothing at present",
    "history": "what new segments wait for",
}


def _is_behind(clock_ms: int | None, now_ms: int) -> bool:
    """Return whether clocks lag; events of long ago, as in the demo, have clocks of their own."""
    return clock_ms is None or _OLD_CLOCK_MS < now_ms - clock_ms < _LONG_AGO_MS


def _age(clock_ms: int | None, now_ms: int) -> str:
    if clock_ms is None:
        return "unknown"
    age_ms = max(0, now_ms - clock_ms)
    if age_ms >= _LONG_AGO_MS:
        return f"at {instant(clock_ms)[:10]}, past events"
    return "current" if age_ms < 5_000 else f"{duration(age_ms // 1000 * 1000)} behind"


def _counted(count: int | None, what: str) -> str:
    return "unknown" if count is None else f"{count:,} {what}{'s' * (count != 1)}"


def _left(records: int) -> str:
    return f"{compact(records)} records" if records else "none"


def _alert(record: Any) -> dict[str, Any]:
    return {
        "segment": record.segment_key,
        "alert": record.alert,
        "since_ms": record.since_ms,
        "number": record.number,
    }


class OverviewSource:
    """The overview in the live stream: its figures as texts, and a point of the series per poll."""

    def __init__(self, board: Board, now_ms: Callable[[], int]) -> None:
        self._board = board
        self._now_ms = now_ms
        self._told: Mapping[str, Any] = {}

    def snapshot(self) -> Mapping[str, Any]:
        """Return the figures, the changes of the last hour, and the segments that move."""
        return {**self._figures(), "series": [(each.at_ms, round(each.events, 1)) for each in self._points]}

    @property
    def _points(self) -> list[Any]:
        return [*self._board.vitals_watch.points]

    def _figures(self) -> dict[str, Any]:
        board, now_ms = self._board, self._now_ms()
        points = self._points
        found = {each["key"]: each["value"] for each in tiles(board, now_ms)}
        checks = health(board, now_ms)
        return {
            "as_of_ms": board.as_of_ms,
            "vitals_ms": board.vitals.at_ms,
            "figures": found | {each["key"]: each["value"] for each in checks},
            "tones": {each["key"]: each["tone"] for each in checks},
            "point": (points[-1].at_ms, round(points[-1].events, 1)) if points else None,
            "movers": movers(board),
        }

    def delta(self) -> Mapping[str, Any] | None:
        """Return the figures if any changed."""
        found = self._figures()
        changed, self._told = found != self._told, found
        return found if changed else None

    def close(self) -> None:
        """Do nothing: it listens to nothing."""


PAGES: tuple[Page[Any], ...] = (Page("/", "overview.html", "Overview", _overview),)
ACTIONS: tuple[Action[Any, Any], ...] = ()
