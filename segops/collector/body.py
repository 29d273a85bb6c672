"""Bodies of requests: decompressed within limits, and divided into events."""

from __future__ import annotations

import zlib
from typing import Any, Final

import msgspec

from segops.api.refusals import RequestRefused
from segops.schemas.batches import Body, read_body
from segops.schemas.repairs import BYTE_ORDER_MARK

#: The limits of Segment's API, which its SDKs and RudderStack's respect.
MAX_BODY_BYTES: Final = 512_000
MAX_EVENTS: Final = 2_500

_GZIP: Final = b"\x1f\x8b"
_ENCODINGS: Final = frozenset(("", "identity", "gzip", "x-gzip"))


class _Key(msgspec.Struct):
    writeKey: Any = None


_key_of = msgspec.json.Decoder(_Key)


def unpack(body: bytes, encoding: str, limit: int = MAX_BODY_BYTES) -> bytes:
    """Return a body as JSON text; gzip is recognised by its first bytes, whatever the headers say.

    Raises RequestRefused for an unknown or broken encoding, and for more than ``limit`` bytes.
    """
    if encoding.strip().lower() not in _ENCODINGS:
        raise RequestRefused(
            400, "bad_encoding", f"unknown Content-Encoding {encoding[:40]!r}; expected gzip"
        )
    if body.startswith(_GZIP):
        body = _gunzip(body, limit)
    if len(body) > limit:
        raise too_large(limit)
    return body.removeprefix(BYTE_ORDER_MARK)


def too_large(limit: int = MAX_BODY_BYTES) -> RequestRefused:
    """Return the refusal of a body that is too large, compressed or not."""
    return RequestRefused(400, "too_large", f"the body is larger than {limit:,} bytes", close=True)


def _gunzip(body: bytes, limit: int) -> bytes:
    reader = zlib.decompressobj(wbits=31)
    try:
        # No more than one byte beyond the limit is ever decompressed, however large the content claims to be.
        text = reader.decompress(body, limit + 1)
    except zlib.error as error:
        raise RequestRefused(400, "bad_encoding", f"invalid gzip: {error}") from None
    if len(text) <= limit and not reader.eof:
        raise RequestRefused(400, "bad_encoding", "invalid gzip: incomplete")
    if reader.unused_data:
        raise RequestRefused(400, "bad_encoding", "invalid gzip: data after its end")
    return text


def divide(text: bytes) -> Body:
    """Return the events of a JSON text. Raises RequestRefused if there are none, or too many."""
    if not text.strip():
        raise RequestRefused(400, "empty", "the request has no body")
    body = read_body(text)
    if len(body.events) > MAX_EVENTS:
        raise RequestRefused(
            400, "too_many_events", f"batch: {len(body.events):,} events, {MAX_EVENTS:,} are allowed"
        )
    return body


def write_key_of(text: bytes) -> str | None:
    """Return the ``writeKey`` of a JSON text."""
    if b'"writeKey"' not in text:
        return None
    try:
        key = _key_of.decode(text).writeKey
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return key if isinstance(key, str) else None
