"""What the worker says about one profile: /profiles/{id}."""

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
#: Personal data: no cache on the way is to keep it.
_PRIVATE: Final = {"Cache-Control": "no-store"}


class Elsewhere(NamedTuple):
    """Another worker has the profile: its URL, and the identifier to ask for."""

    identifier: str
    url: str


class NotReady(SegopsError):
    """The partition is on its way to its owner, or the owner is not known yet."""


class ProfilePages:
    """Looks a profile up, for whoever may read it.

    With a ``token`` those who tell it; without one anybody, if the server is ``local``: listens on a
    loopback address.

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
        """The profile as JSON, or where to ask for it (307), or why there is none to be had."""
        refusal = self._refusal(authorization)
        if refusal is not None:
            return refusal
        if ":" not in identifier:
            return Page(400, b"an identifier is <type>:<value>\n")
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
            return None if self._local else Page(403, b"profiles are shown with SEGOPS_WEB_TOKEN only\n")
        scheme, _, told = (authorization or "").partition(" ")
        # Odd bytes of a header come as surrogates.
        same = hmac.compare_digest(told.strip(" ").encode("utf-8", "surrogateescape"), self._token.encode())
        if scheme.lower() == "bearer" and same:
            return None
        return Page(401, b"SEGOPS_WEB_TOKEN is wanted\n", headers=_BEARER)


_BEARER: Final = {"WWW-Authenticate": "Bearer"}


def path_of(identifier: str) -> str:
    """The path of a profile.

    >>> path_of("email:a/b@x")
    '/profiles/email%3Aa%2Fb%40x'
    """
    return f"/profiles/{quote(identifier, safe='')}"


def is_loopback(host: str) -> bool:
    """Whether an address is reached from its own machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
