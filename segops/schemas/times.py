"""Event time, derived from the four times that collectors write."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from segops.core.errors import RejectedEvent
from segops.core.values import parse_moment
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
    written: TimestampFields, *, default_ms: int | None, limits: IdentityLimits, mended: Counter[str] | None
) -> tuple[int, bool]:
    """Return the time of an event in ms, and whether it was clamped to the event's own ``receivedAt``.

    A valid ``timestamp`` is used as is. Without one the sender's clock is corrected where
    ``originalTimestamp``, ``sentAt`` and ``receivedAt`` are readable and the last two are at least
    ``min_skew_ms`` apart; else it is the first readable of ``originalTimestamp``, ``sentAt`` and
    ``receivedAt``; else ``default_ms``. A time more than ``max_ahead_ms`` after ``receivedAt`` is clamped
    to it. ``mended`` counts the times that cannot be read.

    Raises RejectedEvent: ``bad_time`` where ``timestamp`` names a time that cannot be read and
    ``originalTimestamp`` does not tell the same moment, ``no_time`` where there is no time at all.
    """
    stamp, received = written.timestamp, written.receivedAt
    moment = None if stamp is None else _read(stamp, "timestamp", mended)
    arrived = None if received is None else _read(received, "received_at", mended)
    sent, original = written.sentAt, written.originalTimestamp
    sent = None if sent is None else _read(sent, "sent_at", mended)
    original = None if original is None else _read(original, "original_timestamp", mended)
    if moment is None:
        if original is None and _says_something(stamp):
            raise RejectedEvent("bad_time", f"timestamp is {str(stamp)[:40]!r}, which is no ISO-8601 time")
        moment = _corrected(original, sent, arrived, limits.min_skew_ms) or original or sent or arrived
        if moment is None:
            if default_ms is None:
                raise RejectedEvent("no_time", "the event names no time that can be read")
            return default_ms, False
    if arrived is not None and moment > arrived and _ms(moment - arrived) > limits.max_ahead_ms:
        return _ms(arrived - _EPOCH), True
    return _ms(moment - _EPOCH), False


def _says_something(stamp: Any) -> bool:
    return bool(stamp.strip() if stamp.__class__ is str else stamp)


def _read(written: Any, kind: str, mended: Counter[str] | None) -> datetime | None:
    moment = parse_moment(written) if written.__class__ is str else None
    if moment is None and mended is not None:
        mended[kind] += 1
    return moment


def _ms(span: timedelta) -> int:
    return span // _MILLISECOND


def _corrected(
    original: datetime | None, sent: datetime | None, arrived: datetime | None, min_skew_ms: int
) -> datetime | None:
    """Return the moment by the receiver's clock; None if unknown, or if the clocks differ too little."""
    if original is None or sent is None or arrived is None or _ms(abs(arrived - sent)) < min_skew_ms:
        return None
    try:
        return arrived - (sent - original)
    except OverflowError:  # outside the years 1 to 9999
        return None
