"""Rules of events said once more: denied, first, last, since another one, with other values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from segops.studio.clauses import Clause
from segops.studio.durations import WindowSpan
from segops.studio.events import conditioned, counted, extended, other_than, property_of
from segops.studio.items import Item, Reduced, every, one
from segops.studio.phrases import Context
from segops.studio.windows import window_keys
from segops.studio.words import stem


def only_so_often(found: list[Item], context: Context) -> Item | None:
    """Read "only ever bought once": exactly so often."""
    quantity = one(found, "Q")
    if quantity.value.unit != "times":
        return None
    exact = replace(quantity, value=replace(quantity.value, bare=False), first=found[0].first)
    return counted([one(found, "E"), exact], context) if quantity.value.bare else None


def not_then(found: list[Item], context: Context) -> Reduced:
    """Read "have bought before, but not in the last 90 days"."""
    event, time = one(found, "E"), one(found, "W")
    clause: Clause = event.value
    keys = window_keys(time.value, context.catalogue.zone, negated=True)
    if keys is None or clause.negated or clause.head != "did":
        return None
    return _denied_later(event, keys, time, found)


def _denied_later(event: Item, keys: Mapping[str, Any], time: Item, found: list[Item]) -> Reduced:
    clause: Clause = event.value
    earlier = replace(event, value=replace(clause, timeless=clause.window is None))
    later = Clause(clause.names, where=clause.where, window=keys, negated=True)
    joint = Item("BUT", "", time.first, time.first)
    return [
        earlier,
        joint,
        Item("E", later, time.first, found[-1].last, tuple(time.marked(next(iter(keys))))),
    ]


def not_since(found: list[Item], _context: Context) -> Reduced:
    """Read "bought in 2025 but not since"."""
    event, word = one(found, "E"), one(found, "SINCE")
    until = (event.value.window or {}).get("until")
    between = (event.value.window or {}).get("between", {})
    keys = {"since": until} if until else {"within": between.get("to")}
    if not any(keys.values()):
        return None
    return _denied_later(event, keys, word, found)


def any_of_it(found: list[Item], context: Context) -> Item | None:
    """Read ", any feature": it asks nothing."""
    event, field = one(found, "E"), one(found, "P")
    before = context.tokens[field.first - 1].norm
    if (
        before not in ("any", "whatever", "whichever", "every")
        or property_of(field, event.value.names, context) is None
    ):
        return None
    return extended(event, found, field.marked("did"))


def not_those(found: list[Item], context: Context) -> Reduced:
    """Read "ordered in the app, but never on the web": the same events with another value."""
    event, value, word = one(found, "E"), one(found, "V"), one(found, "NEG", "OTHER", "EXCEPT")
    clause: Clause = event.value
    asked = context.schema.test_of(clause.names, value.value)
    if asked is None or asked[0] not in dict(clause.where) or clause.head != "did":
        return None
    where = tuple(asked if prop == asked[0] else (prop, test) for prop, test in clause.where)
    never = word.value == "never"
    other = Clause(
        clause.names, where=where, window=None if never else clause.window, negated=True, timeless=never
    )
    joint = Item("BUT", "", word.first, word.first)
    marks = (*word.marked("did"), *value.marked(f"where.{asked[0]}"))
    return [event, joint, Item("E", other, word.first, value.last, marks)]


def other(found: list[Item], context: Context) -> Reduced:
    """Read "no other feature" after an event with a value: the event with other values."""
    event = one(found, "E")
    clause: Clause = event.value
    last = every(found, "P", "O", "E")[-1]
    names = clause.names if last is event else ()
    prop = property_of(last, clause.names, context) if last.kind == "P" else None
    known = dict(clause.where)
    prop = prop or (next(iter(known), None) if names else None)
    if prop is None or prop not in known or len(known) != 1:
        return None
    other = replace(clause, where=((prop, other_than(known[prop])),), negated=not clause.negated, test=None)
    marks = tuple(mark for item in found if item is not event for mark in item.marked(f"where.{prop}"))
    joint = Item("AND", "", last.first, last.first)
    return [event, joint, Item("E", other, found[1].first, found[-1].last, marks)]


def negated(found: list[Item], _context: Context) -> Item | None:
    """Deny an event."""
    event, word = one(found, "E"), one(found, "NEG", "WITHOUT")
    clause: Clause = event.value
    if clause.negated or clause.head not in ("did", "first", "last", "sum"):
        return None
    timeless = clause.timeless or word.value == "never"
    return extended(event, found, word.marked("did"), negated=True, timeless=timeless)


def timeless(found: list[Item], _context: Context) -> Item:
    """Read "at some point": of all time, if no window is said."""
    event, word = one(found, "E", "A"), one(found, "ALREADY")
    timeless = event.value.timeless or event.value.window is None
    return extended(event, found, word.marked("did"), timeless=timeless)


def which(found: list[Item], _context: Context) -> Item | None:
    """Read "first" and "last" beside an event."""
    event, word = one(found, "E"), one(found, "FIRST", "LAST")
    clause: Clause = event.value
    if clause.head != "did" or clause.negated or clause.test is not None:
        return None
    head = word.kind.lower()
    marks = tuple((first, last, head if key == "did" else key) for first, last, key in event.marks)
    return extended(replace(event, marks=marks), found, word.marked(head), head=head)


def since_event(found: list[Item], _context: Context) -> Item | None:
    """Read "no order since their last store visit"."""
    event, anchor = every(found, "E", "A")
    word = one(found, "SINCE")
    clause: Clause = event.value
    if (
        clause.window is not None
        or anchor.value.test is not None
        or anchor.value.negated
        or anchor.value.where
    ):
        return None
    names = anchor.value.names
    keys = {"since_last": names[0] if len(names) == 1 else list(names)}
    marks = (*word.marked("since_last"), *((a, b, "since_last") for a, b, _ in anchor.marks))
    return extended(event, found, marks, window=keys)


def since_before(found: list[Item], _context: Context) -> Reduced:
    """Read "added to the cart but have not ordered since": since the event before."""
    anchor, event = every(found, "E")
    clause: Clause = event.value
    if clause.window is not None or clause.head != "did" or anchor.value.negated:
        return None
    names = anchor.value.names
    keys = {"since_last": names[0] if len(names) == 1 else list(names)}
    later = replace(
        event,
        value=replace(clause, window=keys),
        last=found[-1].last,
        marks=(*event.marks, *found[-1].marked("since_last")),
    )
    return [*found[:-2], later]


def number_of(found: list[Item], context: Context) -> Item | None:
    """Read "the number of orders", which a number follows."""
    event, word = one(found, "E"), one(found, "NUMOF")
    if event.value.test is not None:
        return None
    noun = context.tokens[word.last + 1].stem if word.last + 1 < len(context.tokens) else ""
    kinds = context.catalogue.events[event.value.names[0]]
    prop = next((name for name, kind in kinds.items() if kind.values and stem(name) == noun), "")
    if prop and event.value.head == "did" and not event.value.negated:
        return extended(event, found, word.marked("distinct"), head="distinct", field=prop).as_kind("A")
    return extended(event, found, word.marked("count"), counted=True)


def included(found: list[Item], context: Context) -> Item | None:
    """Take what an event is about for a part of it: "viewed … products"."""
    event = one(found, "E", "A")
    rest = [item for item in found if item is not event]
    if any(item.kind == "P" and not _is_about(item, event.value, context) for item in rest):
        return None
    return extended(event, found, tuple(mark for item in rest for mark in item.marked("did")))


def _is_about(item: Item, clause: Clause, context: Context) -> bool:
    """Whether a noun is what an event is about: a product, or "items" of an event that has their ID."""
    prop = property_of(item, clause.names, context)
    ids = {field.name for field in item.value if field.name.endswith("_id")}
    plain = context.tokens[item.last].stem == stem("item")
    kinds = context.catalogue.events[clause.names[0]]
    return prop is not None and ("O" in item.other or (plain and bool(ids & set(kinds))))


def value_instead(found: list[Item], context: Context) -> Item | None:
    """Read a word as a value where its first meaning fits nothing: "store" after an order."""
    event, word = one(found, "E"), found[-1]
    values = word.other.get("V")
    if values is None:
        return None
    return conditioned(event, replace(word, kind="V", value=values), found, context)


def same_thing(found: list[Item], context: Context) -> Item | None:
    """Read "added the same product": the same as in the first step of a sequence."""
    event = one(found, "E")
    clause: Clause = event.value
    kinds = context.catalogue.events[clause.names[0]]
    prop = next((name for name in kinds if name.endswith("_id")), None)
    if prop is None or prop in dict(clause.where):
        return None
    marks = one(found, "SAME").marked(f"where.{prop}")
    return extended(event, found, marks, where=(*clause.where, (prop, {"same_as": 1})))


def in_between(found: list[Item], _context: Context) -> Item | None:
    """Read "without a search in between": a denial between the last two steps of a sequence."""
    event = one(found, "E")
    if not event.value.negated or event.value.gap is not None:
        return None
    return extended(event, found, one(found, "INBETWEEN").marked("did"), gap=WindowSpan("between"))
