"""The parser of rules: from the nodes as written to a tree, reporting every mistake with its path."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any as Raw
from typing import NamedTuple

from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.rules.parsing.areas import read_inside, read_near
from segops.core.rules.parsing.context import Context
from segops.core.rules.parsing.customer import read_changed, read_has_identifier, read_identified
from segops.core.rules.parsing.distances import read_distance_node
from segops.core.rules.parsing.figures import (
    AGGREGATE_TESTS,
    AGGREGATES,
    read_compare,
    read_conversions,
    read_ratio,
)
from segops.core.rules.parsing.figures import read_selection as _selection
from segops.core.rules.parsing.indicators import read_indicator, read_percentile_node
from segops.core.rules.parsing.money import MONEY_KEYS
from segops.core.rules.parsing.reader import Reader, Reads
from segops.core.rules.parsing.refresh import read_frozen
from segops.core.rules.parsing.rhythm import (
    ACTIVE,
    read_active,
    read_lifecycle,
    read_regularly,
    read_session,
    read_sessions,
)
from segops.core.rules.parsing.scores import SIDES, read_rfm_or_hysteresis, read_score
from segops.core.rules.parsing.sequences import read_sequence
from segops.core.rules.parsing.static_lists import read_list
from segops.core.rules.parsing.windows import TIME_KEYS, WINDOW_KEYS, only_keys, read_window, warn_of_anchors

_DID_ONCE = Predicate((("gte", 1),))
_DID_NOT = Predicate((("eq", 0),))
_MAX_DEPTH = 50


def read_rule(raw: Raw, path: str, context: Context) -> model.Node:
    """Parse the rule at ``path``. Raises DefinitionError with every mistake; adds warnings to the context.

    >>> read_rule({"did": "Order Completed", "within": "0h"}, "when", Context("shop.yaml"))
    Traceback (most recent call last):
    segops.core.errors.DefinitionError: shop.yaml: when.within: expected a duration above 0, got '0h'
    """
    context.begin(path)
    return _node(Reader(raw, path, context))


def _node(node: Reader) -> model.Node:
    node.context.count_node()
    if not isinstance(node.raw, dict):
        node.fail(f"expected a map with one of {', '.join(HEADS)}, got {node.raw!r}")
    found = [key for key in node.raw if key in HEADS]
    if len(found) != 1:
        node.fail(_about_heads(node.raw, found))
    if node.path.count(".") > _MAX_DEPTH:
        node.fail(f"nested more than {_MAX_DEPTH} nodes deep")
    name = found[0]
    head = HEADS[name]
    if node.raw.keys() <= _KEYS[name]:
        return head.read(node)
    tree: model.Node = node.gather(partial(only_keys, node, name, *head.keys), partial(head.read, node))[1]
    return tree


def _about_heads(raw: dict[Raw, Raw], heads: list[str]) -> str:
    if heads:
        return f"expected exactly one of {', '.join(HEADS)}, got {' and '.join(heads)}"
    if not raw:
        return f"expected one of {', '.join(HEADS)}, got an empty map"
    return f"unknown node {', '.join(map(str, raw))}; expected one of {', '.join(HEADS)}"


# -- groups ------------------------------------------------------------------------------------------------


def _children(form: Reader) -> tuple[model.Node, ...]:
    nodes = form.items("a non-empty list of nodes")
    return tuple(form.gather(*(partial(_node, child) for child in nodes)))


def _not(node: Reader) -> model.Node:
    node.context.negations += 1
    try:
        return model.Not(_node(node.at("not")))
    finally:
        node.context.negations -= 1


def _at_least(node: Reader) -> model.Node:
    form = node.at("at_least")

    def k(reader: Reader) -> int:
        of = form.raw["of"]
        return reader.integer(1, max(1, len(of)) if isinstance(of, list) else 1, "the number of nodes")

    return model.AtLeast(*form.record({"k": k, "of": _children}, "{k: 2, of: [...]}"))


# -- events ------------------------------------------------------------------------------------------------


def _did(node: Reader) -> model.Node:
    def count() -> Predicate:
        return node.at("count").count(anchored="since_last" in node) if "count" in node else _DID_ONCE

    count_, select, window = node.gather(count, partial(_selection, node, "did"), partial(read_window, node))
    warn_of_anchors(node, select.names, window)
    return model.Did(select, window, count_)


def _did_not(node: Reader) -> model.Node:
    select, window = node.gather(partial(_selection, node, "did_not"), partial(read_window, node))
    warn_of_anchors(node, select.names, window)
    return model.Did(select, window, _DID_NOT)


def _aggregate(function: str) -> Head:
    def read(node: Reader) -> model.Node:
        test = node.at("is")
        read_test = getattr(test, AGGREGATE_TESTS.get(function, "predicate"))
        if function == "distinct":
            read_test = partial(test.count, anchored="since_last" in node)
        path, predicate, select, window, convert, money = node.gather(
            node.at(function).property,
            read_test,
            partial(_selection, node, "of"),
            partial(read_window, node),
            *read_conversions(node),
        )
        warn_of_anchors(node, select.names, window)
        return model.Aggregate(function, path, select, window, predicate, convert, money)

    windows, keys = windows_of(function), MONEY_KEYS.get(function, ())
    return Head(("of", "where", "is", *windows, "as", "time_of_day", *keys), read)


def windows_of(function: str) -> tuple[str, ...]:
    """Return the keys of the windows that an aggregate node may have."""
    return TIME_KEYS if function == "most_frequent" else WINDOW_KEYS


def _occurrence(which: str) -> Head:
    def read(node: Reader) -> model.Node:
        select, (older_ms, newer_ms) = node.gather(
            partial(_selection, node, which), partial(_ages, node.at("is"))
        )
        return model.Occurrence(which, select, older_ms, newer_ms)

    return Head(("where", "time_of_day", "is"), read)


def _ages(form: Reader) -> tuple[int | None, int | None]:
    keys = ("older_than", "newer_than")
    if not isinstance(form.raw, dict) or not form.raw or set(form.raw) - set(keys):
        form.fail("expected older_than or newer_than, such as {older_than: 60d}")
    ages = dict(form.predicate(keys).ops)
    older_ms, newer_ms = ages.get("older_than"), ages.get("newer_than")
    if older_ms is not None and newer_ms is not None and older_ms >= newer_ms:
        form.fail("never holds: older_than is not below newer_than")
    return older_ms, newer_ms


# -- the profile -------------------------------------------------------------------------------------------


def _trait(node: Reader) -> model.Node:
    return model.Trait(*node.gather(node.at("trait").trait, node.at("is").test))


def _known_for(node: Reader) -> model.Node:
    return model.KnownFor(node.at("known_for").duration())


def _in_segment(node: Reader) -> model.Node:
    if not isinstance(node.raw["in_segment"], str):
        node.at("in_segment").fail(f"expected a segment key, got {node.raw['in_segment']!r}")
    return model.InSegment(node.raw["in_segment"])


def _has_been(node: Reader) -> model.Node:
    def trait() -> list[Raw]:
        reads: Reads = {"trait": Reader.trait, "is": Reader.test}
        return node.at("has_been").record(reads, "{trait: plan, is: {eq: gold}}")

    (path, predicate), length_ms = node.gather(trait, node.at("for").duration)
    return model.HasBeen(path, predicate, length_ms)


def _bucket(node: Reader) -> model.Node:
    form = node.at("bucket")
    reads: Reads = {"salt": Reader.text, "from": _hundredths, "to": _hundredths}
    salt, low, high = form.record(reads, "{salt: spring, from: 0, to: 10}")
    if low >= high:
        form.fail("never holds: from is not below to")
    return model.Bucket(salt, low, high)


def _hundredths(reader: Reader) -> int:
    hundredths = reader.number(0, 100, "a percentage from 0 to 100") * 100
    if hundredths != int(hundredths):
        reader.fail(f"expected at most two decimals, got {reader.raw!r}")
    return int(hundredths)


class Head(NamedTuple):
    """The keys allowed beside the head of a node, and the function that reads the node."""

    keys: tuple[str, ...]
    read: Callable[[Reader], model.Node]


#: Head key -> its other keys and its reader. A node has exactly one head key.
HEADS: dict[str, Head] = {
    "all": Head((), lambda node: model.All(_children(node.at("all")))),
    "any": Head((), lambda node: model.Any(_children(node.at("any")))),
    "not": Head((), _not),
    "at_least": Head((), _at_least),
    "did": Head(("where", "count", *WINDOW_KEYS, "time_of_day"), _did),
    "did_not": Head(("where", *WINDOW_KEYS, "time_of_day"), _did_not),
    **{function: _aggregate(function) for function in AGGREGATES},
    "first": _occurrence("first"),
    "last": _occurrence("last"),
    "trait": Head(("is",), _trait),
    "known_for": Head((), _known_for),
    "has_been": Head(("for",), _has_been),
    "changed": Head(TIME_KEYS, read_changed),
    "identified": Head((), read_identified),
    "has_identifier": Head((), read_has_identifier),
    "list": Head((), read_list),
    "near": Head(("anytime", *TIME_KEYS, "located_by"), read_near),
    "inside": Head(("anytime", *TIME_KEYS, "located_by"), read_inside),
    "distance_to": Head(("is", "within"), read_distance_node),
    "bucket": Head((), _bucket),
    "sequence": Head(("within", "strict"), read_sequence),
    "rfm": Head((), read_rfm_or_hysteresis),
    "score": Head(("of", "is", *SIDES), read_score),
    "score_percentile": Head(("is",), read_percentile_node),
    "in_segment": Head((), _in_segment),
    **{
        head: Head(("where", "time_of_day", "zone", "is", *TIME_KEYS), partial(read_active, head))
        for head in ACTIVE
    },
    "sessions": Head(("gap", "where", "time_of_day", "is", *TIME_KEYS), read_sessions),
    "session": Head(("of", "gap", "where", "time_of_day", "which", "is"), read_session),
    "regularly": Head(("where", "time_of_day", "every", "k", "of"), read_regularly),
    "lifecycle": Head((), read_lifecycle),
    "compare": Head((), read_compare),
    "ratio": Head((), read_ratio),
    "indicator": Head(("is",), read_indicator),
}

#: The heads of nodes about events alone, which may have a ``refresh``.
REFRESHED = (
    "did",
    "did_not",
    *AGGREGATES,
    "first",
    "last",
    "rfm",
    *ACTIVE,
    "sessions",
    "session",
    "regularly",
    "lifecycle",
    "compare",
    "ratio",
    "indicator",
)
HEADS |= {
    name: Head((*HEADS[name].keys, "refresh"), partial(read_frozen, HEADS[name].read)) for name in REFRESHED
}

_KEYS = {name: frozenset((name, *head.keys)) for name, head in HEADS.items()}
