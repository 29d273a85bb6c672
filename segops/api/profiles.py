"""The page of one profile: /profiles/{id}."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from segops.api.health import Page
from segops.core.errors import SegopsError
from segops.core.views.profile import ProfileView

_JSON: Final = "application/json"
_RETRY: Final = {"Retry-After": "1"}
#: Personal data: no cache may store it.
_PRIVATE: Final = {"Cache-Control": "no-store"}


class Elsewhere(NamedTuple):
    """The worker that has the profile: its URL, and the identifier to request there."""

    identifier: str
    url: str


class NotReady(SegopsError):
    """The partition is being restored, or its owner is not known yet."""


class ProfilePages:
    """Looks up profiles for authorized requests.

    With a ``token`` a request must present it; without one every request is authorized if the server is
    ``local``, that is, listens on a loopback address.

    >>> pages = ProfilePages(lambda identifier: None, token=None, local=True)
    >>> pages.page("user_id:u1", None).status, pages.page("u1", None).status
    (404, 400)
    """

    def __init__(
        self, look: Callable[[str], ProfileView | Elsewhere | None], *, token: str | None, local: bool
    ) -> None:
        self._look = look
        self._token = token
        self._local = local

    def page(self, identifier: str, authorization: str | None) -> Page:
        """Return the profile as JSON, a redirect to the worker that has it (307), or an error page."""
        refusal = self._refusal(authorization)
        if refusal is not None:
            return refusal
        if ":" not in identifier:
            return Page(400, b"expected an identifier <type>:<value>\n")
        try:
            found = self._look(identifier)
        except NotReady:
            return Page(503, b"not ready\n", headers=_RETRY)
        if found is None:
            return Page(404, b"unknown\n")
        if isinstance(found, Elsewhere):
            return Page(307, b"elsewhere\n", headers={"Location": f"{found.url}{path_of(found.identifier)}"})
        return Page(200, msgspec.json.encode(found), _JSON, _PRIVATE)

    def _refusal(self, authorization: str | None) -> Page | None:
        if self._token is None:
            return None if self._local else Page(403, b"profiles require SEGOPS_WEB_TOKEN to be set\n")
        scheme, _, token = (authorization or "").partition(" ")
        # aiohttp decodes invalid bytes of a header to surrogates.
        given = token.strip(" ").encode("utf-8", "surrogateescape")
        if scheme.lower() == "bearer" and hmac.compare_digest(given, self._token.encode()):
            return None
        return Page(401, b"missing or invalid bearer token (SEGOPS_WEB_TOKEN)\n", headers=_BEARER)


_BEARER: Final = {"WWW-Authenticate": "Bearer"}


def path_of(identifier: str) -> str:
    """Return the path of a profile's page.

    >>> path_of("email:a/b@x")
    '/profiles/email%3Aa%2Fb%40x'
    """
    return f"/profiles/{quote(identifier, safe='')}"


def is_loopback(host: str) -> bool:
    """Return whether an address is reachable only from its own machine.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
