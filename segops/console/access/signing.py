"""What the console signs: cookies, and the tokens of forms. Each purpose has a key of its own."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

_MAC_BYTES: Final = 32


class Signer:
    """Signs with keys derived from a secret.

    >>> signer = Signer(b"s" * 32)
    >>> text = signer.sign("session", b"ann")
    >>> signer.read("session", text), signer.read("other", text), signer.read("session", text + "A")
    (b'ann', None, None)
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, purpose: str, payload: bytes) -> str:
        """Return a payload with its signature, as text for cookies."""
        return f"{_encoded(payload)}.{_encoded(self.mac(purpose, payload))}"

    def read(self, purpose: str, text: str) -> bytes | None:
        """Return the payload of a text that was signed for this purpose, else None."""
        payload, _, mac = text.partition(".")
        try:
            found, given = _decoded(payload), _decoded(mac)
        except ValueError:
            return None
        # Encodings that differ in unused bits are refused, too: a text has one form.
        whole = text.isascii() and hmac.compare_digest(f"{_encoded(found)}.{_encoded(given)}", text)
        return found if whole and hmac.compare_digest(self.mac(purpose, found), given) else None

    def mac(self, purpose: str, payload: bytes) -> bytes:
        """Return 32 bytes that only this secret makes of a purpose and a payload."""
        key = hmac.digest(self._secret, f"segops console {purpose}".encode(), hashlib.sha256)
        return hmac.digest(key, payload, hashlib.sha256)

    def form_token(self, binding: str) -> str:
        """Return a token for forms. Each is another text, so that compressed pages do not give it away."""
        mask = secrets.token_bytes(_MAC_BYTES)
        return _encoded(mask + _xor(mask, self._form_mac(binding)))

    def is_form_token(self, binding: str, text: str) -> bool:
        """Return whether a text is a token for forms of this binding."""
        try:
            given = _decoded(text)
        except ValueError:
            return False
        mask, masked = given[:_MAC_BYTES], given[_MAC_BYTES:]
        return len(masked) == _MAC_BYTES and hmac.compare_digest(_xor(mask, masked), self._form_mac(binding))

    def _form_mac(self, binding: str) -> bytes:
        return self.mac("form", binding.encode())


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    """Decode URL-safe base64. Raises ValueError."""
    if not text.isascii():
        raise ValueError("expected ASCII")
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
