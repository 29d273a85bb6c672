"""Host names, resolved to public addresses only: no webhook reaches into the operator's own network."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from typing import Any, Final

from aiohttp import DefaultResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from segops.destinations.port import DestinationRefuses

_SETTING: Final = "SEGOPS_WEBHOOK_ALLOW"


#: Networks whose addresses end with an IPv4 address to which they lead: mapped, NAT64 (RFC 6052), compatible.
_LEAD_TO_IPV4: Final = tuple(map(ipaddress.IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96", "::/96")))
#: NAT64 prefixes of an operator's own (RFC 8215).
_LOCAL_NAT64: Final = ipaddress.IPv6Network("64:ff9b:1::/48")


class PrivateAddress(DestinationRefuses):
    """The host is in a private network, and the operator has not allowed it."""


class PublicResolver(AbstractResolver):
    """Resolves like the system, and refuses private addresses. The checked address is connected to."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(allowed)
        self._resolver: AbstractResolver | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises PrivateAddress."""
        if self._resolver is None:
            self._resolver = DefaultResolver()
        found = await self._resolver.resolve(host, port, family)
        if host not in self._allowed:
            for each in found:
                check_public(host, each["host"])
        return found

    async def close(self) -> None:
        """Release the system's resolver."""
        if self._resolver is not None:
            await self._resolver.close()


def check_public(host: str, address: Any) -> None:
    """Raise PrivateAddress unless an address is public.

    >>> check_public("hooks.shop.example", "93.184.216.34")
    >>> check_public("hooks.shop.example", "10.0.0.7")
    Traceback (most recent call last):
    segops.destinations.webhook.resolving.PrivateAddress: hooks.shop.example is in a private network...
    >>> check_public("hooks.shop.example", "64:ff9b::10.0.0.7")
    Traceback (most recent call last):
    segops.destinations.webhook.resolving.PrivateAddress: hooks.shop.example is in a private network...
    """
    found = ipaddress.ip_address(str(address).partition("%")[0])
    if not _is_public(found):
        raise PrivateAddress(f"{host} is in a private network ({found}); {_SETTING} allows hosts by name")


def _is_public(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(found, ipaddress.IPv6Address):
        if found in _LOCAL_NAT64:
            return False
        if found.sixtofour is not None:
            return _is_public(found.sixtofour)
        if any(found in each for each in _LEAD_TO_IPV4):
            return _is_public(ipaddress.IPv4Address(found.packed[-4:]))
    return found.is_global and not found.is_multicast


def literal_address(host: str) -> str | None:
    """Return the address that a host of a URL is; None if it is a name.

    >>> literal_address("127.0.0.1"), literal_address("shop.example")
    ('127.0.0.1', None)
    """
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
