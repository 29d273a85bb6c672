"""The keys of rows: what a store keeps beside profiles, of their past events.

A key is the letter ``h``, the length of the owner (4 bytes), the owner, then the name of the row. The length
separates the owner from the name, whatever bytes either has.
"""

from __future__ import annotations

import struct
from typing import Final

_HEAD: Final = struct.Struct(">cI")
#: The range of all keys of rows.
FIRST_ROW: Final = b"h"
AFTER_ROWS: Final = b"i"


def row_prefix(owner: str) -> bytes:
    """Return the beginning of the keys of an owner's rows.

    >>> owner_in(row_prefix("email:a@x") + b"name")
    'email:a@x'
    """
    raw = owner.encode()
    return _HEAD.pack(b"h", len(raw)) + raw


def after_prefix(prefix: bytes) -> bytes:
    """Return the least key after all keys with this prefix.

    >>> after_prefix(b"hb"), after_prefix(b"h" + bytes([255]))
    (b'hc', b'i')
    """
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1])


def owner_in(key: bytes) -> str:
    """Return the owner in the key of a row."""
    length = int(_HEAD.unpack_from(key)[1])
    return key[_HEAD.size : _HEAD.size + length].decode()
