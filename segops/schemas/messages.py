"""The encoding of messages between profiles: a version byte, then msgpack of an array-like struct."""

from __future__ import annotations

from typing import Final, cast

import msgspec

from segops.core.messages import Handover, Listing, Message, Release, Rows, Split
from segops.schemas.state import packed

#: Incremented for changes of the encoding other than appended fields.
FORMAT: Final = 1

#: Values of the header ``segops-type``: handovers, and requests to undo one.
HANDOVER: Final = b"handover"
SPLIT: Final = b"split"
#: Requests to release a quarantined profile.
RELEASE: Final = b"release"
#: Listings, each of which says that an upload of a static list names an identifier.
LISTING: Final = b"listing"

_VERSION = bytes([FORMAT])
_decoder = msgspec.msgpack.Decoder(Message | Release | Rows)


class HandoverFrame(msgspec.Struct, array_like=True, gc=False, tag="handover"):
    """A handover with its state left undecoded."""

    to: str
    of: str
    source: str
    sequence: int = 0
    state: msgspec.Raw = msgspec.Raw()
    at_ms: int = 0
    hops: int = 0


_frame = msgspec.msgpack.Decoder(HandoverFrame)


def frame_of(value: bytes) -> HandoverFrame | None:
    """Decode a handover without its state; return None for anything else."""
    if value[:1] != _VERSION:
        return None
    try:
        return _frame.decode(value[1:])
    except (msgspec.MsgspecError, RecursionError):
        return None


def name_of(message: Message | Release | Rows) -> str:
    """Return the type of a message.

    >>> from segops.core.messages import Claim
    >>> name_of(Claim("email:a@x", "email:a@x", "user_id:u"))
    'claim'
    """
    return str(message.__struct_config__.tag)


def encode_message(message: Message | Release | Rows) -> bytes:
    """Encode a message. An integer of more than 64 bits becomes the nearest float."""
    return _VERSION + packed(message)


def decode_message(value: bytes | None) -> Message | Release | Rows:
    """Decode a message. Raises ValueError for an invalid record or an unsupported format."""
    if not value or value[:1] != _VERSION:
        found = value[0] if value else "nothing"
        raise ValueError(f"a message has format {found}, this version of segops reads {FORMAT}")
    try:
        return cast("Message | Release | Rows", _decoder.decode(value[1:]))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not a message: {error}") from error


def decode_split(value: bytes | None) -> Split:
    """Decode a request to undo a handover. Raises ValueError for anything else."""
    message = decode_message(value)
    if not isinstance(message, Split):
        raise ValueError(f"expected a request to split, got a {name_of(message)}")
    return message


def decode_release(value: bytes | None) -> Release:
    """Decode a request to release a profile. Raises ValueError for anything else."""
    message = decode_message(value)
    if not isinstance(message, Release):
        raise ValueError(f"expected a request to release a profile, got a {name_of(message)}")
    return message


def decode_handover(value: bytes | None) -> Handover:
    """Decode a handover that an operator has repaired. Raises ValueError for anything else."""
    message = decode_message(value)
    if not isinstance(message, Handover):
        raise ValueError(f"expected a hand-over, got a {name_of(message)}")
    return message


def decode_listing(value: bytes | None) -> Listing:
    """Decode a listing. Raises ValueError for anything else."""
    message = decode_message(value)
    if not isinstance(message, Listing):
        raise ValueError(f"expected a listing, got a {name_of(message)}")
    return message


def split_of(handover: Message | Release | Rows) -> Split:
    """Return the request that undoes a handover; it is sent to the source profile.

    Raises ValueError for another message.
    """
    if not isinstance(handover, Handover):
        raise ValueError(f"expected a hand-over, got a {name_of(handover)}")
    return Split(handover.source, handover.source, handover.sequence, handover.state)
