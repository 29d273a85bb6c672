"""The recorded state of a backfill."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from segops.core.engine import Engine
from segops.core.errors import DefinitionError, StateError
from segops.core.segments import SegmentSet
from segops.core.windows import span
from segops.schemas.backfills import BackfillRecord, decode_record
from segops.streaming.partition.engines import engine_of

log = logging.getLogger(__name__)


def next_engine(data: bytes | None) -> Engine | None:
    """Return the engine of the definitions that a recorded backfill is for; None: there is none."""
    found = recorded(data).next
    try:
        return None if found is None else engine_of(found.packed)
    except (StateError, DefinitionError) as error:
        log.error("the definitions of a backfill are given up: %s", error)
        return None


def recorded(data: bytes | None) -> BackfillRecord:
    """Return the recorded state; an unreadable one is given up, so that definitions are adopted again."""
    try:
        return decode_record(data)
    except StateError as error:
        log.error("a backfill is given up: %s", error)
        return BackfillRecord()


def incomplete(segments: SegmentSet, since: Mapping[int, int], now_ms: int) -> dict[str, int]:
    """Return the segments whose windows reach back beyond the history of their features, given by id."""
    found: dict[str, int] = {}
    for segment in segments.segments:
        for use in segment.referred.features:
            since_ms = since.get(use.feature.id, 0)
            if since_ms and span(use.feature.window, now_ms)[0] < since_ms - 1:
                found[segment.key] = max(since_ms, found.get(segment.key, since_ms))
    return found
