"""Items: what the tokens of a request are taken for, and how neighbouring items become one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

#: The tokens from ``first`` to ``last``, and the key of a node that they became.
Mark = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Item:
    """Some tokens, taken for one thing. ``kind`` is a short name: rules are patterns of kinds."""

    kind: str
    value: Any
    first: int
    last: int
    marks: tuple[Mark, ...] = ()
    #: What else a phrase may mean, by kind.
    other: Mapping[str, Any] = field(default_factory=dict)

    def marked(self, key: str) -> tuple[Mark, ...]:
        """Return the marks of the item's tokens for the key of a node."""
        return (*self.marks, (self.first, self.last, key))

    def as_kind(self, kind: str, value: Any = None) -> Item:
        """Return the item as one of another kind."""
        return replace(self, kind=kind, value=self.value if value is None else value)


def merged(kind: str, value: Any, items: Sequence[Item], marks: Iterable[Mark] = ()) -> Item:
    """Return one item in place of several neighbours, with their marks and some more."""
    return Item(kind, value, items[0].first, items[-1].last, tuple(marks))


#: What a rule makes of the items that it matches: one item, several, or None to leave them.
Reduced = Item | list[Item] | None
Build = Callable[[list[Item], Any], Reduced]


_WORD: Final = re.compile(r"[A-Za-z_]+")


class Unread(Exception):
    """Items are left that became no node."""

    def __init__(self, items: Sequence[Item]) -> None:
        super().__init__()
        self.items = tuple(items)


class Rule:
    """A pattern of kinds, such as ``Q E (W|T)?``, and the function that makes one item of what matches."""

    __slots__ = ("build", "pattern")

    def __init__(self, pattern: str, build: Build) -> None:
        kinds = _WORD.sub(lambda match: f"(?:{match[0]}\0)", pattern).replace(" ", "")
        self.pattern = re.compile(r"(?<!\S)" + kinds.replace("\0", " "))
        self.build = build


def reduce(items: list[Item], rules: Sequence[Rule], context: Any, rounds: int = 3) -> list[Item]:
    """Apply rules, in their order, wherever they match; again until none does, at most ``rounds`` times.

    >>> pair = Rule("A B", lambda found, _context: merged("C", None, found))
    >>> [item.kind for item in reduce([Item("A", 1, 0, 0), Item("B", 2, 1, 1)], [pair], None)]
    ['C']
    """
    for _ in range(rounds):
        before = items
        for rule in rules:
            items = _applied(items, rule, context)
        if items is before:
            break
    return items


def _applied(items: list[Item], rule: Rule, context: Any) -> list[Item]:
    pattern = rule.pattern
    position = 0
    while True:
        kinds = "".join(f"{item.kind} " for item in items)
        match = pattern.search(kinds, position)
        if match is None:
            return items
        first = kinds.count(" ", 0, match.start())
        last = kinds.count(" ", 0, match.end())
        found = rule.build(items[first:last], context)
        if found is None or _kinds(found) == _kinds(items[first:last]):
            position = kinds.index(" ", match.start()) + 1
            continue
        new = found if isinstance(found, list) else [found]
        items = [*items[:first], *new, *items[last:]]
        position = (
            match.start()
            if not isinstance(found, list)
            else match.start() + sum(len(i.kind) + 1 for i in new)
        )


def _kinds(found: Item | list[Item]) -> list[str]:
    return [item.kind for item in found] if isinstance(found, list) else [found.kind]


def one(items: Iterable[Item], *kinds: str) -> Item:
    """Return the first item of one of these kinds, which a pattern has made sure to be there."""
    return next(item for item in items if item.kind in kinds)


def every(items: Iterable[Item], *kinds: str) -> list[Item]:
    """Return the items of these kinds."""
    return [item for item in items if item.kind in kinds]
