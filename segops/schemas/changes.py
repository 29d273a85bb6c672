"""The published form of a membership change: flat JSON, the fields of ``SPEC.md#changes`` in their order."""

from __future__ import annotations

import msgspec

from segops.core.events import Change

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Change)


def encode_change(change: Change, evaluated_at_ms: int) -> bytes:
    """Encode a change, stamped with the wall clock of its publisher."""
    change.evaluated_at = evaluated_at_ms
    return _encoder.encode(change)


def decode_change(data: bytes) -> Change:
    """Decode a published change. Raises msgspec.DecodeError for an invalid record."""
    return _decoder.decode(data)
