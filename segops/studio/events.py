"""Rules of events: what stands beside an event becomes its count, conditions and window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from segops.studio.clauses import Both, Clause, count_of, test_of
from segops.studio.items import Item, Mark, every, one
from segops.studio.meanings import Event, Field
from segops.studio.phrases import Context
from segops.studio.quantities import Quantity
from segops.studio.words import stem


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


def counted(found: list[Item], context: Context) -> Item | None:
    """Take a number beside an event for its count."""
    event, quantity = one(found, "E"), one(found, "Q")
    said: Quantity = quantity.value
    clause: Clause = event.value
    if said.unit == "stars" or said.currency:
        return amount(found, context) if found[0] is quantity else None
    counted_once = clause.test == {"gte": 1} and said.unit == "times"
    if (
        (clause.test is not None and not counted_once)
        or clause.head != "did"
        or said.unit not in ("", "times")
    ):
        return None
    if any(not_whole(operand) for _, operand in said.ops) or _is_graded(quantity, context):
        return None
    kinds = _kinds_said(event, quantity, context)
    if kinds:
        marks = (*quantity.marked("is"), *((a, b, "distinct") for a, b, _ in event.marks))
        return extended(event, found, marks, head="distinct", field=kinds, test=count_of(said))
    marks = quantity.marked("count")
    if said.bare and not said.ops[0][1]:
        return extended(event, found, marks, negated=not clause.negated)
    for item in every(found, "OBJ", "O", "NUMOF"):
        marks = (*marks, *item.marked("did"))
    return extended(event, found, marks, test=count_of(said), counted=False)


def _kinds_said(event: Item, quantity: Item, context: Context) -> str:
    """Return the choice of which a number counts the values: "used 2 or more features"; empty if none."""
    said: Quantity = quantity.value
    words = {token.stem for token in context.tokens[quantity.last + 1 : quantity.last + 2]}
    op, most = said.ops[0]
    kinds = context.catalogue.events[event.value.names[0]]
    prop = next((name for name, kind in kinds.items() if kind.values and stem(name) in words), "")
    if not prop or isinstance(most, tuple) or most > len(kinds[prop].values) or said.unit:
        return ""
    return "" if said.bare and op in ("eq", "gte") and most <= 1 else prop


def counted_or_more(found: list[Item], context: Context) -> Item | None:
    """Read "10 orders or more"."""
    quantity = one(found, "Q")
    if not quantity.value.bare:
        return None
    op = "gte" if found[-1].kind == "ORUP" else "lte"
    said = Quantity(((op, quantity.value.ops[0][1]),), quantity.value.unit)
    done = counted([replace(quantity, value=said), one(found, "E")], context)
    return None if done is None else replace(done, last=found[-1].last)


def _is_graded(quantity: Item, context: Context) -> bool:
    """Whether a number is a grade: "3 or worse"."""
    words = {token.norm for token in context.tokens[quantity.first : quantity.last + 1]}
    return not words.isdisjoint(("worse", "better", "higher", "lower"))


def not_whole(operand: Any) -> bool:
    """Whether an operand is no number of events."""
    values = operand if isinstance(operand, tuple) else (operand,)
    return any(value != int(value) for value in values)


def numbered(found: list[Item], context: Context) -> Item | None:
    """Read a number after an event: of its times, of its money, or of how often it happened."""
    event, quantity = one(found, "E"), one(found, "Q")
    said: Quantity = quantity.value
    named_after = said.unit == "" and not _is_of(quantity, context)
    named_after = (
        named_after
        and not _is_noun(event, context)
        and any(first > quantity.last for first, _, key in event.marks if key == "did")
    )
    sign = context.tokens[quantity.first].text[:1] in "<>=≤≥≠"
    if said.unit == "times" or event.value.counted or named_after or sign:
        return counted(found, context)
    return amount(found, context) or (counted(found, context) if not said.unit else None)


def _is_noun(event: Item, context: Context) -> bool:
    """Whether an event begins with what it is about: "payment above 200 failed"."""
    nouns = {stem(word) for name in event.value.names for word in name.lower().split()[:-1]}
    return context.tokens[event.first].stem in nouns


def amount(found: list[Item], context: Context) -> Item | None:
    """Take a number beside an event for that of its amount, rating or score."""
    event, quantity = one(found, "E"), one(found, "Q")
    said: Quantity = quantity.value
    clause: Clause = event.value
    prop = figure_for(said, clause.names, context)
    if prop is None or prop in dict(clause.where) or is_share(quantity, context):
        return None
    if said.bare and context.tokens[quantity.first].text.lower() == "one":
        return None
    return asking(event, found, (quantity,), prop, _plain(test_of(said)))


def asking(event: Item, found: list[Item], said: tuple[Item, ...], prop: str, value: Any) -> Item:
    """Return an event with a condition; for the first or the last one, with what its property is."""
    clause: Clause = event.value
    head = {"first": "earliest", "last": "latest"}.get(clause.head)
    if head is None or clause.test is not None:
        marks = tuple(mark for item in said for mark in item.marked(f"where.{prop}"))
        return extended(event, found, marks, where=(*clause.where, (prop, value)))
    test = value if isinstance(value, dict) else {"eq": value}
    marks = tuple(mark for item in said for mark in item.marked("is"))
    return extended(event, found, marks, head=head, field=prop, test=test)


def _plain(test: dict[str, Any]) -> Any:
    return test["eq"] if set(test) == {"eq"} else test


def is_share(quantity: Item, context: Context) -> bool:
    """Whether a number is a part of a whole, which no amount is: "more than half of", "30 %"."""
    words = context.tokens[quantity.first : quantity.last + 1]
    said = {word for token in words for word in token.text.lower().split()}
    return quantity.value.unit == "percent" or not _PARTS.isdisjoint(said)


_PARTS: Final = frozenset(("half", "third", "thirds", "quarter", "quarters"))


def of_amount(found: list[Item], context: Context) -> Item | None:
    """Read "with 5 stars" and "with 300 euros" after an event."""
    said: Quantity = one(found, "Q").value
    return amount(found, context) if said.unit == "stars" or said.currency else None


def figure_for(said: Quantity, names: tuple[str, ...], context: Context) -> str | None:
    """Return the property of events that a quantity without a name is of, by its unit; None if none."""
    if said.unit == "stars":
        known = context.schema.kind(names, "rating") is not None
        return "rating" if known and not any(_is_above(operand, _STARS) for _, operand in said.ops) else None
    if said.currency:
        return context.schema.money(names) if said.currency == context.catalogue.currency else None
    return None if said.unit else context.schema.figure(names)


#: No rating has more stars.
_STARS: Final = 5


def _is_above(operand: Any, most: int) -> bool:
    return bool(max(operand if isinstance(operand, tuple) else (operand,)) > most)


# -- conditions --------------------------------------------------------------------------------------------


def valued(found: list[Item], context: Context) -> Item | None:
    """Take a value beside an event for a condition."""
    event, value = one(found, "E", "A"), one(found, "V")
    return conditioned(event, value, found, context)


def valued_before(found: list[Item], context: Context) -> Item | None:
    """Take a value before an event for a condition, unless it says something of the customer."""
    value, event = one(found, "V"), one(found, "E")
    beside = (
        value.last == event.first - 1 and _is_noun(event, context) and not _is_of_customers(value, context)
    )
    if not beside and any(field.owner == "trait" for field in value.value.fields()):
        return None
    return valued(found, context)


def _is_of_customers(value: Item, context: Context) -> bool:
    """Whether a value has the name of its field beside it, as in "team plan"."""
    words = {stem(field.name) for field in value.value.fields()}
    return any(token.stem in words for token in context.tokens[value.first : value.last + 1])


def conditioned(event: Item, value: Item, found: list[Item], context: Context) -> Item | None:
    """Return an event with a value as its condition; None if it has no such property."""
    clause: Clause = event.value
    asked = context.schema.test_of(clause.names, value.value) or _as_role(event, value, context)
    if asked is None or asked[0] in dict(clause.where):
        return None
    prop, test = asked
    if clause.head in ("first", "last") and clause.test is None:
        head = {"first": "earliest", "last": "latest"}[clause.head]
        is_ = test if isinstance(test, dict) else {"eq": test}
        return extended(event, found, value.marked("is"), head=head, field=prop, test=is_)
    if clause.head in ("earliest", "latest") and clause.test is None and prop == clause.field:
        is_ = test if isinstance(test, dict) else {"eq": test}
        return extended(event, found, value.marked("is"), test=is_).as_kind("E")
    test = other_than(test) if any(item.kind in ("OTHER", "EXCEPT") for item in found) else test
    denied = any(item.kind == "NEG" for item in found)
    marks = value.marked(f"where.{prop}")
    return extended(
        event, found, marks, where=(*clause.where, (prop, test)), negated=clause.negated != denied
    )


def _as_role(event: Item, value: Item, context: Context) -> tuple[str, Any] | None:
    """Read "as admin" or "an admin" after an event that has a text of the same name as the trait."""
    clause: Clause = event.value
    before = context.tokens[value.first - 1].norm if value.first else ""
    named = before in ("as", "role", "a", "an", "new", "another") or event.last == value.first - 1
    for field in value.value.fields() if named else ():
        kind = context.schema.kind(clause.names, field.name)
        if kind is not None and kind.name == "string":
            said = value.value.of(field)
            several = Both(said) if value.value.joint or value.value.both else {"in": list(said)}
            return field.name, said[0] if len(said) == 1 else several
    return None


def other_than(test: Any) -> Any:
    """Return what a property is asked if it must have other values."""
    return {"not_in": test["in"]} if isinstance(test, dict) and "in" in test else {"ne": test}


def property(found: list[Item], context: Context) -> Item | None:
    """Read a number with the name of a property: "with a rating below 3"."""
    event, field, quantity = one(found, "E", "A"), one(found, "P"), one(found, "Q")
    clause: Clause = event.value
    prop = property_of(field, clause.names, context)
    if prop is None or prop in dict(clause.where) or not _is_number(prop, clause, context):
        return None
    said: Quantity = quantity.value
    if (
        said.unit == "times"
        or is_share(quantity, context)
        or (said.currency and said.currency != context.catalogue.currency)
    ):
        return None
    if clause.test is not None and context.tokens[field.first].norm == "total":
        return None
    if _is_sum(found, clause, prop) and not _is_of(quantity, context):
        return extended(
            event,
            found,
            (*field.marked("sum"), *quantity.marked("is")),
            head="sum",
            field=prop,
            test=sum_of(said),
        )
    return asking(event, found, (field, quantity), prop, _plain(test_of(said)))


def property_too(found: list[Item], context: Context) -> Item | None:
    """Read a word such as "total" as the name of a property."""
    function = one(found, "FN")
    if "P" not in function.other:
        return None
    named = replace(function, kind="P", value=function.other["P"])
    return property([named if item is function else item for item in found], context)


def sum_of(said: Quantity) -> dict[str, Any]:
    """Return a quantity as a total: a bare number is at least that much."""
    return count_of(said) if said.bare else test_of(said)


def _is_sum(found: list[Item], clause: Clause, prop: str) -> bool:
    """Whether items are added up over all orders: "bought more than 10 items"."""
    plain = not any(item.kind in ("WITH", "AND", "INONE", "OF") for item in found)
    return prop in ("item_count", "quantity") and plain and clause.head == "did" and clause.test is None


def total_of(found: list[Item], _context: Context) -> Item | None:
    """Read "spent at least 200 euros in total"."""
    event, function = found
    if function.value != "sum" or event.value.head != "sum":
        return None
    return extended(event, found, function.marked("sum"))


def _is_of(quantity: Item, context: Context) -> bool:
    """Whether a number describes each of the events: "an order of 3 items"."""
    words = context.tokens[max(0, quantity.first - 1) : quantity.first + 1]
    return "of" in [token.norm for token in words]


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


def having(found: list[Item], context: Context) -> Item | None:
    """Read a property that events have or lack: "orders with a coupon"."""
    event, field = one(found, "E"), one(found, "P")
    clause: Clause = event.value
    prop = property_of(field, clause.names, context)
    if prop is None or prop in dict(clause.where):
        return None
    there = not any(item.kind in ("NEG", "WITHOUT") for item in found)
    marks = field.marked(f"where.{prop}")
    return extended(event, found, marks, where=(*clause.where, (prop, {"exists": there})))


def about_text(found: list[Item], context: Context) -> Item | None:
    """Take a literal, or the name of a search, a campaign or a city, for the only text that fits."""
    event, text = one(found, "E"), one(found, "LIT", "UNK")
    text = replace(text, last=every(found, "LIT", "UNK")[-1].last)
    clause: Clause = event.value
    kinds = context.catalogue.events[clause.names[0]]
    fitting = [name for name, kind in kinds.items() if kind.name == "string" and name in _NAMED]
    before = context.tokens[text.first - 1].norm if text.first else ""
    if before in ("a", "an") and text.first > 1:
        before = context.tokens[text.first - 2].norm if "source" in fitting else before
    fitting = [
        name for name in fitting if before in _NAMED[name] or (text.kind == "LIT" and "" in _NAMED[name])
    ]
    if len(fitting) != 1 or (
        text.kind == "UNK" and fitting[0] not in _SMALL and not context.tokens[text.first].name
    ):
        return None
    (prop,) = fitting
    said = text.value if text.kind == "LIT" else context.text(text)
    return asking(event, found, (text,), prop, said)


def searched(found: list[Item], context: Context) -> Item | None:
    """Read "searched for winter boots": both words are the query."""
    done = about_text(found, context)
    return done if done is not None and "query" in dict(done.value.where) else None


#: Texts that people write in small letters.
_SMALL: Final = ("source", "query")
#: Texts that events are told apart by without naming the property.
_NAMED: Final = {
    "query": ("for", ""),
    "campaign_name": ("", "the", "our", "a", "an", "campaign", "newsletter", "email"),
    "city": ("in", "at", "near", "the", "our"),
    "coupon": ("coupon", "code", "voucher"),
    "source": ("via", "through", "from", "by"),
}
