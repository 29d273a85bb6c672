"""Comparisons: one period against the one before, "as many as", and what is said once for both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from segops.studio.clauses import Clause, Piece, duration, node_of
from segops.studio.durations import WindowSpan
from segops.studio.events import conditioned, other_than
from segops.studio.items import Item, Reduced, Rule, every, one
from segops.studio.phrases import Context
from segops.studio.windows import window_keys

_BEFORE: Final = frozenset(("previous", "prior", "preceding"))
_OPS: Final = {"MORETHAN": "gt", "LESSTHAN": "lt", "ORUP": "gte", "ORDOWN": "lte"}


def _than_before(found: list[Item], context: Context) -> Item | None:
    """Read "ordered more often in the last 30 days than in the 30 days before"."""
    event, word, (now, then) = one(found, "E", "A"), one(found, *_OPS), every(found, "W")
    clause: Clause = event.value
    length_ms = getattr(now.value, "length_ms", 0)
    if clause.test or clause.negated or clause.window or clause.head not in ("did", "sum") or not length_ms:
        return None
    if now.value.kind != "within" or not _is_before(then, length_ms, context):
        return None
    earlier = {"from": duration(2 * length_ms), "to": duration(length_ms)}
    sides = ({"within": duration(length_ms)}, {"between": earlier})
    left, right = (node_of(replace(clause, window=side)) for side in sides)
    marks = tuple(
        mark
        for at, item in ((0, event), (0, now), (1, word), (2, then))
        for mark in item.marked(f"compare[{at}]")
    )
    node = {"compare": [left, _OPS[word.kind], right]}
    return Item("NODE", Piece(node, marks), found[0].first, found[-1].last)


def _is_before(time: Item, length_ms: int, context: Context) -> bool:
    said = time.value
    if not isinstance(said, WindowSpan) or said.length_ms not in (0, length_ms):
        return False
    words = {token.norm for token in context.tokens[time.first : time.last + 1]}
    return said.kind == "before" or (said.kind == "within" and not _BEFORE.isdisjoint(words))


def _as_many(found: list[Item], _context: Context) -> Item | None:
    """Read "at least as many store visits as orders"."""
    left, right = every(found, "E")
    if any(each.value.head != "did" or each.value.test or each.value.negated for each in (left, right)):
        return None
    node = {"compare": [node_of(left.value), _OPS[found[0].kind], node_of(right.value)]}
    marks = tuple(mark for item in found for mark in item.marked("compare[1]"))
    return Item("NODE", Piece(node, marks), found[0].first, found[-1].last)


def _for_both(found: list[Item], context: Context) -> Item | None:
    """Give a window beside a comparison or a ratio to both of its sides, if they have none."""
    piece, time = one(found, "NODE").value, one(found, "W")
    keys = window_keys(time.value, context.catalogue.zone)
    head = next((head for head in ("compare", "ratio") if set(piece.node) == {head}), None)
    if head is None or keys is None:
        return None
    inner: Any = piece.node[head]
    sides = [inner[0], inner[2]] if head == "compare" else [inner["of"], inner["to"]]
    if any(not _WINDOWS.isdisjoint(side) for side in sides):
        return None
    left, right = ({**side, **keys} for side in sides)
    changed: Any = [left, inner[1], right] if head == "compare" else {**inner, "of": left, "to": right}
    marks = (*piece.marks, *time.marked(head))
    return Item("NODE", Piece({head: changed}, marks), found[0].first, found[-1].last)


_WINDOWS: Final = frozenset(("within", "between", "since", "until", "calendar", "since_last"))


def _last_too(found: list[Item], context: Context) -> Reduced:
    """Read "first order was on the web and the last one in the app"."""
    event, word, value = found[0], found[-2] if found[-2].kind != "Q" else found[-3], found[-1]
    clause: Clause = event.value
    asked = context.schema.test_of(clause.names, value.value)
    head = {"FIRST": "earliest", "LAST": "latest"}[word.kind]
    if clause.head not in ("earliest", "latest") or clause.head == head or asked is None:
        return None
    if asked[0] != clause.field:
        return None
    test = asked[1] if isinstance(asked[1], dict) else {"eq": asked[1]}
    marks = (*word.marked(head), *value.marked("is"))
    other = Item("E", Clause(clause.names, head, clause.field, test=test), word.first, value.last, marks)
    return [event, Item("AND", "", word.first, word.first), other]


def _only_those(found: list[Item], context: Context) -> Reduced:
    """Read "used only the dashboard": that one, and no other."""
    event, value, word = one(found, "E"), one(found, "V"), one(found, "ONLY")
    clause: Clause = event.value
    if clause.where or clause.test or clause.negated or context.tokens[word.first].norm != "only":
        return None
    those = conditioned(event, value, [event, value], context)
    if those is None or clause.head != "did" or len(those.value.where) != 1:
        return None
    prop, test = those.value.where[0]
    other = replace(those.value, where=((prop, other_than(test)),), negated=True)
    marks = tuple(word.marked(f"where.{prop}"))
    return [those, Item("AND", "", word.first, word.first), Item("E", other, word.first, word.last, marks)]


#: Comparisons, before events take their windows.
COMPARED: Final = (
    Rule("(E|A) (MORETHAN|LESSTHAN) W THAN W", _than_before),
    Rule("(MORETHAN|LESSTHAN) E W THAN W", _than_before),
    Rule("(ORUP|ORDOWN) ASMANY E E", _as_many),
    Rule("ONLY E V", _only_those),
    Rule("E ONLY V", _only_those),
)

#: What is said once for both sides.
COMPARED_LATE: Final = (
    Rule("NODE COMMA? W", _for_both),
    Rule("W COMMA? NODE", _for_both),
    Rule("E COMMA? (AND|BUT)? (FIRST|LAST) Q? V", _last_too),
)
