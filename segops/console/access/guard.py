"""Who makes a request, and whether it may: hosts, proxies, tokens, sessions, origins."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from aiohttp.web import BaseRequest

from segops.api.access import is_loopback
from segops.config import ConsoleSettings
from segops.console.access.attempts import Attempts, keys_of
from segops.console.access.clients import Client, Clients, host_of, is_loopback_name, was_forwarded
from segops.console.access.passwords import LocalUsers
from segops.console.access.sessions import Cookies, Session, Sessions
from segops.console.access.signing import Signer
from segops.console.page import Role, User
from segops.core.errors import UserError

log = logging.getLogger(__name__)

OPEN: Final = "open"
#: The cookie that binds the form of the sign-in page to the browser that has it.
VISITOR: Final = "visitor"
SESSION: Final = "session"
_MAX_NAME: Final = 200


class Denied(Exception):
    """A request that may not be made; ``status`` and ``retry_after_s`` as HTTP has them."""

    def __init__(self, status: int, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class Visit(NamedTuple):
    """Who makes a request. ``binding``: what its forms' token is bound to; None: it needs none.

    ``session``: of its cookie. ``ends_ms``: when the sign-in ends, if it does.
    """

    user: User
    binding: str | None
    session: Session | None = None
    ends_ms: int | None = None


@dataclass(frozen=True)
class Logins:
    """The ways of signing in that are configured."""

    local: bool = False
    token: bool = False
    proxy: bool = False
    oidc: bool = False

    @property
    def any(self) -> bool:
        return self.local or self.token or self.proxy or self.oidc


@dataclass
class Guard:
    """Tells who makes requests. Raises UserError for settings that contradict each other."""

    settings: ConsoleSettings
    signer: Signer = field(init=False)
    users: LocalUsers = field(init=False)
    attempts: Attempts = field(default_factory=Attempts)

    def __post_init__(self) -> None:
        settings = self.settings
        secret = settings.secret.get_secret_value().encode() if settings.secret else secrets.token_bytes(32)
        self.signer = Signer(secret)
        self.users = LocalUsers(settings)
        self.logins = Logins(
            local=bool(self.users),
            token=settings.token is not None,
            proxy=settings.proxy_user_header is not None,
            oidc=settings.oidc_issuer is not None,
        )
        _check(settings, self.logins)
        https = (settings.url or "").startswith("https:")
        self.clients = Clients(settings.trusted_proxies, https=https)
        self.sessions = Sessions(self.signer, lifetime_ms=settings.session_ms, idle_ms=settings.idle_ms)
        self._hosts = {host_of(each) for each in settings.hosts.split(",") if each.strip()}
        if settings.url is not None:
            self._hosts.add(host_of(urlsplit(settings.url).netloc))

    @property
    def is_open(self) -> bool:
        """Whether everyone on this machine is an admin, since no login is configured."""
        return not self.logins.any

    def check_host(self, request: BaseRequest) -> None:
        """Raise Denied unless a request is addressed to this console: a foreign name may be rebound to it."""
        headers = request.headers.getall("Host", [])
        host = host_of(headers[0]) if len(headers) == 1 else ""
        if self.is_open:
            if was_forwarded(request):
                raise Denied(403, "The console has no login and does not answer through a proxy.")
            if not is_loopback_name(host):
                raise Denied(421, "The console has no login and answers to loopback names only.")
        elif not host or (self._hosts and host not in self._hosts):
            raise Denied(421, "The console does not answer to this host name (SEGOPS_CONSOLE_HOSTS).")

    def visit(self, request: BaseRequest, client: Client, *, now_ms: int) -> Visit | None:
        """Return who makes a request, None if that is unknown. Raises Denied for wrong credentials."""
        if self.is_open:
            return Visit(User("local", Role.ADMIN, OPEN), OPEN)
        if "Authorization" in request.headers:
            return self._bearer(request, client, now_ms=now_ms)
        if self.logins.proxy and client.trusted and (user := self._proxied(request)) is not None:
            return Visit(user, f"proxy:{user.name}")
        session = self.sessions.read(Cookies(secure=client.https).get(request, SESSION), now_ms=now_ms)
        if session is None or not hmac.compare_digest(session.proof, self.proof(session.login, session.name)):
            return None
        return Visit(session.user, f"session:{session.id}", session, self.sessions.ends_ms(session))

    def _bearer(self, request: BaseRequest, client: Client, *, now_ms: int) -> Visit:
        keys = keys_of(client.address)
        self.check_pace(keys, now_ms=now_ms)
        lines = request.headers.getall("Authorization")
        scheme, _, token = lines[0].partition(" ")
        if len(lines) == 1 and scheme.lower() == "bearer" and self.is_token(token.strip(" ")):
            return Visit(User("token", Role.ADMIN, "token"), None)
        self.attempts.failed(keys, now_ms=now_ms)
        raise Denied(401, "Missing or invalid bearer token (SEGOPS_CONSOLE_TOKEN).")

    def _proxied(self, request: BaseRequest) -> User | None:
        settings = self.settings
        names = request.headers.getall(settings.proxy_user_header or "", [])
        if not names:
            return None
        name = names[0].strip()
        if len(names) > 1 or not name or len(name) > _MAX_NAME or not name.isprintable():
            raise Denied(403, f"Expected one user name in {settings.proxy_user_header}.")
        if settings.proxy_role_header is None:
            return User(name, Role[settings.proxy_role.upper()], "proxy")
        roles = request.headers.getall(settings.proxy_role_header, [])
        role = roles[0].strip().upper() if len(roles) == 1 else ""
        if role not in Role.__members__:
            raise Denied(403, f"Expected a role in {settings.proxy_role_header}.")
        return User(name, Role[role], "proxy")

    def check_pace(self, keys: list[str], *, now_ms: int) -> None:
        """Raise Denied while these keys must wait after failures."""
        wait_ms = self.attempts.wait_ms(keys, now_ms=now_ms)
        if wait_ms > 0:
            wait_s = -(-wait_ms // 1000)
            raise Denied(429, f"Too many failed attempts: wait {wait_s} seconds.", retry_after_s=wait_s)

    def is_token(self, text: str) -> bool:
        """Return whether a text is the console's token."""
        known = self.settings.token
        given = text.encode("utf-8", "surrogateescape")
        return known is not None and hmac.compare_digest(given, known.get_secret_value().encode())

    def proof(self, login: str, name: str) -> str:
        """Return what ties a session to its credentials as they are configured now; empty: there are none."""
        settings = self.settings
        user = self.users.get(name) if login == "password" else None
        known: Mapping[str, str | None] = {
            "password": None if user is None else f"{user.role}:{user.hash.text}",
            "token": None if settings.token is None else settings.token.get_secret_value(),
            "oidc": None
            if settings.oidc_issuer is None
            else f"{settings.oidc_issuer} {settings.oidc_client_id}",
        }
        found = known.get(login)
        if found is None:
            return secrets.token_hex(8)  # equals that of no session
        return self.signer.mac("proof", hashlib.sha256(found.encode()).digest()).hex()[:16]

    def check_origin(self, request: BaseRequest) -> None:
        """Raise Denied for a POST that a page of another origin makes."""
        site = request.headers.get("Sec-Fetch-Site")
        if site not in (None, "same-origin"):
            raise Denied(403, "The form was sent by another site.")
        origins = request.headers.getall("Origin", [])
        if not origins:
            return
        expected = self.settings.url
        parts = urlsplit(origins[0])
        same = origins[0] == expected if expected else parts.netloc.lower() == request.headers["Host"].lower()
        if len(origins) > 1 or parts.scheme not in ("http", "https") or not same:
            raise Denied(403, "The form was sent by another site, or SEGOPS_CONSOLE_URL is not this address.")


def _check(settings: ConsoleSettings, logins: Logins) -> None:
    if not logins.any and not is_loopback(settings.host):
        raise UserError(
            f"SEGOPS_CONSOLE_HOST={settings.host} is not a loopback address: a login is required "
            "(SEGOPS_CONSOLE_USERS, SEGOPS_CONSOLE_TOKEN, SEGOPS_CONSOLE_OIDC_ISSUER or "
            "SEGOPS_CONSOLE_PROXY_USER_HEADER)"
        )
    if logins.proxy and not settings.trusted_proxies:
        raise UserError("SEGOPS_CONSOLE_PROXY_USER_HEADER requires SEGOPS_CONSOLE_TRUSTED_PROXIES")
    if settings.proxy_role_header is not None and not logins.proxy:
        raise UserError("SEGOPS_CONSOLE_PROXY_ROLE_HEADER requires SEGOPS_CONSOLE_PROXY_USER_HEADER")
    if logins.oidc and (settings.oidc_client_id is None or settings.url is None):
        raise UserError(
            "SEGOPS_CONSOLE_OIDC_ISSUER requires SEGOPS_CONSOLE_OIDC_CLIENT_ID and SEGOPS_CONSOLE_URL"
        )
