"""What the collector adds to an event: when it was received, its corrected time, and by whom it was sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Raw

from segops.core.values import format_instant, parse_datetime
from segops.schemas.batches import merged
from segops.schemas.repairs import without_surrogates

#: What the collector adds to an event at most, without the context that the events of a batch share.
ADDED_BYTES: Final = 4_096
_MAX_USER_AGENT: Final = 512
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_NULL: Final = Raw(b"null")
_NOTHING: Final = frozenset((b"null", b'""', b"0"))
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_fields = msgspec.json.Decoder(dict[str, Raw])
_texts = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


class Stamper:
    """Stamps the events of one request, received at ``received_ms``.

    ``kind``: the type of events that name none, from the path of the request. ``shared``: fields of the batch
    for events without them. ``sent_at``: when this attempt was sent, for senders that say it in a header.
    ``address`` and ``user_agent`` go to the context of events that have none; without an address, events
    lose theirs, too. A gap between sending and receiving below ``min_skew_ms`` is transit, and is no wrong
    clock.
    """

    def __init__(
        self,
        *,
        received_ms: int,
        min_skew_ms: int,
        kind: str | None = None,
        shared: Mapping[str, Raw] | None = None,
        sent_at: str | None = None,
        address: str | None = None,
        user_agent: str | None = None,
    ) -> None:
        self._received_ms = received_ms
        self._min_skew_ms = min_skew_ms
        self._type = None if kind is None else _raw(kind)
        self._received_at = _raw(format_instant(received_ms))
        shared = shared or {}
        self._sent_at = _raw(sent_at) if sent_at else None
        self._shared_sent_at = shared.get("sentAt", _NULL)
        self._shared_context = shared.get("context")
        known = {"ip": address, "userAgent": user_agent and user_agent[:_MAX_USER_AGENT]}
        self._known = {name: _raw(text) for name, text in known.items() if text}
        self._drops_ip = address is None
        self._skews: dict[bytes, timedelta | None] = {}

    def stamp(self, event: bytes | Raw) -> bytes:
        """Return an event as it is sent to Kafka; unchanged if it is not a JSON object.

        ``timestamp`` becomes ``originalTimestamp``, and the time by this machine's clock ``timestamp``. An
        event without a time gets that of its arrival; one that cannot be read is left for the validation. A
        write key is removed.
        """
        fields = _read(event)
        if fields is None:
            return bytes(event)
        fields.pop("writeKey", None)
        if self._type is not None and bytes(fields.get("type", _NULL)) in _NOTHING:
            fields["type"] = self._type
        sent_at = self._sent_at or fields.get("sentAt", _NULL)
        if bytes(sent_at) in _NOTHING:
            sent_at = self._shared_sent_at
        if bytes(sent_at) not in _NOTHING:
            fields["sentAt"] = sent_at
        fields["receivedAt"] = self._received_at
        self._correct(fields, bytes(sent_at))
        self._describe(fields)
        return _encode(fields)

    def _correct(self, fields: dict[str, Raw], sent_at: bytes) -> None:
        written = fields.get("timestamp", _NULL)
        if bytes(written) in _NOTHING:
            written = fields.get("originalTimestamp", _NULL)
            original = _time(bytes(written))
            if original is None:
                fields["timestamp"] = self._received_at
                return
        else:
            original = _time(bytes(written))
            if original is None:
                return
            fields["originalTimestamp"] = written
        skew = self._skew(sent_at)
        fields["timestamp"] = written if skew is None else _shifted(original, skew) or written

    def _skew(self, sent_at: bytes) -> timedelta | None:
        """Return by how much the sender's clock is behind, None if by too little to correct it."""
        if sent_at not in self._skews:
            sent = _time(sent_at)
            skew = None if sent is None else _EPOCH + self._received_ms * _MILLISECOND - sent
            small = skew is None or abs(skew) // _MILLISECOND < self._min_skew_ms
            self._skews[sent_at] = None if small else skew
        return self._skews[sent_at]

    def _describe(self, fields: dict[str, Raw]) -> None:
        context = fields.get("context")
        if self._shared_context is not None:
            context = (
                self._shared_context if _is_null(context) else merged(self._shared_context, context or _NULL)
            )
        if _is_null(context):
            if self._known:
                fields["context"] = Raw(_encode(self._known))
            return
        own = _read(context or _NULL)
        if own is None:  # no object: the validation counts it, and reads it as empty
            return
        if self._drops_ip:
            own.pop("ip", None)
        fields["context"] = Raw(_encode({**self._known, **own}))


def _raw(text: str) -> Raw:
    return Raw(_encode(text))


def _is_null(raw: Raw | None) -> bool:
    return raw is None or bytes(raw) == b"null"


def _read(text: bytes | Raw) -> dict[str, Raw] | None:
    try:
        return _fields.decode(text)
    except _UNREADABLE:
        text = bytes(text)
    whole = without_surrogates(text)
    return None if whole == text else _read(whole)


def _time(raw: bytes) -> datetime | None:
    """Return the time in a JSON text, None if it is none."""
    if raw[:1] != b'"':
        return None
    try:
        return parse_datetime(_texts.decode(raw))
    except _UNREADABLE:
        return None


def _shifted(original: datetime, skew: timedelta) -> Raw | None:
    try:
        return _raw(format_instant((original + skew - _EPOCH) // _MILLISECOND))
    except OverflowError:  # outside the years 1 to 9999
        return None


def without_key(data: bytes, keys: Any) -> bytes:
    """Replace write keys in bytes that go to a topic as they were received."""
    for key in keys:
        if key in data:
            data = data.replace(key, b"[write key]")
    return data
