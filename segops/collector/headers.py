"""What the headers of a request say: the write key, the sender's address; and the headers for browsers."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final

_MAX_AUTHORIZATION: Final = 1_024
_ORIGIN: Final = re.compile(r"null|[a-z][a-z0-9+.-]*://[A-Za-z0-9._~\-\[\]:]{1,255}")
_NAMES: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,2000}")
_HOST: Final = re.compile(r"[A-Za-z0-9.\-]{1,253}(:\d{1,5})?|\[[0-9a-fA-F:]{2,45}\](:\d{1,5})?")
_PREFLIGHT: Final = MappingProxyType(
    {"Access-Control-Allow-Methods": "GET, POST, OPTIONS", "Access-Control-Max-Age": "7200"}
)


def write_key(authorization: Sequence[str]) -> str | None:
    """Return the write key of the ``Authorization`` headers; None without one, empty if it is unreadable.

    Segment's SDKs send the key alone or with a colon after it, RudderStack's with a colon.

    >>> write_key(["Basic V1I0S0VZLTE="]), write_key(["basic V1I0S0VZLTE6"]), write_key(["Basic %"])
    ('WR4KEY-1', 'WR4KEY-1', '')
    """
    if not authorization:
        return None
    scheme, _, credentials = authorization[0].partition(" ")
    if len(authorization) > 1 or scheme.lower() != "basic" or len(credentials) > _MAX_AUTHORIZATION:
        return ""
    credentials = credentials.strip().rstrip("=")
    try:
        text = base64.b64decode(credentials + "=" * (-len(credentials) % 4), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return ""
    return text.partition(":")[0]


def sender_address(peer: str | None, forwarded: Sequence[str], proxies: int) -> str | None:
    """Return the sender's IP address: the peer's, or the one that the outermost of ``proxies`` saw.

    >>> sender_address("10.0.0.1", ["6.6.6.6, 203.0.113.7", "10.0.0.2"], 2)
    '203.0.113.7'
    >>> sender_address("10.0.0.1", ["6.6.6.6"], 0), sender_address("10.0.0.1", ["no address"], 1)
    ('10.0.0.1', None)
    """
    if proxies:
        seen = [each.strip() for each in ",".join(forwarded).split(",")]
        peer = seen[-proxies] if len(seen) >= proxies else None
    try:
        return None if peer is None else str(ip_address(peer.partition("%")[0]))
    except ValueError:
        return None


def cors(origin: str | None, *, asked_names: str | None = None, preflight: bool = False) -> Mapping[str, str]:
    r"""Return the headers by which a browser lets a page of ``origin`` send, and read when to retry.

    A preflight may ask for any header names: SDKs add their own when they retry, and a list would stop them.

    >>> cors("https://shop.example")["Access-Control-Expose-Headers"], cors(None), cors("a\r\nb: c")
    ('Retry-After', {}, {})
    """
    if origin is None or _ORIGIN.fullmatch(origin) is None:
        return {}
    headers = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "Retry-After",
        "Vary": "Origin",
    }
    if preflight:
        headers |= _PREFLIGHT
        headers["Vary"] = "Origin, Access-Control-Request-Headers"
        if asked_names is not None and _NAMES.fullmatch(asked_names):
            headers["Access-Control-Allow-Headers"] = asked_names
    return headers


def public_url(configured: str | None, host: str | None, scheme: str | None) -> str:
    """Return the URL under which browsers reach the collector: the configured one, or that of the request.

    >>> public_url(None, "shop.example:6080", None), public_url("https://c.example", "evil", None)
    ('http://shop.example:6080', 'https://c.example')
    """
    if configured is not None:
        return configured
    known = host is not None and _HOST.fullmatch(host) is not None
    return f"{'https' if scheme == 'https' else 'http'}://{host if known else 'localhost'}"
