"""Who makes the request at hand: found once, and shown by whatever answers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp.web import Request, RequestKey, StreamResponse

from segops.console.access.clients import Client
from segops.console.access.guard import SESSION, Denied, Guard, Visit
from segops.console.access.sessions import Cookies
from segops.console.answers import Answers
from segops.console.page import Role
from segops.console.rendering import Frame

_VISIT: Final = RequestKey("visit", Visit)
_CLIENT: Final = RequestKey("client", Client)


@dataclass(frozen=True)
class Visits:
    """Finds who makes requests. ``now_ms`` is the wall clock."""

    guard: Guard
    answers: Answers
    now_ms: Callable[[], int]

    def client(self, request: Request) -> Client:
        """Return where a request comes from."""
        found = request.get(_CLIENT)
        if found is None:
            found = request[_CLIENT] = self.guard.clients.of(request)
        return found

    def cookies(self, request: Request) -> Cookies:
        """Return the cookies for the connection of a request."""
        return Cookies(secure=self.client(request).https)

    def find(self, request: Request) -> Visit | None:
        """Return who makes a request, if that is known. Raises Denied for wrong credentials."""
        visit = self.guard.visit(request, self.client(request), now_ms=self.now_ms())
        if visit is not None:
            request[_VISIT] = visit
        return visit

    def require(self, request: Request, role: Role) -> Visit:
        """Return who makes a request. Raises Denied without a sign-in, or without the role."""
        visit = self.find(request)
        if visit is None:
            raise Denied(401, "Sign in first.")
        user = visit.user
        if user.role < role:
            raise Denied(
                403,
                f"This needs the role {role.name.lower()}. You are signed in as {user.name}, "
                f"with the role {user.role.name.lower()}.",
            )
        return visit

    def frame(self, request: Request, title: str) -> Frame:
        """Return the frame of a page for the person who makes a request."""
        https = self.client(request).https
        return self.answers.frame(request, title, request.get(_VISIT), now_ms=self.now_ms(), https=https)

    def keep(self, request: Request, response: StreamResponse) -> None:
        """Write the session again since it was used, unless this answer begins or ends one."""
        visit = request.get(_VISIT)
        cookies = self.cookies(request)
        if visit is None or visit.session is None or cookies.name(SESSION) in response.cookies:
            return
        seen = self.guard.sessions.seen(visit.session, now_ms=self.now_ms())
        if seen is not None:
            cookies.set(response, SESSION, self.guard.sessions.write(seen))

    def check_form(self, request: Request, visit: Visit, token: object) -> None:
        """Raise Denied unless a POST comes from a page of this console that this visitor has open.

        A request with a bearer token proves by it that no other site made it.
        """
        if visit.binding is None:
            return
        self.guard.check_origin(request)
        given = request.headers.get("X-CSRF-Token") or token
        if not isinstance(given, str) or not self.guard.signer.is_form_token(visit.binding, given):
            raise Denied(403, "The page was too old: load it again, then send the form.")
