"""Signing in and out: the page, its form, and the way to an issuer and back."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import web
from aiohttp.web import Request, Response

from segops.console.access.attempts import keys_of
from segops.console.access.guard import SESSION, VISITOR, Denied, Guard
from segops.console.access.oidc import ATTEMPT_S, CALLBACK, IssuerFailed, Oidc
from segops.console.answers import Answers, json_response, local_path, see_other, wants_json
from segops.console.audit import Actor, AuditLog, Auditor, Subject
from segops.console.forms import posted
from segops.console.metrics import ConsoleMetrics
from segops.console.page import NotAudited, Role, User
from segops.console.visits import Visits

log = logging.getLogger(__name__)

_ATTEMPT: Final = "oidc"
_MAX_FORM: Final = 16 << 10
_FORM_S: Final = 10.0
_AUDIT_S: Final = 2.0


@dataclass
class SignIn:
    """The routes of signing in. ``oidc``: the issuer, where one is configured."""

    visits: Visits
    audit: AuditLog
    metrics: ConsoleMetrics
    oidc: Oidc | None = None

    @property
    def _guard(self) -> Guard:
        return self.visits.guard

    @property
    def _answers(self) -> Answers:
        return self.visits.answers

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/login", self._page)
        router.add_post("/login", self._submit)
        router.add_post("/logout", self._leave)
        if self.oidc is not None:
            router.add_get("/oidc/login", self._begin)
            router.add_get(CALLBACK, self._return)

    async def _page(self, request: Request) -> Response:
        location = local_path(request.query.get("next", "/"))
        try:
            if self.visits.find(request) is not None:
                return see_other(location)
        except Denied as denied:
            return self._form(request, location, str(denied), status=denied.status)
        return self._form(request, location)

    def _form(self, request: Request, location: str, error: str = "", *, status: int = 200) -> Response:
        visitor = self.visits.cookies(request).get(request, VISITOR) or secrets.token_urlsafe(18)
        frame = self.visits.frame(request, "Sign in")
        token = self._guard.signer.form_token(_binding(visitor))
        logins = self._guard.logins
        data = {
            "next": location,
            "local": logins.local,
            "token": logins.token,
            "oidc": logins.oidc,
            "proxy": logins.proxy,
        }
        frame = replace(frame, user=None, csrf=token, error=error, said="")
        response = self._answers.page(request, "login.html", data, frame, status=status)
        self.visits.cookies(request).set(response, VISITOR, visitor)
        return response

    async def _submit(self, request: Request) -> Response:
        values = await posted(request, max_bytes=_MAX_FORM, timeout_s=_FORM_S)
        given: Mapping[str, str] = {k: v for k, v in values.items() if isinstance(v, str)}
        location = local_path(given.get("next", "/"))
        try:
            self._check_form(request, given.get("csrf", ""))
            user = await self._user(request, given)
        except Denied as denied:
            if wants_json(request):
                raise
            response = self._form(request, location, str(denied), status=denied.status)
            if denied.retry_after_s is not None:
                response.headers["Retry-After"] = str(denied.retry_after_s)
            return response
        answer = (
            json_response(request, {"location": location}) if wants_json(request) else see_other(location)
        )
        return await self._signed_in(request, user, answer)

    def _check_form(self, request: Request, token: str) -> None:
        self._guard.check_origin(request)
        visitor = self.visits.cookies(request).get(request, VISITOR)
        given = request.headers.get("X-CSRF-Token") or token
        if visitor is None or not self._guard.signer.is_form_token(_binding(visitor), given):
            raise Denied(403, "The page was too old. Try again.")

    async def _user(self, request: Request, given: Mapping[str, str]) -> User:
        """Return who signs in. Raises Denied, in the same words whatever was wrong."""
        guard, now_ms = self._guard, self.visits.now_ms()
        by_token = bool(given.get("token")) and guard.logins.token
        name, login = given.get("name", "").strip(), "token" if by_token else "password"
        keys = keys_of(self.visits.client(request).address, "" if by_token else name)
        try:
            guard.check_pace(keys, now_ms=now_ms)
            # Counted before it is known: guesses that are made at once must not all be looked at.
            guard.attempts.failed(keys, now_ms=now_ms)
            user = await self._checked(given, name, by_token=by_token)
        except Denied:
            self.metrics.sign_ins.labels(login, "delayed").inc()
            raise
        if user is None:
            self.metrics.sign_ins.labels(login, "refused").inc()
            log.warning("refused to sign in %r from %s", name[:64], self.visits.client(request).address)
            raise Denied(401, "The token is wrong." if by_token else "The name or the password is wrong.")
        guard.attempts.succeeded(keys)
        return user

    async def _checked(self, given: Mapping[str, str], name: str, *, by_token: bool) -> User | None:
        if by_token:
            return User("token", Role.ADMIN, "token") if self._guard.is_token(given["token"]) else None
        if self._guard.users.is_busy:
            raise Denied(429, "Many people sign in at once. Try again.", retry_after_s=2)
        found = await self._guard.users.check(name, given.get("password", ""))
        return None if found is None else User(found.name, found.role, "password")

    async def _signed_in(self, request: Request, user: User, response: Response) -> Response:
        """Begin a session, and end the one that the browser had: those who knew it do not know this one."""
        guard, cookies, now_ms = self._guard, self.visits.cookies(request), self.visits.now_ms()
        before = guard.sessions.read(cookies.get(request, SESSION), now_ms=now_ms)
        if before is not None:
            guard.sessions.end(before)
        session = guard.sessions.begin(user, proof=guard.proof(user.login, user.name), now_ms=now_ms)
        cookies.set(response, SESSION, guard.sessions.write(session))
        cookies.clear(response, VISITOR)
        self.metrics.sign_ins.labels(user.login, "ok").inc()
        await self._note(request, user, "session.begin")
        return response

    async def _note(self, request: Request, user: User, name: str) -> None:
        """Write a sign-in to the audit; without Kafka people sign in, too, to see what is wrong with it."""
        auditor = Auditor(self.audit, Actor(user, self.visits.client(request).address), Subject(request.path))
        try:
            async with asyncio.timeout(_AUDIT_S):
                await auditor.note(name, now_ms=self.visits.now_ms())
        except (NotAudited, TimeoutError):
            log.warning("the audit lacks %s of %s by %s", name, user.name, user.login)

    async def _leave(self, request: Request) -> Response:
        visit = self.visits.require(request, Role.VIEWER)
        values = await posted(request, max_bytes=_MAX_FORM, timeout_s=_FORM_S)
        self.visits.check_form(request, visit, values.get("csrf"))
        response = see_other("/login")
        if visit.session is not None:
            self._guard.sessions.end(visit.session)
            await self._note(request, visit.user, "session.end")
        self.visits.cookies(request).clear(response, SESSION)
        return response

    # -- by an issuer --------------------------------------------------------------------------------------

    async def _begin(self, request: Request) -> Response:
        try:
            address, cookie = await self._issuer.begin(local_path(request.query.get("next", "/")))
        except IssuerFailed as error:
            return self._issuer_failed(request, error)
        response = Response(status=303, headers={"Location": address})
        # The issuer's answer is a navigation from another site, which strict cookies do not accompany.
        self.visits.cookies(request).set(response, _ATTEMPT, cookie, max_age_s=ATTEMPT_S, lax=True)
        return response

    async def _return(self, request: Request) -> Response:
        cookies = self.visits.cookies(request)
        query = {name: request.query[name] for name in request.query}
        try:
            user, location = await self._issuer.complete(query, cookies.get(request, _ATTEMPT))
        except IssuerFailed as error:
            response = self._issuer_failed(request, error)
        except Denied as denied:
            self.metrics.sign_ins.labels("oidc", "refused").inc()
            response = self._form(request, "/", str(denied), status=denied.status)
        else:
            frame = self.visits.frame(request, "")
            response = self._answers.onward(request, local_path(location), frame)
            response = await self._signed_in(request, user, response)
        cookies.clear(response, _ATTEMPT)
        return response

    @property
    def _issuer(self) -> Oidc:
        if self.oidc is None:
            raise Denied(404, "There is no issuer.")
        return self.oidc

    def _issuer_failed(self, request: Request, error: IssuerFailed) -> Response:
        self.metrics.sign_ins.labels("oidc", "refused").inc()
        log.error("cannot sign in by %s: %s", self._guard.settings.oidc_issuer, error)
        return self._form(request, "/", "The issuer failed. The console's log says why.", status=502)


def _binding(visitor: str) -> str:
    return f"visitor:{visitor}"
