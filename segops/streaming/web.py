"""Our pages on Faust's web server, and none of Faust's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from aiohttp.web import Request, Response
from faust.web.drivers.aiohttp import Web


class OwnPages(Web):
    """Faust's aiohttp server without its own pages: they show raw state to whoever asks."""

    mundane_level = "debug"
    default_blueprints: ClassVar[Any] = ()
    production_blueprints: ClassVar[Any] = ()
    debug_blueprints: ClassVar[Any] = ()
    optional_blueprints: ClassVar[Any] = ()


Page = tuple[int, bytes, str]
"""Status, body, content type."""

Pages = Mapping[str, Callable[[], Page]]
"""What is served, by path."""


def add_pages(web: OwnPages, pages: Pages) -> None:
    """Serve ``pages``."""
    for path, make in pages.items():
        web.web_app.router.add_get(path, _handler(make))


def _handler(make: Callable[[], Page]) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        status, body, content_type = make()
        return Response(body=body, status=status, headers={"Content-Type": content_type})

    return handle
