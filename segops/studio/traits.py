"""Rules of the customer: traits, scores, tiers, segments, places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from segops.studio.clauses import Clause, Piece, duration, negated, number, test_of
from segops.studio.dates import DateWindow
from segops.studio.durations import WindowSpan
from segops.studio.fields import Values, bounded
from segops.studio.items import Item, Mark, Rule, every, one
from segops.studio.meanings import Field
from segops.studio.phrases import Context
from segops.studio.quantities import Quantity

#: Dates that lie ahead, by a word of their names.
_AHEAD: Final = ("end", "renewal", "expire", "due", "next", "until")
_YEARLY: Final = ("birthday", "birth", "anniversary", "born")
_UNIT_LENGTHS: Final = {"km": "km", "mi": "mi", "m": "m"}


def noted(found: list[Item], node: dict[str, Any], marks: Iterable[Mark]) -> Item:
    """Return the item of a finished node."""
    return Item("NODE", Piece(node, tuple(marks)), found[0].first, found[-1].last)


def _fields(item: Item, context: Context, *kinds: str) -> list[Field]:
    """Return the traits and scores that an item may name, of these kinds."""
    return [field for field in item.value if field.owner != "property" and _kind(field, context) in kinds]


def _kind(field: Field, context: Context) -> str:
    kinds = context.catalogue.traits if field.owner == "trait" else context.catalogue.scores
    return kinds[field.name].name


# -- numbers -----------------------------------------------------------------------------------------------


def _measured(found: list[Item], context: Context) -> Item | None:
    field, quantity = one(found, "P"), one(found, "Q")
    said: Quantity = quantity.value
    for each in _fields(field, context, "number", "probability", "amount"):
        test = _number_test(each, said, context)
        if test is not None:
            marks = (*field.marked(each.owner), *quantity.marked("is"))
            node = noted(found, {each.owner: each.name, "is": test}, marks)
            return _denied(found, node)
    return None


def _denied(found: list[Item], node: Item) -> Item:
    """Return the opposite of a node whose items begin with a negation."""
    if found[0].kind not in ("NEG", "WITHOUT", "EXCEPT"):
        return node
    return replace(node, value=negated(node.value))


def _number_test(field: Field, said: Quantity, context: Context) -> dict[str, Any] | None:
    kind = _kind(field, context)
    if kind == "probability":
        percent = said.unit == "percent" or _is_in_percent(said)
        test = test_of(said, 100 if percent else 1) if said.unit in ("", "percent") else None
        return {"gte": test["eq"]} if test and said.bare and set(test) == {"eq"} else test
    if kind == "amount":
        own = context.catalogue.scores[field.name].currency if field.owner == "score" else context.catalogue.currency
        return test_of(said) if said.unit == "" or said.currency == own else None
    return test_of(said) if said.unit == "" else None


def _is_in_percent(said: Quantity) -> bool:
    """Whether numbers without a unit are percents: "churn risk above 70"."""
    return any(max(operand if isinstance(operand, tuple) else (operand,)) >= 2 for _, operand in said.ops)


def _more_measured(found: list[Item], context: Context) -> Item | None:
    """Read "between" said in two parts of one field."""
    node, quantity = one(found, "NODE"), one(found, "Q")
    said: Quantity = quantity.value
    known: Piece = node.value
    if said.unit == "times" or set(known.node) - {"trait", "score", "is"} or "is" not in known.node:
        return None
    name = known.node.get("trait") or known.node.get("score")
    field = Field("trait" if "trait" in known.node else "score", str(name))
    test = _number_test(field, said, context) if _kind(field, context) in ("number", "probability", "amount") else None
    if test is None or set(test) & set(known.node["is"]):
        return None
    marks = (*known.marks, *quantity.marked("is"))
    return noted(found, {**known.node, "is": {**known.node["is"], **test}}, marks)


def _aged(found: list[Item], context: Context) -> Item | None:
    """Read an age in years, of a birthday."""
    quantity = one(found, "Q")
    said: Quantity = quantity.value
    name = next((name for name, kind in context.catalogue.traits.items() if kind.name == "date" and _is(name, _YEARLY)), None)
    years = said.unit == "years" or (found[0].kind == "AGED" and said.unit == "")
    if name is None or not years:
        return None
    marks = tuple(mark for item in found for mark in item.marked("is"))
    return noted(found, {"trait": name, "is": {"age_in_years": _bare(test_of(said))}}, marks)


def _starred(found: list[Item], context: Context) -> Item | None:
    """Read "gave us one star": a rating of the only event that has one."""
    owners = context.schema.owners("rating")
    beside = context.tokens[max(0, found[0].first - 3) : found[0].first]
    if found[0].value.unit != "stars" or len(owners) != 1 or not any(token.stem in _GIVING for token in beside):
        return None
    value = _bare(test_of(found[0].value))
    marks = (*found[0].marked("did"), *found[0].marked("where.rating"))
    return Item("E", Clause(owners, where=(("rating", value),)), found[0].first, found[0].last, marks)


_GIVING: Final = frozenset(("give", "award", "leave"))


def _of_only_event(found: list[Item], context: Context) -> Item | None:
    """Read "order value above 100": there is such an event, if only one event has the property."""
    field, quantity = found[0], found[1]
    said: Quantity = quantity.value
    foreign = said.currency and said.currency != context.catalogue.currency
    if foreign or said.unit in ("times", "percent", "years") or context.tokens[field.last].norm.endswith("ing"):
        return None
    for each in field.value:
        owners = context.schema.owners(each.name) if each.owner == "property" else ()
        if len(owners) == 1 and context.catalogue.events[owners[0]][each.name].is_number:
            marks = (*field.marked("did"), *quantity.marked(f"where.{each.name}"))
            clause = Clause(owners, where=((each.name, _bare(test_of(said))),))
            event = Item("E", clause, field.first, quantity.last, marks)
            return [event, *found[2:]]  # type: ignore[return-value]
    return None


def _bare(test: dict[str, Any]) -> Any:
    return test["eq"] if set(test) == {"eq"} else test


# -- dates -------------------------------------------------------------------------------------------------


def _is(name: str, words: tuple[str, ...]) -> bool:
    return any(word in name for word in words)


def _dated(found: list[Item], context: Context) -> Item | None:
    field, time = one(found, "P"), one(found, "W")
    if not isinstance(time.value, WindowSpan | DateWindow):
        return None
    for each in _fields(field, context, "date"):
        test = _date_test(each.name, time, context)
        if test is not None:
            marks = (*field.marked("trait"), *time.marked("is"))
            return _denied(found, noted(found, {"trait": each.name, "is": test}, marks))
    return None


def _date_test(name: str, time: Item, context: Context) -> dict[str, Any] | None:
    from segops.studio.windows import trait_test

    said = time.value
    born = any(context.tokens[at].norm == "born" for at in range(max(0, time.first - 2), time.first))
    dated = isinstance(said, DateWindow)
    test = trait_test(said, yearly=_is(name, _YEARLY) and not (born and dated and not said.month), future=_is(name, _AHEAD))
    zoned = test is not None and context.catalogue.zone != "UTC" and ({"anniversary_in_next", "month"} & set(test))
    return {**test, "zone": context.catalogue.zone} if zoned and test else test


def _over(found: list[Item], context: Context) -> Item | None:
    """Read a date that has passed: "whose trial has expired"."""
    field = one(found, "P")
    dates = _fields(field, context, "date")
    if not dates or not _is(dates[0].name, _AHEAD):
        return None
    marks = tuple(mark for item in found for mark in item.marked("is"))
    return noted(found, {"trait": dates[0].name, "is": {"older_than": "0d"}}, marks)


def _next_too(found: list[Item], context: Context) -> Item | None:
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
    return [node, replace(excluded, kind="AND", value=""), excluded]  # type: ignore[return-value]


# -- values ------------------------------------------------------------------------------------------------


def trait_node(values: Values, context: Context) -> dict[str, Any] | None:
    """Return the node of values of a trait; None if they are values of no trait, or of several."""
    fields = [field for field in values.fields() if field.owner == "trait"]
    if len(fields) != 1:
        return None
    (field,) = fields
    kind = context.schema.trait(field.name)
    said = bounded(values.of(field), kind.values, values.bound)
    said = tuple(_true_or_false(value) if kind.name == "boolean" else value for value in said)
    if values.both and len(said) > 1 and kind.name != "list":
        return {"all": [{"trait": field.name, "is": {"eq": value}} for value in said]}
    if kind.name == "list":
        nodes = [{"trait": field.name, "is": {"includes": value}} for value in said]
        return nodes[0] if len(nodes) == 1 else {"all" if values.joint else "any": nodes}
    return {"trait": field.name, "is": {"eq": said[0]} if len(said) == 1 else {"in": list(said)}}


def _true_or_false(value: Any) -> Any:
    return value if isinstance(value, bool) else str(value) == "true"


def _valued(found: list[Item], context: Context) -> Item | None:
    values = one(found, "V")
    node = trait_node(values.value, context)
    if node is None:
        return None
    marks = tuple(mark for item in found if item.kind != "V" for mark in item.marked("trait"))
    done = noted(found, node, (*marks, *values.marked("is")))
    return _denied(found, done)


def _been(found: list[Item], context: Context) -> Item | None:
    """Read a value that has held for some time: "gold for six months"."""
    values, time = one(found, "V"), one(found, "W")
    said = time.value
    if not isinstance(said, WindowSpan) or said.kind not in ("for", "length") or said.op in ("lt", "lte"):
        return None
    node = trait_node(values.value, context)
    if node is None or "trait" not in node:
        return None
    marks = (*values.marked("has_been.is"), *time.marked("for"))
    return _denied(found, noted(found, {"has_been": node, "for": duration(said.length_ms)}, marks))


def _been_node(found: list[Item], context: Context) -> Item | None:
    node, time = one(found, "NODE"), one(found, "W")
    said = time.value
    if set(node.value.node) != {"trait", "is"} or not isinstance(said, WindowSpan) or said.kind != "for":
        return None
    marks = tuple((a, b, f"has_been.{key}") for a, b, key in node.value.marks)
    return noted(found, {"has_been": node.value.node, "for": duration(said.length_ms)}, (*marks, *time.marked("for")))


def _switched(found: list[Item], context: Context) -> Item | None:
    """Read "a boolean is off"."""
    word = one(found, "TRUE", "FALSE")
    fields = [field for field in _of(found[0]) if field.owner == "trait" and _kind(field, context) == "boolean"]
    if not fields:
        return None
    marks = (*found[0].marked("trait"), *word.marked("is"))
    return noted(found, {"trait": fields[0].name, "is": {"eq": word.kind == "TRUE"}}, marks)


def _of(item: Item) -> tuple[Field, ...]:
    fields: tuple[Field, ...] = item.value.fields() if item.kind == "V" else item.value
    return fields


def _changed(found: list[Item], context: Context) -> Item | None:
    """Read "moved from silver to gold"."""
    sides: dict[str, Any] = {}
    trait, marks = "", []
    side = "to"
    for item in found:
        side = {"FROM": "from", "TO": "to", "O": "to"}.get(item.kind, side)
        node = trait_node(item.value, context) if item.kind == "V" else None
        marks += item.marked(f"changed.{side}" if item.kind == "V" else "changed")
        if item.kind == "V" and (node is None or "trait" not in node or node["trait"] != (trait or node["trait"])):
            return None
        if node is not None:
            trait, sides[side] = node["trait"], _bare(node["is"])
    return noted(found, {"changed": {"trait": trait, **dict(sorted(sides.items()))}}, marks)


def _changed_when(found: list[Item], context: Context) -> Item | None:
    from segops.studio.windows import window_keys

    node, time = one(found, "NODE"), one(found, "W")
    if set(node.value.node) != {"changed"}:
        return None
    keys = window_keys(time.value, context.catalogue.zone)
    if keys is None:
        return None
    marks = (*node.value.marks, *time.marked(next(iter(keys))))
    return noted(found, {**node.value.node, **keys}, marks)


def _existing(found: list[Item], context: Context) -> Item | None:
    """Read whether a trait is there: "no birthday on file"."""
    field = one(found, "P")
    named = [each for each in _fields(field, context, "string", "date", "number", "choice", "country", "boolean", "list")]
    if not named or len({each.name for each in named}) > 1:
        return None
    there = not any(item.kind in ("NEG", "WITHOUT", "MISSING") for item in found)
    marks = tuple(mark for item in found for mark in item.marked("is" if item is not field else "trait"))
    return noted(found, {"trait": named[0].name, "is": {"exists": there}}, marks)


def _existing_too(found: list[Item], context: Context) -> Item | None:
    """Read "a phone number and an email address" on, after the first of them."""
    node, joint = found[0], found[1]
    if "exists" not in str(node.value.node) or len(node.value.node) > 2:
        return None
    more = _existing(found[2:], context)
    return None if more is None else [node, joint, more]  # type: ignore[return-value]


# -- tiers, segments, places -------------------------------------------------------------------------------


def _tiers(found: list[Item], _context: Context) -> Item:
    tier = one(found, "R")
    names = tier.value if isinstance(tier.value, tuple) else (tier.value,)
    marks = tuple(mark for item in found for mark in item.marked("rfm"))
    node = noted(found, {"rfm": names[0] if len(names) == 1 else list(names)}, marks)
    return _denied(found, node)


def _digits(found: list[Item], _context: Context) -> Item | None:
    digits, quantities = every(found, "DIGIT"), every(found, "Q")
    tests = {}
    for digit, quantity in zip(digits, quantities, strict=True):
        tests[digit.value] = _bare(test_of(quantity.value))
    marks = tuple(mark for item in found for mark in item.marked("rfm"))
    return noted(found, {"rfm": tests}, marks)


def _segment(found: list[Item], _context: Context) -> Item:
    segment = one(found, "G")
    marks = tuple(mark for item in found for mark in item.marked("in_segment"))
    return _denied(found, noted(found, {"in_segment": segment.value}, marks))


def _near(found: list[Item], context: Context) -> Item | None:
    place, distance = one(found, "L"), one(found, "Q")
    said: Quantity = distance.value
    lat, lon = context.catalogue.places[place.value]
    op, operand = said.ops[0]
    if said.unit not in _UNIT_LENGTHS or len(said.ops) > 1 or isinstance(operand, tuple):
        return None
    node = {"near": {"lat": lat, "lon": lon, "radius": f"{number(operand)}{said.unit}"}}
    marks = tuple(mark for item in found for mark in item.marked("near"))
    done = noted(found, node, marks)
    return replace(done, value=negated(done.value)) if op in ("gt", "gte") else _denied(found, done)


def _near_when(found: list[Item], _context: Context) -> Item | None:
    from segops.studio.windows import RECENT

    node, time = one(found, "NODE"), one(found, "W")
    said = time.value
    if set(node.value.node) != {"near"} or not isinstance(said, WindowSpan) or said.kind not in RECENT:
        return None
    return noted(found, {**node.value.node, "within": duration(said.length_ms)}, (*node.value.marks, *time.marked("within")))


def _known_or_not(found: list[Item], _context: Context) -> Item:
    word = found[-1]
    done = noted(found, {"identified": word.kind == "IDENT"}, word.marked("identified"))
    return _denied(found, done)


def _known_for(found: list[Item], context: Context) -> Item | None:
    """Read "known for at least 30 days"."""
    time = one(found, "W")
    if not isinstance(time.value, WindowSpan) or time.value.kind != "for":
        return None
    marks = tuple(mark for item in found for mark in item.marked("known_for"))
    return noted(found, {"known_for": duration(time.value.length_ms)}, marks)


_NO: Final = "(NEG|WITHOUT)?"

#: Rules that take numbers and dates before events do.
MEASURES: Final = (
    Rule("(DIGIT Q AND? COMMA? DIGIT Q AND? COMMA? DIGIT Q|DIGIT Q (AND|COMMA)? DIGIT Q|DIGIT Q)", _digits),
    Rule("Q L", _near),
    Rule(f"{_NO} WITH? P Q", _measured),
    Rule(f"{_NO} WITH? Q P", _measured),
    Rule("AGED Q", _aged),
    Rule("Q", _aged),
    Rule("Q", _starred),
    Rule("P (FROM|TO)? CHANGE FROM? V (TO|O) V", _changed),
    Rule("P CHANGE (TO|O)? V", _changed),
    Rule("CHANGE P? FROM V (TO|O) V", _changed),
    Rule("CHANGE FROM V", _changed),
    Rule("CHANGE P? (TO|O)? V", _changed),
    Rule(f"{_NO} WITH? P W", _dated),
    Rule("W P", _dated),
    Rule("(IDENT|FILE) W", _known_for),
)

#: Rules of numbers once events have taken theirs.
MORE: Final = (
    Rule("NODE (AND|BUT) Q", _more_measured),
    Rule("P Q W?", _of_only_event),
)

#: Rules of the customer.
TRAITS: Final = (
    Rule(f"{_NO} V WITH? W", _been),
    Rule("(V|P) (TRUE|FALSE)", _switched),
    Rule(f"{_NO} WITH? V", _valued),
    Rule("NODE W", _been_node),
    Rule("NODE COMMA? W", _changed_when),
    Rule("NODE COMMA? W", _near_when),
    Rule("W NODE", _near_when),
    Rule("W COMMA? NODE", _changed_when),
    Rule("NODE COMMA? EXCEPT W", _next_too),
    Rule("NODE COMMA? BUT NEG W", _next_too),
    Rule("P ENDED", _over),
    Rule("(NEG|WITHOUT) WITH? P FILE?", _existing),
    Rule("P (MISSING|FILE)", _existing),
    Rule("WITH BOTH? P FILE?", _existing),
    Rule("NODE (AND|OR) (NEG )?P", _existing_too),
    Rule(f"RFMW? {_NO} RFMW? R (P|RFMW)*", _tiers),
    Rule(f"{_NO} G", _segment),
    Rule(f"{_NO} (ANON|IDENT)", _known_or_not),
)
