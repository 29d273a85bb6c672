"""The application that owns a topic prefix: one record of the segments topic, under its own key.

A version that does not know the record logs that it skips a definition, and continues.
"""

from __future__ import annotations

from typing import Final

import msgspec

#: The key of the record in the segments topic; no segment has it.
OWNER_KEY: Final = b"\x00owner"


class Owner(msgspec.Struct, frozen=True):
    """The application whose workers publish to the topics of a prefix.

    ``generation``: when it was decided that it starts from nothing, in ms; 0: never. ``since_ms``: when it
    became the owner; 0: that is not recorded yet.
    """

    app_id: str
    generation: int = 0
    since_ms: int = 0


_decoder = msgspec.json.Decoder(Owner)
encode_owner = msgspec.json.Encoder().encode


def decode_owner(data: bytes) -> Owner:
    """Decode the output of ``encode_owner``. Raises ValueError for an invalid record."""
    return _decoder.decode(data)
