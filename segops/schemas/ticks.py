"""Ticks: the records that carry time instead of an event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

TYPE_HEADER: Final = "segops-type"
TICK_HEADERS: Final = [(TYPE_HEADER, b"tick")]


class Tick(msgspec.Struct, omit_defaults=True):
    """One tick: of the wall clock (``clock_ms``), or how far a source or a lane is (the other fields).

    ``end`` marks the control record at the end of an input: its watermark moves everyone on.
    """

    clock_ms: int | None = None
    source: int | None = None
    lane: int | None = None
    watermark_ms: int | None = None
    idle: bool = False
    end: bool = False


_decoder = msgspec.json.Decoder(Tick)
_encoder = msgspec.json.Encoder()


def is_tick(headers: Iterable[tuple[str, bytes]]) -> bool:
    """Whether a record with these headers is a tick."""
    return any(name == TYPE_HEADER and value == b"tick" for name, value in headers)


def decode_tick(value: bytes | None) -> Tick:
    """The tick. Raises ValueError when it is none."""
    try:
        return _decoder.decode(value or b"")
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a tick: {error}") from error


def wall_tick(clock_ms: int) -> bytes:
    """The value of a tick of the wall clock."""
    return _encoder.encode({"clock_ms": clock_ms})


def source_tick(source: int, watermark_ms: int, *, idle: bool) -> bytes:
    """The value of a tick of the event clock."""
    return _encoder.encode({"source": source, "watermark_ms": watermark_ms, "idle": idle})


def watermark_tick(lane: int, watermark_ms: int) -> bytes:
    """The value of a tick that says up to when partition ``lane`` of profile events has been worked off."""
    return _encoder.encode({"lane": lane, "watermark_ms": watermark_ms})
