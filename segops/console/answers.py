"""Answers of the console: pages, JSON, and what went wrong, as the client can show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec
from aiohttp.web import BaseRequest, ContentCoding, Response

from segops.console.access.guard import Denied, Guard, Visit
from segops.console.access.sessions import Cookies
from segops.console.headers import accepts_gzip
from segops.console.page import Data
from segops.console.rendering import Frame, Renderer

_LEAST_COMPRESSED: Final = 1_024
SAID: Final = "said"
_SAID_S: Final = 30
_MAX_SAID: Final = 500
#: Beside pages of the console itself, no link leads to these.
_NOT_NEXT: Final = ("/login", "/logout", "/oidc")
_OPEN: Final = "Without a login, everyone on this machine is an admin here."


class Answers:
    """Makes answers with a renderer."""

    def __init__(self, renderer: Renderer, guard: Guard) -> None:
        self._renderer = renderer
        self._guard = guard

    def frame(
        self, request: BaseRequest, title: str, visit: Visit | None, *, now_ms: int, https: bool
    ) -> Frame:
        """Return what a page shows around its data."""
        said = self._guard.signer.read(SAID, Cookies(secure=https).get(request, SAID) or "")
        csrf = self._guard.signer.form_token(visit.binding) if visit and visit.binding else ""
        return Frame(
            title,
            request.path,
            now_ms,
            user=visit.user if visit else None,
            query={name: request.query[name] for name in request.query},
            csrf=csrf,
            said=(said or b"").decode("utf-8", "replace"),
            notice=_OPEN if self._guard.is_open else "",
        )

    def page(
        self, request: BaseRequest, template: str, data: Data, frame: Frame, *, status: int = 200
    ) -> Response:
        """Return a page."""
        response = Response(
            text=self._renderer.page(template, data, frame), content_type="text/html", status=status
        )
        return _compressed(request, response)

    def error(self, request: BaseRequest, status: int, message: str, frame: Frame) -> Response:
        """Return an error, as JSON to those who want that."""
        if wants_json(request):
            return json_response(request, {"error": message}, status=status)
        title = HTTPStatus(status).phrase.capitalize()
        data = {"status": status, "message": message}
        return self.page(request, "error.html", data, replace(frame, title=title, json=""), status=status)

    def denied(self, request: BaseRequest, denied: Denied, frame: Frame) -> Response:
        """Return why a request may not be made; one to sign in, where that helps."""
        if denied.status == 401 and not wants_json(request):
            return self._to_login(request, frame)
        response = self.error(request, denied.status, str(denied), frame)
        if denied.status == 401 and "Authorization" in request.headers:
            response.headers["WWW-Authenticate"] = "Bearer"
        if denied.retry_after_s is not None:
            response.headers["Retry-After"] = str(denied.retry_after_s)
        return response

    def _to_login(self, request: BaseRequest, frame: Frame) -> Response:
        get = request.method in ("GET", "HEAD")
        if get and request.headers.get("Sec-Fetch-Site") == "cross-site":
            # After a link from elsewhere browsers keep the cookie back; one of the console's own brings it.
            return self.onward(request, request.path_qs, frame)
        path = request.path_qs if get else local_path(urlsplit(request.headers.get("Referer", "")).path)
        query = {} if path in ("/", "") else {"next": path}
        return see_other(f"/login?{urlencode(query)}" if query else "/login")

    def onward(self, request: BaseRequest, location: str, frame: Frame) -> Response:
        """Return a page that goes on by itself: a navigation that begins here brings strict cookies along."""
        return self.page(request, "onward.html", {"location": location}, frame)

    def said(self, response: Response, message: str, *, https: bool) -> None:
        """Let the next page say a message."""
        text = self._guard.signer.sign(SAID, message[:_MAX_SAID].encode("utf-8", "replace"))
        Cookies(secure=https).set(response, SAID, text, max_age_s=_SAID_S)


def wants_json(request: BaseRequest) -> bool:
    """Return whether a client reads JSON rather than pages; a stream reads neither, and no page."""
    accept = request.headers.get("Accept", "")
    return (
        request.path.endswith(".json")
        or "Authorization" in request.headers
        or "text/event-stream" in accept
        or ("application/json" in accept and "text/html" not in accept)
    )


def json_response(request: BaseRequest, data: Mapping[str, Any], *, status: int = 200) -> Response:
    """Return data as JSON."""
    body = msgspec.json.encode(data, order="deterministic")
    return _compressed(request, Response(body=body, content_type="application/json", status=status))


def _compressed(request: BaseRequest, response: Response) -> Response:
    response.headers["Vary"] = "Accept, Accept-Encoding, Cookie"
    body = response.body
    if isinstance(body, bytes) and len(body) >= _LEAST_COMPRESSED and accepts_gzip(request):
        response.enable_compression(ContentCoding.gzip)
    return response


def see_other(location: str) -> Response:
    """Send the browser to a path of this console; one that a client gave is to be a ``local_path``."""
    return Response(status=303, headers={"Location": location})


def local_path(text: str) -> str:
    r"""Return a path of this console, or "/" for anything that a browser might take for another address.

    >>> [local_path(text) for text in ("/people?q=1", "//evil", "/\\evil", "https://evil", "/login", "")]
    ['/people?q=1', '/', '/', '/', '/', '/']
    """
    plain = text.startswith("/") and text.isprintable() and not set(text) & set("\\\t\r\n ")
    if not plain or text.startswith("//") or any(text.startswith(each) for each in _NOT_NEXT):
        return "/"
    return text
