"""Check the address of the worker's HTTP server before the worker joins its group."""

from __future__ import annotations

import errno
import socket
from typing import Final

from segops.core.errors import UserError

_REASONS: Final = {
    errno.EADDRINUSE: "port {port} on {host} is in use ({variable})",
    errno.EACCES: "no permission to listen on port {port} of {host} ({variable})",
    errno.EADDRNOTAVAIL: "{host} is not an address of this machine (SEGOPS_WEB_HOST)",
}


def check_address(host: str, port: int, *, variable: str = "SEGOPS_WEB_PORT") -> None:
    """Raise UserError when a server cannot listen on ``host`` and ``port`` (0: any) at the moment.

    ``variable``: the setting of the port.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UserError(f"{host} cannot be resolved: {error.strerror} (SEGOPS_WEB_HOST)") from error
    for family, kind, _, _, address in found:
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind(address)
            except OSError as error:
                raise UserError(_reason(error, host, port, variable)) from error


def _reason(error: OSError, host: str, port: int, variable: str) -> str:
    known = _REASONS.get(error.errno or 0, "the HTTP server cannot listen on {host}:{port}: {error}")
    return known.format(host=host, port=port, variable=variable, error=error.strerror)
