"""Tokens of a service account: an assertion that its key has signed is exchanged for a token of an hour.

Source: Google's documentation, "Using OAuth 2.0 for Server to Server Applications" (RFC 7523), and the key
files that Google's console hands out.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from segops.core.errors import UserError
from segops.destinations.http import HttpClient
from segops.destinations.port import DestinationAway, DestinationRefuses
from segops.wall_clock import wall_ms

SCOPE: Final = "https://www.googleapis.com/auth/datamanager"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFETIME_S: Final = 3_600
#: A token is not used in its last minutes: requests travel, and clocks differ.
_MARGIN_S: Final = 300
_TOKEN_URI: Final = re.compile(
    r"https://[A-Za-z0-9.-]{1,253}/\S{1,200}|http://(127\.0\.0\.1|localhost):\d{1,5}/\S+"
)

Sign = Callable[[bytes], bytes]


class _KeyFile(msgspec.Struct):
    type: str
    client_email: str
    private_key: str
    private_key_id: str
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address


class ServiceAccount(NamedTuple):
    """An account that programs use. ``sign`` returns the RS256 signature of its key."""

    email: str
    key_id: str
    token_uri: str
    sign: Sign


def account_of(name: str, text: str) -> ServiceAccount:
    """Return the account of a key file, without its content in an error. Raises UserError.

    ``name``: the destination, for errors.
    """
    expected = f"{name}: expected the key file of a service account in the secret of key"
    try:
        found = msgspec.json.decode(text, type=_KeyFile)
    except msgspec.DecodeError:
        raise UserError(expected) from None
    if found.type != "service_account" or _TOKEN_URI.fullmatch(found.token_uri) is None:
        raise UserError(expected)
    sign = _signer(found.private_key)
    if sign is None:
        raise UserError(f"{name}: expected an RSA key in PEM in the secret of key")
    return ServiceAccount(found.client_email, found.private_key_id, found.token_uri, sign)


def _signer(pem: str) -> Sign | None:
    """Return what signs with a key (RSASSA-PKCS1-v1_5 with SHA-256); None for another key."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        install = "pip install 'segops-engine[google]'"
        raise UserError(f"destinations of the kind google need the extra `google`: {install}") from error
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if not isinstance(key, RSAPrivateKey):
        return None
    return lambda content: key.sign(content, PKCS1v15(), SHA256())


def assertion_of(account: ServiceAccount, now_s: int) -> str:
    """Return the signed claim that a service account wants a token."""
    header = {"alg": "RS256", "typ": "JWT", "kid": account.key_id}
    claims = {
        "iss": account.email,
        "scope": SCOPE,
        "aud": account.token_uri,
        "iat": now_s,
        "exp": now_s + _LIFETIME_S,
    }
    content = f"{_encoded(msgspec.json.encode(header))}.{_encoded(msgspec.json.encode(claims))}"
    return f"{content}.{_encoded(account.sign(content.encode()))}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class Tokens:
    """The tokens of one account: one at a time, a new one before it ends."""

    def __init__(self, client: HttpClient, account: ServiceAccount) -> None:
        self._client = client
        self._account = account
        self._token = ""
        self._until_s = 0.0
        self._obtaining = asyncio.Lock()

    async def get(self) -> str:
        """Return a token that is valid. Raises DestinationRefuses if the account gets none."""
        async with self._obtaining:
            if not self._token or asyncio.get_running_loop().time() >= self._until_s:
                await self._obtain()
            return self._token

    def forget(self) -> None:
        """Obtain another token next time."""
        self._token = ""

    async def _obtain(self) -> None:
        began_s = asyncio.get_running_loop().time()
        assertion = assertion_of(self._account, wall_ms() // 1000)
        self._client.hide(assertion)
        body = urlencode({"grant_type": _GRANT, "assertion": assertion}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded", "user-agent": "segops"}
        answer = await self._client.send("POST", self._account.token_uri, headers=headers, body=body)
        if not answer.is_accepted:
            raise DestinationRefuses(f"the account {self._account.email} gets no token: {answer.detail}")
        try:
            found = msgspec.json.decode(answer.body, type=dict[str, Any])
            token, lasts_s = str(found["access_token"]), float(found["expires_in"])
        except (msgspec.DecodeError, KeyError, ValueError, TypeError):
            # Without the answer, which may hold a token.
            raise DestinationAway(f"expected a token, got status {answer.status}") from None
        self._client.hide(token)
        self._token, self._until_s = token, began_s + lasts_s - _MARGIN_S
