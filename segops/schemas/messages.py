"""The form of messages between profiles on Kafka: a version byte, then msgpack of an array-like struct."""

from __future__ import annotations

from typing import Final, cast

import msgspec

from segops.core.messages import Handover, Message, Release, Split
from segops.schemas.state import packed

#: Raised when the form changes in a way that adding fields at the end does not cover.
FORMAT: Final = 1

#: The value of the header ``segops-type`` of hand-overs, and of requests to undo one.
HANDOVER: Final = b"handover"
SPLIT: Final = b"split"
#: And of requests to release a profile that is set aside.
RELEASE: Final = b"release"

_VERSION = bytes([FORMAT])
_decoder = msgspec.msgpack.Decoder(Message | Release)


class HandoverFrame(msgspec.Struct, array_like=True, gc=False, tag="handover"):
    """A hand-over whose state is not looked at."""

    to: str
    of: str
    loser: str
    sequence: int = 0
    state: msgspec.Raw = msgspec.Raw()
    at_ms: int = 0
    hops: int = 0


_frame = msgspec.msgpack.Decoder(HandoverFrame)


def frame_of(value: bytes) -> HandoverFrame | None:
    """A hand-over that cannot be read, without its state; None where it is none."""
    if value[:1] != _VERSION:
        return None
    try:
        return _frame.decode(value[1:])
    except (msgspec.MsgspecError, RecursionError):
        return None


def name_of(message: Message | Release) -> str:
    """What kind of message it is.

    >>> from segops.core.messages import Claim
    >>> name_of(Claim("email:a@x", "email:a@x", "user_id:u"))
    'claim'
    """
    return str(message.__struct_config__.tag)


def encode_message(message: Message | Release) -> bytes:
    """The value of its record. An integer of more than 64 bits is sent as the nearest float."""
    return _VERSION + packed(message)


def decode_message(value: bytes | None) -> Message | Release:
    """The message of a record. Raises ValueError when it is none, or of a format not read here."""
    if not value or value[:1] != _VERSION:
        found = value[0] if value else "nothing"
        raise ValueError(f"a message has format {found}, this version of segops reads {FORMAT}")
    try:
        return cast("Message | Release", _decoder.decode(value[1:]))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not a message: {error}") from error


def decode_split(value: bytes | None) -> Split:
    """The request to undo a hand-over in a record of the input. Raises ValueError when it is none."""
    message = decode_message(value)
    if not isinstance(message, Split):
        raise ValueError(f"a {name_of(message)} is no request to split")
    return message


def decode_release(value: bytes | None) -> Release:
    """The request to release a profile in a record of the input. Raises ValueError when it is none."""
    message = decode_message(value)
    if not isinstance(message, Release):
        raise ValueError(f"a {name_of(message)} is no request to release a profile")
    return message


def decode_handover(value: bytes | None) -> Handover:
    """The hand-over in a record of the input, mended by an operator. Raises ValueError when it is none."""
    message = decode_message(value)
    if not isinstance(message, Handover):
        raise ValueError(f"a {name_of(message)} is no hand-over")
    return message


def split_of(handover: Message | Release) -> Split:
    """The request that undoes a hand-over; it is sent to the profile that was handed over.

    Raises ValueError for another message.
    """
    if not isinstance(handover, Handover):
        raise ValueError(f"a {name_of(handover)} is no hand-over")
    return Split(handover.source, handover.source, handover.sequence, handover.state)
