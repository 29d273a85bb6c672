"""Rules of the customer: values of traits, tiers, segments, places."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from segops.studio.clauses import combined, duration, negated, number, test_of
from segops.studio.durations import WindowSpan
from segops.studio.fields import Values, bounded
from segops.studio.items import Item, Mark, Reduced, Rule, every, one
from segops.studio.meanings import Field
from segops.studio.measures import (
    UNIT_LENGTHS,
    aged,
    bare,
    dated,
    denied,
    fields_of,
    kind_of,
    measured,
    measured_twice,
    next_too,
    noted,
    over,
    starred,
)
from segops.studio.phrases import Context
from segops.studio.quantities import Quantity
from segops.studio.windows import RECENT, window_keys

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
    if (values.both or kind.name == "boolean") and len(said) > 1 and kind.name != "list":
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
    return denied(found, done)


def _been(found: list[Item], context: Context) -> Item | None:
    """Read a value that has held for some time: "gold for six months"."""
    values, time = one(found, "V"), one(found, "W")
    said = time.value
    if not isinstance(said, WindowSpan) or said.kind not in ("for", "length") or said.op in ("lt", "lte"):
        return None
    node = trait_node(values.value, context)
    if node is None or "trait" not in node:
        return None
    if found[0].kind in ("NEG", "WITHOUT"):
        return None
    marks = (*values.marked("has_been.is"), *time.marked("for"))
    return denied(found, noted(found, {"has_been": node, "for": duration(said.length_ms)}, marks))


def _been_node(found: list[Item], context: Context) -> Item | None:
    node, time = one(found, "NODE"), one(found, "W")
    said = time.value
    if set(node.value.node) != {"trait", "is"} or not isinstance(said, WindowSpan) or said.kind != "for":
        return None
    marks = tuple((a, b, f"has_been.{key}") for a, b, key in node.value.marks)
    return noted(
        found, {"has_been": node.value.node, "for": duration(said.length_ms)}, (*marks, *time.marked("for"))
    )


def _switched(found: list[Item], context: Context) -> Item | None:
    """Read "a boolean is off"."""
    word = one(found, "TRUE", "FALSE")
    fields = [
        field for field in _of(found[0]) if field.owner == "trait" and kind_of(field, context) == "boolean"
    ]
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
    trait = ""
    marks: list[Mark] = []
    side = "to"
    for item in found:
        side = {"FROM": "from", "TO": "to", "O": "to"}.get(item.kind, side)
        node = trait_node(item.value, context) if item.kind == "V" else None
        marks += item.marked(f"changed.{side}" if item.kind == "V" else "changed")
        if item.kind == "V" and (
            node is None or "trait" not in node or node["trait"] != (trait or node["trait"])
        ):
            return None
        if node is not None:
            trait, sides[side] = node["trait"], bare(node["is"])
    return noted(found, {"changed": {"trait": trait, **dict(sorted(sides.items()))}}, marks)


def _lost(found: list[Item], context: Context) -> Item | None:
    """Read "lost gold status"."""
    node = trait_node(one(found, "V").value, context)
    if node is None or "trait" not in node:
        return None
    marks = tuple(mark for item in found for mark in item.marked("changed.from"))
    return noted(found, {"changed": {"trait": node["trait"], "from": bare(node["is"])}}, marks)


def _changed_when(found: list[Item], context: Context) -> Item | None:
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
    named = [
        each
        for each in fields_of(
            field, context, "string", "date", "number", "choice", "country", "boolean", "list"
        )
    ]
    if not named or len({each.name for each in named}) > 1:
        return None
    plain = found[0].kind == "NEG" and found[-1] is field and not any(item.kind == "WITH" for item in found)
    if plain and context.tokens[found[0].last].norm == "not":
        return None
    there = not any(item.kind in ("NEG", "WITHOUT", "MISSING") for item in found)
    marks = tuple(mark for item in found for mark in item.marked("is" if item is not field else "trait"))
    return noted(found, {"trait": named[0].name, "is": {"exists": there}}, marks)


def _existing_too(found: list[Item], context: Context) -> Reduced:
    """Read "a phone number and an email address" on, after the first of them."""
    node, joint = found[0], found[1]
    test = node.value.node.get("is")
    if not isinstance(test, dict) or set(test) != {"exists"}:
        return None
    more = _existing(found[2:], context)
    if more is None or joint.kind == "AND":
        return [node, joint, more] if more else None
    return Item("NODE", combined("any", [node.value, more.value]), node.first, more.last)


def _lacking_both(found: list[Item], context: Context) -> Item | None:
    """Read "no phone number or email" and "without phone and email": neither of the two."""
    denial, joint = found[0], one(found, "AND", "OR")
    first, last = every(found, "P")
    file = [found[-1]] if found[-1].kind == "FILE" else []
    if joint.kind == "AND" and (denial.kind == "NEG" or file):
        return None
    left = _existing([denial, first, *file], context)
    right = _existing([replace(denial, first=joint.first, last=joint.last), last, *file], context)
    if left is None or right is None:
        return None
    return Item("NODE", combined("all", [left.value, right.value]), found[0].first, found[-1].last)


def _existing_both(found: list[Item], context: Context) -> Reduced:
    """Read "phone number or email on file"."""
    first, joint, last, word = found
    left, right = _existing([first, word], context), _existing([last, word], context)
    if left is None or right is None:
        return None
    alone = replace(left, value=replace(left.value, marks=tuple(first.marked("trait"))))
    head = "any" if joint.kind == "OR" else "all"
    return Item("NODE", combined(head, [alone.value, right.value]), first.first, right.last)


def _one_of_list(found: list[Item], context: Context) -> Reduced:
    """Read "with SMS consent, a phone number and …": a trait that there is, in a list."""
    joint, field = found[0], found[1]
    if context.tokens[field.first - 1].norm not in ("a", "an", "their"):
        return None
    there = _existing([Item("WITH", "", field.first, field.first - 1), field], context)
    return None if there is None else [joint, there, *found[2:]]


# -- tiers, segments, places -------------------------------------------------------------------------------


def _tiers(found: list[Item], _context: Context) -> Item:
    tier = one(found, "R")
    names = tier.value if isinstance(tier.value, tuple) else (tier.value,)
    marks = tuple(mark for item in found for mark in item.marked("rfm"))
    node = noted(found, {"rfm": names[0] if len(names) == 1 else list(names)}, marks)
    return denied(found, node)


def _digits(found: list[Item], _context: Context) -> Item | None:
    digits, quantities = every(found, "DIGIT"), every(found, "Q")
    tests = {}
    for digit, quantity in zip(digits, quantities, strict=True):
        tests[digit.value] = bare(test_of(quantity.value))
    marks = tuple(mark for item in found for mark in item.marked("rfm"))
    return noted(found, {"rfm": tests}, marks)


def _segment(found: list[Item], _context: Context) -> Item:
    segment = one(found, "G")
    marks = tuple(mark for item in found for mark in item.marked("in_segment"))
    return denied(found, noted(found, {"in_segment": segment.value}, marks))


def _near(found: list[Item], context: Context) -> Item | None:
    place, distance = one(found, "L"), one(found, "Q")
    said: Quantity = distance.value
    lat, lon = context.catalogue.places[place.value]
    op, operand = said.ops[0]
    if said.unit not in UNIT_LENGTHS or len(said.ops) > 1 or isinstance(operand, tuple):
        return None
    node = {"near": {"lat": lat, "lon": lon, "radius": f"{number(operand)}{said.unit}"}}
    marks = tuple(mark for item in found for mark in item.marked("near"))
    done = noted(found, node, marks)
    return replace(done, value=negated(done.value)) if op in ("gt", "gte") else denied(found, done)


def _near_metres(found: list[Item], context: Context) -> Item | None:
    """Read "around our Paris store: within 300 m", where the metres look like minutes."""
    time = one(found, "W")
    said = time.value
    if (
        context.tokens[time.last].norm != "m"
        or not isinstance(said, WindowSpan)
        or said.kind not in ("in", "gap")
    ):
        return None
    metres = Quantity((("lte", Decimal(said.length_ms // 60_000)),), "m")
    distance = Item("Q", metres, time.first, time.last)
    return _near([distance if item is time else item for item in found], context)


def _near_when(found: list[Item], _context: Context) -> Item | None:
    node, time = one(found, "NODE"), one(found, "W")
    said = time.value
    if set(node.value.node) != {"near"} or not isinstance(said, WindowSpan) or said.kind not in RECENT:
        return None
    return noted(
        found,
        {**node.value.node, "within": duration(said.length_ms)},
        (*node.value.marks, *time.marked("within")),
    )


def _known_or_not(found: list[Item], _context: Context) -> Item:
    word = found[-1]
    done = noted(found, {"identified": word.kind == "IDENT"}, word.marked("identified"))
    return denied(found, done)


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
    Rule(f"{_NO} Q VAGUE? L", _near),
    Rule("VAGUE? L (COMMA|COLON)? Q", _near),
    Rule("VAGUE? L LP Q RP", _near),
    Rule("VAGUE? L (COMMA|COLON)? W", _near_metres),
    Rule("VAGUE? L LP W RP", _near_metres),
    Rule("P Q P", measured_twice),
    Rule(f"{_NO} WITH? P Q", measured),
    Rule(f"{_NO} WITH? Q P", measured),
    Rule("AGED Q", aged),
    Rule("Q", aged),
    Rule("Q", starred),
    Rule("P (FROM|TO)? CHANGE FROM? V (TO|O) V", _changed),
    Rule("LOST P? V P?", _lost),
    Rule("P CHANGE (TO|O)? V", _changed),
    Rule("CHANGE P? FROM V (TO|O) V", _changed),
    Rule("CHANGE FROM V", _changed),
    Rule("CHANGE P? (TO|O)? V", _changed),
    Rule(f"{_NO} WITH? P W", dated),
    Rule("W P", dated),
    Rule("(IDENT|FILE) W", _known_for),
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
    Rule("NODE COMMA? EXCEPT W", next_too),
    Rule("NODE COMMA? BUT NEG W", next_too),
    Rule("P ENDED", over),
    Rule("(NEG|WITHOUT) WITH? P (OR|AND) P FILE?", _lacking_both),
    Rule("(NEG|WITHOUT) WITH? P FILE?", _existing),
    Rule("P (AND|OR) P (MISSING|FILE)", _existing_both),
    Rule("P (MISSING|FILE)", _existing),
    Rule("MISSING P", _existing),
    Rule("WITH BOTH? P FILE?", _existing),
    Rule(f"{_NO} FILE P", _existing),
    Rule("NODE (AND|OR) (NEG )?P", _existing_too),
    Rule("(COMMA|AND) P (COMMA|AND|OR|BUT)", _one_of_list),
    Rule(f"RFMW? {_NO} RFMW? R (P|RFMW)*", _tiers),
    Rule(f"{_NO} G", _segment),
    Rule(f"{_NO} (ANON|IDENT)", _known_or_not),
)
