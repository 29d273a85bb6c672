"""The parser of look-ups: a column of a table by a key, written as a path (``SPEC.md#lookups``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from segops.core.lookups import POINT, POSTAL_CODES, lookup_path
from segops.core.paths import Path, split_path

if TYPE_CHECKING:
    from segops.core.rules.parsing.reader import Reader

#: The name of a look-up table.
TABLE_PATTERN: Final = "[A-Za-z0-9_-]{1,64}"
_LOOKUP: Final = re.compile(rf"({TABLE_PATTERN})\[(.+)\]\.(.+)", re.DOTALL)
_ADVICE: Final = 'a property with brackets in its name is written as a list, such as [properties, "a[0]", b]'


def read_lookup(reader: Reader, raw: Any, read_key: Callable[[Reader, Any], Path]) -> Path | None:
    """Read ``table[key].column``; return None for another notation. The key may be a look-up, too.

    Raises DefinitionError for an unknown table or column. Rules of earlier versions may have such a property.
    """
    found = _LOOKUP.fullmatch(raw) if isinstance(raw, str) else None
    if found is None:
        return None
    context, (name, key, column) = reader.context, found.groups()
    if context.lookups is None:  # the block is invalid, which is reported once
        return read_key(reader, key)
    if name not in context.lookups:
        if context.published:
            return None
        known = ", ".join(context.lookups) or "(none: the file has no lookups)"
        reader.fail(f"unknown look-up table {name!r}; expected one of {known}; {_ADVICE}")
    table = context.lookups[name]
    path = split_path(column)
    chosen = table.column(column, path) if all(path) else None
    if chosen is None:
        reader.fail(f"unknown column {column!r} of {name}; expected one of {', '.join(table.names)}")
    return lookup_path(chosen, read_key(reader, key))


def read_code(node: Reader) -> Path | None:
    """Read ``located_by`` of a node: the path of the point of a postal code in an event; None without it."""
    if "located_by" not in node:
        return None
    form, tables = node.at("located_by"), node.context.lookups
    path = form.property()
    if tables is None:  # the block is invalid, which is reported once
        return None
    table = tables.get(POSTAL_CODES)
    points = None if table is None else table.column(POINT, (POINT,))
    if points is None:
        form.fail("expected a block postal_codes in the file, which says where each code is")
    return lookup_path(points, path)
