"""Rules of events: what stands beside an event becomes its count, conditions and window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from segops.studio.clauses import Clause, count_of, duration, test_of
from segops.studio.dates import DateWindow
from segops.studio.durations import WindowSpan
from segops.studio.items import Item, Mark, Rule, every, one
from segops.studio.meanings import Event, Field
from segops.studio.phrases import Context
from segops.studio.quantities import Quantity
from segops.studio.windows import age_test, window_keys


def started(items: list[Item]) -> list[Item]:
    """Return the items with events as clauses."""
    return [_clause(item) if item.kind == "E" else item for item in items]


def _clause(item: Item) -> Item:
    event: Event = item.value
    clause = Clause(event.names, test=event.count)
    if event.count == {"eq": 0}:
        clause = replace(clause, test=None, negated=True, timeless=True)
    marks = tuple((first, last, key or "did") for first, last, key in item.marks)
    return replace(item, value=clause, marks=(*marks, (item.first, item.last, "did")))


def extended(event: Item, found: list[Item], marks: tuple[Mark, ...] = (), **changes: Any) -> Item:
    """Return an event's item over some neighbours, its clause changed."""
    clause = replace(event.value, **changes)
    return Item(event.kind, clause, found[0].first, found[-1].last, (*event.marks, *marks))


# -- counts ------------------------------------------------------------------------------------------------


def _counted(found: list[Item], context: Context) -> Item | None:
    event, quantity = one(found, "E"), one(found, "Q")
    said: Quantity = quantity.value
    clause: Clause = event.value
    if clause.test is not None or clause.head != "did" or said.unit not in ("", "times"):
        return None
    if any(not_whole(operand) for _, operand in said.ops):
        return None
    marks = quantity.marked("count")
    for item in every(found, "OBJ", "O", "NUMOF"):
        marks = (*marks, *item.marked("did"))
    return extended(event, found, marks, test=count_of(said), counted=False)


def not_whole(operand: Any) -> bool:
    """Whether an operand is no number of events."""
    values = operand if isinstance(operand, tuple) else (operand,)
    return any(value != int(value) for value in values)


def _numbered(found: list[Item], context: Context) -> Item | None:
    """Read a number after an event: of its times, of its money, or of how often it happened."""
    event, quantity = one(found, "E"), one(found, "Q")
    said: Quantity = quantity.value
    if said.unit == "times" or event.value.counted:
        return _counted(found, context)
    return _amount(found, context) or (_counted(found, context) if not said.unit else None)


def _amount(found: list[Item], context: Context) -> Item | None:
    event, quantity = one(found, "E"), one(found, "Q")
    said: Quantity = quantity.value
    clause: Clause = event.value
    prop = figure_for(said, clause.names, context)
    if prop is None or prop in dict(clause.where):
        return None
    if clause.head in ("first", "last") and clause.test is None:
        head = {"first": "earliest", "last": "latest"}[clause.head]
        return extended(event, found, quantity.marked("is"), head=head, field=prop, test=test_of(said))
    value: Any = test_of(said)
    value = value["eq"] if set(value) == {"eq"} else value
    return extended(event, found, quantity.marked(f"where.{prop}"), where=(*clause.where, (prop, value)))


def figure_for(said: Quantity, names: tuple[str, ...], context: Context) -> str | None:
    """Return the property of events that a quantity without a name is of, by its unit; None if there is none."""
    if said.unit == "stars":
        return "rating" if context.schema.kind(names, "rating") else None
    if said.currency:
        return context.schema.money(names) if said.currency == context.catalogue.currency else None
    return None if said.unit else context.schema.figure(names)


# -- conditions --------------------------------------------------------------------------------------------


def _valued(found: list[Item], context: Context) -> Item | None:
    event, value = one(found, "E"), one(found, "V")
    return _where(event, value, found, context)


def _valued_before(found: list[Item], context: Context) -> Item | None:
    """Take a value before an event for a condition, unless it says something of the customer."""
    value = one(found, "V")
    if any(field.owner == "trait" for field in value.value.fields()):
        return None
    return _valued(found, context)


def _where(event: Item, value: Item, found: list[Item], context: Context) -> Item | None:
    clause: Clause = event.value
    asked = context.schema.test_of(clause.names, value.value)
    if asked is None or asked[0] in dict(clause.where):
        return None
    prop, test = asked
    if clause.head in ("first", "last") and clause.test is None:
        head = {"first": "earliest", "last": "latest"}[clause.head]
        is_ = test if isinstance(test, dict) else {"eq": test}
        return extended(event, found, value.marked("is"), head=head, field=prop, test=is_)
    test = _other_than(test) if any(item.kind in ("NEG", "OTHER", "EXCEPT") for item in found) else test
    return extended(event, found, value.marked(f"where.{prop}"), where=(*clause.where, (prop, test)))


def _other_than(test: Any) -> Any:
    return {"not_in": test["in"]} if isinstance(test, dict) and "in" in test else {"ne": test}


def _property(found: list[Item], context: Context) -> Item | None:
    """Read a number with the name of a property: "with a rating below 3"."""
    event, field, quantity = one(found, "E", "A"), one(found, "P"), one(found, "Q")
    clause: Clause = event.value
    prop = property_of(field, clause.names, context)
    if prop is None or prop in dict(clause.where) or not _is_number(prop, clause, context):
        return None
    said: Quantity = quantity.value
    if said.unit == "times" or (said.currency and said.currency != context.catalogue.currency):
        return None
    if _is_sum(found, clause, prop):
        return extended(event, found, (*field.marked("sum"), *quantity.marked("is")), head="sum", field=prop, test=sum_of(said))
    value: Any = test_of(said)
    value = value["eq"] if set(value) == {"eq"} else value
    marks = (*field.marked(f"where.{prop}"), *quantity.marked(f"where.{prop}"))
    return extended(event, found, marks, where=(*clause.where, (prop, value)))


def sum_of(said: Quantity) -> dict[str, Any]:
    """Return a quantity as a total: a bare number is at least that much."""
    return count_of(said) if said.bare else test_of(said)


def _is_sum(found: list[Item], clause: Clause, prop: str) -> bool:
    """Whether items are added up over all orders: "bought more than 10 items"."""
    plain = not any(item.kind in ("WITH", "AND", "INONE", "OF") for item in found)
    return prop in ("item_count", "quantity") and plain and clause.head == "did" and clause.test is None


def _is_number(prop: str, clause: Clause, context: Context) -> bool:
    kind = context.schema.kind(clause.names, prop)
    return kind is not None and kind.is_number


def property_of(item: Item, names: tuple[str, ...], context: Context) -> str | None:
    """Return the property of events that a field's name means; None if they have no such property."""
    fields: tuple[Field, ...] = item.value if item.kind == "P" else item.other.get("P", ())
    owned = (field.name for field in fields if field.owner == "property")
    found = next((name for name in owned if context.schema.kind(names, name) is not None), None)
    if found is None and any(field.name in _AMOUNTS for field in fields if field.owner == "property"):
        return context.schema.money(names)
    return found


#: Properties whose names people use of any amount of money: "an order with a value over 300".
_AMOUNTS: Final = ("value", "total", "amount", "revenue")


def _having(found: list[Item], context: Context) -> Item | None:
    """Read a property that events have or lack: "orders with a coupon"."""
    event, field = one(found, "E"), one(found, "P")
    clause: Clause = event.value
    prop = property_of(field, clause.names, context)
    if prop is None or prop in dict(clause.where):
        return None
    there = not any(item.kind in ("NEG", "WITHOUT") for item in found)
    marks = field.marked(f"where.{prop}")
    return extended(event, found, marks, where=(*clause.where, (prop, {"exists": there})))


def _about_text(found: list[Item], context: Context) -> Item | None:
    """Take a literal, or a word that a search, a campaign or a city is called, for the only text that fits."""
    event, text = one(found, "E"), one(found, "LIT", "UNK")
    clause: Clause = event.value
    kinds = context.catalogue.events[clause.names[0]]
    fitting = [name for name, kind in kinds.items() if kind.name == "string" and name in _NAMED]
    if len(fitting) != 1 or (text.kind == "UNK" and not context.tokens[text.first].name):
        return None
    (prop,) = fitting
    said = text.value if text.kind == "LIT" else context.text(text)
    return extended(event, found, text.marked(f"where.{prop}"), where=(*clause.where, (prop, said)))


#: Texts that events are told apart by without naming the property.
_NAMED: Final = ("query", "campaign_name", "city", "coupon")


def _other(found: list[Item], context: Context) -> Item | None:
    """Read "no other feature" after an event with a value: the same event with other values of its property."""
    event = one(found, "E")
    clause: Clause = event.value
    last = every(found, "P", "O", "E")[-1]
    names = clause.names if last is event else ()
    prop = property_of(last, clause.names, context) if last.kind == "P" else None
    known = dict(clause.where)
    prop = prop or (next(iter(known), None) if names else None)
    if prop is None or prop not in known or len(known) != 1:
        return None
    other = replace(clause, where=((prop, _other_than(known[prop])),), negated=not clause.negated, test=None)
    marks = tuple(mark for item in found if item is not event for mark in item.marked(f"where.{prop}"))
    joint = Item("AND", "", last.first, last.first)
    return [event, joint, Item("E", other, found[1].first, found[-1].last, marks)]  # type: ignore[return-value]


# -- time --------------------------------------------------------------------------------------------------


def _windowed(found: list[Item], context: Context) -> Item | None:
    event, time = one(found, "E", "A"), one(found, "W")
    clause: Clause = event.value
    said = time.value
    if isinstance(said, WindowSpan) and said.kind in _SPECIAL:
        return _SPECIAL[said.kind](event, time, found, context)
    if clause.window is not None or clause.head == "regularly":
        return None
    if clause.head in ("first", "last") and clause.test is None:
        return _aged(event, time, found, context)
    keys = window_keys(said, context.catalogue.zone, negated=clause.negated)
    if keys is None:
        return _old(event, time, found)
    if isinstance(said, WindowSpan) and said.kind in ("for", "length") and not clause.negated and not _is_last(context, time):
        return None
    gap = said if isinstance(said, WindowSpan) and said.kind == "in" else clause.gap
    return extended(event, found, time.marked(next(iter(keys))), window=keys, gap=gap)


def _is_last(context: Context, time: Item) -> bool:
    words = {token.norm for token in context.tokens[time.first : time.last + 1]}
    return not words.isdisjoint(("last", "past", "previous"))


def _old(event: Item, time: Item, found: list[Item]) -> Item | None:
    """Read "more than 60 days ago": there is such an event, so the first one is that old."""
    said, clause = time.value, event.value
    if said.kind != "ago" or said.op not in ("gt", "gte") or clause.head != "did" or clause.test is not None:
        return None
    test = age_test(said)
    return extended(event, found, time.marked("is"), head="first", test=test)


def _aged(event: Item, time: Item, found: list[Item], context: Context) -> Item | None:
    said, clause = time.value, event.value
    if isinstance(said, DateWindow):
        return _dated_age(event, time, found, context)
    if said.kind == "calendar" and clause.head == "last":
        keys = window_keys(said, context.catalogue.zone)
        return extended(event, found, time.marked("calendar"), head="did", window=keys)
    test = age_test(said)
    return None if test is None else extended(event, found, time.marked("is"), test=test)


def _dated_age(event: Item, time: Item, found: list[Item], context: Context) -> Item | None:
    """Read "last ordered before June": nothing since, but something before."""
    said, clause = time.value, event.value
    bound = said.until_ms if clause.head == "last" else said.since_ms
    other = DateWindow("since", said.until_ms) if clause.head == "last" else DateWindow("until", None, said.since_ms)
    held = window_keys(said, context.catalogue.zone)
    inside = extended(event, found, time.marked("until" if said.until_ms else "since"), head="did", window=held)
    if bound is None:
        return inside
    outside = Clause(clause.names, where=clause.where, window=window_keys(other, ""), negated=True)
    joint = Item("AND", "", time.last, time.last)
    return [inside, joint, Item("E", outside, time.last, time.last)]  # type: ignore[return-value]


def _gap(event: Item, time: Item, found: list[Item], _context: Context) -> Item | None:
    clause: Clause = event.value
    return None if clause.gap else extended(event, found, time.marked("within"), gap=time.value)


def _regular(event: Item, time: Item, found: list[Item], _context: Context) -> Item | None:
    clause, said = event.value, time.value
    if clause.head != "did" or clause.test is not None or clause.window is not None:
        return None
    keys = (("every", duration(said.length_ms)), ("k", int(said.text)), ("of", said.further_ms))
    return extended(event, found, time.marked("every"), head="regularly", keys=keys)


def _clock(event: Item, time: Item, found: list[Item], context: Context) -> Item | None:
    begin, end = time.value.text.split("-")
    return _at_times(event, time, found, {"from": begin, "to": end}, context)


def _on_days(found: list[Item], context: Context) -> Item | None:
    event, days = one(found, "E", "A"), one(found, "TOD")
    named = {"weekend": ["sat", "sun"], "weekday": ["mon", "tue", "wed", "thu", "fri"]}
    return _at_times(event, days, found, {"days": named.get(days.value, [days.value])}, context)


def _at_times(event: Item, time: Item, found: list[Item], times: Mapping[str, Any], context: Context) -> Item | None:
    clause: Clause = event.value
    known = dict(clause.keys)
    if clause.head in ("regularly", "lifecycle") or any(key in known.get("time_of_day", {}) for key in times):
        return None
    zone = {} if context.catalogue.zone == "UTC" else {"zone": context.catalogue.zone}
    known["time_of_day"] = {**known.get("time_of_day", {}), **times, **zone}
    return extended(event, found, time.marked("time_of_day"), keys=tuple(known.items()))


_SPECIAL: Final = {"gap": _gap, "regular": _regular, "clock": _clock}


# -- signs -------------------------------------------------------------------------------------------------


def _negated(found: list[Item], _context: Context) -> Item | None:
    event, word = one(found, "E"), one(found, "NEG", "WITHOUT")
    clause: Clause = event.value
    if clause.negated or clause.head not in ("did", "first", "last", "sum"):
        return None
    timeless = clause.timeless or word.value == "never"
    return extended(event, found, word.marked("did"), negated=True, timeless=timeless)


def _timeless(found: list[Item], _context: Context) -> Item:
    event, word = one(found, "E", "A"), one(found, "ALREADY")
    timeless = event.value.timeless or event.value.window is None
    return extended(event, found, word.marked("did"), timeless=timeless)


def _which(found: list[Item], _context: Context) -> Item | None:
    event, word = one(found, "E"), one(found, "FIRST", "LAST")
    clause: Clause = event.value
    if clause.head != "did" or clause.negated or clause.test is not None:
        return None
    head = word.kind.lower()
    marks = tuple((first, last, head if key == "did" else key) for first, last, key in event.marks)
    return extended(replace(event, marks=marks), found, word.marked(head), head=head)


def _since_event(found: list[Item], _context: Context) -> Item | None:
    event, anchor = every(found, "E", "A")
    word = one(found, "SINCE")
    clause: Clause = event.value
    if clause.window is not None or anchor.value.test is not None or anchor.value.negated or anchor.value.where:
        return None
    names = anchor.value.names
    keys = {"since_last": names[0] if len(names) == 1 else list(names)}
    marks = (*word.marked("since_last"), *((a, b, "since_last") for a, b, _ in anchor.marks))
    return extended(event, found, marks, window=keys)


def _number_of(found: list[Item], _context: Context) -> Item | None:
    event = one(found, "E")
    if event.value.test is not None:
        return None
    return extended(event, found, one(found, "NUMOF").marked("count"), counted=True)


def _absorbed(found: list[Item], context: Context) -> Item | None:
    """Take what an event is about for a part of it: "viewed … products"."""
    event = one(found, "E", "A")
    rest = [item for item in found if item is not event]
    if any(item.kind == "P" and not _is_about(item, event.value, context) for item in rest):
        return None
    return extended(event, found, tuple(mark for item in rest for mark in item.marked("did")))


def _is_about(item: Item, clause: Clause, context: Context) -> bool:
    return "O" in item.other and property_of(item, clause.names, context) is not None


def _value_instead(found: list[Item], context: Context) -> Item | None:
    """Read a word as a value where its first meaning fits nothing: "store" after an order."""
    event, word = one(found, "E"), found[-1]
    values = word.other.get("V")
    if values is None:
        return None
    return _where(event, replace(word, kind="V", value=values), found, context)


#: The rules of events, in their order.
EVENTS: Final = (
    Rule("NUMOF E", _number_of),
    Rule("(FIRST|LAST) E", _which),
    Rule("E (FIRST|LAST)", _which),
    Rule("Q E", _counted),
    Rule("E Q O", _counted),
    Rule("E WITH? Q P", _property),
    Rule("E WITH? P Q", _property),
    Rule("E AND WITH? P Q", _property),
    Rule("E AND WITH Q P", _property),
    Rule("E Q", _numbered),
    Rule("E COMMA Q", _numbered),
    Rule("E WITH? V", _valued),
    Rule("V E", _valued_before),
    Rule("E (NEG|OTHER|EXCEPT) V", _valued),
    Rule("E (WITH|WITHOUT) P", _having),
    Rule("E NEG P", _having),
    Rule("E (LIT|UNK)", _about_text),
    Rule("E (P|O|G)", _value_instead),
    Rule("E (O|P)", _absorbed),
    Rule("(NEG|WITHOUT) WITH? E", _negated),
    Rule("E NEG", _negated),
    Rule("E ALREADY", _timeless),
    Rule("ALREADY E", _timeless),
    Rule("E TOD", _on_days),
    Rule("TOD E", _on_days),
    Rule("E W", _windowed),
    Rule("E COMMA W", _windowed),
    Rule("E SINCE E", _since_event),
    Rule("E AND NEG OTHER (P|E)", _other),
    Rule("E AND NEG OTHER", _other),
)
