"""The keys in events that a look-up table does not have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from segops.core.events import Event
from segops.core.lookups import LOOKUP, Path, key_path, rows_of
from segops.core.paths import Each, path_text, walker
from segops.core.values import as_text

#: How many different keys of one path are told apart, and how many of them are named.
_MOST: Final = 10_000
_NAMED: Final = 3


class UnknownKeys:
    """Counts, by table, event and path of the key, the values that are keys of no row."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], Counter[str]] = {}

    def observe(self, paths: Iterable[Path], event: Event) -> None:
        """Record the keys that paths read of an event; those of one table and path once."""
        places: dict[tuple[str, Path], Path] = {}
        for path in paths:
            while path[:2] == LOOKUP:
                places[path[2], key_path(path)] = path
                path = key_path(path)
        for path in places.values():
            self._observe(path, event)

    def _observe(self, path: Path, event: Event) -> None:
        value = walker(key_path(path))(event)
        keys = {as_text(each) for each in (value.values if isinstance(value, Each) else [value])}
        unknown = [key for key in keys if key is not None and key not in rows_of(path)]
        if unknown:
            place = path[2], path_text(key_path(path)), event.name
            counted = self._found.setdefault(place, Counter())
            counted.update(key for key in unknown if key in counted or len(counted) < _MOST)

    def lines(self) -> Iterator[str]:
        """Yield one line per table, event and path, with the most frequent keys."""
        for (table, path, name), counted in sorted(self._found.items()):
            keys = "1 key is" if len(counted) == 1 else f"{len(counted):,} keys are"
            most = ", ".join(f"{key} ({number:,})" for key, number in counted.most_common(_NAMED))
            yield f"{path} of {name}: {keys} not in the look-up table {table}: {most}"
