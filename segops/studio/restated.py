"""Rules of what is said in other words: one event by two words, an age since an event, numbers put last."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from segops.studio.clauses import Clause, count_of, duration, test_of
from segops.studio.durations import WindowSpan
from segops.studio.events import (
    about_text,
    asking,
    conditioned,
    extended,
    figure_for,
    having,
    not_whole,
    property_of,
)
from segops.studio.items import Item, Reduced, Rule, one
from segops.studio.meanings import Field
from segops.studio.phrases import Context
from segops.studio.words import stem

_DAY_MS: Final = 86_400_000
_USING: Final = frozenset(map(stem, ("use", "redeem", "apply", "enter")))


def said_again(found: list[Item], _context: Context) -> Item | None:
    """Read "buyers of two orders" and "an order paid in dollars": two words for one event."""
    first, last = found[0], found[-1]
    if first.value.names != last.value.names:
        return None
    if first.value.head in ("first", "last") and first.value.test is None:
        return _of_first(first, last, found)
    for known, plain in ((last, first), (first, last)):
        clause: Clause = known.value
        if not _is_plain(plain.value) or (plain.value.negated and not _is_deniable(clause)):
            continue
        negated = clause.negated != plain.value.negated
        return extended(known, found, plain.marks, negated=negated)
    return _using(found)


def _using(found: list[Item]) -> Item | None:
    """Read "ordered on the web using a coupon" and "used a coupon when ordering on the web" as one event."""
    for known, other in ((found[0], found[-1]), (found[-1], found[0])):
        clause: Clause = other.value
        there = len(clause.where) == 1 and clause.where[0][1] == {"exists": True}
        if there and _is_plain(replace(clause, where=())) and _is_apart(known.value, clause):
            done = extended(known, found, other.marks, where=(*known.value.where, *clause.where))
            negated = known.value.negated or clause.negated
            return replace(done, value=replace(done.value, negated=negated))
    return None


def _using_too(found: list[Item], _context: Context) -> Reduced:
    done = _using([found[0], found[-1]])
    return None if done is None else [done, *found[1:-1]]


def _is_apart(clause: Clause, other: Clause) -> bool:
    """Whether a clause counts events and asks nothing of another one's property."""
    same = clause.head == "did" and clause.gap is None and clause.names == other.names
    return same and other.where[0][0] not in dict(clause.where)


def lacking(found: list[Item], _context: Context) -> Item | None:
    """Read "ordered without using a coupon": such an event that has none."""
    event, word, other = found
    clause: Clause = other.value
    there = len(clause.where) == 1 and clause.where[0][1] == {"exists": True}
    if event.value.names != clause.names or not there or not _is_plain(replace(clause, where=())):
        return None
    if event.value.head != "did" or clause.where[0][0] in dict(event.value.where):
        return None
    where = (*event.value.where, (clause.where[0][0], {"exists": False}))
    marks = tuple((a, b, f"where.{clause.where[0][0]}") for a, b, _ in (*other.marks, *word.marked("")))
    return extended(event, found, marks, where=where)


def _of_first(event: Item, other: Item, found: list[Item]) -> Item | None:
    """Read "the first order used the coupon X"."""
    clause: Clause = other.value
    if not _is_plain(replace(clause, where=())) or clause.negated or len(clause.where) != 1:
        return None
    return asking(event, found, (other,), *clause.where[0])


def _is_plain(clause: Clause) -> bool:
    """Whether a clause says no more than that there is such an event, or none."""
    said = (clause.where, clause.window, clause.keys, clause.gap)
    return clause.head == "did" and clause.test in (None, {"gte": 1}) and not any(said) and not clause.counted


def _is_deniable(clause: Clause) -> bool:
    return clause.head == "did" and not clause.negated and clause.test is None


def not_about(found: list[Item], context: Context) -> Item | None:
    """Read "a ticket that was not about delivery": such an event with another value."""
    event, value = one(found, "E"), one(found, "V")
    if any(field.owner == "trait" for field in value.value.fields()):
        return None
    other = Item("OTHER", "", found[-2].first, found[-2].last)
    return conditioned(event, value, [event, other, value], context)


def used_on(found: list[Item], context: Context) -> Item | None:
    """Read "used a coupon on an order" and "a coupon order"."""
    field, event = found
    texts = [each for each in field.value if context.schema.is_text(each)]
    noun = bool(texts) and field.last == event.first - 1 and not texts[0].name.endswith("_id")
    if context.tokens[field.first].stem not in _USING and not noun:
        return None
    done = having([event, field], context)
    return None if done is None else replace(done, first=field.first, last=event.last)


def aged_since(found: list[Item], _context: Context) -> Item | None:
    """Read "more than two months since their last order"."""
    time, event = one(found, "W"), one(found, "E")
    said: WindowSpan = time.value
    tests = {
        "gt": "older_than",
        "gte": "older_than",
        "": "older_than",
        "lt": "newer_than",
        "lte": "newer_than",
    }
    if not isinstance(said, WindowSpan) or said.kind not in ("length", "for", "ago") or said.op not in tests:
        return None
    return _aged(event, found, {tests[said.op]: duration(said.length_ms)})


def days_since(found: list[Item], _context: Context) -> Item | None:
    """Read "days since last order over 45"."""
    days, event, quantity = one(found, "DAYS"), one(found, "E"), one(found, "Q")
    op, operand = quantity.value.ops[0]
    tests = {"gt": "older_than", "gte": "older_than", "lt": "newer_than", "lte": "newer_than"}
    if days.value != "day" or quantity.value.unit or len(quantity.value.ops) > 1 or op not in tests:
        return None
    return _aged(event, found, {tests[op]: duration(int(operand) * _DAY_MS)})


def _aged(event: Item, found: list[Item], test: dict[str, str]) -> Item | None:
    clause: Clause = event.value
    if clause.head not in ("did", "last") or clause.test is not None or clause.negated or clause.window:
        return None
    marks = tuple(mark for item in found if item is not event for mark in item.marked("is"))
    return extended(event, found, marks, head="last", test=test)


def _in_all(found: list[Item], context: Context) -> Item | None:
    """Read "orders worth over 400 euros altogether": the sum of their amounts."""
    event, quantity, function = one(found, "E"), one(found, "Q"), one(found, "FN")
    clause: Clause = event.value
    field = next((item for item in found if item.kind == "P"), None)
    prop = figure_for(quantity.value, clause.names, context)
    if field is not None and not quantity.value.unit:
        own = property_of(field, clause.names, context)
        prop = next((name for name in (own, *_AMOUNTS) if name and _is_number(name, clause, context)), None)
    if function.value != "sum" or prop is None or clause.head != "did" or clause.test or clause.negated:
        return None
    if field is None and not quantity.value.currency:
        return None
    test = count_of(quantity.value) if quantity.value.bare else test_of(quantity.value)
    marks = (*quantity.marked("is"), *function.marked("sum"))
    return extended(event, found, marks, head="sum", field=prop, test=test)


#: Properties that have the number of things of one event.
_AMOUNTS: Final = ("quantity", "item_count")


def _is_number(name: str, clause: Clause, context: Context) -> bool:
    kind = context.schema.kind(clause.names, name)
    return kind is not None and kind.is_number


def _several(found: list[Item], context: Context) -> Item | None:
    """Read "bought through more than one channel": that many different ones."""
    event, quantity, field = one(found, "E"), one(found, "Q"), one(found, "P")
    clause: Clause = event.value
    prop = property_of(field, clause.names, context)
    kind = context.schema.kind(clause.names, prop) if prop else None
    if prop is None or kind is None or not (kind.values or prop == "city") or not _is_some(quantity):
        return None
    if clause.head != "did" or clause.test is not None or clause.negated:
        return None
    marks = (*field.marked("distinct"), *quantity.marked("is"))
    return extended(event, found, marks, head="distinct", field=prop, test=count_of(quantity.value))


def _is_some(quantity: Item) -> bool:
    said = quantity.value
    return not said.unit and not any(not_whole(operand) for _, operand in said.ops)


def _several_used(found: list[Item], context: Context) -> Item | None:
    """Read "used two or more different coupons"."""
    quantity, field = one(found, "Q"), one(found, "P")
    before = context.tokens[quantity.first - 1].stem if quantity.first else ""
    owned = [
        (each.name, context.schema.owners(each.name)) for each in field.value if each.owner == "property"
    ]
    if before not in _USING or len(owned) != 1 or len(owned[0][1]) != 1 or not _is_some(quantity):
        return None
    prop, owners = owned[0]
    clause = Clause(owners, "distinct", prop, test=count_of(quantity.value))
    marks = (*field.marked("distinct"), *quantity.marked("is"))
    return Item("E", clause, found[0].first, found[-1].last, marks)


def _totalling(found: list[Item], context: Context) -> Item | None:
    """Read "orders totalling over 400 euros": the sum of their amounts."""
    field, quantity = found
    names = context.schema.purchase()
    money = context.schema.money(names) if names else None
    named = money is not None and Field("property", money) in field.value
    foreign = quantity.value.unit and quantity.value.currency != context.catalogue.currency
    if money is None or not named or foreign or not context.tokens[field.last].norm.endswith("ing"):
        return None
    marks = (*field.marked("sum"), *quantity.marked("is"))
    clause = Clause(names, "sum", money, test=count_of(quantity.value))
    return Item("E", clause, field.first, quantity.last, marks)


def _cities(found: list[Item], context: Context) -> Item | None:
    """Read "visited a store in Berlin or Hamburg"."""
    event, first, _, last = found
    done = about_text([event, first], context)
    where = dict(done.value.where) if done is not None else {}
    if done is None or "city" not in where or not context.tokens[last.first].name:
        return None
    city = {"in": [where["city"], context.text(last)]}
    return extended(done, found, last.marked("where.city"), where=tuple({**where, "city": city}.items()))


def _acted(found: list[Item], context: Context) -> Item | None:
    """Read "exported twice": the feature's name is the verb."""
    (value,) = found
    fields = [field for field in value.value.fields() if field.owner == "property"]
    owners = context.schema.owners(fields[0].name) if len(fields) == 1 else ()
    verb = context.tokens[value.first].norm.endswith("ed") and value.first == value.last
    verb = verb or _has_users(value, context)
    if not verb or len(owners) != 1 or fields[0].name != "feature":
        return None
    clause = Clause(owners)
    event = Item("E", clause, value.first, value.last, tuple(value.marked("did")))
    return conditioned(event, value, [event, value], context)


def _has_users(value: Item, context: Context) -> bool:
    """Whether a feature is said of its users: "API users", "users of the API"."""
    before = [
        token.norm for token in context.tokens[max(0, value.first - 3) : value.first] if token.norm != "the"
    ]
    after = [token.norm for token in context.tokens[value.last + 1 : value.last + 2]]
    return after == ["users"] or before[-2:] == ["users", "of"]


def _used(found: list[Item], context: Context) -> Item | None:
    """Read "used a coupon": an event that has one."""
    (field,) = found
    owned = [each for each in field.value if each.owner == "property"]
    owners = context.schema.owners(owned[0].name) if owned else ()
    if context.tokens[field.first].stem not in _USING or field.first == field.last or len(owners) != 1:
        return None
    event = Item("E", Clause(owners), field.first, field.last, tuple(field.marked("did")))
    return having([event, field], context)


def _number_last(found: list[Item], _context: Context) -> Reduced:
    """Read "six purchases or more" as "at least six purchases"."""
    quantity, word = one(found, "Q"), found[-1]
    if not quantity.value.bare:
        return None
    op = "gte" if word.kind == "ORUP" else "lte"
    said = replace(quantity.value, ops=((op, quantity.value.ops[0][1]),), bare=False)
    between = [item for item in found[:-1] if item is not quantity]
    return [replace(quantity, value=said), *between]


def _at_most(found: list[Item], _context: Context) -> Item | None:
    """Read "in a week or less": within it."""
    time = one(found, "W")
    if not isinstance(time.value, WindowSpan) or time.value.kind not in ("in", "next", "gap", "length"):
        return None
    kind = "in" if time.value.kind == "length" else time.value.kind
    return replace(time, value=replace(time.value, kind=kind), last=found[-1].last)


#: Rules of events that other words name, before events take their numbers.
RENAMED: Final = (
    Rule("W SINCE LAST? E", aged_since),
    Rule("DAYS SINCE LAST? E Q", days_since),
    Rule("E Q (P|O)? FN", _in_all),
    Rule("E Q P", _several),
    Rule("Q DIFF P", _several_used),
    Rule("V", _acted),
    Rule("P", _used),
    Rule("E V? E", _using_too),
    Rule("P Q", _totalling),
    Rule("E UNK OR UNK", _cities),
)

#: Rules of numbers and times that a word after them compares.
RESTATED: Final = (
    Rule("Q (DIFF|O|P|L)* (ORUP|ORDOWN)", _number_last),
    Rule("W ORDOWN", _at_most),
)
