"""The signature of a webhook: HMAC-SHA256 of the body's bytes, in base64."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence


def is_signed(body: bytes, signature: str | None, secrets: Sequence[bytes]) -> bool:
    """Return whether one of the secrets signed the body, in a time that does not depend on where they differ.

    >>> is_signed(b"{}", "3D5pJPVEuLF7BF+QmjO8MQP9ZFl6Ghxz4BRx6XcfhOc=", [b"new", b"secret"])
    False
    """
    try:
        given = base64.b64decode(signature or "", validate=True)
    except (binascii.Error, ValueError):
        return False
    # Every secret is tried, so that the time does not tell which one is right.
    found = [hmac.compare_digest(hmac.digest(each, body, hashlib.sha256), given) for each in secrets]
    return any(found)
