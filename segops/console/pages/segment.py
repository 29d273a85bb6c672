"""One segment: its rule, size and trend, what happens, its versions, who uses it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from segops.analytics.intervals import DAY_MS, HOUR_MS, MINUTE_MS
from segops.analytics.views import SegmentView
from segops.console.board.backfills import Backfill
from segops.console.board.board import Board
from segops.console.board.changes import RecentChange
from segops.console.board.published import Edition
from segops.console.drafts.checking import fingerprint
from segops.console.drafts.publishing import difference, document_of
from segops.console.drafts.writing import written
from segops.console.page import Action, Context, Data, NotFound, Page
from segops.console.pages._board import REASONS, TONES, condition, state_of
from segops.console.rendering import number, quoted
from segops.core.audiences.model import PREFIX
from segops.core.rules import model
from segops.core.rules.sentences import sentence
from segops.core.rules.wording import label
from segops.core.segments import Definition, references
from segops.operations.definitions import dependants
from segops.schemas.segments import definition_from_record

#: Range of the trend -> its span and its steps.
RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "24h": (DAY_MS, 15 * MINUTE_MS),
    "7d": (7 * DAY_MS, 2 * HOUR_MS),
    "30d": (29 * DAY_MS, 6 * HOUR_MS),
}
_MOST_HAPPENINGS: Final = 30
#: Notes of one kind for which a trend has room side by side.
_NOTES: Final = 24


def definition_of(context: Context[Board]) -> Definition:
    """Return the definition that the path names. Raises NotFound."""
    key = context.arguments["key"]
    found = context.board.definitions.get(key)
    if found is None or found.is_indicator:
        retired = context.board.log.retired.get(key)
        why = f" It was retired at version {retired}." if retired else ""
        raise NotFound(f"There is no segment {key}.{why}")
    return found


async def _segment(context: Context[Board]) -> Data:
    board, definition = context.board, definition_of(context)
    key, span = definition.key, context.query.get("range", "24h")
    span = span if span in RANGES else "24h"
    view = board.sizes.segment(key)
    path = f"/segments/{quoted(key)}"
    is_audience = key.startswith(PREFIX)
    yaml = written(document_of(definition, board.definitions))
    return {
        **condition(board),
        "key": key,
        "name": definition.name,
        "description": definition.description,
        "version": definition.version,
        "seen": fingerprint(definition),
        "state": state_of(board, key),
        "tone": TONES[state_of(board, key)],
        "why": board.left_out.get(key, ""),
        "paused": definition.paused,
        "exposed": definition.expose,
        "is_audience": is_audience,
        "sentence": sentence(definition.when),
        "tree": tree(definition.when),
        "yaml": yaml,
        "figures": _figures(view),
        "range": span,
        "ranges": [*RANGES],
        "trend": trend(board, key, span),
        "reasons": _reasons(view),
        "happenings": [_happening(each) for each in board.recent_changes(key)[:_MOST_HAPPENINGS]],
        "editions": editions(board, definition),
        "used_by": _users(board, key),
        "uses": sorted(set(references(definition.when))),
        "audiences": _audiences(board, key),
        "alerts": _alerts(board, definition),
        "others": [other for other in board.rows if other != key and not other.startswith(PREFIX)][:500],
        "path": path,
        "live": f"/live?page=segment&key={quoted(key)}",
        "cli": f"segops sizes {key} --trend\nsegops members {key} --limit 20\nsegops forecast {key} --days",
        "curl": f"curl {context.settings.console.address}{path}.json",
        "tests": f"segops test tests/ --match {key}",
    }


def _figures(view: SegmentView | None) -> dict[str, Any] | None:
    """Return the figures of a segment; None if no worker has reported any."""
    if view is None:
        return None
    periods = {"hour": view.last_hour, "day": view.last_day, "week": view.last_week}
    return {
        "members": view.members,
        "clock_ms": view.as_of.least_ms,
        "reported": view.reported,
        "partitions": view.partitions,
        "complete_since_ms": view.complete_since_ms,
        "progress": None if view.progress is None else view.progress.read / max(1, view.progress.total),
        "left_ms": None if view.progress is None else view.progress.left_ms,
        **{name: msgspec.structs.asdict(each) for name, each in periods.items()},
    }


def _reasons(view: SegmentView | None) -> list[dict[str, Any]]:
    if view is None:
        return []
    names = sorted({*view.entered, *view.left})
    found = [
        {
            "reason": name,
            "words": REASONS.get(name, name),
            "entered": view.entered.get(name, 0),
            "left": view.left.get(name, 0),
        }
        for name in names
    ]
    return sorted(found, key=lambda each: -int(each["entered"]) - int(each["left"]))


def _happening(change: RecentChange) -> dict[str, Any]:
    """Return a change without the person: lists of changes name no one."""
    return {
        "number": change.number,
        "at_ms": change.at_ms,
        "member": change.member,
        "words": ("entered " if change.member else "left ") + REASONS.get(change.reason, change.reason),
    }


def trend(board: Board, key: str, span: str) -> dict[str, Any]:
    """Return the members over a range, with what happened to the segment meanwhile."""
    span_ms, step_ms = RANGES[span]
    now_ms = board.sizes.as_of.greatest_ms
    if now_ms is None or not board.is_complete:
        return {"points": [], "notes": [], "steps": []}
    found = board.sizes.trend(key, step_ms, now_ms - span_ms + step_ms, None)
    steps = [] if found is None else found.steps
    return {
        # the present is shown where it is, and not at the end of its step
        "points": [(min(each.start_ms + step_ms, now_ms), each.members) for each in steps],
        "steps": [(each.start_ms, each.adds, each.drops) for each in steps],
        "notes": [*_notes(board.editions(key)), *_backfills(board.backfills.of(key, span_ms // _NOTES))],
    }


def _notes(found: Sequence[Edition]) -> Iterator[dict[str, Any]]:
    """Yield what was done to a segment, the latest first."""
    for edition, former in zip(found, [*found[1:], None], strict=True):
        text = _done(edition, former)
        if text:
            yield {"at_ms": edition.at_ms, "text": text, "short": _SHORT.get(text, f"v{edition.version}")}


def _backfills(found: Iterable[Backfill]) -> Iterator[dict[str, Any]]:
    """Yield when past events were counted, with whom they moved."""
    for each in found:
        text = f"past events counted: {number(each.entered)} entered, {number(each.left)} left"
        yield {"at_ms": each.at_ms, "text": text, "short": "past events"}


def _done(edition: Edition, former: Edition | None) -> str:
    if former is None:
        return f"version {edition.version} published" if edition.version == 1 else ""
    if edition.version != former.version:
        return f"version {edition.version} published"
    if edition.paused != former.paused:
        return "paused" if edition.paused else "resumed"
    return ""


_SHORT: Final = {"paused": "paused", "resumed": "resumed"}


def tree(rule: model.Node) -> dict[str, Any]:
    """Return a rule as a tree of labels; ``number``: the place of a node in the order of writing."""
    count = iter(range(1_000_000))

    def branch(node: model.Node) -> dict[str, Any]:
        number = next(count)
        below = [branch(child) for child in model.children(node)]
        return {"number": number, "label": label(node), "parts": below}

    return branch(rule)


def editions(board: Board, definition: Definition) -> list[dict[str, Any]]:
    """Return the known records of a definition, the latest first, each with its difference to the former."""
    found = board.editions(definition.key)
    texts = [_text(board, each) for each in found]
    return [
        {
            "at_ms": each.at_ms,
            "version": each.version,
            "paused": each.paused,
            "what": _done(each, former) or ("first known" if former is None else "described"),
            "difference": [] if former is None else difference(texts[number + 1], texts[number]),
        }
        for number, (each, former) in enumerate(zip(found, [*found[1:], None], strict=True))
    ]


def _text(board: Board, edition: Edition) -> str:
    definition = definition_from_record(edition.record)
    return "" if definition is None else written(document_of(definition, board.definitions))


def _users(board: Board, key: str) -> list[str]:
    """Return the segments that refer to one; audiences are listed by themselves."""
    found = dependants(board.definitions.values()).get(key, [])
    return [each for each in found if not each.startswith(PREFIX)]


def _audiences(board: Board, key: str) -> list[dict[str, Any]]:
    return [
        {
            "key": each.audience.key,
            "name": each.audience.name or each.audience.key,
            "state": each.state,
            "channel": each.audience.channel,
            "to": [delivery.to for delivery in each.audience.deliver],
            "suppresses": key in each.audience.suppress,
        }
        for each in board.audiences.values()
        if key == each.audience.segment or key in each.audience.suppress
    ]


def _alerts(board: Board, definition: Definition) -> list[dict[str, Any]]:
    firing = {
        each.alert: each
        for each in board.alerts.view(firing=True).alerts
        if each.segment_key == definition.key
    }
    return [
        {
            "text": each.text,
            "firing": each.text in firing,
            "since_ms": firing[each.text].since_ms if each.text in firing else None,
        }
        for each in definition.alerts
    ]


class SegmentSource:
    """One segment in the live stream: its figures, and its changes as they are published."""

    def __init__(self, board: Board, key: str) -> None:
        self._board = board
        self._key = key
        self._told: Mapping[str, Any] = {}
        self._number = 0

    def snapshot(self) -> Mapping[str, Any]:
        """Return the figures, and the latest changes."""
        changes = self._board.recent_changes(self._key)[:_MOST_HAPPENINGS]
        return {**self._figures(), "happenings": [_happening(each) for each in changes]}

    def delta(self) -> Mapping[str, Any] | None:
        """Return the figures with the changes since the last call, the newest first."""
        figures, changes = self._figures(), self._board.recent_changes(self._key)
        new = [each for each in changes if each.number > self._number]
        if not new and figures == self._told:
            return None
        self._number, self._told = max([self._number, *(each.number for each in new)]), figures
        return {**figures, "happenings": [_happening(each) for each in new[:_MOST_HAPPENINGS]]}

    def close(self) -> None:
        """Do nothing: it listens to nothing."""

    def _figures(self) -> dict[str, Any]:
        board, key = self._board, self._key
        view, known = board.sizes.segment(key), key in board.definitions
        version = board.definitions[key].version if known else None
        state = state_of(board, key) if known else "retired"
        return {
            "as_of_ms": board.as_of_ms,
            "version": version,
            "state": state,
            "tone": TONES[state],
            "figures": _figures(view),
        }


PAGES: tuple[Page[Any], ...] = (Page("/segments/{key}", "segment.html", "Segment", _segment),)
ACTIONS: tuple[Action[Any, Any], ...] = ()
