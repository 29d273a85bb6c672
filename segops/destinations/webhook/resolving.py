"""Host names, resolved to public addresses only: no webhook reaches into the operator's own network."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from typing import Any, Final

from aiohttp import DefaultResolver
from aiohttp.abc import AbstractResolver, ResolveResult

_SETTING: Final = "SEGOPS_WEBHOOK_ALLOW"


class PrivateAddress(OSError):
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
    """
    found = ipaddress.ip_address(str(address).partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    if not (mapped or found).is_global:
        raise PrivateAddress(f"{host} is in a private network ({found}); {_SETTING} allows hosts by name")


def literal_address(host: str) -> str | None:
    """Return the address that a host of a URL is; None if it is a name.

    >>> literal_address("127.0.0.1"), literal_address("shop.example")
    ('127.0.0.1', None)
    """
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
