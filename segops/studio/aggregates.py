"""Rules of aggregates: sums, averages, extremes, different values, days, favourites, comparisons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from segops.studio.clauses import Clause, Piece, count_of, node_of, test_of
from segops.studio.durations import WindowSpan
from segops.studio.event_times import lifecycle
from segops.studio.events import extended, is_share, not_whole, property_of, sum_of, total_of
from segops.studio.fields import Values
from segops.studio.items import Item, Reduced, Rule, every, one
from segops.studio.meanings import Field
from segops.studio.phrases import Context
from segops.studio.quantities import Quantity
from segops.studio.windows import window_keys

_DAY_MS: Final = 86_400_000


def _made(found: list[Item], clause: Clause) -> Item:
    """Return an aggregate that lacks the number it is compared with."""
    marks = tuple(
        mark for item in found for mark in (item.marks if item.kind == "E" else item.marked(clause.head))
    )
    return Item("A", clause, found[0].first, found[-1].last, marks)


def _spending(found: list[Item], context: Context) -> Item | None:
    names = context.schema.purchase()
    money = context.schema.money(names) if names else None
    if money is None:
        return None
    average = any(
        item.kind in ("AOV", "FN") and (item.kind == "AOV" or item.value == "avg") for item in found
    )
    return _made(found, Clause(names, "avg" if average else "sum", money))


def _of_event(found: list[Item], context: Context) -> Item | None:
    """Read a function of the amount of an event: "biggest order", "average rating"."""
    function, event = one(found, "FN"), one(found, "E")
    clause: Clause = event.value
    if clause.head != "did" or clause.test is not None or clause.negated:
        return None
    fields = every(found, "P")
    prop = property_of(fields[0], clause.names, context) if fields else None
    prop = prop or (context.schema.figure(clause.names) if not fields else None)
    kind = context.schema.kind(clause.names, prop) if prop else None
    if prop is None or kind is None or not kind.is_number:
        return None
    loose = function.value == "sum" and not fields and not _adds_up(function, context)
    return _made(found, replace(clause, head=function.value, field=prop, loose=loose, counted=False))


def _adds_up(function: Item, context: Context) -> bool:
    """Whether a verb says that amounts are added: "totalling", "adding up to"."""
    return context.tokens[function.first].norm.endswith("ing") or context.tokens[function.last].norm == "to"


def _of_property(found: list[Item], context: Context) -> Item | None:
    """Read a function of a property that only one event has."""
    function, field = one(found, "FN"), one(found, "P")
    for each in field.value:
        owners = context.schema.owners(each.name) if each.owner == "property" else ()
        if len(owners) == 1 and context.catalogue.events[owners[0]][each.name].is_number:
            return _made(found, Clause(owners, function.value, each.name))
    if _is_amount(field.value) and context.schema.purchase():
        return (
            _spending(found, context)
            if function.value in ("sum", "avg")
            else _extreme(found, function, context)
        )
    return None


def _is_amount(fields: tuple[Field, ...]) -> bool:
    return any(field.owner == "property" and field.name == "revenue" for field in fields)


def _extreme(found: list[Item], function: Item, context: Context) -> Item | None:
    names = context.schema.purchase()
    money = context.schema.money(names)
    return None if money is None else _made(found, Clause(names, function.value, money))


def _tested(found: list[Item], context: Context) -> Item | None:
    aggregate, quantity = one(found, "A"), one(found, "Q")
    said: Quantity = quantity.value
    clause: Clause = aggregate.value
    if clause.test is not None or said.unit in _NO_AMOUNTS or is_share(quantity, context):
        return None
    if said.currency and said.currency != context.catalogue.currency:
        return None
    if clause.loose and not said.currency and clause.field != "revenue" and clause.head == "sum":
        return None
    if clause.loose and not said.currency:
        return _as_count(aggregate, quantity, found)
    if said.bare and clause.head in ("avg", "min", "max"):
        return None
    test = test_of(said) if clause.head != "sum" else sum_of(said)
    done = extended(aggregate, found, quantity.marked("is"), test=test)
    return done.as_kind("E")


_NO_AMOUNTS: Final = ("times", "percent", "km", "mi", "m", "years")


def _as_count(aggregate: Item, quantity: Item, found: list[Item]) -> Item | None:
    if any(not_whole(operand) for _, operand in quantity.value.ops):
        return None
    done = extended(
        aggregate, found, quantity.marked("count"), head="did", field="", test=count_of(quantity.value)
    )
    return done.as_kind("E")


def _nothing(found: list[Item], context: Context) -> Item | None:
    """Read "spent nothing"."""
    aggregate = one(found, "A")
    if aggregate.value.head != "sum":
        return None
    done = extended(aggregate, found, one(found, "NEG").marked("did"), head="did", field="", negated=True)
    return done.as_kind("E")


def _in_one(found: list[Item], context: Context) -> Item | None:
    """Read an amount of a single order: "spent over 250 in one order"."""
    event = one(found, "E")
    clause: Clause = event.value
    if clause.head == "sum" and clause.test is not None:
        test = dict(clause.test)
        value: Any = test["eq"] if set(test) == {"eq"} else test
        where = (*clause.where, (clause.field, value))
        marks = tuple(
            (a, b, f"where.{clause.field}" if key == "is" else "did" if key == "sum" else key)
            for a, b, key in event.marks
        )
        return extended(replace(event, marks=marks), found, head="did", field="", test=None, where=where)
    money = context.schema.money(clause.names)
    if clause.head == "did" and money in dict(clause.where):
        return extended(event, found, one(found, "INONE").marked("did"))
    return None


def _again(found: list[Item], context: Context) -> Item | None:
    """Read "on a single order" after an amount: the order is named a second time."""
    first, last = every(found, "E")
    quantity = one(found, "Q")
    said: Quantity = quantity.value
    if first.value.head != "sum" or last.value.head != "did" or first.value.names != last.value.names:
        return None
    if last.value.where or last.value.test or not (said.bare and said.ops[0][1] == 1):
        return None
    return _in_one([replace(first, last=found[-1].last)], context)


def _amount_in_one(found: list[Item], context: Context) -> Item | None:
    aggregate = one(found, "A")
    done = _tested([item for item in found if item.kind != "INONE"], context)
    return (
        None
        if done is None or aggregate.value.head != "sum"
        else _in_one([replace(done, last=found[-1].last)], context)
    )


# -- different values --------------------------------------------------------------------------------------


def _different(found: list[Item], context: Context) -> Item | None:
    """Read "at least 3 different brands viewed"."""
    event, quantities = one(found, "E"), every(found, "Q")
    clause: Clause = event.value
    about = next((item for item in found if item.kind in ("P", "O", "V", "L")), event)
    prop = property_of(about, clause.names, context) if about is not event else None
    prop = prop or _identifying(about, clause, context)
    if clause.head != "did" or clause.test is not None or prop is None or clause.negated:
        return None
    marks = tuple(
        mark
        for item in found
        if item is not event
        for mark in item.marked("is" if item.kind == "Q" else "distinct")
    )
    if not quantities:
        made = extended(event, found, marks, head="distinct", field=prop)
        return made.as_kind("A")
    if quantities[0].value.unit not in ("", "times") or any(
        not_whole(value) for _, value in quantities[0].value.ops
    ):
        return None
    return extended(event, found, marks, head="distinct", field=prop, test=count_of(quantities[0].value))


def _identifying(about: Item, clause: Clause, context: Context) -> str | None:
    """Return the property that tells apart what an event is about: product_id for "products"."""
    words = about.value if isinstance(about.value, str) else context.text(about)
    kinds = context.catalogue.events[clause.names[0]]
    nouns = [word.removesuffix("s") for word in words.lower().split()]
    names = {name for noun in nouns for name in (f"{noun}_id", f"{noun}_name", noun)}
    return next((name for name in kinds if name in names), None)


def _days(found: list[Item], _context: Context) -> Item | None:
    event, quantity, days = one(found, "E"), one(found, "Q"), one(found, "DAYS")
    return _active(event, quantity, count_of(quantity.value), days.value, found)


def _active(event: Item, said: Item, test: dict[str, Any], unit: str, found: list[Item]) -> Item | None:
    clause: Clause = event.value
    if clause.head != "did" or clause.test is not None:
        return None
    return extended(event, found, said.marked("is"), head=f"active_{unit}s", test=test)


def _days_in(found: list[Item], context: Context) -> Reduced:
    """Read "on at least 5 days in the last 14 days", whose first part looks like a duration."""
    event, (days, _) = one(found, "E"), every(found, "W")
    said: WindowSpan = days.value
    words = {token.norm for token in context.tokens[days.first : days.last + 1]}
    if (
        not isinstance(said, WindowSpan)
        or said.kind != "length"
        or not {"days", "day"} & words
        or said.length_ms % _DAY_MS
    ):
        return None
    rest = found[-1]
    made = _active(event, days, {said.op or "gte": said.length_ms // _DAY_MS}, "day", found[:-1])
    return None if made is None else [made, rest]


# -- favourites --------------------------------------------------------------------------------------------


def _favourite(found: list[Item], context: Context) -> Item | None:
    """Read "Bags is the category they viewed most often"."""
    value, event = one(found, "V"), one(found, "E")
    clause: Clause = event.value
    asked = context.schema.test_of(clause.names, value.value)
    if asked is None or clause.head != "did" or clause.test is not None:
        return None
    prop, test = asked
    is_ = test if isinstance(test, dict) else {"eq": test}
    marks = tuple(
        mark
        for item in found
        if item is not event
        for mark in item.marked("is" if item is value else "most_frequent")
    )
    return extended(event, found, marks, head="most_frequent", field=prop, test=is_)


def _favourite_when(found: list[Item], context: Context) -> Item | None:
    time = one(found, "W")
    made = _favourite([item for item in found if item is not time], context)
    keys = _window(time, context)
    return (
        None
        if made is None or keys is None
        else extended(made, found, time.marked(next(iter(keys))), window=keys)
    )


def _of_last(found: list[Item], context: Context) -> Item | None:
    """Read "the rating of their last review", which a number or a value follows."""
    field, event = one(found, "P"), one(found, "E")
    prop = property_of(field, event.value.names, context)
    if prop is None or event.value.head != "did" or event.value.test is not None:
        return None
    head = "latest" if found[1].kind == "LAST" else "earliest"
    return _made(found, Clause(event.value.names, head, prop))


def _favourite_alone(found: list[Item], context: Context) -> Item | None:
    """Read "their favourite feature is the dashboard", of a property that one event has."""
    value = one(found, "V")
    field = next((field for field in value.value.fields() if field.owner == "property"), None)
    owners = context.schema.owners(field.name) if field else ()
    if field is None or len(owners) != 1:
        return None
    said = value.value.of(field)
    test = {"eq": said[0]} if len(said) == 1 else {"in": list(said)}
    marks = tuple(mark for item in found for mark in item.marked("most_frequent"))
    clause = Clause(owners, "most_frequent", field.name, test=test)
    return Item("E", clause, found[0].first, found[-1].last, marks)


# -- one count against another -----------------------------------------------------------------------------


def _more_than(found: list[Item], context: Context) -> Item | None:
    """Read "opened more emails than they viewed products"."""
    left, right = every(found, "E")
    word = one(found, "MORETHAN", "LESSTHAN")
    windows = every(found, "W")
    for time in windows:
        right = extended(
            right, [right, time], time.marked("compare[2].within"), window=_window(time, context)
        )
    if left.value.window is None:
        left = replace(left, value=replace(left.value, window=right.value.window))
    elif right.value.window is None:
        right = replace(right, value=replace(right.value, window=left.value.window))
    if any(each.value.head != "did" or each.value.test or each.value.negated for each in (left, right)):
        return None
    op = "gt" if word.kind == "MORETHAN" else "lt"
    node = {"compare": [node_of(left.value), op, node_of(right.value)]}
    marks = [(item.first, item.last, f"compare[{at}]") for at, item in ((0, left), (1, word), (2, right))]
    return Item("NODE", Piece(node, tuple(marks)), found[0].first, found[-1].last)


def _window(time: Item, context: Context) -> Any:
    return window_keys(time.value, context.catalogue.zone)


def values_of(item: Item) -> Values | None:
    """Return the values that an item may have."""
    return item.value if item.kind == "V" else item.other.get("V")


def _abandoned(found: list[Item], context: Context) -> Item | None:
    """Read "cart abandoners from the past 24h": the event without an order in the same time, or since."""
    event, windows = one(found, "B"), every(found, "W")
    orders = context.schema.purchase()
    if not orders:
        return None
    marks = tuple(mark for item in found for mark in item.marked("all[0].did" if windows else "did_not"))
    if not windows:
        return Item(
            "NODE", Piece({"did_not": orders[0], "since_last": event.value}, marks), event.first, event.last
        )
    keys = _window(windows[0], context)
    if keys is None:
        return None
    node = {"all": [{"did": event.value, **keys}, {"did_not": orders[0], **keys}]}
    return Item("NODE", Piece(node, marks), found[0].first, found[-1].last)


_ABOUT: Final = "(P|O|V|L)"

#: Aggregates that are read before the counts of events.
EARLY: Final = (
    Rule("B W?", _abandoned),
    Rule("SPEND FN", _spending),
    Rule("FN SPEND", _spending),
    Rule("(SPEND|AOV)", _spending),
    Rule("FN P ABOVE? E", _of_event),
    Rule("DIFF P ABOVE E", _different),
    Rule("FN E P", _of_event),
    Rule("FN E", _of_event),
    Rule("E FN", _of_event),
    Rule("P (FIRST|LAST) E", _of_last),
    Rule("FN P", _of_property),
    Rule(f"Q DIFF {_ABOUT} E", _different),
    Rule(f"E Q DIFF {_ABOUT}", _different),
    Rule(f"NUMOF DIFF {_ABOUT} E", _different),
    Rule("Q DIFF E", _different),
    Rule("E Q DAYS", _days),
    Rule("Q DAYS E", _days),
    Rule("E W W", _days_in),
    Rule("P? E MOST V", _favourite),
    Rule("MOST P? E P? W V", _favourite_when),
    Rule("MOST E P? V", _favourite),
    Rule("V P? (MOST|E) (MOST|E)", _favourite),
    Rule("V MOST P E", _favourite),
    Rule("MOST P? E V", _favourite),
    Rule("MOST E V", _favourite),
    Rule("E V MOST", _favourite),
    Rule("MOST V", _favourite_alone),
    Rule("STAGE E COMMA E COMMA? W", lifecycle),
    Rule("STAGE E COMMA? W", lifecycle),
    Rule("STAGE W E", lifecycle),
    Rule("E (MORETHAN|LESSTHAN) (O|P)? THAN E W?", _more_than),
    Rule("(MORETHAN|LESSTHAN) E THAN E W?", _more_than),
)

#: Aggregates with what stands beside them.
AGGREGATES: Final = (
    Rule("A Q INONE", _amount_in_one),
    Rule("A INONE Q", _amount_in_one),
    Rule("A Q", _tested),
    Rule("Q A", _tested),
    Rule("A COMMA Q", _tested),
    Rule("A NEG", _nothing),
    Rule("NEG A", _nothing),
    Rule("E INONE", _in_one),
    Rule("E FN", total_of),
    Rule("E Q E", _again),
)
