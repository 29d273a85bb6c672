"""Our pages on Faust's web server, and none of Faust's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ClassVar

from aiohttp.web import Request, Response
from faust.web.drivers.aiohttp import Web

from segops.api.health import Health, Page


class OwnPages(Web):
    """Faust's aiohttp server without its own pages: they show raw state to whoever asks."""

    mundane_level = "debug"
    default_blueprints: ClassVar[Any] = ()
    production_blueprints: ClassVar[Any] = ()
    debug_blueprints: ClassVar[Any] = ()
    optional_blueprints: ClassVar[Any] = ()


def add_pages(
    web: OwnPages, health: Health, metrics: Callable[[], Page], profile: Callable[[str], Page]
) -> None:
    """Serve /metrics, /healthz, /readyz, and single profiles."""
    pages = {"/metrics": metrics, "/healthz": health.live, "/readyz": health.ready}
    for path, make in pages.items():
        web.web_app.router.add_get(path, _handler(partial(_whatever, make)))
    of_request = _handler(lambda request: profile(request.match_info["identifier"]))
    web.web_app.router.add_get("/profiles/{identifier}", of_request)


def _whatever(make: Callable[[], Page], _request: Request) -> Page:
    return make()


def _handler(make: Callable[[Request], Page]) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        page = make(request)
        headers = {"Content-Type": page.content_type}
        if page.location is not None:
            headers["Location"] = page.location
        return Response(body=page.body, status=page.status, headers=headers)

    return handle
