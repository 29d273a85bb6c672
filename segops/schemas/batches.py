"""Bodies that carry many events, as SDKs send them to a collector: ``{"batch": [...], "sentAt": ...}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from segops.schemas.repairs import BYTE_ORDER_MARK, without_surrogates

_MISSING = Raw(b"null")


class _Written(msgspec.Struct, gc=False):
    batch: list[Raw]
    type: Any = None
    context: Raw = _MISSING
    sentAt: Raw = _MISSING
    receivedAt: Raw = _MISSING


class Body(msgspec.Struct, gc=False):
    """The events of a body in order, and the fields that they share; ``is_batch`` if it has a ``batch``."""

    events: Sequence[bytes | Raw]
    shared: Mapping[str, Raw] = {}
    is_batch: bool = False


_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_body = msgspec.json.Decoder(_Written)
_fields = msgspec.json.Decoder(dict[str, Raw])


def events_of(body: bytes) -> Sequence[bytes]:
    """Split a body into its events, in order: those of its ``batch``, or else the body itself.

    ``sentAt`` and ``receivedAt`` of the batch apply to events without them; its ``context`` is merged by key.
    An event's own fields take precedence, byte for byte. A byte-order mark is removed.

    >>> events_of(b'{"batch": [{"type": "page"}, {"type": "page", "sentAt": "b"}], "sentAt": "a"}')
    [b'{"sentAt":"a","type":"page"}', b'{"sentAt":"b","type":"page"}']
    >>> events_of(b'{"type": "page", "properties": {"batch": []}}')
    [b'{"type": "page", "properties": {"batch": []}}']
    """
    found = read_body(body.removeprefix(BYTE_ORDER_MARK))
    return [_with(event, found.shared) for event in found.events]


def read_body(body: bytes) -> Body:
    """Divide a body into its events; anything but a batch is one event, which may be invalid."""
    found = _read(body) if b'"batch"' in body else None
    if found is None or found.type is not None:  # an event may have a field of that name
        return Body([body])
    written = {"sentAt": found.sentAt, "receivedAt": found.receivedAt, "context": found.context}
    return Body(
        found.batch, {name: raw for name, raw in written.items() if bytes(raw) != b"null"}, is_batch=True
    )


def _read(body: bytes) -> _Written | None:
    try:
        return _body.decode(body)
    except msgspec.ValidationError:
        return None
    except msgspec.DecodeError:  # invalid JSON, or a lone surrogate in it
        whole = without_surrogates(body)
        return None if whole == body else _read(whole)
    except RecursionError:
        return None


def _with(event: bytes | Raw, shared: Mapping[str, Raw]) -> bytes:
    if not shared:
        return bytes(event)
    try:
        own = _fields.decode(event)
    except _UNREADABLE:  # not an object: passed on unchanged, so that the validation of events rejects it
        return bytes(event)
    fields = {**shared, **own}
    if "context" in shared and "context" in own:
        fields["context"] = merged(shared["context"], own["context"])
    return msgspec.json.encode(fields)


def merged(context: Raw, own: Raw) -> Raw:
    """Merge two objects by key; the second takes precedence, and stands alone if one is not an object."""
    try:
        return Raw(msgspec.json.encode(_fields.decode(context) | _fields.decode(own)))
    except _UNREADABLE:
        return own
