"""The parsers of nodes about the customer: changes of traits, and identifiers."""

from __future__ import annotations

from functools import partial
from typing import Final

from msgspec.json import encode

from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.rules.parsing.reader import Reader
from segops.core.rules.parsing.windows import read_window

_EXAMPLE: Final = "{trait: plan, from: free, to: {in: [pro, team]}}"


def read_identified(node: Reader) -> model.Node:
    """Parse an ``identified`` node: whether the customer is a known user."""
    known = model.HasIdentifier(("user_id",))
    return known if node.at("identified").boolean() else model.Not(known)


def read_has_identifier(node: Reader) -> model.HasIdentifier:
    """Parse a ``has_identifier`` node: a type of identifiers, or a list of them."""
    form = node.at("has_identifier")
    written = form.values("a type or a non-empty list of types") if isinstance(form.raw, list) else [form]
    return model.HasIdentifier(tuple(sorted({_type(each) for each in written})))


def _type(reader: Reader) -> str:
    if not reader.text() or ":" in reader.raw:
        reader.fail(f"expected a type of identifiers, such as email, got {reader.raw!r}")
    return reader.text()


def read_changed(node: Reader) -> model.Changed:
    """Parse a ``changed`` node: a trait, its values before and after, and a window."""
    form = node.at("changed")
    sides = {"from": _settled, "to": _settled}
    read = partial(form.record, {"trait": Reader.property}, _EXAMPLE, sides)
    (path, before, after), window = node.gather(read, partial(read_window, node))
    if before is None and after is None:
        form.fail(f"expected from, to or both, such as {_EXAMPLE}")
    if before is not None and _is_single(before) and encode(before) == encode(after):
        form.fail("never holds: from and to are the same value")
    return model.Changed(path, before, after, window)


def _is_single(test: Predicate) -> bool:
    return any(name == "eq" or (name == "exists" and not operand) for name, operand in test.ops)


def _settled(reader: Reader) -> Predicate:
    test = reader.condition()
    if test.timed:
        reader.fail("a change is decided when it happens; use fixed dates (before, after)")
    return test
