"""Signatures of Standard Webhooks (https://www.standardwebhooks.com, specification, "Signature scheme")."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from segops.core.errors import UserError

_PREFIX: Final = "whsec_"
#: The specification asks for 24 to 64 bytes.
_LENGTHS: Final = range(24, 65)


def key_of(secret: str) -> bytes:
    r"""Return the key in a secret. Raises UserError, without the secret, for an invalid one.

    >>> key_of("whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")[:4]
    b'1\xf2\x90\xf6'
    """
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or len(key) not in _LENGTHS:
        raise UserError(f"invalid signing secret: expected {_PREFIX} and 24 to 64 bytes in base64")
    return key


def sign(keys: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the value of ``webhook-signature``: one signature per key, so that keys can be rotated.

    The example is the one in Svix's documentation ("Verifying webhooks manually").

    >>> key = key_of("whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> sign([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
