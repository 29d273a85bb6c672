"""The segments of a scenario: those that it begins with, and those that its steps apply and retire."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from segops.core.errors import DefinitionError, Issue, UserError
from segops.core.rules.model import ListInForce
from segops.core.segments import Definition, SegmentSet, edited
from segops.schemas.issues import format_location
from segops.schemas.segments import inline, load_checked
from segops.schemas.static_lists import bound

Location = tuple[int | str, ...]


class Document(Protocol):
    """A scenario file that collects its mistakes and knows the line of each location."""

    file: Path
    issues: list[Issue]

    def refuse(self, loc: Location, reason: str) -> None: ...

    def line(self, loc: Location) -> int: ...


def read_segments(written: Any, loc: Location, document: Document) -> list[Definition] | None:
    """Read a path relative to the file, or a list of segments; None after reporting mistakes."""
    try:
        if isinstance(written, str):
            return load_checked([document.file.parent / written]).all_definitions
        if isinstance(written, list) and written:
            return inline(written, str(document.file), format_location("", loc))
        document.refuse(loc, "expected a path relative to this file, or a list of segments")
    except DefinitionError as error:
        document.issues += error.issues
    except UserError as error:
        document.refuse(loc, str(error))
    return None


class PublishedSegments:
    """The segments up to a step of a scenario, published as by ``segops apply``.

    ``known`` are the keys of all segments; None after a mistake: then no key is reported as unknown.
    """

    def __init__(self, segments: SegmentSet | None, document: Document) -> None:
        self._document = document
        self._retired: dict[str, int] = {}
        self._segments = SegmentSet.EMPTY if segments is None else segments
        self.known = None if segments is None else frozenset(segments.by_key)
        self._lists: dict[str, ListInForce] = {}

    def put_list(self, key: str, expires_ms: int | None, loc: Location) -> tuple[int, SegmentSet | None]:
        """Put the next version of a static list in force; return its number and all segments, bound to it."""
        version = self._lists[key].version + 1 if key in self._lists else 1
        self._lists[key] = ListInForce(version, expires_ms)
        return version, self._publish(list(self._segments.definitions), loc)

    def apply(self, written: Any, loc: Location) -> SegmentSet | None:
        """Publish segments; return all segments afterwards, or None after reporting mistakes."""
        found = read_segments(written, loc, self._document)
        for each in found or ():
            if each.key in self._retired:
                version = self._retired[each.key]
                reason = f"{each.key!r} was retired at version {version}; a retired key cannot be reused"
                self._document.refuse(loc, reason)
                found = None
                break
        if found is None:
            self.known = None
            return None
        return self._publish(edited(self._segments.all_definitions, found), loc)

    def retire(self, keys: Sequence[str], loc: Location) -> SegmentSet | None:
        """Retire segments; return the remaining ones, or None after reporting mistakes."""
        live = {each.key: each for each in self._segments.all_definitions}
        for key in keys:
            if key in live:
                self._retired[key] = live.pop(key).version
            elif self.known is not None:
                self._document.refuse(loc, f"cannot retire {key!r}: no such segment is published")
        return self._publish(list(live.values()), loc)

    def _publish(self, definitions: list[Definition], loc: Location) -> SegmentSet | None:
        if self.known is None:
            return None
        try:
            self._segments = SegmentSet(bound(definitions, self._lists), self._segments)
        except DefinitionError as error:
            for issue in error.issues:
                self._document.refuse(loc, f"{issue.path}: {issue.reason}")
            self.known = None
            return None
        self.known = frozenset(self._segments.by_key)
        return self._segments
