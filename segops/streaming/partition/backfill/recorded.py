"""The recorded state of a backfill."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from segops.core.engine import Engine
from segops.core.errors import DefinitionError, StateError
from segops.core.segments import SegmentSet, complete_since
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
    found = ((segment.key, complete_since(segment, since, now_ms)) for segment in segments.segments)
    return {key: since_ms for key, since_ms in found if since_ms is not None}
