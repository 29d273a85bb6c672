"""Rules of numbers and dates of the customer: traits, scores, ages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from segops.studio.clauses import Clause, Piece, duration, negated, test_of
from segops.studio.dates import DateWindow, this_period
from segops.studio.durations import WindowSpan
from segops.studio.items import Item, Mark, Reduced, Rule, one
from segops.studio.meanings import Field
from segops.studio.phrases import Context
from segops.studio.quantities import Quantity
from segops.studio.windows import trait_test
from segops.studio.words import stem

#: Dates that lie ahead, by a word of their names.
_AHEAD: Final = ("end", "renewal", "expire", "due", "next", "until")
_YEARLY: Final = ("birthday", "birth", "anniversary", "born")
UNIT_LENGTHS: Final = {"km": "km", "mi": "mi", "m": "m"}


def noted(found: list[Item], node: dict[str, Any], marks: Iterable[Mark]) -> Item:
    """Return the item of a finished node."""
    return Item("NODE", Piece(node, tuple(marks)), found[0].first, found[-1].last)


def fields_of(item: Item, context: Context, *kinds: str) -> list[Field]:
    """Return the traits and scores that an item may name, of these kinds."""
    owned = [field for field in item.value if field.owner in ("trait", "score")]
    return [field for field in owned if kind_of(field, context) in kinds]


def kind_of(field: Field, context: Context) -> str:
    """Return the name of the kind of a trait or a score."""
    kinds = context.catalogue.traits if field.owner == "trait" else context.catalogue.scores
    return kinds[field.name].name


# -- numbers -----------------------------------------------------------------------------------------------


def measured(found: list[Item], context: Context) -> Item | None:
    """Read a number of a trait or a score."""
    field, quantity = one(found, "P"), one(found, "Q")
    said: Quantity = quantity.value
    for each in fields_of(field, context, "number", "probability", "amount"):
        test = _number_test(each, said, context)
        if test is not None:
            marks = (*field.marked(each.owner), *quantity.marked("is"))
            node = noted(found, {each.owner: each.name, "is": test}, marks)
            return denied(found, node)
    return None


def denied(found: list[Item], node: Item) -> Item:
    """Return the opposite of a node whose items begin with a negation."""
    if found[0].kind not in ("NEG", "WITHOUT", "EXCEPT"):
        return node
    return replace(node, value=negated(node.value))


def _number_test(field: Field, said: Quantity, context: Context) -> dict[str, Any] | None:
    kind = kind_of(field, context)
    if kind == "probability":
        percent = said.unit == "percent" or _is_in_percent(said)
        test = test_of(said, 100 if percent else 1) if said.unit in ("", "percent") else None
        return {"gte": test["eq"]} if test and said.bare and set(test) == {"eq"} else test
    if kind == "amount":
        own = (
            context.catalogue.scores[field.name].currency
            if field.owner == "score"
            else context.catalogue.currency
        )
        return test_of(said) if said.unit == "" or said.currency == own else None
    return test_of(said) if said.unit == "" else None


def _is_in_percent(said: Quantity) -> bool:
    """Whether numbers without a unit are percents: "churn risk above 70"."""
    return any(max(operand if isinstance(operand, tuple) else (operand,)) >= 2 for _, operand in said.ops)


def measured_twice(found: list[Item], context: Context) -> Item | None:
    """Read "a loyalty balance of over 2000 points": the field is named a second time."""
    first, last = found[0], found[-1]
    return measured(found[:-1], context) and _over(found, context) if first.value == last.value else None


def _over(found: list[Item], context: Context) -> Item | None:
    done = measured(found[:-1], context)
    return None if done is None else replace(done, last=found[-1].last)


def more_measured(found: list[Item], context: Context) -> Item | None:
    """Read "between" said in two parts of one field."""
    node, quantity = one(found, "NODE"), one(found, "Q")
    said: Quantity = quantity.value
    known: Piece = node.value
    if said.unit == "times" or set(known.node) - {"trait", "score", "is"} or "is" not in known.node:
        return None
    name = known.node.get("trait") or known.node.get("score")
    field = Field("trait" if "trait" in known.node else "score", str(name))
    test = (
        _number_test(field, said, context)
        if kind_of(field, context) in ("number", "probability", "amount")
        else None
    )
    if test is None or set(test) & set(known.node["is"]):
        return None
    marks = (*known.marks, *quantity.marked("is"))
    return noted(found, {**known.node, "is": {**known.node["is"], **test}}, marks)


def aged(found: list[Item], context: Context) -> Item | None:
    """Read an age in years, of a birthday."""
    quantity = one(found, "Q")
    said: Quantity = quantity.value
    name = next(
        (
            name
            for name, kind in context.catalogue.traits.items()
            if kind.name == "date" and _is(name, _YEARLY)
        ),
        None,
    )
    compared = context.tokens[quantity.first].norm in ("younger", "older")
    years = said.unit == "years" or ((found[0].kind == "AGED" or compared) and said.unit == "")
    if name is None or not years:
        return None
    marks = tuple(mark for item in found for mark in item.marked("is"))
    return noted(found, {"trait": name, "is": {"age_in_years": bare(test_of(said))}}, marks)


def starred(found: list[Item], context: Context) -> Item | None:
    """Read "gave us one star": a rating of the only event that has one."""
    owners = context.schema.owners("rating")
    beside = context.tokens[max(0, found[0].first - 3) : found[0].first]
    if (
        found[0].value.unit != "stars"
        or len(owners) != 1
        or not any(token.stem in _GIVING for token in beside)
    ):
        return None
    value = bare(test_of(found[0].value))
    marks = (*found[0].marked("did"), *found[0].marked("where.rating"))
    return Item("E", Clause(owners, where=(("rating", value),)), found[0].first, found[0].last, marks)


_GIVING: Final = frozenset(map(stem, ("give", "award", "leave")))


def of_only_event(found: list[Item], context: Context) -> Reduced:
    """Read "order value above 100": there is such an event, if only one event has the property."""
    field, quantity = found[0], found[1]
    said: Quantity = quantity.value
    foreign = said.currency and said.currency != context.catalogue.currency
    if (
        foreign
        or said.unit in ("times", "percent", "years")
        or context.tokens[field.last].norm.endswith(("alling", "sting"))
    ):
        return None
    for each in field.value:
        owners = context.schema.owners(each.name) if each.owner == "property" else ()
        if len(owners) == 1 and context.catalogue.events[owners[0]][each.name].is_number:
            marks = (*field.marked("did"), *quantity.marked(f"where.{each.name}"))
            clause = Clause(owners, where=((each.name, bare(test_of(said))),))
            event = Item("E", clause, field.first, quantity.last, marks)
            return [event, *found[2:]]
    return None


def bare(test: dict[str, Any]) -> Any:
    """Return a predicate, or the value alone that it asks for."""
    return test["eq"] if set(test) == {"eq"} else test


# -- dates -------------------------------------------------------------------------------------------------


def _is(name: str, words: tuple[str, ...]) -> bool:
    return any(word in name for word in words)


def dated(found: list[Item], context: Context) -> Item | None:
    """Read a time of a date."""
    field, time = one(found, "P"), one(found, "W")
    if not isinstance(time.value, WindowSpan | DateWindow):
        return None
    for each in fields_of(field, context, "date"):
        test = _date_test(each.name, time, context)
        if test is not None:
            marks = (*field.marked(each.owner), *time.marked("is"))
            return denied(found, noted(found, {each.owner: each.name, "is": test}, marks))
    return None


def _date_test(name: str, time: Item, context: Context) -> dict[str, Any] | None:
    said = time.value
    born = any(context.tokens[at].norm == "born" for at in range(max(0, time.first - 2), time.first))
    if isinstance(said, WindowSpan) and said.kind == "calendar" and not _is(name, _YEARLY):
        said = this_period(said.text, context.now_ms, ahead=_is(name, _AHEAD)) or said
    dated = isinstance(said, DateWindow)
    test = trait_test(
        said, yearly=_is(name, _YEARLY) and not (born and dated and not said.month), future=_is(name, _AHEAD)
    )
    zoned = (
        test is not None
        and context.catalogue.zone != "UTC"
        and ({"anniversary_in_next", "month"} & set(test))
    )
    return {**test, "zone": context.catalogue.zone} if zoned and test else test


def over(found: list[Item], context: Context) -> Item | None:
    """Read a date that has passed: "whose trial has expired"."""
    field = one(found, "P")
    dates = fields_of(field, context, "date")
    if not dates or not _is(dates[0].name, _AHEAD):
        return None
    marks = tuple(mark for item in found for mark in item.marked("is"))
    return noted(found, {"trait": dates[0].name, "is": {"older_than": "0d"}}, marks)


def _ended(found: list[Item], context: Context) -> Reduced:
    """Read "trial has expired"."""
    words = {token.norm for token in context.tokens[found[0].first : found[0].last + 1]}
    return over(found, context) if words & {"ended", "expired", "over", "lapsed"} else None


def next_too(found: list[Item], context: Context) -> Reduced:
    """Read "but not in the next 14" after a window of days of the same date."""
    node, time = one(found, "NODE"), one(found, "W")
    known, said = node.value.node, time.value
    if "trait" not in known or not isinstance(said, WindowSpan) or said.kind not in ("next", "within"):
        return None
    length = f"{said.text}d" if said.text else duration(said.length_ms)
    ops = [op for op in ("in_next", "in_last", "anniversary_in_next") if op in known["is"]]
    if not ops or (said.kind == "next") != (ops[0] != "in_last"):
        return None
    inner = Piece({"trait": known["trait"], "is": {ops[0]: length}}, tuple(time.marked("is")))
    excluded = Item("NODE", negated(inner), time.first, time.last)
    return [node, replace(excluded, kind="AND", value=""), excluded]


#: Rules of numbers once events have taken theirs.
MORE: Final = (
    Rule("P", _ended),
    Rule("NODE (AND|BUT) Q", more_measured),
    Rule("P Q W?", of_only_event),
)
