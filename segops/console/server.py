"""The console's HTTP application: its routes from tables, and what is done around each request."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web
from aiohttp.web import HTTPException, Request, Response, StreamResponse
from aiokafka.errors import KafkaError

from segops.console.access.guard import Denied
from segops.console.answers import json_response
from segops.console.assets import Assets
from segops.console.connections import Connections
from segops.console.headers import accepts_gzip, protect
from segops.console.metrics import ConsoleMetrics
from segops.console.page import Action, NotAudited, NotFound, Page, Role, Stream
from segops.console.routes import Routes, json_path
from segops.console.sign_in import SignIn
from segops.console.visits import Visits
from segops.core.errors import UserError
from segops.kafka.reachability import Unreachable

log = logging.getLogger(__name__)

_IMMUTABLE: Final = "public, max-age=31536000, immutable"
#: The routes that no table has: methods and paths.
OWN_ROUTES: Final = (
    "GET /static/{digest}/{name}",
    "GET /session.json",
    "GET /login",
    "POST /login",
    "POST /logout",
    "GET /oidc/login",
    "GET /oidc/callback",
)
#: What pages and actions raise -> the status, and what the person is shown.
_FAILURES: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (NotFound, 404, "{}"),
    (NotAudited, 503, "Nothing was done or shown: {}."),
    (Unreachable, 503, "Kafka is away: {}"),
    (KafkaError, 503, "Kafka is away: {}"),
    (UserError, 400, "{}"),  # what the address asks for cannot be
    (TimeoutError, 504, "This took too long. Kafka or a worker may be away."),
)
_ROUTING: Final = {404: "There is no such page.", 405: "This address is not asked in this way."}
Handler = Callable[[Request], Awaitable[StreamResponse]]


@dataclass(frozen=True)
class Tables:
    """All that the console serves."""

    pages: Sequence[Page[Any]] = ()
    actions: Sequence[Action[Any, Any]] = ()
    streams: Sequence[Stream[Any]] = ()


@dataclass
class Console:
    """The console as an application of aiohttp."""

    routes: Routes
    sign_in: SignIn
    tables: Tables
    timeout_s: float
    connections: Connections
    assets: Assets = field(default_factory=Assets)

    @property
    def _visits(self) -> Visits:
        return self.routes.visits

    @property
    def _metrics(self) -> ConsoleMetrics:
        return self.routes.metrics

    def application(self) -> web.Application:
        """Return the application; its tables are complete."""
        app = web.Application(middlewares=[self._middleware()])
        get, tables = app.router.add_get, self.tables
        get("/static/{digest}/{name:.+}", self._static)
        get("/session.json", self._session)
        self.sign_in.add_to(app.router)
        for page in tables.pages:
            get(_pattern(json_path(page.path)), self.routes.data(page))
        for page in tables.pages:
            if page.template:
                get(_pattern(page.path), self.routes.page(page))
        for action in tables.actions:
            app.router.add_post(_pattern(action.path), self.routes.action(action))
        for stream in tables.streams:
            get(_pattern(stream.path), self.routes.stream(stream), allow_head=False)
        return app

    def _middleware(self) -> Any:
        @web.middleware
        async def around(request: Request, handler: Handler) -> StreamResponse:
            with self.connections.answering(request):
                return await self._around(request, handler)

        return around

    async def _around(self, request: Request, handler: Handler) -> StreamResponse:
        started = asyncio.get_running_loop().time()
        response = await self._answer(request, handler)
        self._metrics.requests.labels(_route(request), str(response.status)).inc()
        if response.prepared:  # a stream, which has ended
            return response
        self._metrics.seconds.observe(asyncio.get_running_loop().time() - started)
        self._visits.keep(request, response)
        protect(response, https=self._visits.client(request).https)
        return await self._send(request, response)

    async def _answer(self, request: Request, handler: Handler) -> StreamResponse:
        try:
            self._visits.guard.check_host(request)
            return await handler(request)
        except Denied as denied:
            frame = self._visits.frame(request, "Not allowed")
            return self._visits.answers.denied(request, denied, frame)
        except HTTPException as error:  # of the router: no such path, or another method
            return self._unrouted(request, error)
        except Exception as error:
            return self._failed(request, error)

    def _failed(self, request: Request, error: Exception) -> Response:
        if isinstance(error, NotAudited):
            self._metrics.audit_failures.inc()
            log.error("refused a request to %s: %s", _route(request), error)
        known = next((each for each in _FAILURES if isinstance(error, each[0])), None)
        if known is None:
            log.exception("cannot answer a request to %s", _route(request))
            return self._error(request, 500, "This failed. The console's log says why.")
        _, status, text = known
        return self._error(request, status, text.format(error))

    def _unrouted(self, request: Request, error: HTTPException) -> Response:
        try:
            self._visits.find(request)
        except Denied as denied:
            return self._visits.answers.denied(request, denied, self._visits.frame(request, "Not allowed"))
        response = self._error(request, error.status, _ROUTING.get(error.status, error.reason))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response

    def _error(self, request: Request, status: int, message: str) -> Response:
        return self._visits.answers.error(request, status, message, self._visits.frame(request, "Error"))

    async def _send(self, request: Request, response: StreamResponse) -> StreamResponse:
        """Send an answer; abort the connection of a client that does not read it in time."""
        try:
            async with asyncio.timeout(self.timeout_s):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _session(self, request: Request) -> Response:
        """Answer who the client is, with a token for its forms: for scripts, and pages that were cut off."""
        visit = self._visits.require(request, Role.VIEWER)
        user, frame = visit.user, self._visits.frame(request, "")
        data = {"user": user.name, "role": user.role.name.lower(), "login": user.login, "csrf": frame.csrf}
        return json_response(request, data)

    async def _static(self, request: Request) -> Response:
        """Answer with a static file: cacheable without end under its digest, and not at all under another."""
        try:
            asset = self.assets[request.match_info["name"]]
        except KeyError:
            raise NotFound("There is no such file.") from None
        current = request.match_info["digest"] == self.assets.digest
        headers = {"ETag": asset.etag, "Cache-Control": _IMMUTABLE if current else "no-cache"}
        if asset.etag in request.headers.get("If-None-Match", ""):
            return Response(status=304, headers=headers)
        zipped = accepts_gzip(request)
        if zipped:
            headers["Content-Encoding"] = "gzip"
        headers |= {"Content-Type": asset.content_type, "Vary": "Accept-Encoding"}
        return Response(body=asset.compressed if zipped else asset.body, headers=headers)


def _pattern(path: str) -> str:
    """Return a path as the router has it: what it names may hold anything but a slash, braces too."""
    return re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", path)


def _route(request: Request) -> str:
    resource = request.match_info.route.resource
    return "unknown" if resource is None else resource.canonical
