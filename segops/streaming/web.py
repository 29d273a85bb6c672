"""Our pages on Faust's web server, and none of Faust's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from aiohttp.web import Request, Response
from faust.web.drivers.aiohttp import Web

from segops.api.health import Health, Page
from segops.api.profiles import ProfilePages


class OwnPages(Web):
    """Faust's aiohttp server without its own pages: they show raw state to whoever asks."""

    mundane_level = "debug"
    default_blueprints: ClassVar[Any] = ()
    production_blueprints: ClassVar[Any] = ()
    debug_blueprints: ClassVar[Any] = ()
    optional_blueprints: ClassVar[Any] = ()


def add_pages(web: OwnPages, health: Health, metrics: Callable[[], Page], profiles: ProfilePages) -> None:
    """Serve /metrics, /healthz, /readyz and /profiles."""
    pages = {"/metrics": metrics, "/healthz": health.live, "/readyz": health.ready}
    for path, make in pages.items():
        web.web_app.router.add_get(path, _handler(make))
    web.web_app.router.add_get("/profiles/{id}", _profile_handler(profiles))


def _handler(make: Callable[[], Page]) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        return _response(make())

    return handle


def _profile_handler(profiles: ProfilePages) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        return _response(profiles.page(request.match_info["id"], request.headers.get("Authorization")))

    return handle


def _response(page: Page) -> Response:
    headers = {"Content-Type": page.content_type, **page.headers}
    return Response(body=page.body, status=page.status, headers=headers)
