"""Pages, their JSON, actions and streams as handlers of requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp.web import Request, Response, StreamResponse
from pydantic import BaseModel

from segops.config import Settings
from segops.console.access.guard import Denied
from segops.console.answers import SAID, json_response, local_path, see_other, wants_json
from segops.console.audit import PEOPLE, Actor, AuditLog, Auditor, Subject
from segops.console.forms import FormRefused, posted, validated
from segops.console.metrics import ConsoleMetrics
from segops.console.page import Action, Conflict, Context, Data, Done, NotFound, Page, Stream, User
from segops.console.people.handles import Names
from segops.console.rendering import Frame, address
from segops.console.streams import send_events
from segops.console.visits import Visits
from segops.core.errors import UserError

#: An action that was cancelled in the middle would leave open whether it was done.
_ACTION_S: Final = 120.0
Handler = Callable[[Request], Awaitable[StreamResponse]]


def json_path(path: str) -> str:
    """Return the path of a page's JSON.

    >>> json_path("/"), json_path("/segments/{key}")
    ('/index.json', '/segments/{key}.json')
    """
    return "/index.json" if path == "/" else f"{path}.json"


class Refusal(Exception):
    """What keeps an action from being done, as its answer says it."""

    def __init__(self, status: int, message: str, errors: Mapping[str, str], data: Data) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": message, "fields": dict(errors), "data": dict(data)}
        self.errors = errors


@dataclass
class Routes:
    """Makes handlers. ``board`` is the read model, ``audit`` takes changes and reads of people."""

    settings: Settings
    board: Any
    visits: Visits
    audit: AuditLog
    metrics: ConsoleMetrics

    def __post_init__(self) -> None:
        self._pages: dict[str, Page[Any]] = {}
        self._timeout_s = self.settings.console.timeout_ms / 1000

    # -- pages ---------------------------------------------------------------------------------------------

    def page(self, page: Page[Any]) -> Handler:
        """Return the handler of a page."""
        self._pages[page.path] = page

        async def show(request: Request) -> StreamResponse:
            data = await self._data(page, request, request.match_info)
            frame = self.visits.frame(request, page.title)
            response = self._shown(request, page, data, frame)
            if frame.said:
                self.visits.cookies(request).clear(response, SAID)
            return response

        return show

    def data(self, page: Page[Any]) -> Handler:
        """Return the handler of a page's JSON."""

        async def show(request: Request) -> StreamResponse:
            return json_response(request, await self._data(page, request, request.match_info))

        return show

    async def _data(self, page: Page[Any], request: Request, arguments: Mapping[str, str]) -> Data:
        visit = self.visits.require(request, page.role)
        async with asyncio.timeout(self._timeout_s):
            return await page.view(self._context(request, visit.user, arguments))

    def _shown(
        self, request: Request, page: Page[Any], data: Data, frame: Frame, *, status: int = 200
    ) -> Response:
        framed = replace(frame, json=address(json_path(frame.path), frame.query))
        return self.visits.answers.page(request, page.template, data, framed, status=status)

    def _context(self, request: Request, user: User, arguments: Mapping[str, str]) -> Context[Any]:
        auditor = self._auditor(request, user, arguments)

        async def audited(name: str, data: Data) -> None:
            await auditor.read(name, data, now_ms=self.visits.now_ms())

        query = {name: request.query[name] for name in request.query}
        now_ms = self.visits.now_ms()
        return Context(self.settings, self.board, user, now_ms, dict(arguments), query, audited)

    def _auditor(self, request: Request, user: User, arguments: Mapping[str, str]) -> Auditor:
        name = arguments.get("id", "") if request.path.startswith(PEOPLE) else ""
        subject = Subject(request.path, name, Names(self.settings, user).read(name) or name)
        return Auditor(self.audit, Actor(user, self.visits.client(request).address), subject)

    # -- actions -------------------------------------------------------------------------------------------

    def action(self, action: Action[Any, Any]) -> Handler:
        """Return the handler of an action."""

        async def act(request: Request) -> StreamResponse:
            visit = self.visits.require(request, action.role)
            values = await posted(
                request, max_bytes=self.settings.console.body_bytes, timeout_s=self._timeout_s
            )
            self.visits.check_form(request, visit, values.pop("csrf", ""))
            try:
                done = await self._run(action, request, visit.user, values)
            except Refusal as refusal:
                return await self._refused(request, refusal, values)
            return self._done(request, done)

        return act

    async def _run(
        self, action: Action[Any, Any], request: Request, user: User, values: Mapping[str, Any]
    ) -> Done:
        """Do it, a change between two entries of the audit. Raises Refusal."""
        try:
            form: BaseModel = validated(action.form, values)
        except FormRefused as refused:
            errors = {name: reason for name, reason in refused.errors.items() if name}
            message = refused.errors.get("", "Correct what is marked.")
            raise Refusal(422, message, errors, {}) from None
        context = self._context(request, user, request.match_info)
        try:
            async with asyncio.timeout(_ACTION_S):
                if not action.changes:
                    return await action.run(context, form)
                auditor = self._auditor(request, user, request.match_info)
                async with auditor.change(action.name, action.noted(form), now_ms=self.visits.now_ms):
                    return await action.run(context, form)
        except (UserError, Conflict, NotFound) as error:
            data = error.data if isinstance(error, Conflict) else {}
            raise Refusal(_STATUS[_kind(error)], str(error), {}, data) from error

    def _done(self, request: Request, done: Done) -> Response:
        location = local_path(done.location)
        if wants_json(request):
            data = {"location": location, "message": done.message, "data": dict(done.data)}
            response = json_response(request, data)
        else:
            response = see_other(location)
        if done.message and "Authorization" not in request.headers:
            https = self.visits.client(request).https
            self.visits.answers.said(response, done.message, https=https)
        return response

    async def _refused(self, request: Request, refusal: Refusal, values: Mapping[str, Any]) -> Response:
        if wants_json(request):
            return json_response(request, refusal.body, status=refusal.status)
        again = await self._page_of_form(request, refusal, values)
        frame = self.visits.frame(request, "Not done")
        return again or self.visits.answers.error(request, refusal.status, str(refusal), frame)

    async def _page_of_form(
        self, request: Request, refusal: Refusal, values: Mapping[str, Any]
    ) -> Response | None:
        """Return the page that the form was on, with errors and what was written; None if it is unknown."""
        came_from = urlsplit(request.headers.get("Referer", ""))
        location = address_of(came_from.path, came_from.query)
        asked = request.clone(method="GET", rel_url=location)
        found = await request.app.router.resolve(asked)
        resource = found.route.resource
        page = self._pages.get(resource.canonical if resource is not None else "")
        if page is None:
            return None
        try:
            data = await self._data(page, asked, found)
        except (Denied, NotFound):
            return None
        frame = self.visits.frame(asked, page.title)
        frame = replace(frame, error=str(refusal), errors=refusal.errors, values=values, said="")
        return self._shown(request, page, data, frame, status=refusal.status)

    # -- streams -------------------------------------------------------------------------------------------

    def stream(self, stream: Stream[Any]) -> Handler:
        """Return the handler of a stream."""

        async def listen(request: Request) -> StreamResponse:
            visit = self.visits.require(request, stream.role)
            last = request.headers.get("Last-Event-ID") or request.query.get("last", "")
            context = self._context(request, visit.user, request.match_info)
            lasts_ms = None if visit.ends_ms is None else visit.ends_ms - context.now_ms
            self.metrics.streams.inc()
            try:
                return await send_events(
                    request, stream.open(context, last), timeout_s=self._timeout_s, lasts_ms=lasts_ms
                )
            finally:
                self.metrics.streams.dec()

        return listen


def address_of(path: str, query: str) -> str:
    """Return a local path with its query, as it was written."""
    safe = local_path(path or "/")
    return f"{safe}?{query}" if query else safe


_STATUS: Final[Mapping[type[Exception], int]] = {UserError: 422, Conflict: 409, NotFound: 404}


def _kind(error: Exception) -> type[Exception]:
    return next(kind for kind in _STATUS if isinstance(error, kind))
