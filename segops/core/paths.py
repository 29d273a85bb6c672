"""Paths of values: how they are written, and how they are read of an event (``SPEC.md#values``).

A path is a tuple of names. One of an event begins at its properties, unless its first name is empty, which
cannot be written: the second name is then the root, ``context``, ``time``, ``lookup`` or ``located``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from segops.core.events import Event
from segops.core.lookups import LOCATED, LOOKUP, key_path, rows_of
from segops.core.values import as_text, lookup

Path = tuple[str, ...]

#: What begins a path of the event's context; the value at ``TIME`` is the time of the event.
CONTEXT: Final[Path] = ("", "context")
TIME: Final[Path] = ("", "time")
#: A property of this name is written with a backslash before it, since the word begins paths of the context.
_WORD: Final = "context"

_PARTS = re.compile(r"\\[.\\]|\.|[^.\\]+|\\")
_ESCAPES = ("\\.", "\\\\")


def split_path(text: str) -> Path:
    r"""Split a path at its dots; ``\.`` is a dot, and ``\\`` a backslash, in a name.

    >>> split_path(r"cart.total"), split_path(r"form\.data.category")
    (('cart', 'total'), ('form.data', 'category'))
    """
    names = [""]
    for part in _PARTS.findall(text):
        if part == ".":
            names.append("")
        else:
            names[-1] += part[1:] if part in _ESCAPES else part
    return tuple(names)


def names_text(path: Path) -> str:
    r"""Return the notation of a path of a trait, or within an element of a list.

    >>> names_text(("form.data", "category"))
    'form\\.data.category'
    """
    if path[:2] == LOOKUP:
        return _looked_up_text(path, names_text(key_path(path)))
    return ".".join(name.replace("\\", "\\\\").replace(".", "\\.") for name in path)


def event_path(text: str) -> Path:
    r"""Read the notation of a path of an event.

    >>> event_path("context.app.version"), event_path(r"\context.app"), event_path("context")
    (('', 'context', 'app', 'version'), ('context', 'app'), ('context',))
    """
    path = split_path(text)
    if path[0] == _WORD and len(path) > 1:
        return CONTEXT + path[1:]
    if text.startswith(f"\\{_WORD}") and path[0] == f"\\{_WORD}":
        return _WORD, *path[1:]
    return path


def path_text(path: Path) -> str:
    r"""Return the notation of a path of an event: what ``event_path`` reads.

    >>> path_text(("", "context", "app", "version")), path_text(("context", "app"))
    ('context.app.version', '\\context.app')
    """
    if path[:2] == LOOKUP:
        return _looked_up_text(path, path_text(key_path(path)))
    if path[:2] == LOCATED:
        return f"location or {path_text(path[2:])}"
    if not path[0]:
        return names_text(path[1:])
    return f"\\{names_text(path)}" if path[0] == _WORD and len(path) > 1 else names_text(path)


def _looked_up_text(path: Path, key: str) -> str:
    return f"{path[2]}[{key}].{path[3]}"


def getter(path: Path) -> Callable[[Event], Any]:
    """Return a function from an event to its value at a path; None is a missing value.

    >>> event = Event("page", 5, "m", {"a": {"b": 1}}, context={"os": {"name": "iOS"}})
    >>> [getter(path)(event) for path in (("a", "b"), ("", "context", "os", "name"), TIME)]
    [1, 'iOS', 5]
    """
    if not path[0]:
        return _ROOTS[path[1]](path[2:])
    if len(path) == 1:
        name = path[0]
        return lambda event: event.properties.get(name)
    return lambda event: lookup(event.properties, path)


def walker(path: Path) -> Callable[[Event], Any]:
    """Return a function from an event to its value at a path; a path through a list gives ``Each``.

    >>> event = Event("Order Completed", 5, "m", {"products": [{"price": 5}, {"price": 7}, {}]})
    >>> walker(("products", "price"))(event).values
    [5, 7]
    """
    if path[0]:
        return (lambda event: walk(event.properties, path)) if len(path) > 1 else getter(path)
    if path[:2] == LOOKUP:
        return _each_looked_up(path)
    if path[:2] != CONTEXT:
        return getter(path)
    rest = path[2:]
    return lambda event: None if event.context is None else walk(event.context, rest)


class Each:
    """The values at a path through one or several lists, without missing ones."""

    __slots__ = ("values",)

    def __init__(self, values: list[Any]) -> None:
        self.values = values


def walk(values: Any, path: Path) -> Any:
    """Return the value at a path, None if it is missing; ``Each`` for a path that leads through lists."""
    found = values
    for number, name in enumerate(path):
        if found.__class__ is not dict:
            return Each(list(_below(found, path[number:]))) if found.__class__ is list else None
        found = found.get(name)
    return found


def _below(items: list[Any], path: Path) -> Any:
    for item in items:
        found = walk(item, path)
        if found.__class__ is Each:
            yield from found.values
        elif found is not None:
            yield found


def _in_context(path: Path) -> Callable[[Event], Any]:
    return lambda event: None if event.context is None else lookup(event.context, path)


def _looked_up(path: Path) -> Callable[[Event], Any]:
    """Return a function from an event to the value that a column has for its key; ``path``: without root."""
    found, key_of = rows_of((*LOOKUP, *path)).get, getter(key_path((*LOOKUP, *path)))

    def take(event: Event) -> Any:
        key = as_text(key_of(event))
        return None if key is None else found(key)

    return take


def _located(path: Path) -> Callable[[Event], Any]:
    """Return a function from an event to its latitude and longitude: its own, else those at a path."""
    point_of = getter(path)
    return lambda event: point_of(event) if event.location is None else [*event.location]


def _each_looked_up(path: Path) -> Callable[[Event], Any]:
    """Return a function like ``_looked_up``; a key at a path through a list gives ``Each`` of the values."""
    rows, keys_of = rows_of(path), walker(key_path(path))

    def value_of(key: Any) -> Any:
        text = as_text(key)
        return None if text is None else rows.get(text)

    def take(event: Event) -> Any:
        found = keys_of(event)
        if found.__class__ is not Each:
            return value_of(found)
        return Each([value for value in map(value_of, found.values) if value is not None])

    return take


#: Root -> the getter of a path below it.
_ROOTS: dict[str, Callable[[Path], Callable[[Event], Any]]] = {
    "context": _in_context,
    "lookup": _looked_up,
    "located": _located,
    "time": lambda _path: lambda event: event.time_ms,
}
