"""Windows that several clauses share, as in "bought and reviewed in the last 30 days"."""

from __future__ import annotations

from dataclasses import replace

from segops.studio.clauses import Clause, Piece, duration
from segops.studio.durations import WindowSpan
from segops.studio.items import Item, Unread
from segops.studio.phrases import Context
from segops.studio.windows import window_keys


def hanging(items: list[Item]) -> list[Item]:
    """Return the clauses that say how long after another one they happened, but stand outside a sequence."""
    return [
        item
        for item in items
        if item.kind == "E"
        and item.value.gap is not None
        and (item.value.gap.kind != "in" or not item.value.window)
    ]


def framed(items: list[Item]) -> list[Item]:
    """Take a window after a sequence for that of the whole: "…, all within the last 7 days"."""
    for at in range(1, len(items)):
        time = items[at]
        before = at - 1 - (items[at - 1].kind == "COMMA")
        said = time.value
        if time.kind == "W" and before >= 0 and isinstance(said, WindowSpan) and said.kind == "within":
            piece = items[before].value
            if isinstance(piece, Piece) and set(piece.node) == {"sequence"}:
                node = {**piece.node, "within": duration(said.length_ms)}
                framed = replace(items[before], value=Piece(node, (*piece.marks, *time.marked("within"))))
                return [*items[:before], framed, *items[at + 1 :]]
    return items


def _is_clause(item: Item) -> bool:
    return item.kind == "E"


def leading(items: list[Item], context: Context) -> list[Item]:
    """Give a window that stands alone at the beginning to every clause without one."""
    rest = [item for item in items if item.kind not in ("COMMA", "REL", "SUBJ")]
    if not rest or rest[0].kind != "W" or not any(map(_is_clause, rest)):
        return items
    time = rest[0]
    if _is_followed(rest):
        return [*rest[1:], time]
    return [_with(item, time, context) if _is_clause(item) else item for item in items if item is not time]


def _is_followed(items: list[Item]) -> bool:
    """Whether a clause has a deadline after the one before: "…, viewed and bought within 2 days"."""
    later = [item for item in items if _is_clause(item)][1:]
    plain = isinstance(items[0].value, WindowSpan) and items[0].value.kind == "within"
    gaps = [item.value.gap for item in later if item.value.gap is not None]
    return plain and any(gap.kind == "gap" or gap.text == "within" for gap in gaps)


def _with(item: Item, time: Item, context: Context) -> Item:
    clause: Clause = item.value
    if not _is_open(clause) or clause.timeless:
        return item
    keys = window_keys(time.value, context.catalogue.zone, negated=clause.negated)
    if keys is None:
        raise Unread([time])
    return replace(
        item, value=replace(clause, window=keys), marks=(*item.marks, *time.marked(next(iter(keys))))
    )


def _is_open(clause: Clause) -> bool:
    """Whether a clause may have a window and has none."""
    return (
        clause.window is None
        and clause.gap is None
        and clause.head not in ("first", "last", "regularly", "lifecycle")
    )


def shared(items: list[Item], context: Context) -> list[Item]:
    """Give the window at the end to the clauses before it, and the one of a clause to a denial after it."""
    items = [_same_window(items, at) for at in range(len(items))]
    items = [item for item in items if item.kind != "SAMEWIN"]
    for at in range(len(items) - 1, 0, -1):
        items = _back(items, at)
    for at in range(len(items)):
        items = _forth(items, at)
    return items


def _same_window(items: list[Item], at: int) -> Item:
    item = items[at]
    following = items[at + 1].kind if at + 1 < len(items) else ""
    if not _is_clause(item) or following != "SAMEWIN" or item.value.window is not None:
        return item
    earlier = [each for each in items[:at] if _is_clause(each) and each.value.window is not None]
    return replace(item, value=replace(item.value, window=earlier[-1].value.window)) if earlier else item


def _back(items: list[Item], at: int) -> list[Item]:
    """Let a clause's window reach back over "and" or "or" to the clause before it."""
    item = items[at]
    before = _before(items, at)
    if before is None or not _is_clause(item) or item.value.window is None:
        return items
    left, right = items[before].value, item.value
    if not _is_open(left) or left.timeless or _is_other(left, right) or not _is_recent(right):
        return items
    changed = replace(items[before], value=replace(left, window=right.window))
    return [*items[:before], changed, *items[before + 1 :]]


def _is_recent(clause: Clause) -> bool:
    return not {"since_last"} & set(clause.window or {}) and not (clause.gap and clause.gap.kind == "gap")


def _is_other(left: Clause, right: Clause) -> bool:
    """Whether one clause denies the events of the other."""
    apart = bool(left.where) and {path for path, _ in left.where} == {path for path, _ in right.where}
    return left.names == right.names and left.negated != right.negated and not apart


def _before(items: list[Item], at: int) -> int | None:
    """Return the index of the clause that only "and" or "or" parts from the one at an index."""
    number = at - 1
    while number >= 0 and items[number].kind in ("AND", "OR", "COMMA", "BUT"):
        number -= 1
    joints = {item.kind for item in items[number + 1 : at]}
    if number < 0 or not _is_clause(items[number]) or "THEN" in joints:
        return None
    return number if joints or (_is_clause(items[at]) and items[at].value.negated) else None


def _forth(items: list[Item], at: int) -> list[Item]:
    item = items[at]
    before = _before(items, at)
    if before is None or not _is_clause(item) or not item.value.negated:
        return items
    left, right = items[before].value, item.value
    if left.window is None or not _is_open(right) or right.timeless or left.negated or not _is_recent(left):
        return items
    if (left.names == right.names and not right.where) or _differ(items, before):
        return items
    changed = replace(item, value=replace(right, window=left.window))
    return [*items[:at], changed, *items[at + 1 :]]


def _differ(items: list[Item], at: int) -> bool:
    """Whether a clause and the alternative before it have windows of their own."""
    if at < 2 or items[at - 1].kind != "OR" or not _is_clause(items[at - 2]):
        return False
    return bool(items[at - 2].value.window != items[at].value.window)
