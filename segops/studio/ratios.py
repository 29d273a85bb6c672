"""Rules of one count by another: "twice as many views as orders", "refunded over half of their orders"."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from segops.studio.clauses import Clause, Piece, node_of, test_of
from segops.studio.events import extended, property_of
from segops.studio.items import Item, Reduced, Rule, every, one
from segops.studio.phrases import Context
from segops.studio.quantities import Quantity
from segops.studio.windows import window_keys
from segops.studio.words import load_table, stem


def _as_many(found: list[Item], context: Context) -> Item | None:
    """Read "twice as many … as …": at least that many times."""
    said: Quantity = one(found, "Q").value
    if said.unit not in ("", "times"):
        return None
    test = {"gte": test_of(said)["eq"]} if said.bare else test_of(said)
    return _ratio(found, every(found, "E"), test, context)


def _share(found: list[Item], context: Context) -> Item | None:
    """Read "refunded more than half of their orders", and "over half of their orders were refunded"."""
    said: Quantity = one(found, "Q").value
    events = every(found, "E")
    sides = events if found[0].kind == "E" else events[::-1]
    test = _fraction(said)
    of = context.tokens[one(found, "Q").last].norm == "of" or _follows(found, context)
    return None if test is None or said.bare or not of else _ratio(found, sides, test, context)


def _follows(found: list[Item], context: Context) -> bool:
    """Whether "of" comes after the number, or is a part of it: "half of"."""
    last = one(found, "Q").last
    words = [token.norm for token in context.tokens[last + 1 : last + 2]]
    return words == ["of"] or context.tokens[last].text.lower().endswith(" of")


def _quotient(found: list[Item], context: Context) -> Item | None:
    """Read "ratio of refunds to orders above 30 %"."""
    said: Quantity = one(found, "Q").value
    test = _fraction(said) or (test_of(said) if not said.unit else None)
    return None if test is None or said.bare else _ratio(found, every(found, "E"), test, context)


def _fraction(said: Quantity) -> dict[str, Any] | None:
    """Return a share as a test of numbers from 0 to 1; None if it is none."""
    if said.unit == "percent":
        return test_of(said, 100)
    values = [
        each for _, operand in said.ops for each in (operand if isinstance(operand, tuple) else (operand,))
    ]
    return test_of(said) if not said.unit and all(Decimal(0) < each < 1 for each in values) else None


def _ratio(found: list[Item], sides: list[Item], test: dict[str, Any], context: Context) -> Item | None:
    windows = every(found, "W")
    keys = window_keys(windows[0].value, context.catalogue.zone) if windows else None
    if any(not _is_count(side.value) for side in sides) or (windows and keys is None):
        return None
    own = keys or next((side.value.window for side in sides if side.value.window), None)
    sides = [side if side.value.window else extended(side, [side], window=own) for side in sides]
    if node_of(sides[0].value) == node_of(sides[1].value):
        return None
    node = {"ratio": {"of": node_of(sides[0].value), "to": node_of(sides[1].value), "is": test}}
    marks = tuple(mark for item in found for mark in item.marked("ratio.is"))
    return Item("NODE", Piece(node, marks), found[0].first, found[-1].last)


def _is_count(clause: Clause) -> bool:
    return clause.head == "did" and clause.test is None and not clause.negated


def _rate(found: list[Item], context: Context) -> Item | None:
    """Read "refund rate above 20 %": the refunds to the orders that they are of."""
    event, word, quantity = found[0], found[1], one(found, "Q")
    table: dict[str, str] = load_table("synonyms.yaml")["rates"]
    whole = table.get(event.value.names[0], "")
    if whole not in context.catalogue.events or not _is_rate(word, context):
        return None
    test = _fraction(quantity.value)
    side = Item("E", Clause((whole,)), word.first, word.last)
    return None if test is None or quantity.value.bare else _ratio(found, [event, side], test, context)


def _part_of(found: list[Item], context: Context) -> Item | None:
    """Read "share of orders refunded above 30 %": those to all of their kind."""
    event, quantity, word = one(found, "E"), one(found, "Q"), one(found, "SHARE")
    whole = load_table("synonyms.yaml")["rates"].get(event.value.names[0], "")
    test = _fraction(quantity.value)
    if whole not in context.catalogue.events or test is None or quantity.value.bare:
        return None
    return _ratio(found, [event, Item("E", Clause((whole,)), word.first, word.last)], test, context)


def _is_rate(word: Item, context: Context) -> bool:
    words = {token.norm for token in context.tokens[word.first : word.last + 1]}
    return not words.isdisjoint(("rate", "rates", "ratio"))


def _share_of_orders(found: list[Item], context: Context) -> Item | None:
    """Read "a third of orders were refunded", where the orders are a part of the event's phrase."""
    quantity, event = one(found, "Q"), one(found, "E")
    whole = context.schema.purchase()
    test = _fraction(quantity.value)
    named = {context.tokens[event.first].stem, context.tokens[event.first - 1].stem} & _ORDERS
    if not whole or event.value.names == whole or not named or test is None or quantity.value.bare:
        return None
    side = Item("E", Clause(whole), event.first, event.first)
    return _ratio(found, [event, side], test, context)


def _per_order(found: list[Item], context: Context) -> Reduced:
    """Read "spend per order" and "more than 3 items per order": an average over orders."""
    names = context.schema.purchase()
    field = found[-2] if found[-2].kind == "P" else found[0]
    prop = property_of(field, names, context) if names and field.kind == "P" else None
    prop = context.schema.money(names) if names and field.kind == "SPEND" else prop
    kind = context.schema.kind(names, prop) if prop else None
    event = found[0] if found[0].kind == "E" else None
    if kind is None or not kind.is_number or (event is not None and event.value.names != names):
        return None
    marks = tuple(mark for item in found if item.kind != "Q" for mark in item.marked("avg"))
    average = Item("A", Clause(names, "avg", prop or ""), found[0].first, found[-1].last, marks)
    return [average, *every(found, "Q")]


def _events_per_order(found: list[Item], context: Context) -> Item | None:
    """Read "opened at least 4 emails per order"."""
    event, quantity, word = one(found, "E"), one(found, "Q"), one(found, "PERONE")
    names = context.schema.purchase()
    said: Quantity = quantity.value
    if not names or event.value.names == names or said.unit not in ("", "times") or said.bare:
        return None
    side = Item("E", Clause(names), word.first, word.last)
    return _ratio(found, [event, side], test_of(said), context)


def _per_event(found: list[Item], context: Context) -> Item | None:
    """Read "orders per store visit above 0.2" and "refunds per order above 0.5"."""
    event, quantity, whole = found[0], one(found, "Q"), found[1]
    names = context.schema.purchase() if whole.kind == "PERONE" else found[2].value.names
    said: Quantity = quantity.value
    if not names or event.value.names == names or said.unit not in ("", "times", "percent") or said.bare:
        return None
    side = Item("E", Clause(names), whole.first, whole.last)
    return _ratio(found, [event, side], _fraction(said) or test_of(said), context)


_ORDERS: Final = frozenset(map(stem, ("order", "purchase")))

#: Rules of ratios, before events take their numbers.
RATIOS: Final = (
    Rule("E Q ASMANY (O|P)? E W?", _as_many),
    Rule("Q ASMANY E E W?", _as_many),
    Rule("RATIO E E Q W?", _quotient),
    Rule("E E RATIO Q W?", _quotient),
    Rule("(SPEND|FN? P) PERONE", _per_order),
    Rule("SPEND Q PERONE", _per_order),
    Rule("E Q P PERONE", _per_order),
    Rule("E Q PERONE W?", _events_per_order),
    Rule("E PERONE Q W?", _per_event),
    Rule("E PER E Q W?", _per_event),
    Rule("E (E|RATE|RATIO) Q W?", _rate),
    Rule("SHARE E Q W?", _part_of),
    Rule("Q E W E", _share),
    Rule("Q E W?", _share_of_orders),
    Rule("E Q E W?", _share),
    Rule("Q E E W?", _share),
)
