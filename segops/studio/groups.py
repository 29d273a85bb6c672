"""Groups: clauses and nodes joined by "and", "or", "but", lists and brackets become one tree."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from segops.studio.alternatives import PEOPLE, modifier_at
from segops.studio.clauses import Clause, Piece, combined, node_of
from segops.studio.clauses import negated as opposite
from segops.studio.items import Item, Unread, every
from segops.studio.phrases import Context
from segops.studio.sequences import sequenced
from segops.studio.sharing import framed, hanging, leading, shared

JOINTS: Final = frozenset(
    ("AND", "OR", "BUT", "COMMA", "SEMI", "REL", "WITH", "EXCEPT", "EITHER", "BOTH", "THEN", "COLON")
)
_PARTS: Final = frozenset(("E", "NODE"))


def grouped(items: list[Item], context: Context) -> Piece:
    """Return the tree of clauses, nodes and joints. Raises Unread with the items that are none."""
    items = _bracketed(_continued(items), context)
    listed = _listed(items, context)
    if listed is not None:
        return listed
    items = shared(framed(sequenced(leading(items, context))), context)
    endless = [item for item in items if item.kind == "THEN" and _is_denied_next(items, item)]
    if endless:
        raise Unread(endless)
    rest = [item for item in items if item.kind not in JOINTS | _PARTS] or hanging(items)
    if rest:
        raise Unread(rest)
    return _split(_spread(_trimmed(items)), context)


def _continued(items: list[Item]) -> list[Item]:
    """Take a full stop before "or" for a comma: "They are gold. Or they are in Spain."."""
    stops = [item.kind == "SEMI" and after.kind == "OR" for item, after in itertools.pairwise(items)]
    return [item.as_kind("COMMA", "") if stop else item for item, stop in itertools.zip_longest(items, stops)]


def _is_denied_next(items: list[Item], then: Item) -> bool:
    """Whether what does not happen next has no deadline: an order that a list of conditions would lose."""
    at = items.index(then) + 1
    following = next((item for item in items[at:] if item.kind in _PARTS), None)
    clause = following.value if following is not None and following.kind == "E" else None
    return clause is not None and clause.negated and not clause.window


def _trimmed(items: list[Item]) -> list[Item]:
    while items and items[0].kind in JOINTS - {"EITHER", "EXCEPT"}:
        items = items[1:]
    while items and items[-1].kind in JOINTS:
        items = items[:-1]
    return items


def _bracketed(items: list[Item], context: Context) -> list[Item]:
    """Return the items with each bracket that has a condition as one node."""
    while any(item.kind == "RP" for item in items):
        end = next(at for at, item in enumerate(items) if item.kind == "RP")
        begin = next((at for at in range(end, -1, -1) if items[at].kind == "LP"), None)
        if begin is None:
            return [item for item in items if item.kind not in ("LP", "RP")]
        inner = items[begin + 1 : end]
        piece = grouped(inner, context) if inner else None
        new = [Item("NODE", piece, items[begin].first, items[end].last)] if piece else []
        if piece and begin and items[begin - 1].kind == "NEG":
            begin -= 1
            new = [replace(new[0], value=opposite(piece))]
        items = [*items[:begin], *new, *items[end + 1 :]]
    return items


# -- lists of which some must hold -------------------------------------------------------------------------


def _listed(items: list[Item], context: Context) -> Piece | None:
    """Return the group of "two of these: a, b, c"."""
    at = next((at for at, item in enumerate(items) if item.kind in ("KOF", "ALLOF", "ANYOF")), None)
    if at is None:
        return None
    head, before = items[at], _trimmed(items[:at])
    rest = [item for item in items[at + 1 :] if item.kind != "COLON"]
    windows = []
    while rest and rest[0].kind in ("W", "COMMA", "Q"):
        windows += [rest[0]] if rest[0].kind == "W" else []
        rest = rest[1:]
    if before and before[-1].kind == "W":
        windows.append(before.pop())
    outer = grouped(before, context) if _trimmed(before) else None
    parts = [_element(part, windows, context) for part in _elements(rest)]
    return _of_list(head, parts, outer, context)


def _of_list(head: Item, listed: list[Piece], outer: Piece | None, context: Context) -> Piece:
    if len(listed) < 2:
        raise Unread([head])
    if head.kind != "KOF":
        group = combined("all" if head.kind == "ALLOF" else "any", listed)
    else:
        k = head.value
        if not 1 <= k <= len(listed):
            raise Unread([head])
        marks = tuple(
            (a, b, f"at_least.of[{at}].{key}".rstrip("."))
            for at, part in enumerate(listed)
            for a, b, key in part.marks
        )
        group = Piece(
            {"at_least": {"k": k, "of": [part.node for part in listed]}}, (*marks, *head.marked("at_least.k"))
        )
    return group if outer is None else combined("all", [outer, group])


def _elements(items: list[Item]) -> list[list[Item]]:
    """Split a list at its commas, and at the last "and" or "or"."""
    parts: list[list[Item]] = [[]]
    commas = any(item.kind in ("COMMA", "SEMI") for item in items)
    for at, item in enumerate(items):
        ends = item.kind in ("COMMA", "SEMI") or (
            item.kind in ("AND", "OR") and (not commas or _is_last_joint(items, at)) and bool(parts[-1])
        )
        if ends:
            parts.append([])
        elif not (item.kind in ("AND", "OR") and not parts[-1]):
            parts[-1].append(item)
    return [part for part in parts if part]


def _is_last_joint(items: list[Item], at: int) -> bool:
    return not any(item.kind in ("COMMA", "SEMI", "AND", "OR") for item in items[at + 1 :])


def _element(items: list[Item], windows: list[Item], context: Context) -> Piece:
    return grouped([*windows, *items] if windows else items, context)


# -- and, or -----------------------------------------------------------------------------------------------


def _spread(items: list[Item]) -> list[Item]:
    """Let a denial reach over "or": "never bought or returned anything"."""
    found = list(items)
    for at in range(2, len(found)):
        left, joint, right = found[at - 2 : at + 1]
        if joint.kind == "OR" and left.kind == right.kind == "NODE" and _is_denied_alike(left, right):
            found[at - 1] = joint.as_kind("AND", "")
            found[at] = replace(right, value=opposite(right.value))
        if (
            joint.kind == "OR"
            and left.kind == right.kind == "E"
            and left.value.negated
            and not right.value.negated
        ):
            found[at - 1] = joint.as_kind("AND", "")
            found[at] = replace(right, value=replace(right.value, negated=True, timeless=left.value.timeless))
    return found


def _is_denied_alike(left: Item, right: Item) -> bool:
    """Whether a denial goes on: "not employees or VIPs", "without a phone number or email consent"."""
    inner = left.value.node.get("not")
    lacks = inner or (left.value.node if left.value.node.get("is") == {"exists": False} else {})
    if "trait" in lacks and lacks["is"] in ({"eq": True}, {"exists": False}):
        return bool(right.value.node.get("is") == {"eq": True})
    return isinstance(inner, dict) and set(inner) == set(right.value.node) and "in_segment" in inner


def _split(items: list[Item], context: Context) -> Piece:
    """Return the tree of parts and joints, split at the joints that bind least."""
    items = _trimmed(items)
    if not items:
        raise Unread(())
    for split in (
        _at_exceptions,
        _at_either,
        _at_modifier,
        _at_weak,
        _at_relative,
        _at_traits,
        _at_or,
        _at_and,
    ):
        piece = split(items, context)
        if piece is not None:
            return piece
    return _leaf(items[0])


def _leaf(item: Item) -> Piece:
    return (
        item.value if isinstance(item.value, Piece) else Piece(node_of(item.value), _marks(item.value, item))
    )


def _marks(clause: Clause, item: Item) -> tuple[tuple[int, int, str], ...]:
    head = "did_not" if clause.negated and clause.head == "did" else clause.head
    return tuple((first, last, head if key == "did" else key) for first, last, key in item.marks)


def _at(items: list[Item], context: Context, head: str, ends: Callable[[int], bool]) -> Piece | None:
    parts: list[list[Item]] = [[]]
    for number, item in enumerate(items):
        if ends(number):
            parts.append([])
        else:
            parts[-1].append(item)
    parts = [part for part in (_trimmed(part) for part in parts) if part]
    return combined(head, [_split(part, context) for part in parts]) if len(parts) > 1 else None


def _at_exceptions(items: list[Item], context: Context) -> Piece | None:
    """Split off what is excluded: each of it is denied."""
    at = next((at for at, item in enumerate(items) if item.kind == "EXCEPT"), None)
    if at is None:
        return None
    rest, more = _excluded(_trimmed(items[at + 1 :]))
    if not rest:
        raise Unread([items[at]])
    items = [*items[:at], *more]
    at = len(items)
    denied = [item.as_kind("OR", "") if item.kind == "AND" else item for item in rest]
    excluded = opposite(_split(denied, context))
    if not _trimmed(items[:at]):
        return _each_denied(excluded)
    return combined("all", [_split(items[:at], context), _each_denied(excluded)])


def _excluded(items: list[Item]) -> tuple[list[Item], list[Item]]:
    """Split what is excluded from what is asked again after a comma: "except employees, with an order"."""
    for at in range(1, len(items) - 1):
        if items[at].kind == "COMMA" and items[at + 1].kind in ("WITH", "REL"):
            return items[:at], [items[at], *items[at + 2 :]]
    return items, []


def _each_denied(piece: Piece) -> Piece:
    """Turn "not (a or b)" into "not a and not b"."""
    inner = piece.node.get("not")
    if not isinstance(inner, dict) or list(inner) != ["any"]:
        return piece
    parts = []
    for at, node in enumerate(inner["any"]):
        prefix = f"not.any[{at}]"
        marks = (
            (a, b, key.removeprefix(prefix).lstrip("."))
            for a, b, key in piece.marks
            if key.startswith(prefix)
        )
        parts.append(opposite(Piece(node, tuple(marks))))
    return combined("all", parts)


def _at_either(items: list[Item], context: Context) -> Piece | None:
    """Take "either … or …" for one group, up to a comma with "and"."""
    at = next((at for at, item in enumerate(items) if item.kind == "EITHER"), None)
    if at is None:
        return None
    after = items[at + 1 :]
    end = next((n for n in range(len(after)) if _weak_and(after, n) and _is_or_before(after, n)), len(after))
    inner = _split([item for item in after[:end] if item.kind != "EITHER"], context)
    node = Item("NODE", inner, items[at].first, items[at].last)
    rest = [*items[:at], node, *after[end:]]
    return inner if len(rest) == 1 else _split(rest, context)


def _is_or_before(items: list[Item], number: int) -> bool:
    return any(item.kind == "OR" for item in items[:number])


def _weak_and(items: list[Item], number: int) -> bool:
    return items[number].kind in ("BUT", "SEMI") or (
        items[number].kind == "AND" and number > 0 and items[number - 1].kind == "COMMA"
    )


def _at_weak(items: list[Item], context: Context) -> Piece | None:
    """Split at "but" and full stops, at ", or" beside "and", and at ", and" beside "or"."""
    piece = _at(items, context, "all", lambda number: items[number].kind in ("BUT", "SEMI"))
    if piece is not None:
        return piece
    alternatives = _alternatives(items)
    if alternatives:
        return _at(items, context, "all", lambda number: number in alternatives)
    kinds = {item.kind for item in items}
    if not {"AND", "OR"} <= kinds | ({"AND"} if "REL" in kinds or "WITH" in kinds else set()):
        return None
    weak_and = [n for n in range(len(items)) if items[n].kind == "AND" and items[n - 1].kind == "COMMA"]
    weak_or = [n for n in range(len(items)) if items[n].kind == "OR" and items[n - 1].kind == "COMMA"]
    if weak_or and not weak_and:
        return _at(items, context, "any", lambda number: number in weak_or)
    if weak_and and not weak_or:
        return _at(items, context, "all", lambda number: number in weak_and)
    return None


def _alternatives(items: list[Item]) -> list[int]:
    """Return the commas after alternatives, if what follows is for each of them: "gold or VIP, in Spain"."""
    joints = [at for at, item in enumerate(items) if item.kind in ("AND", "OR", "REL", "WITH", "EITHER")]
    if not joints or any(items[at].kind != "OR" for at in joints):
        return []
    return [at for at in range(joints[-1] + 2, len(items)) if items[at].kind == "COMMA"]


def _at_relative(items: list[Item], context: Context) -> Piece | None:
    """Split what customers are from what they did: "gold members who bought or reviewed"."""
    at = next((at for at, item in enumerate(items) if item.kind == "REL"), None)
    if (
        at is None
        or not _trimmed(items[:at])
        or items[at - 1].kind in ("AND", "OR", "COMMA", "BUT", "EITHER")
    ):
        if at is None:
            return None
        return _split([item for number, item in enumerate(items) if number != at], context)
    return combined("all", [_split(items[:at], context), _split(items[at + 1 :], context)])


def _at_modifier(items: list[Item], context: Context) -> Piece | None:
    """Split what customers are from alternatives that have no noun of their own: "or with", "or who"."""
    at = modifier_at(items, context.tokens)
    if at is None:
        return None
    return combined("all", [_split(items[:at], context), _split(items[at:], context)])


def _at_traits(items: list[Item], context: Context) -> Piece | None:
    """Split what customers are from alternatives: "owners with a risk above 0.6 or fewer than 5 seats"."""
    at = next((at for at in range(1, len(items)) if _begins_with(items[at], context)), None)
    rest = items[at:] if at is not None else []
    parts, joints = every(rest, *_PARTS), [item.kind for item in rest if item.kind not in _PARTS]
    before = items[:at]
    if (
        joints != ["OR"]
        or not any(item.kind in _PARTS for item in before)
        or any(item.kind in ("OR", "AND") for item in before)
        or rest[-2].kind != "OR"
        or not _is_number(parts[-1])
    ):
        return None
    return combined("all", [_split(before, context), _split(rest, context)])


def _begins_with(item: Item, context: Context) -> bool:
    around = context.tokens[max(0, item.first - 1) : max(0, item.first) + 1]
    return item.kind in _PARTS and any(token.norm in ("with", "having") for token in around)


def _is_number(item: Item) -> bool:
    """Whether a part asks for a number of the customer: a score, or a trait above or below something."""
    node = item.value.node if isinstance(item.value, Piece) else {}
    tests = node.get("is", {}).values() if "trait" in node else ()
    return "score" in node or any(
        isinstance(each, int | float) and not isinstance(each, bool) for each in tests
    )


def _is_open_list(items: list[Item], context: Context) -> bool:
    """Whether a list may go on with what is asked of its first part: "gold members, in Spain or with …"."""
    kinds = [item.kind for item in items]
    if kinds != ["NODE", "COMMA", "NODE", "OR", "NODE"] or not _is_number(items[4]):
        return False
    words = [context.tokens[item.last + 1].norm for item in (items[0], items[2])]
    return words[0] in PEOPLE and words[1] not in PEOPLE and "in_segment" not in items[2].value.node


def _at_or(items: list[Item], context: Context) -> Piece | None:
    if not any(item.kind == "OR" for item in items):
        return None
    if _is_open_list(items, context):
        raise Unread([items[1].as_kind("EITHERBOTH")])
    return _at(
        items, context, "any", lambda number: items[number].kind == "OR" or _is_listing(items, number, "OR")
    )


def _is_listing(items: list[Item], number: int, joint: str) -> bool:
    """Whether a comma stands for a joint that follows: "a, b or c"."""
    if items[number].kind != "COMMA":
        return False
    following = next((item.kind for item in items[number + 1 :] if item.kind in ("AND", "OR")), "AND")
    return following == joint


def _at_and(items: list[Item], context: Context) -> Piece | None:
    parts = every(items, *_PARTS)
    return (
        combined("all", [_leaf(part) for part in parts])
        if len(parts) > 1
        else _leaf(parts[0])
        if parts
        else None
    )
