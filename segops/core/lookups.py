"""Look-up tables: the value of a column by a property of an event (``SPEC.md#lookups``).

A rule refers to a column by the digest of all its values, so that another content is another rule. The
columns that definitions hold are found by that digest; a path stays a plain tuple of names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

import msgspec

from segops.core.errors import SegopsError
from segops.core.values import as_text, lookup

Rows = Mapping[str, Any]
Path = tuple[str, ...]

#: What begins the path of a look-up: the table, the column, its digest and the path of the key follow.
LOOKUP: Final[Path] = ("", "lookup")
#: What begins the path of a location: of the event, else at the path of a look-up that follows.
LOCATED: Final[Path] = ("", "located")
#: The table of postal codes, and its column of points.
POSTAL_CODES: Final = "postal_codes"
POINT: Final = "point"
_KEY: Final = 5


class Column:
    """The values of a column by key; None where a row has no value. Immutable, and equal by its digest.

    ``read`` returns the rows; it is called when a rule needs them, and again after ``release``.
    """

    __slots__ = ("__weakref__", "_read", "_rows", "digest", "name", "table")

    def __init__(self, table: str, name: str, digest: str, read: Callable[[], Rows]) -> None:
        self.table = table
        self.name = name
        self.digest = digest
        self._read = read
        self._rows: Rows | None = None

    @property
    def rows(self) -> Rows:
        """The values by key. Raises SegopsError if the content is not that of the digest."""
        rows = self._rows  # another thread may release them meanwhile
        if rows is None:
            rows = self._rows = self._read()
        return rows

    def release(self) -> None:
        """Drop the rows, which are read again if a rule needs them."""
        self._rows = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Column) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Column({self.table}.{self.name}, {self.digest[:12]})"


#: Digest -> the column, while a definition or the log of definitions holds it.
_columns: WeakValueDictionary[str, Column] = WeakValueDictionary()


def shared(column: Column) -> Column:
    """Return the column of this content that is already in memory, or this one, found from now on."""
    return _columns.setdefault(column.digest, column)


def find(digest: str) -> Column | None:
    """Return the column with this digest, or None if no definition in memory holds it."""
    return _columns.get(digest)


def rows_of(path: Path) -> Rows:
    """Return the rows that the path of a look-up reads. Raises SegopsError if they are not in memory."""
    return _required(path).rows


def _required(path: Path) -> Column:
    column = find(path[_KEY - 1])
    if column is None:
        raise SegopsError(f"the column {path[3]} of the look-up table {path[2]} is not in memory")
    return column


def lookup_path(column: Column, key: Path) -> Path:
    """Return the path of the value that a column has for the key at another path."""
    return (*LOOKUP, column.table, column.name, column.digest, *key)


def key_path(path: Path) -> Path:
    """Return the path of the key that the path of a look-up reads of an event or of an element.

    >>> key_path(("", "lookup", "products", "price", "a1b2", "product", "id"))
    ('product', 'id')
    """
    return path[_KEY:]


def read_path(path: Path) -> Path:
    """Return the path that is read of an event: that of the innermost key, if the path is of a look-up."""
    path = path[2:] if path[:2] == LOCATED else path
    while path[:2] == LOOKUP:
        path = key_path(path)
    return path


def within(path: Path, below: Path) -> Path:
    """Return the path from an event to what ``below`` reads of the elements of the list at ``path``.

    >>> within(("items",), ("", "lookup", "products", "price", "a1b2", "id"))
    ('', 'lookup', 'products', 'price', 'a1b2', 'items', 'id')
    """
    if below[:2] != LOOKUP:
        return (*path, *below)
    return (*below[:_KEY], *within(path, key_path(below)))


def value_within(element: Any, path: Path) -> Any:
    """Return the value at a path, or of a look-up, within an element of a list; None if it is missing."""
    if path[0]:
        return lookup(element, path)
    key = as_text(value_within(element, key_path(path)))
    return None if key is None else rows_of(path).get(key)


def columns_of(rule: msgspec.Struct) -> tuple[Column, ...]:
    """Return the columns that a rule reads, ordered by digest. Raises SegopsError if one is not in memory."""
    found = {column.digest: column for column in _columns_in(msgspec.to_builtins(rule))}
    return tuple(found[digest] for digest in sorted(found))


def _columns_in(form: Any) -> Iterator[Column]:
    if isinstance(form, dict):
        form = tuple(form.values())
    if not isinstance(form, (list, tuple)):
        return
    path = tuple(form)
    path = path[2:] if path[:2] == LOCATED else path
    while path[:2] == LOOKUP:
        yield _required(path)
        path = key_path(path)
    for each in path:
        yield from _columns_in(each)


class LookupTable(Protocol):
    """A table by the name that rules give it."""

    @property
    def names(self) -> Collection[str]:
        """The names of its columns."""

    def column(self, name: str, path: Path) -> Column | None:
        """Return the column of this name, at this path within each row; None if the table has none."""


class WrittenTable:
    """A table with all its rows, of which only the columns that rules read are kept.

    >>> table = WrittenTable("products", {"p1": {"collection": "Shoes"}, "p2": {}})
    >>> column = table.column("collection", ("collection",))
    >>> column.rows, table.column("price", ("price",))
    ({'p1': 'Shoes', 'p2': None}, None)
    """

    def __init__(self, name: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
        self._name = name
        self._rows = rows
        self.names = sorted({each for row in rows.values() for each in row})
        self._known = frozenset(self.names)
        self._made: dict[str, Column] = {}

    def column(self, name: str, path: Path) -> Column | None:
        """Return the column of this name, at this path within each row; None if no row has its beginning."""
        if path[0] not in self._known:
            return None
        if name not in self._made:
            rows = {key: lookup(row, path) for key, row in self._rows.items()}
            digest = digest_of(self._name, name, rows)
            self._made[name] = shared(Column(self._name, name, digest, lambda: rows))
        return self._made[name]


class PublishedTable:
    """The columns of a table that a published definition reads."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = columns

    @property
    def names(self) -> Collection[str]:
        """The names of its columns."""
        return self._columns.keys()

    def column(self, name: str, _path: Path) -> Column | None:
        """Return a column; None if the definition reads none of this name."""
        return self._columns.get(name)


def content_of(rows: Rows) -> bytes:
    """Return the content of a column as JSON, the same for the same rows in any order."""
    return msgspec.json.encode(sorted(rows.items()))


def digest_of(table: str, name: str, rows: Rows) -> str:
    """Return the digest of a column: of its names and its content.

    >>> digest_of("a", "b", {"x": 1, "y": 2}) == digest_of("a", "b", {"y": 2, "x": 1})
    True
    """
    return hashlib.sha256(msgspec.json.encode((table, name)) + content_of(rows)).hexdigest()[:32]
