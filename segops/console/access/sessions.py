"""Sessions: a signed cookie says who signed in, how, and until when. Any replica with the secret reads it."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Final

import msgspec
from aiohttp.web import BaseRequest, StreamResponse

from segops.console.access.signing import Signer
from segops.console.page import Role, User

_PURPOSE: Final = "session"
_REFRESH_MS: Final = 60_000
_MAX_REVOKED: Final = 10_000


class Session(msgspec.Struct, array_like=True, frozen=True):
    """A sign-in. ``proof`` is of what it was made with: a changed password or role ends it."""

    id: str
    name: str
    role: Role
    login: str
    issued_ms: int
    seen_ms: int
    proof: str

    @property
    def user(self) -> User:
        """Return who signed in."""
        return User(self.name, self.role, self.login)


class Cookies:
    """Cookies of the console. Over TLS their names make browsers refuse them from other hosts."""

    def __init__(self, *, secure: bool) -> None:
        self.secure = secure

    def name(self, name: str) -> str:
        """Return the name that a browser knows a cookie by."""
        return f"__Host-segops_{name}" if self.secure else f"segops_{name}"

    def get(self, request: BaseRequest, name: str) -> str | None:
        """Return the value of a cookie of a request."""
        return request.cookies.get(self.name(name))

    def set(
        self,
        response: StreamResponse,
        name: str,
        value: str,
        *,
        max_age_s: int | None = None,
        lax: bool = False,
    ) -> None:
        """Set a cookie, which goes along with requests from the console's own pages only unless ``lax``."""
        response.set_cookie(
            self.name(name),
            value,
            max_age=max_age_s,
            path="/",
            secure=self.secure,
            httponly=True,
            samesite="Lax" if lax else "Strict",
        )

    def clear(self, response: StreamResponse, name: str) -> None:
        """Remove a cookie."""
        response.del_cookie(self.name(name), path="/", secure=self.secure, httponly=True, samesite="Strict")


class Sessions:
    """Begins, reads and ends sessions."""

    def __init__(self, signer: Signer, *, lifetime_ms: int, idle_ms: int) -> None:
        self._signer = signer
        self._lifetime_ms = lifetime_ms
        self._idle_ms = idle_ms
        self._revoked: OrderedDict[str, int] = OrderedDict()

    def begin(self, user: User, *, proof: str, now_ms: int) -> Session:
        """Return a new session: a sign-in never continues the one before."""
        return Session(secrets.token_urlsafe(18), user.name, user.role, user.login, now_ms, now_ms, proof)

    def write(self, session: Session) -> str:
        """Return a session as a cookie's value."""
        return self._signer.sign(_PURPOSE, msgspec.json.encode(session))

    def read(self, text: str | None, *, now_ms: int) -> Session | None:
        """Return the session of a cookie; None if it is forged, ended, or too old."""
        payload = self._signer.read(_PURPOSE, text or "")
        if payload is None:
            return None
        try:
            session = msgspec.json.decode(payload, type=Session)
        except msgspec.MsgspecError:
            return None  # of another version
        return session if now_ms < self.ends_ms(session) and session.id not in self._revoked else None

    def ends_ms(self, session: Session) -> int:
        """Return when a session ends if nothing more is done with it."""
        return min(session.issued_ms + self._lifetime_ms, session.seen_ms + self._idle_ms)

    def seen(self, session: Session, *, now_ms: int) -> Session | None:
        """Return the session to be written again since it was used; None if that is not due yet."""
        due = now_ms - session.seen_ms >= min(_REFRESH_MS, self._idle_ms // 4)
        return msgspec.structs.replace(session, seen_ms=now_ms) if due else None

    def end(self, session: Session) -> None:
        """Refuse a session from now on, in this process, also to those who have a copy of its cookie."""
        self._revoked[session.id] = session.issued_ms + self._lifetime_ms
        while len(self._revoked) > _MAX_REVOKED:
            self._revoked.popitem(last=False)
