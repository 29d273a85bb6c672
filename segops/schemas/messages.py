"""The form of messages between profiles on Kafka: a version byte, then msgpack of an array-like struct."""

from __future__ import annotations

from typing import Final, cast

import msgspec

from segops.core.messages import Handover, Message, Split
from segops.schemas.state import packed

#: Raised when the form changes in a way that adding fields at the end does not cover.
FORMAT: Final = 1

#: The value of the header ``segops-type`` of hand-overs, and of requests to undo one.
HANDOVER: Final = b"handover"
SPLIT: Final = b"split"

_VERSION = bytes([FORMAT])
_decoder = msgspec.msgpack.Decoder(Message)


def name_of(message: Message) -> str:
    """What kind of message it is.

    >>> from segops.core.messages import Claim
    >>> name_of(Claim("email:a@x", "email:a@x", "user_id:u"))
    'claim'
    """
    return str(message.__struct_config__.tag)


def encode_message(message: Message) -> bytes:
    """The value of its record. An integer of more than 64 bits is sent as the nearest float."""
    return _VERSION + packed(message)


def decode_message(value: bytes | None) -> Message:
    """The message of a record. Raises ValueError when it is none, or of a format not read here."""
    if not value or value[:1] != _VERSION:
        found = value[0] if value else "nothing"
        raise ValueError(f"a message has format {found}, this version of segops reads {FORMAT}")
    try:
        return cast("Message", _decoder.decode(value[1:]))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not a message: {error}") from error


def decode_split(value: bytes | None) -> Split:
    """The request to undo a hand-over in a record of the input. Raises ValueError when it is none."""
    message = decode_message(value)
    if not isinstance(message, Split):
        raise ValueError(f"a {name_of(message)} is no request to split")
    return message


def split_of(handover: Message) -> Split:
    """The request that undoes a hand-over; it is sent to the profile that was handed over.

    Raises ValueError for another message.
    """
    if not isinstance(handover, Handover):
        raise ValueError(f"a {name_of(handover)} is no hand-over")
    return Split(handover.loser, handover.loser, handover.sequence, handover.state)
