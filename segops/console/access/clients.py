"""Where a request comes from, and how it was addressed: believed of trusted proxies only."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, NamedTuple

from aiohttp.web import BaseRequest

from segops.api.access import is_loopback

_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Via")
_UNKNOWN: Final = "unknown"


class Client(NamedTuple):
    """``address`` of the client, whether it came by ``https``, and whether a ``trusted`` proxy says so."""

    address: str
    https: bool
    trusted: bool


class Clients:
    """Reads where requests come from; ``proxies``: addresses and networks separated by commas."""

    def __init__(self, proxies: str, *, https: bool) -> None:
        self._networks = [
            ip_network(each.strip(), strict=False) for each in proxies.split(",") if each.strip()
        ]
        self._https = https

    def of(self, request: BaseRequest) -> Client:
        """Return the client of a request.

        Behind trusted proxies it is the last address of X-Forwarded-For that is none of theirs.
        """
        peer = _peer(request)
        if not self._trusts(peer):
            return Client(peer, self._https or request.secure, trusted=False)
        hops = [
            hop.strip() for line in request.headers.getall("X-Forwarded-For", []) for hop in line.split(",")
        ]
        address = next((hop for hop in reversed(hops) if not self._trusts(hop)), peer)
        https = self._https or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
        return Client(address if _parsed(address) else peer, https, trusted=True)

    def _trusts(self, address: str) -> bool:
        found = _parsed(address)
        return found is not None and any(found in network for network in self._networks)


def _peer(request: BaseRequest) -> str:
    found = request.transport.get_extra_info("peername") if request.transport is not None else None
    return str(found[0]) if isinstance(found, tuple) and found else _UNKNOWN


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return found if mapped is None else IPv4Address(mapped)


def host_of(header: str) -> str:
    """Return the host name of a Host header or of an origin's authority, in lower case, without its port.

    >>> host_of("LocalHost:6084"), host_of("[::1]:6084"), host_of("shop.example"), host_of("a:b:c")
    ('localhost', '::1', 'shop.example', '')
    """
    text = header.strip().lower()
    if text.startswith("["):
        host, closed, port = text[1:].partition("]")
        return host if closed and (not port or port[1:].isdecimal()) else ""
    host, _, port = text.partition(":")
    return host.rstrip(".") if not port or port.isdecimal() else ""


def is_loopback_name(host: str) -> bool:
    """Return whether a name always means this machine, whatever a name server says.

    >>> [is_loopback_name(name) for name in ("localhost", "127.0.0.1", "::1", "a.localhost", "evil.example")]
    [True, True, True, True, False]
    """
    return host.endswith(".localhost") or is_loopback(host)


def was_forwarded(request: BaseRequest) -> bool:
    """Return whether a proxy says that it has passed a request on."""
    return any(name in request.headers for name in _FORWARDED)
