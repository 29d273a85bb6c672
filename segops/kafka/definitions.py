"""The definitions topic: reading and following segment definitions.

The topic is compacted and has one partition. The next version of a definition replaces its record. A retired
segment leaves ``{"key": …, "version": n, "retired": true}`` behind permanently, so that its key is never
reused.
"""

from __future__ import annotations

import graphlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from aiokafka import TopicPartition

from segops.config import Settings
from segops.core.rules.blocks import own_problem
from segops.core.rules.model import ListInForce
from segops.core.segments import Definition, references
from segops.kafka import reading
from segops.kafka.topics import existing, require_single, single_partition
from segops.schemas.owner import OWNER_KEY
from segops.schemas.planned import PLAN_KEY, PlannedEdit, decode_planned
from segops.schemas.published_lookups import COLUMN_KEY, ColumnLog
from segops.schemas.published_models import ModelLog
from segops.schemas.segment_input import MAX_VERSION
from segops.schemas.segments import definition_from_record
from segops.schemas.static_lists import LIST_PREFIX, PublishedList, bound, decode_list

logger = logging.getLogger(__name__)


class _Retired(msgspec.Struct):
    key: str
    version: Annotated[int, msgspec.Meta(ge=1, le=MAX_VERSION)]
    retired: Literal[True]


class Published(NamedTuple):
    """The active definitions, and the open plan that needs history, with the definitions after it."""

    definitions: list[Definition]
    planned: PlannedEdit | None = None
    draft: Sequence[Definition] = ()


class DefinitionLog:
    """The definitions, retired keys and the planned edit after the records read so far.

    An unreadable record is reported to ``on_bad`` and changes nothing: the previous definition of its key
    stays active.
    """

    def __init__(self, on_bad: Callable[[str], None] = logger.error) -> None:
        self.live: dict[str, Definition] = {}
        self.retired: dict[str, int] = {}
        self.planned: PlannedEdit | None = None
        #: The columns of look-up tables. A definition can be read only after those that its rule reads.
        self.lookups = ColumnLog()
        #: The static lists, removed ones included, by key.
        self.lists: dict[str, PublishedList] = {}
        #: The library of models; None for a reader that follows the definitions alone.
        self.models: ModelLog | None = None
        self._on_bad = on_bad

    def definitions(self) -> list[Definition]:
        """Return the active definitions by key, with the static lists in force bound to them.

        Those with a broken reference, or an own score without its scorer, are reported and left out.
        """
        broken = left_out(self.live)
        for key, reason in broken.items():
            self._on_bad(f"ignoring segment {key}: {reason}")
        return self.bound(self.live[key] for key in sorted(self.live) if key not in broken)

    def bound(self, definitions: Iterable[Definition]) -> list[Definition]:
        """Return definitions with the static lists in force bound to those that name them."""
        lists = {key: found for key, each in self.lists.items() if (found := each.in_force) is not None}
        return bound(definitions, lists)

    def published(self) -> Published:
        """Return what workers need to know. Rows of look-up tables that none of it reads leave the memory."""
        found = self.planned
        drafted = found is not None and found.history and found.state == "open"
        draft = self.after(found.records).definitions() if found is not None and drafted else ()
        published = Published(self.definitions(), found if drafted else None, draft)
        self.lookups.release([*published.definitions, *draft])
        return published

    def after(self, records: Mapping[bytes, bytes]) -> DefinitionLog:
        """Return this log with further records, without a plan."""
        found = DefinitionLog(lambda _: None)
        found.live, found.retired, found.lists = dict(self.live), dict(self.retired), self.lists
        found.models = self.models
        for key, record in records.items():
            found.apply(key, record)
        return found

    def apply(self, key: bytes | None, value: bytes | None, *, offset: int = -1) -> bool:
        """Apply one record; return whether it may have changed what workers need to know."""
        if key == OWNER_KEY:  # in this topic because every worker reads it: see ``streaming.ownership.owner``
            return False
        try:
            if key == PLAN_KEY:
                former, self.planned = self.planned, decode_planned(value)
                return any(each is not None and each.history for each in (former, self.planned))
            if key is not None and key.startswith(COLUMN_KEY):
                self.lookups.apply(key, value)
                return False
            if key is not None and key.startswith(LIST_PREFIX):
                return self._apply_list(key, value)
            return self._apply(_segment_key(key), value)
        except Exception as error:  # no record in the topic may stop a worker
            self._on_bad(f"skipping definition record {offset} (key {key!r}): {error}")
            return False

    def apply_all(self, records: Iterable[Any]) -> bool:
        """Apply records; return whether they may have changed the active definitions."""
        return any([self.apply(each.key, each.value, offset=each.offset) for each in records])

    def apply_models(self, records: Iterable[Any]) -> None:
        """Apply records of the topic of models."""
        self.models = ModelLog()
        for each in records:
            try:
                self.models.apply(each.key or b"", each.value)
            except ValueError as error:
                self._on_bad(f"skipping model record {each.offset} (key {each.key!r}): {error}")

    def _apply_list(self, key: bytes, value: bytes | None) -> bool:
        name = key.removeprefix(LIST_PREFIX).decode()
        former = self.lists.get(name)
        if value is None:
            self.lists.pop(name, None)
        else:
            self.lists[name] = decode_list(key, value)
        return _in_force(former) != _in_force(self.lists.get(name))

    def _apply(self, key: str, value: bytes | None) -> bool:
        if value is None:
            return self.live.pop(key, None) is not None
        definition = definition_from_record(value)
        if definition is None:
            retired = msgspec.json.decode(value, type=_Retired)
            _check_key(key, retired.key)
            self.retired[key] = retired.version
            return self.live.pop(key, None) is not None
        _check_key(key, definition.key)
        self.retired.pop(key, None)
        former = self.live.get(key)
        self.live[key] = definition
        return former != definition


def _in_force(published: PublishedList | None) -> ListInForce | None:
    return None if published is None else published.in_force


def left_out(definitions: Mapping[str, Definition]) -> dict[str, str]:
    """Return the definitions that cannot be used: key -> reason.

    They have a missing or circular reference, or an own score that this process cannot compute.
    """
    found = {key: definitions[key] for key in sorted(definitions)}
    reasons = {key: why for key, each in found.items() if (why := own_problem(each.when)) is not None}
    for key in reasons:
        del found[key]
    while broken := _broken(found):
        reasons |= broken
        for key in broken:
            del found[key]
    return reasons


def _broken(found: Mapping[str, Definition]) -> dict[str, str]:
    uses = {key: used for key, definition in found.items() if (used := set(references(definition.when)))}
    missing = {key: sorted(used - found.keys()) for key, used in uses.items() if not used <= found.keys()}
    if missing:
        return {key: f"in_segment: unknown segment {', '.join(used)}" for key, used in missing.items()}
    try:
        graphlib.TopologicalSorter(uses).prepare()
    except graphlib.CycleError as error:
        cycle: list[str] = error.args[1]
        return {key: f"in_segment forms a cycle: {' -> '.join(cycle)}" for key in set(cycle)}
    return {}


def _segment_key(key: bytes | None) -> str:
    if key is None:
        raise ValueError("missing key")
    return key.decode()


def _check_key(key: str, found: str) -> None:
    if key != found:
        raise ValueError(f"the value defines segment {found!r}")


async def follow(
    settings: Settings, *, on_bad: Callable[[str], None] = logger.error
) -> AsyncGenerator[Published, None]:
    """Yield what is published, and again after every change. Runs until closed.

    It is consistent: it never contains a part of one publication. Close the generator
    (``contextlib.aclosing``) to stop its consumer. Raises UserError when no broker is reachable or the topic
    does not exist.
    """
    log = DefinitionLog(on_bad)
    part = await require_topic(settings)
    async with aclosing(reading.follow(settings.kafka, part, log.apply_all)) as changes:
        async for _ in changes:
            yield log.published()


async def read(settings: Settings, *, on_bad: Callable[[str], None] = logger.error) -> DefinitionLog:
    """Read the whole topic, including retired segments, and the library of models beside it.

    A missing topic of models is an empty library: it may not be created yet after an upgrade. Raises like
    :func:`follow`.
    """
    log, topics = DefinitionLog(on_bad), settings.topics
    counts = await existing(settings.kafka)
    parts = [require_single(topics.segments, counts)]
    if topics.models in counts:
        parts.append(require_single(topics.models, counts))
    records = await reading.read_all(settings.kafka, *parts)
    log.apply_all(each for each in records if each.topic == topics.segments)
    log.apply_models(each for each in records if each.topic == topics.models)
    return log


async def require_topic(settings: Settings) -> TopicPartition:
    """Return the one partition of the topic. Raises UserError if it is missing or has more."""
    return await single_partition(settings.kafka, settings.topics.segments)
