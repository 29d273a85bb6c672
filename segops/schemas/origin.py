"""The application and topics that a partition's state belongs to: a JSON record in changelog and store.

No profile has its key, and a version that does not know the record rejects it with an error.
"""

from __future__ import annotations

from typing import Final

import msgspec

from segops.core.errors import StateError

#: The key of the record in the changelog.
ORIGIN_KEY: Final = b"\x00origin"


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """A record that identifies its topic: offset, Kafka's timestamp in ms, CRC-32 of the content."""

    offset: int
    timestamp: int
    crc: int


class Origin(msgspec.Struct, frozen=True):
    """The application and the topics of a state.

    ``lineage``: a random name of the changelog's content, shared by the stores that come from it.
    ``generation``: when an operator decided to start from nothing, in ms; 0: never. ``mark``: the last record
    of profile-events that was applied. ``sweep_until``: memberships published up to this sequence have not
    been compared with the state yet; 0: nothing is to be compared.
    """

    app_id: str
    prefix: str
    partitions: int
    lineage: str
    generation: int = 0
    mark: Mark | None = None
    sweep_until: int = 0


_decoder = msgspec.json.Decoder(Origin)
encode_origin = msgspec.json.Encoder().encode


def decode_origin(data: bytes) -> Origin:
    """Decode the output of ``encode_origin``. Raises StateError."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StateError(f"the origin of a partition's state cannot be read: {error}") from error
