"""Loopback ports, and the one Kafka request that tells whether a broker serves."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable, Iterator
from time import monotonic, sleep

from segops.brokers.base import BrokerUnavailable

LOOPBACK = "127.0.0.1"
# Below the range that systems give to outgoing connections. There, a client which keeps dialling a broker
# that is down would sooner or later be handed the broker's own port and connect to itself.
_PORTS = range(20_000, 30_000)
_METADATA, _METADATA_VERSION = 3, 1


def wait_for(fact: Callable[[], bool], *, within_s: float, every_s: float = 0.05) -> bool:
    """Whether ``fact`` came true before the deadline."""
    deadline = monotonic() + within_s
    while not fact():
        if monotonic() > deadline:
            return False
        sleep(every_s)
    return True


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _candidates() -> Iterator[int]:
    start = random.randrange(len(_PORTS))  # noqa: S311 - only to keep two starters apart
    return (_PORTS[(start + i) % len(_PORTS)] for i in range(len(_PORTS)))


def free_ports(count: int) -> list[int]:
    """That many free loopback ports."""
    free = (port for port in _candidates() if is_free(port))
    return [next(free) for _ in range(count)]


def listener_ports(count: int, first: int | None) -> list[int]:
    """Ports for ``count`` brokers: from ``first`` upwards, or any. Raises BrokerUnavailable: one is taken."""
    if first is None:
        return free_ports(count)
    ports = list(range(first, first + count))
    taken = [port for port in ports if not is_free(port)]
    if taken:
        raise BrokerUnavailable(f"port {taken[0]} is in use; choose another with --port")
    return ports


def serving_nodes(port: int, *, timeout_s: float = 2.0) -> frozenset[int]:
    """The ids of the brokers that the one on this port knows to be up; empty while it does not answer."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout_s) as connection:
            connection.sendall(metadata_request())
            with connection.makefile("rb") as stream:
                (size,) = struct.unpack(">i", stream.read(4))
                return parse_brokers(stream.read(size))
    except (OSError, struct.error):
        return frozenset()


def metadata_request() -> bytes:
    """A Metadata request for no topic at all, framed."""
    client = b"segops"
    body = struct.pack(">hhih", _METADATA, _METADATA_VERSION, 1, len(client)) + client + struct.pack(">i", 0)
    return struct.pack(">i", len(body)) + body


def parse_brokers(body: bytes) -> frozenset[int]:
    """The broker ids of a Metadata response (without its frame).

    >>> body = struct.pack(">iii", 1, 1, 7) + struct.pack(">h", 1) + b"h" + struct.pack(">ih", 9092, -1)
    >>> parse_brokers(body)
    frozenset({7})
    """
    (count,), at, ids = struct.unpack_from(">i", body, 4), 8, set()
    for _ in range(count):
        node_id, host_size = struct.unpack_from(">ih", body, at)
        (rack_size,) = struct.unpack_from(">h", body, at + 6 + host_size + 4)
        at += 6 + host_size + 4 + 2 + max(rack_size, 0)
        ids.add(node_id)
    return frozenset(ids)
