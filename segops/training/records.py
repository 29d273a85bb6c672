"""Records of profile events, as the trainer reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from segops.core.errors import RejectedEvent
from segops.core.events import Event
from segops.core.messages import Erase, Forget
from segops.schemas.events import decode
from segops.schemas.identifying import IdentityLimits
from segops.schemas.messages import decode_message
from segops.schemas.records import origin_of
from segops.schemas.ticks import TYPE_HEADER


class Read(msgspec.Struct, frozen=True):
    """A record: an event of a profile, a person to forget (``event`` None), or neither (``profile`` None)."""

    partition: int
    offset: int
    profile: str | None = None
    event: Event | None = None
    rejected: bool = False


def read(
    partition: int, records: Iterable[Any], *, limits: IdentityLimits, context_keys: frozenset[str]
) -> Iterator[tuple[int, Read]]:
    """Yield the records of one partition with their times; one that is nothing to the trainer has the time 0.

    Raises nothing: an event that no worker could apply is nothing, too.
    """
    for record in records:
        at = partition, record.offset
        if record.key is None:
            yield 0, Read(*at)
        elif record.headers and record.headers[0][0] == TYPE_HEADER:
            yield 0, Read(*at, _erased(record.value))
        else:
            yield _event(record, at, limits, context_keys)


def _event(
    record: Any, at: tuple[int, int], limits: IdentityLimits, context_keys: frozenset[str]
) -> tuple[int, Read]:
    try:
        source, time_ms = origin_of(record.headers)
        event = decode(
            record.value,
            time_ms=time_ms,
            default_id=source.decode(),
            limits=limits,
            context_keys=context_keys,
        )
    except (RejectedEvent, ValueError):
        return 0, Read(*at, rejected=True)
    return time_ms, Read(*at, record.key.decode(errors="replace"), event)


def _erased(value: bytes | None) -> str | None:
    try:
        message = decode_message(value)
    except ValueError:
        return None
    return message.to if isinstance(message, Erase | Forget) else None
