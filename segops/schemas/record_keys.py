"""The key under which a raw event is sent to the events topic: it keeps the events of one sender in order."""

from __future__ import annotations

from typing import Any

import msgspec

from segops.schemas.identifying import number_text
from segops.schemas.repairs import without_surrogates


class _Ids(msgspec.Struct):
    userId: Any = None
    anonymousId: Any = None


_ids = msgspec.json.Decoder(_Ids)


def record_key(line: bytes) -> bytes | None:
    """Return the record key of an event: its userId, else its anonymousId, else None.

    >>> record_key(b'{"userId": "u1", "anonymousId": "a1"}')
    b'u1'
    >>> record_key(b'{"anonymousId": 7.0}'), record_key(b"no event")
    (b'7', None)
    """
    try:
        ids = _ids.decode(line)
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError):  # invalid JSON, or a lone surrogate
        whole = without_surrogates(line)
        return None if whole == line else record_key(whole)
    for value in (ids.userId, ids.anonymousId):
        text = value if isinstance(value, str) else number_text(value)
        if text:
            return text.encode()
    return None
