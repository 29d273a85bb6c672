"""The page of one profile: /profiles/{id}."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from segops.api.access import Access
from segops.api.health import Page
from segops.core.errors import SegopsError
from segops.core.views.profile import ProfileView

JSON: Final = "application/json"
RETRY: Final = {"Retry-After": "1"}
#: Personal data: no cache may store it.
PRIVATE: Final = {"Cache-Control": "no-store"}


class Elsewhere(NamedTuple):
    """The worker that has the profile: its URL, and the identifier to request there."""

    identifier: str
    url: str


class NotReady(SegopsError):
    """The partition is being restored, or its owner is not known yet."""


class ProfilePages:
    """Looks up profiles for authorized requests.

    >>> pages = ProfilePages(lambda identifier: None, Access(token=None, local=True))
    >>> pages.page("user_id:u1", None).status, pages.page("u1", None).status
    (404, 400)
    """

    def __init__(self, look: Callable[[str], ProfileView | Elsewhere | None], access: Access) -> None:
        self._look = look
        self._access = access

    def page(self, identifier: str, authorization: str | None) -> Page:
        """Return the profile as JSON, a redirect to the worker that has it (307), or an error page."""
        refusal = self._access.refusal(authorization)
        if refusal is not None:
            return refusal
        if ":" not in identifier:
            return Page(400, b"expected an identifier <type>:<value>\n")
        try:
            found = self._look(identifier)
        except NotReady:
            return Page(503, b"not ready\n", headers=RETRY)
        if found is None:
            return Page(404, b"unknown\n")
        if isinstance(found, Elsewhere):
            return Page(307, b"elsewhere\n", headers={"Location": f"{found.url}{path_of(found.identifier)}"})
        return Page(200, msgspec.json.encode(found), JSON, PRIVATE)


def path_of(identifier: str) -> str:
    """Return the path of a profile's page.

    >>> path_of("email:a/b@x")
    '/profiles/email%3Aa%2Fb%40x'
    """
    return f"/profiles/{quote(identifier, safe='')}"
