"""Entries of the access audit: what people and assistants changed, and what they read of a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class AccessEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a user did with an object, and where from.

    A change has two entries with one ``id``: its ``result`` is ``begun`` before anything is done, then
    ``done``, ``refused: …`` or ``failed: …``. What was only read has one entry, ``read``. ``login`` says how
    the user signed in. ``source``: the process that took the request.
    """

    id: str
    at_ms: int
    user: str
    role: str
    login: str
    address: str
    action: str
    object: str
    data: Mapping[str, Any] = {}
    result: str = "begun"
    source: str = "console"


_decoder = msgspec.json.Decoder(AccessEntry)


def decode_entry(raw: bytes) -> AccessEntry:
    """Decode an entry. Raises msgspec.MsgspecError for an invalid one."""
    return _decoder.decode(raw)
