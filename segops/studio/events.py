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
    if said.unit == "stars" or said.currency:
        return _amount(found, context) if found[0] is quantity else None
    if clause.test is not None or clause.head != "did" or said.unit not in ("", "times"):
        return None
    if any(not_whole(operand) for _, operand in said.ops):
        return None
    marks = quantity.marked("count")
    if said.bare and not said.ops[0][1]:
        return extended(event, found, marks, negated=not clause.negated)
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
    named_after = said.unit == "" and any(first > quantity.last for first, _, key in event.marks if key == "did")
    if said.unit == "times" or event.value.counted or named_after:
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
    event, value = one(found, "E", "A"), one(found, "V")
    return _where(event, value, found, context)


def _valued_before(found: list[Item], context: Context) -> Item | None:
    """Take a value before an event for a condition, unless it says something of the customer."""
    value = one(found, "V")
    if any(field.owner == "trait" for field in value.value.fields()):
        return None
    return _valued(found, context)


def _where(event: Item, value: Item, found: list[Item], context: Context) -> Item | None:
    clause: Clause = event.value
    asked = context.schema.test_of(clause.names, value.value) or _as_role(clause, value, context)
    if asked is None or asked[0] in dict(clause.where):
        return None
    prop, test = asked
    if clause.head in ("first", "last") and clause.test is None:
        head = {"first": "earliest", "last": "latest"}[clause.head]
        is_ = test if isinstance(test, dict) else {"eq": test}
        return extended(event, found, value.marked("is"), head=head, field=prop, test=is_)
    test = _other_than(test) if any(item.kind in ("OTHER", "EXCEPT") for item in found) else test
    denied = any(item.kind == "NEG" for item in found)
    marks = value.marked(f"where.{prop}")
    return extended(event, found, marks, where=(*clause.where, (prop, test)), negated=clause.negated != denied)


def _as_role(clause: Clause, value: Item, context: Context) -> tuple[str, Any] | None:
    """Read "as admin" after an event that has a text of the same name as the trait."""
    before = context.tokens[value.first - 1].norm if value.first else ""
    for field in value.value.fields() if before in ("as", "role") else ():
        kind = context.schema.kind(clause.names, field.name)
        if kind is not None and kind.name == "string":
            said = value.value.of(field)
            return field.name, said[0] if len(said) == 1 else {"in": list(said)}
    return None


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
    if clause.test is not None and context.tokens[field.first].norm == "total":
        return None
    if _is_sum(found, clause, prop):
        return extended(event, found, (*field.marked("sum"), *quantity.marked("is")), head="sum", field=prop, test=sum_of(said))
    value: Any = test_of(said)
    value = value["eq"] if set(value) == {"eq"} else value
    marks = (*field.marked(f"where.{prop}"), *quantity.marked(f"where.{prop}"))
    return extended(event, found, marks, where=(*clause.where, (prop, value)))


def _property_too(found: list[Item], context: Context) -> Item | None:
    """Read a word such as "total" as the name of a property."""
    function = one(found, "FN")
    if "P" not in function.other:
        return None
    named = replace(function, kind="P", value=function.other["P"])
    return _property([named if item is function else item for item in found], context)


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
    before = context.tokens[text.first - 1].norm if text.first else ""
    fitting = [name for name in fitting if before in _NAMED[name] or (text.kind == "LIT" and "" in _NAMED[name])]
    if len(fitting) != 1 or (text.kind == "UNK" and fitting[0] != "source" and not context.tokens[text.first].name):
        return None
    (prop,) = fitting
    said = text.value if text.kind == "LIT" else context.text(text)
    return extended(event, found, text.marked(f"where.{prop}"), where=(*clause.where, (prop, said)))


#: Texts that events are told apart by without naming the property.
_NAMED: Final = {
    "query": ("for", ""),
    "campaign_name": ("", "the", "our", "a", "an"),
    "city": ("in", "at", "near"),
    "coupon": ("coupon", "code", "voucher"),
    "source": ("via", "through", "from", "by"),
}


def _only_so_often(found: list[Item], context: Context) -> Item | None:
    quantity = one(found, "Q")
    exact = replace(quantity, value=replace(quantity.value, bare=False), first=found[0].first)
    return _counted([one(found, "E"), exact], context) if quantity.value.bare else None


def _not_then(found: list[Item], context: Context) -> Item | None:
    """Read "have bought before, but not in the last 90 days"."""
    event, time = one(found, "E"), one(found, "W")
    clause: Clause = event.value
    keys = window_keys(time.value, context.catalogue.zone, negated=True)
    if keys is None or clause.negated or clause.head != "did":
        return None
    return _denied_later(event, keys, time, found)


def _denied_later(event: Item, keys: Mapping[str, Any], time: Item, found: list[Item]) -> Item:
    clause: Clause = event.value
    earlier = replace(event, value=replace(clause, timeless=clause.window is None))
    later = Clause(clause.names, where=clause.where, window=keys, negated=True)
    joint = Item("BUT", "", time.first, time.first)
    return [earlier, joint, Item("E", later, time.first, found[-1].last, tuple(time.marked(next(iter(keys)))))]  # type: ignore[return-value]


def _not_since(found: list[Item], _context: Context) -> Item | None:
    """Read "bought in 2025 but not since"."""
    event, word = one(found, "E"), one(found, "SINCE")
    until = (event.value.window or {}).get("until")
    between = (event.value.window or {}).get("between")
    if until is None and between is None:
        return None
    keys = {"since": until} if until else {"within": between["to"]}
    return _denied_later(event, keys, word, found)


def _any_of_it(found: list[Item], context: Context) -> Item | None:
    """Read ", any feature": it asks nothing."""
    event, field = one(found, "E"), one(found, "P")
    before = context.tokens[field.first - 1].norm
    if before not in ("any", "whatever", "whichever", "every") or property_of(field, event.value.names, context) is None:
        return None
    return extended(event, found, field.marked("did"))


def _not_those(found: list[Item], context: Context) -> Item | None:
    """Read "ordered in the app, but never on the web": the same events with another value."""
    event, value, word = one(found, "E"), one(found, "V"), one(found, "NEG", "OTHER", "EXCEPT")
    clause: Clause = event.value
    asked = context.schema.test_of(clause.names, value.value)
    if asked is None or asked[0] not in dict(clause.where) or clause.head != "did":
        return None
    where = tuple(asked if prop == asked[0] else (prop, test) for prop, test in clause.where)
    never = word.value == "never"
    other = Clause(clause.names, where=where, window=None if never else clause.window, negated=True, timeless=never)
    joint = Item("BUT", "", word.first, word.first)
    marks = (*word.marked("did"), *value.marked(f"where.{asked[0]}"))
    return [event, joint, Item("E", other, word.first, value.last, marks)]  # type: ignore[return-value]


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
    if keys is None and isinstance(said, WindowSpan) and said.kind == "next":
        return _gap(event, time, found, context)
    if keys is None:
        return _old(event, time, found)
    if isinstance(said, WindowSpan) and said.kind in ("for", "length") and not clause.negated and not _is_last(context, time):
        return _lasting(event, time, found, context)
    gap = said if isinstance(said, WindowSpan) and said.kind == "in" else clause.gap
    return extended(event, found, time.marked(next(iter(keys))), window=keys, gap=gap)


def _lasting(event: Item, time: Item, found: list[Item], context: Context) -> Item | None:
    """Read how long one event lasted: "used the export for more than 60 seconds"."""
    clause: Clause = event.value
    said: WindowSpan = time.value
    prop = next((name for name in _SECONDS if context.schema.kind(clause.names, name) is not None), None)
    if prop is None or prop in dict(clause.where) or said.length_ms % 1_000:
        return None
    test = {said.op or "gte": said.length_ms // 1_000}
    return extended(event, found, time.marked(f"where.{prop}"), where=(*clause.where, (prop, test)))


#: Properties that have the length of an event in seconds.
_SECONDS: Final = ("duration_s", "seconds", "duration_seconds")


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


def _since_before(found: list[Item], _context: Context) -> Item | None:
    """Read "added to the cart but have not ordered since": since the event before."""
    anchor, event = every(found, "E")
    clause: Clause = event.value
    if clause.window is not None or clause.head != "did" or anchor.value.negated:
        return None
    names = anchor.value.names
    keys = {"since_last": names[0] if len(names) == 1 else list(names)}
    later = replace(event, value=replace(clause, window=keys), last=found[-1].last, marks=(*event.marks, *found[-1].marked("since_last")))
    return [*found[:-2], later]  # type: ignore[return-value]


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
    Rule("ONLY E Q", _only_so_often),
    Rule("Q E", _counted),
    Rule("E Q O", _counted),
    Rule("E WITH? Q P", _property),
    Rule("E WITH? P Q", _property),
    Rule("E WITH FN Q", _property_too),
    Rule("E AND WITH? P Q", _property),
    Rule("E AND WITH Q P", _property),
    Rule("E Q", _numbered),
    Rule("E COMMA Q", _counted),
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
    Rule("A FILE", _absorbed),
    Rule("E ALREADY", _timeless),
    Rule("ALREADY E", _timeless),
    Rule("E TOD", _on_days),
    Rule("TOD E", _on_days),
    Rule("(E|A) W", _windowed),
    Rule("(E|A) COMMA W", _windowed),
    Rule("A WITH? V", _valued),
    Rule("E (THEN|ALREADY)? COMMA? (EXCEPT|BUT NEG|AND NEG) W", _not_then),
    Rule("E COMMA? (EXCEPT|BUT NEG|AND NEG) SINCE", _not_since),
    Rule("E COMMA P", _any_of_it),
    Rule("E COMMA? (BUT|AND) (NEG|OTHER) V", _not_those),
    Rule("E EXCEPT V", _not_those),
    Rule("E SINCE E", _since_event),
    Rule("E COMMA? (AND|BUT) E SINCE", _since_before),
    Rule("(O|P) E", _absorbed),
    Rule("E AND NEG OTHER (P|E)", _other),
    Rule("E AND NEG OTHER", _other),
)
