"""What is published: definitions and their versions, plans, audiences, destinations, the catalogue."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from segops.catalogue.counters import Entry
from segops.catalogue.published import key_of
from segops.catalogue.views import EventView, views
from segops.core.segments import Definition
from segops.kafka.definitions import DefinitionLog
from segops.schemas.published_models import ModelLog
from segops.schemas.published_plans import PublishedPlan, decode_plan
from segops.schemas.segments import definition_to_record

log = logging.getLogger(__name__)

#: Editions kept of a definition.
MOST_EDITIONS: Final = 30
_POSITION: Final = b"position"
_entry = msgspec.json.Decoder(Entry).decode


class Edition(NamedTuple):
    """A record of a definition, published at ``at_ms``."""

    at_ms: int
    version: int
    paused: bool
    record: bytes


class Definitions:
    """The definitions, and those of their earlier records that compaction has left."""

    def __init__(self) -> None:
        self.log = DefinitionLog(log.warning)
        self.log.models = ModelLog()
        self._editions: dict[str, deque[Edition]] = {}
        self._offset = -1
        self._changed = True
        #: When each retired segment was retired.
        self.retired_ms: dict[str, int] = {}

    def take(self, _partition: int, record: Any) -> None:
        """Take a record of the segments topic."""
        changed = self.log.apply(record.key, record.value, offset=record.offset)
        self._changed = self._changed or changed
        if record.offset > self._offset and record.key is not None:
            self._offset = record.offset
            self._remember(record.key, record.timestamp)

    def take_model(self, _partition: int, record: Any) -> None:
        """Take a record of the topic of models."""
        library = self.log.models
        if library is None or record.key is None:
            return
        try:
            library.apply(record.key, record.value)
        except ValueError as error:
            log.warning("skipping model record %d (key %.80r): %s", record.offset, record.key, error)

    def _remember(self, raw_key: bytes, at_ms: int) -> None:
        key = raw_key.decode(errors="replace")
        found = self.log.live.get(key)
        if found is None:
            if key in self.log.retired:
                self.retired_ms[key] = at_ms
            return
        editions = self._editions.setdefault(key, deque(maxlen=MOST_EDITIONS))
        record = definition_to_record(found)
        if not editions or editions[-1].record != record:
            editions.append(Edition(at_ms, found.version, found.paused, record))

    def changed(self) -> Mapping[str, Definition] | None:
        """Return the definitions by key if they may have changed since the last call."""
        if not self._changed:
            return None
        self._changed = False
        return {key: self.log.live[key] for key in sorted(self.log.live)}

    def editions(self, key: str) -> Sequence[Edition]:
        """Return the known records of a definition, the latest first."""
        return [*reversed(self._editions.get(key, ()))]


class Plans:
    """The plans by id."""

    def __init__(self) -> None:
        self.found: dict[str, PublishedPlan] = {}

    def take(self, _partition: int, record: Any) -> None:
        """Take a record of the plans topic."""
        try:
            plan_id = record.key.decode()
            self.found.pop(plan_id, None)
            if record.value is not None:
                self.found[plan_id] = decode_plan(record.value)
        except (AttributeError, UnicodeDecodeError, msgspec.MsgspecError) as error:
            log.warning("skipping record %d of plans: %s", record.offset, error)


class CatalogueFold:
    """The entries of the catalogue; the views of them are made when they are asked for."""

    def __init__(self, profiles: int) -> None:
        self._entries: dict[bytes, Entry] = {}
        self._profiles = profiles
        self._views: tuple[list[EventView], EventView | None] | None = None

    def take(self, _partition: int, record: Any) -> None:
        """Take a record of the catalogue topic."""
        if record.key in (None, _POSITION):
            return
        self._views = None
        self._entries.pop(record.key, None)
        try:
            if record.value is not None:
                entry = _entry(record.value)
                self._entries[key_of(entry)] = entry
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("skipping catalogue record %d: %s", record.offset, error)

    @property
    def views(self) -> tuple[list[EventView], EventView | None]:
        """The events, the most frequent first, and the traits if there are any."""
        if self._views is None:
            self._views = views(self._entries.values(), profiles=self._profiles)
        return self._views


def one_by_one(apply_all: Callable[[Sequence[Any]], bool]) -> Callable[[int, Any], None]:
    """Return what takes the records of a topic of resources."""

    def take(_partition: int, record: Any) -> None:
        apply_all([record])

    return take
