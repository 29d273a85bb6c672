"""Values that rules cannot read: the expected kinds, the kind found, and how to report it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from segops.core.conversions import CONVERSIONS, Converted
from segops.core.events import Event
from segops.core.features import Feature
from segops.core.operators import EDGES, Predicate
from segops.core.paths import Each, Path, names_text, path_text, walker
from segops.core.rules.figures import Compare, Number, Ratio, TraitFigure, leaf_figures
from segops.core.rules.model import Changed, HasBeen, Node, Trait, below
from segops.core.values import kind, lookup, parse_instant

#: The kind found instead of the expected one -> the wording for one value, and for several.
FOUND = {
    "text": ("is text", "are text"),
    "number": ("is a number", "are numbers"),
    "boolean": ("is true or false", "are true or false"),
    "list": ("is a list", "are lists"),
    "object": ("is an object", "are objects"),
    "no_date": ("is not a date", "are not dates"),
    "other_currency": ("is in another currency", "are in another currency"),
}
_DATES = frozenset((*EDGES, "before", "after", "weekday", "month"))
_LISTS = frozenset(("includes", "any", "all", "none", "count"))
_TEXTS = frozenset(("contains", "starts_with", "ends_with", "matches"))


class Skip(NamedTuple):
    """A value that a rule could not read: the event (empty: a trait), the path, and the key of ``FOUND``."""

    name: str
    path: str
    found: str


def expected_kinds(test: Predicate) -> frozenset[str]:
    """Return the kinds of values that can satisfy a predicate; empty: any kind.

    >>> [expected_kinds(Predicate((op,))) for op in (("gte", 5), ("in_last", 5), ("exists", True))]
    [frozenset({'number'}), frozenset({'date'}), frozenset()]
    """
    if isinstance(test, Converted):
        return frozenset((f"as {test.convert}",))
    for name, operand in test.ops:
        if name in _DATES:
            return frozenset(("date",))
        if name in _TEXTS:
            return frozenset(("string",))
        if name in _LISTS:
            return frozenset(("list",))
        if name != "exists":
            return frozenset(map(kind, operand if isinstance(operand, tuple) else (operand,)))
    return frozenset()


def misfit(value: Any, kinds: frozenset[str]) -> str | None:
    """Return the key of ``FOUND`` for a value of another kind; None if the kind fits or the value is missing.

    >>> misfit("5", frozenset({"number"})), misfit("soon", frozenset({"date"})), misfit(5, frozenset())
    ('text', 'no_date', None)
    """
    if value is None or not kinds or kind(value) in kinds or any(_converts(value, each) for each in kinds):
        return None
    if "date" in kinds and value.__class__ is str:
        return None if parse_instant(value) is not None else "no_date"
    found = kind(value)
    return "text" if found == "string" else found


def _converts(value: Any, kind: str) -> bool:
    return kind.startswith("as ") and CONVERSIONS[kind.removeprefix("as ")](value) is not None


def skipped(feature: Feature, event: Event) -> Skip:
    """Return why a feature skipped an event that it selects."""
    amounts = [(name, event.properties.get(name)) for name in ("revenue", "total")]
    read = [(path_text(feature.path), walker(feature.path)(event))] if feature.path else amounts
    kinds = _NUMBER if feature.convert is None else frozenset((f"as {feature.convert}",))
    for path, value in read:
        values = value.values if isinstance(value, Each) else [value]
        found = next((odd for odd in (misfit(one, kinds) for one in values) if odd is not None), None)
        if found is not None:
            return Skip(event.name, path, found)
    currency = "currency" if feature.money is None else path_text(feature.money.path)
    return Skip(event.name, currency, "other_currency")


_NUMBER = frozenset(("number",))


def skipped_traits(name: str, value: Any, readings: Iterable[tuple[Path, frozenset[str]]]) -> Iterator[Skip]:
    """Yield the parts of a trait that rules cannot read; ``readings``: full paths and the expected kinds."""
    for path, kinds in readings:
        found = misfit(lookup({name: value}, path), kinds)
        if found is not None:
            yield Skip("", names_text(path), found)


def trait_readings(rules: Iterable[Node]) -> dict[str, tuple[tuple[Path, frozenset[str]], ...]]:
    """Map each top-level trait to the paths that rules test in it, with the kinds of values they expect."""
    found: dict[str, dict[tuple[Path, frozenset[str]], None]] = {}
    for rule in rules:
        for node in below(rule):
            for path, kinds in _tested_traits(node):
                if kinds:
                    found.setdefault(path[0], {})[path, kinds] = None
    return {name: tuple(readings) for name, readings in found.items()}


def _tested_traits(node: Node) -> Iterator[tuple[Path, frozenset[str]]]:
    if isinstance(node, (Trait, HasBeen, Changed)):
        yield node.path, _kinds_read(node)
    if isinstance(node, Ratio) or (isinstance(node, Compare) and isinstance(node.right, Number)):
        traits = (figure for figure in leaf_figures(node) if isinstance(figure, TraitFigure))
        yield from ((trait.path, frozenset(("number",))) for trait in traits)


def _kinds_read(node: Trait | HasBeen | Changed) -> frozenset[str]:
    """Return the kinds of values that a node can read; empty: any kind."""
    if not isinstance(node, Changed):
        return expected_kinds(node.test)
    before, after = (
        frozenset() if test is None else expected_kinds(test) for test in (node.before, node.after)
    )
    return before | after if before and after else frozenset()


def sentences(skips: Mapping[Skip, int]) -> Iterator[str]:
    """Yield one line per skipped path and reason, the most frequent first.

    >>> list(sentences({Skip("Order Completed", "revenue", "text"): 41, Skip("", "birthday", "no_date"): 1}))
    ['revenue of Order Completed: 41 values are text', 'trait birthday: 1 value is not a date']
    """
    for skip, number in sorted(skips.items(), key=lambda found: (-found[1], found[0].path, found[0])):
        where = f"{skip.path} of {skip.name}" if skip.name else f"trait {skip.path}"
        values = "1 value" if number == 1 else f"{number:,} values"
        yield f"{where}: {values} {FOUND[skip.found][number > 1]}"
