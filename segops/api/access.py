"""Who may read personal data from the HTTP server."""

from __future__ import annotations

import hmac
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final

from segops.api.health import Page

_BEARER: Final = MappingProxyType({"WWW-Authenticate": "Bearer"})


class Access:
    """Authorizes requests.

    With a ``token`` a request must present it; without one every request is authorized if the server is
    ``local``, that is, listens on a loopback address.

    >>> Access(token=None, local=True).refusal(None), Access(token="t", local=True).refusal("Bearer t")
    (None, None)
    >>> Access(token=None, local=False).refusal(None).status
    403
    >>> Access(token="t", local=True).refusal("Bearer other").status
    401
    """

    def __init__(self, *, token: str | None, local: bool) -> None:
        self._token = token
        self._local = local

    def refusal(self, authorization: str | None) -> Page | None:
        """Return the error page for a request that is not authorized, else None."""
        if self._token is None:
            return None if self._local else Page(403, b"profiles require SEGOPS_WEB_TOKEN to be set\n")
        scheme, _, token = (authorization or "").partition(" ")
        # aiohttp decodes invalid bytes of a header to surrogates.
        given = token.strip(" ").encode("utf-8", "surrogateescape")
        if scheme.lower() == "bearer" and hmac.compare_digest(given, self._token.encode()):
            return None
        return Page(401, b"missing or invalid bearer token (SEGOPS_WEB_TOKEN)\n", headers=_BEARER)


def is_loopback(host: str) -> bool:
    """Return whether an address is reachable only from its own machine.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
