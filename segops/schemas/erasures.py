"""The border of erasures: the request as a record of the input, and the receipt.

A receipt names identifiers by their SHA-256, so that it may be kept after the person is forgotten.
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
    """Whom to forget: any identifier of the person, with its type. ``request`` is chosen by who asks.

    ``segments``: those no longer in force of which there may be rows.
    """

    profile: str
    request: str
    segments: list[str] = []


class Receipt(msgspec.Struct):
    """One identifier is forgotten. ``awaits``: those of whom a receipt of their own will tell.

    ``found``: ``profile`` or ``nobody`` where the request led to; ``redirect`` or ``nothing`` elsewhere.
    """

    request: str
    identifier_sha256: str
    found: str
    erased_at: int
    awaits: list[str]


_request = msgspec.json.Decoder(ErasureRequest)
_receipt = msgspec.json.Decoder(Receipt)
_encoder = msgspec.json.Encoder()


def hashed(identifier: str) -> str:
    """How receipts name an identifier.

    >>> hashed("user_id:u1")[:12]
    '90c5bc873ded'
    """
    return sha256(identifier.encode()).hexdigest()


def encode_request(request: ErasureRequest) -> bytes:
    """The value of the record."""
    return _encoder.encode(request)


def decode_request(value: bytes | None) -> ErasureRequest:
    """The request of a record. Raises ValueError when it is none."""
    try:
        found = _request.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"not a request to erase: {error}") from error
    kind, colon, text = found.profile.partition(":")
    if not (kind and colon and text):
        raise ValueError("profile must be an identifier with its type, such as user_id:u1")
    if not 0 < len(found.request) <= _MAX_REQUEST:
        raise ValueError(f"request must be a name of at most {_MAX_REQUEST} characters")
    return found


def encode_receipt(erased: Erased, erased_at_ms: int) -> tuple[bytes, bytes]:
    """The key and the value of a receipt."""
    identifier = hashed(erased.identifier)
    awaits = [hashed(each) for each in erased.others]
    receipt = Receipt(erased.request, identifier, erased.found, erased_at_ms, awaits)
    return f"{erased.request}|{identifier}".encode(), _encoder.encode(receipt)


def decode_receipt(value: bytes) -> Receipt:
    """The receipt of a record. Raises msgspec.MsgspecError for anything else."""
    return _receipt.decode(value)
