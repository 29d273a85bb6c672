"""Event time, derived from the four times that collectors write."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from segops.core.errors import RejectedEvent
from segops.core.values import parse_datetime
from segops.schemas.identifying import IdentityLimits

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class TimestampFields(msgspec.Struct, gc=False):
    """The times of an event as written."""

    timestamp: Any = None
    originalTimestamp: Any = None
    sentAt: Any = None
    receivedAt: Any = None


def event_time(
    written: TimestampFields, *, default_ms: int | None, limits: IdentityLimits, repairs: Counter[str] | None
) -> tuple[int, bool]:
    """Return the time of an event in ms, and whether it was clamped to the event's own ``receivedAt``.

    A valid ``timestamp`` is used as is. Without one the sender's clock is corrected where
    ``originalTimestamp``, ``sentAt`` and ``receivedAt`` are readable and the last two are at least
    ``min_skew_ms`` apart; else it is the first readable of ``originalTimestamp``, ``sentAt`` and
    ``receivedAt``; else ``default_ms``. A time more than ``max_ahead_ms`` after ``receivedAt`` is clamped
    to it. ``repairs`` counts the times that cannot be read.

    Raises RejectedEvent: ``bad_time`` where ``timestamp`` names a time that cannot be read and
    ``originalTimestamp`` does not tell the same time, ``no_time`` where there is no time at all.
    """
    stamp, received = written.timestamp, written.receivedAt
    event_time = None if stamp is None else _read(stamp, "timestamp", repairs)
    arrived = None if received is None else _read(received, "received_at", repairs)
    sent, original = written.sentAt, written.originalTimestamp
    sent = None if sent is None else _read(sent, "sent_at", repairs)
    original = None if original is None else _read(original, "original_timestamp", repairs)
    if event_time is None:
        if original is None and _says_something(stamp):
            raise RejectedEvent("bad_time", f"expected an ISO-8601 timestamp, got {str(stamp)[:40]!r}")
        event_time = _corrected(original, sent, arrived, limits.min_skew_ms) or original or sent or arrived
        if event_time is None:
            if default_ms is None:
                raise RejectedEvent("no_time", "the event names no time that can be read")
            return default_ms, False
    if arrived is not None and event_time > arrived and _ms(event_time - arrived) > limits.max_ahead_ms:
        return _ms(arrived - _EPOCH), True
    return _ms(event_time - _EPOCH), False


def _says_something(stamp: Any) -> bool:
    return bool(stamp.strip() if stamp.__class__ is str else stamp)


def _read(written: Any, kind: str, repairs: Counter[str] | None) -> datetime | None:
    read = parse_datetime(written) if written.__class__ is str else None
    if read is None and repairs is not None:
        repairs[kind] += 1
    return read


def _ms(span: timedelta) -> int:
    return span // _MILLISECOND


def _corrected(
    original: datetime | None, sent: datetime | None, arrived: datetime | None, min_skew_ms: int
) -> datetime | None:
    """Return the time by the receiver's clock; None if unknown, or if the clocks differ too little."""
    if original is None or sent is None or arrived is None or _ms(abs(arrived - sent)) < min_skew_ms:
        return None
    try:
        return arrived - (sent - original)
    except OverflowError:  # outside the years 1 to 9999
        return None
