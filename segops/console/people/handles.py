"""Names of people in addresses: their identifier, or for those who may not see it a handle that hides it.

A handle is the identifier, encrypted with a key of the console's secret. The same identifier has the same
handle, whose first 16 bytes are an authentication code of it: it can neither be read nor made up. (That is
the construction of RFC 5297, with HMAC-SHA256 for both of its parts.)
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from segops.config import Settings
from segops.console.page import User
from segops.core.identifiers import type_of

#: Begins every handle; no identifier begins so, since a handle has no colon.
PREFIX: Final = "~"
#: Stands for what is hidden.
HIDDEN: Final = "•••"
_CODE_BYTES: Final = 16
_TAG_BYTES: Final = 3
#: The secret of a console without one: handles end with the process, as sessions do.
_RANDOM: Final = secrets.token_bytes(32)


class Handles:
    """Makes handles and reads them.

    >>> handles = Handles(b"secret")
    >>> handle = handles.seal("user_id:ann")
    >>> handles.open(handle), handles.open(handle[:-2] + "AA"), "ann" in handle
    ('user_id:ann', None, False)
    """

    def __init__(self, secret: bytes) -> None:
        self._codes = hmac.digest(secret, b"segops console handles: codes", hashlib.sha256)
        self._stream = hmac.digest(secret, b"segops console handles: stream", hashlib.sha256)

    def seal(self, identifier: str) -> str:
        """Return the handle of an identifier."""
        plain = identifier.encode()
        code = self._code(plain)
        sealed = code + self._xored(code, plain)
        return PREFIX + urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, handle: str) -> str | None:
        """Return the identifier of a handle; None for what is none of this secret."""
        try:
            text = handle.removeprefix(PREFIX)
            sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            code, hidden = sealed[:_CODE_BYTES], sealed[_CODE_BYTES:]
            plain = self._xored(code, hidden)
            return plain.decode() if hmac.compare_digest(self._code(plain), code) else None
        except ValueError:  # of base64, of the encoding
            return None

    def tag(self, identifier: str) -> str:
        """Return six digits that tell people apart without naming them."""
        return self._code(identifier.encode())[:_TAG_BYTES].hex()

    def _code(self, plain: bytes) -> bytes:
        return hmac.digest(self._codes, plain, hashlib.sha256)[:_CODE_BYTES]

    def _xored(self, code: bytes, data: bytes) -> bytes:
        return bytes(a ^ b for a, b in zip(data, self._keystream(code), strict=False))

    def _keystream(self, code: bytes) -> Iterator[int]:
        for number in range(1 << 32):
            yield from hmac.digest(self._stream, code + number.to_bytes(4, "big"), hashlib.sha256)


def handles_of(settings: Settings) -> Handles:
    """Return the handles of a console."""
    secret = settings.console.secret
    return Handles(_RANDOM if secret is None else secret.get_secret_value().encode())


class Names:
    """How one user is shown identifiers, and other values of people."""

    def __init__(self, settings: Settings, user: User) -> None:
        self._handles = handles_of(settings)
        self.masked = not user.sees_personal_data

    def identifier(self, identifier: str) -> str:
        """Return an identifier, or its type and a tag."""
        if not self.masked:
            return identifier
        return f"{type_of(identifier)}:{HIDDEN}{self._handles.tag(identifier)}"

    def path(self, identifier: str, after: str = "") -> str:
        """Return the path of a person's page."""
        name = self._handles.seal(identifier) if self.masked else identifier
        return f"/people/{quote(name, safe='')}{after}"

    def value(self, value: object) -> object:
        """Return a value of a person, or what stands for it; nothing stays nothing."""
        return HIDDEN if self.masked and value not in (None, "") else value

    def read(self, name: str) -> str | None:
        """Return the identifier that an address names; None if the user may not name one so."""
        if name.startswith(PREFIX):
            return self._handles.open(name)
        return None if self.masked else name
