"""The records of erasures: requests and receipts.

A receipt names identifiers by their SHA-256, so that it may be retained after the erasure.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

from segops.core.step import Erased

#: The value of the header ``segops-type`` of a request.
ERASE: Final = b"erase"
_MAX_REQUEST: Final = 200


class ErasureRequest(msgspec.Struct):
    """A request to erase a profile: any of its identifiers, with the type. The client chooses ``request``.

    ``segments``: retired segments that may still have rows.
    """

    profile: str
    request: str
    segments: list[str] = []


class Receipt(msgspec.Struct):
    """A confirmation that one identifier is erased. ``awaits``: identifiers that get receipts of their own.

    ``found``: ``profile`` or ``nobody`` at the profile of the request; ``redirect`` or ``nothing`` elsewhere.
    ``offset``: that of the record in profile-events, in the partition of the receipt, which completed the
    erasure; later records of the identifier are another profile's. Earlier versions did not write it.
    """

    request: str
    identifier_sha256: str
    found: str
    erased_at: int
    awaits: list[str]
    offset: int | None = None


_request = msgspec.json.Decoder(ErasureRequest)
_receipt = msgspec.json.Decoder(Receipt)
_encoder = msgspec.json.Encoder()


def hashed(identifier: str) -> str:
    """Return the name of an identifier in receipts: its SHA-256.

    >>> hashed("user_id:u1")[:12]
    '90c5bc873ded'
    """
    return sha256(identifier.encode()).hexdigest()


def encode_request(request: ErasureRequest) -> bytes:
    """Encode a request."""
    return _encoder.encode(request)


def decode_request(value: bytes | None) -> ErasureRequest:
    """Decode a request. Raises ValueError for an invalid record."""
    try:
        found = _request.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"invalid erasure request: {error}") from error
    kind, colon, text = found.profile.partition(":")
    if not (kind and colon and text):
        raise ValueError("profile must be an identifier with its type, such as user_id:u1")
    if not 0 < len(found.request) <= _MAX_REQUEST:
        raise ValueError(f"request must be a name of at most {_MAX_REQUEST} characters")
    return found


def encode_receipt(erased: Erased, erased_at_ms: int, offset: int) -> tuple[bytes, bytes]:
    """Encode a receipt of an erasure by the record at ``offset``; return its key and value."""
    identifier = hashed(erased.identifier)
    awaits = [hashed(each) for each in erased.others]
    receipt = Receipt(erased.request, identifier, erased.found, erased_at_ms, awaits, offset)
    return f"{erased.request}|{identifier}".encode(), _encoder.encode(receipt)


def decode_receipt(value: bytes) -> Receipt:
    """Decode a receipt. Raises msgspec.MsgspecError for an invalid record."""
    return _receipt.decode(value)
