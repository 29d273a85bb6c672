"""OpenID Connect: the authorization code flow with PKCE, state and nonce, and the ID token verified."""

from __future__ import annotations

import hmac
import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple
from urllib.parse import quote_plus, urlencode, urlsplit

import aiohttp
import msgspec

from segops.api.access import is_loopback
from segops.config import ConsoleSettings
from segops.console.access.guard import Denied
from segops.console.access.signing import Signer
from segops.console.access.tokens import Claims, verified
from segops.console.page import Role, User
from segops.core.errors import UserError

CALLBACK: Final = "/oidc/callback"
#: How long a person may take at the issuer.
ATTEMPT_S: Final = 600
_PURPOSE: Final = "oidc"
_TIMEOUT_S: Final = 10
_MAX_BYTES: Final = 1 << 20
_FRESH_MS: Final = 3_600_000
_MAX_NAME: Final = 200


class Attempt(msgspec.Struct, array_like=True, frozen=True):
    """A sign-in on its way to the issuer and back; it is in a cookie of its own, signed."""

    id: str
    next: str
    begun_ms: int


class Provider(NamedTuple):
    """What the issuer says of itself."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    by_post: bool
    names_itself: bool


class IssuerFailed(Exception):
    """The issuer did not answer as OpenID Connect demands; the message says how."""


class Oidc:
    """Signs people in by an issuer. Raises UserError for settings that cannot work."""

    def __init__(self, settings: ConsoleSettings, signer: Signer, *, now_ms: Callable[[], int]) -> None:
        self._settings = settings
        self._signer = signer
        self._now_ms = now_ms
        self._issuer = settings.oidc_issuer or ""
        self._client_id = settings.oidc_client_id or ""
        self._roles = roles_of(settings.oidc_roles)
        self._redirect = f"{settings.url}{CALLBACK}"
        self._provider: Provider | None = None
        self._keys: Mapping[str, Any] = {}
        self._read_ms = 0
        _check_address(self._issuer, "SEGOPS_CONSOLE_OIDC_ISSUER")

    async def begin(self, next_path: str) -> tuple[str, str]:
        """Return the address at the issuer, and the value of the cookie that the answer is tied to."""
        provider = await self._discovered()
        attempt = Attempt(secrets.token_urlsafe(18), next_path, self._now_ms())
        challenge = _encoded(sha256(self._derived("verifier", attempt).encode()).digest())
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect,
            "scope": self._settings.oidc_scopes,
            "state": self._derived("state", attempt),
            "nonce": self._derived("nonce", attempt),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        mark = "&" if urlsplit(provider.authorization_endpoint).query else "?"
        address = f"{provider.authorization_endpoint}{mark}{urlencode(query)}"
        return address, self._signer.sign(_PURPOSE, msgspec.json.encode(attempt))

    async def complete(self, query: Mapping[str, str], cookie: str | None) -> tuple[User, str]:
        """Return who the issuer says has signed in, and where they go on.

        Raises Denied for an answer that is not to a sign-in of this browser, or a person without a role, and
        IssuerFailed.
        """
        attempt = self._attempt(cookie)
        state = query.get("state", "")
        if attempt is None or not _same(state, self._derived("state", attempt)):
            raise Denied(400, "This sign-in was not begun here, or took too long. Begin again.")
        provider = await self._discovered()
        if ("iss" in query or provider.names_itself) and query.get("iss") != self._issuer:
            raise Denied(400, "The answer is of another issuer. Begin again.")
        if "error" in query:
            raise Denied(403, "The issuer did not sign you in.")
        token = await self._exchange(provider, query.get("code", ""), attempt)
        claims = await self._claims(provider, token)
        if not _same(str(claims.get("nonce", "")), self._derived("nonce", attempt)):
            raise IssuerFailed("the nonce of the ID token is another one")
        return self._user(claims), attempt.next

    def _attempt(self, cookie: str | None) -> Attempt | None:
        payload = self._signer.read(_PURPOSE, cookie or "")
        if payload is None:
            return None
        attempt = msgspec.json.decode(payload, type=Attempt)
        return attempt if self._now_ms() - attempt.begun_ms < ATTEMPT_S * 1000 else None

    def _derived(self, purpose: str, attempt: Attempt) -> str:
        return _encoded(self._signer.mac(f"oidc {purpose}", attempt.id.encode()))

    async def _discovered(self) -> Provider:
        if self._provider is None or self._now_ms() - self._read_ms > _FRESH_MS:
            found = await self._request("GET", f"{self._issuer}/.well-known/openid-configuration")
            if str(found.get("issuer", "")).rstrip("/") != self._issuer:
                raise IssuerFailed("its configuration names another issuer")
            methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
            self._provider = Provider(
                _endpoint(found, "authorization_endpoint"),
                _endpoint(found, "token_endpoint"),
                _endpoint(found, "jwks_uri"),
                by_post="client_secret_basic" not in methods,
                names_itself=found.get("authorization_response_iss_parameter_supported") is True,
            )
            self._keys = await self._request("GET", self._provider.jwks_uri)
            self._read_ms = self._now_ms()
        return self._provider

    async def _exchange(self, provider: Provider, code: str, attempt: Attempt) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "code_verifier": self._derived("verifier", attempt),
        }
        headers, secret = {}, self._settings.oidc_client_secret
        if secret is not None and not provider.by_post:
            name, word = quote_plus(self._client_id), quote_plus(secret.get_secret_value())
            headers["Authorization"] = aiohttp.encode_basic_auth(name, word)
        else:
            form["client_id"] = self._client_id
            if secret is not None:
                form["client_secret"] = secret.get_secret_value()
        found = await self._request("POST", provider.token_endpoint, data=form, headers=headers)
        token = found.get("id_token")
        if not isinstance(token, str):
            raise IssuerFailed("its answer has no ID token")
        return token

    async def _claims(self, provider: Provider, token: str) -> Claims:
        claims = self._verified(token)
        if claims is None:  # signed with a key that is newer than those known
            self._keys = await self._request("GET", provider.jwks_uri)
            claims = self._verified(token)
        if claims is None:
            raise IssuerFailed("the ID token is not signed with a key of the issuer")
        return claims

    def _verified(self, token: str) -> Claims | None:
        try:
            return verified(
                token, self._keys, issuer=self._issuer, audience=self._client_id, now_s=self._now_ms() // 1000
            )
        except ValueError as error:
            raise IssuerFailed(str(error)) from None

    def _user(self, claims: Claims) -> User:
        settings = self._settings
        name = claims.get(settings.oidc_name_claim)
        if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
            raise Denied(403, f"The issuer does not name you (claim {settings.oidc_name_claim}).")
        if settings.oidc_name_claim == "email" and claims.get("email_verified") is False:
            raise Denied(403, "The issuer has not verified your e-mail address.")
        given = claims.get(settings.oidc_role_claim)
        values = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        roles = [self._roles[each] for each in values if isinstance(each, str) and each in self._roles]
        if not roles:
            raise Denied(403, f"{name} has no role here (claim {settings.oidc_role_claim}).")
        return User(name, max(roles), "oidc")

    async def _request(self, method: str, url: str, **options: Any) -> Mapping[str, Any]:
        """Return the JSON object that the issuer answers. Raises IssuerFailed, without what was sent."""
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, url, allow_redirects=False, **options) as response,
            ):
                body = await response.content.read(_MAX_BYTES)
                if response.status != 200:
                    raise IssuerFailed(f"HTTP {response.status} from {urlsplit(url).path}{_error_in(body)}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise IssuerFailed(f"{urlsplit(url).netloc} does not answer: {type(error).__name__}") from None
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise IssuerFailed(f"expected a JSON object from {urlsplit(url).path}") from None


def roles_of(text: str) -> Mapping[str, Role]:
    """Read value=role pairs. Raises UserError.

    >>> roles_of("marketing=editor, heads=approver")["heads"].name
    'APPROVER'
    """
    found = {}
    for pair in filter(None, (each.strip() for each in text.split(","))):
        value, equals, role = pair.rpartition("=")
        if not equals or not value or role.upper() not in Role.__members__:
            raise UserError(f"SEGOPS_CONSOLE_OIDC_ROLES: expected value=role pairs, got {pair!r}")
        found[value] = Role[role.upper()]
    return found


def _endpoint(configuration: Mapping[str, Any], name: str) -> str:
    address = configuration.get(name)
    if not isinstance(address, str):
        raise IssuerFailed(f"its configuration has no {name}")
    try:
        _check_address(address, name)
    except UserError as error:
        raise IssuerFailed(str(error)) from None
    return address


def _check_address(address: str, what: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise UserError(f"{what}: expected https, got {address}")


def _error_in(body: bytes) -> str:
    """Return the error code of RFC 6749 in an answer; no other text of it."""
    try:
        code = json.loads(body).get("error")
    except (ValueError, AttributeError):
        return ""
    known = isinstance(code, str) and len(code) < 64 and code.replace("_", "").isalnum()
    return f" ({code})" if known else ""


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode("utf-8", "surrogatepass"), right.encode())


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
