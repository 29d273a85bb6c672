"""Ticks: the records that carry time instead of an event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

TYPE_HEADER: Final = "segops-type"
TICK: Final = b"tick"
TICK_HEADERS: Final = [(TYPE_HEADER, TICK)]


class Tick(msgspec.Struct, omit_defaults=True):
    """A tick: of the wall clock (``clock_ms``), or a watermark of a source or processor (the other fields).

    ``end`` marks the control record at the end of an input: its watermark applies to every partition.
    """

    clock_ms: int | None = None
    source: int | None = None
    processor: int | None = msgspec.field(name="lane", default=None)  # the key in stored records
    watermark_ms: int | None = None
    idle: bool = False
    end: bool = False


_decoder = msgspec.json.Decoder(Tick)
_encoder = msgspec.json.Encoder()


def is_tick(headers: Iterable[tuple[str, bytes]]) -> bool:
    """Return whether a record with these headers is a tick."""
    return any(name == TYPE_HEADER and value == TICK for name, value in headers)


def decode_tick(value: bytes | None) -> Tick:
    """Decode a tick. Raises ValueError for an invalid record."""
    try:
        return _decoder.decode(value or b"")
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a tick: {error}") from error


def wall_tick(clock_ms: int) -> bytes:
    """Encode a tick of the wall clock."""
    return _encoder.encode({"clock_ms": clock_ms})


def source_tick(source: int, watermark_ms: int, *, idle: bool) -> bytes:
    """Encode a watermark of the event clock, of one source."""
    return _encoder.encode({"source": source, "watermark_ms": watermark_ms, "idle": idle})


def watermark_tick(processor: int, watermark_ms: int) -> bytes:
    """Encode the time up to which partition ``processor`` of profile-events has been processed."""
    return _encoder.encode({"lane": processor, "watermark_ms": watermark_ms})
