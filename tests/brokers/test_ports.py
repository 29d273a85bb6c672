"""Port reservations are exclusive, also between concurrent programs."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from segops.brokers import BrokerUnavailable, network
from segops.brokers.network import is_free, reserve_ports

holds = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a server use a port that is held")

#: Reserves ports until the range is exhausted, prints them, and holds them until its input ends.
_GREEDY = """
import sys
from segops.brokers import BrokerUnavailable, network
network._PORTS = range(*map(int, sys.argv[1:3]))
held = []
sys.stdin.readline()
try:
    while True:
        held.append(network.reserve_ports(2))
except BrokerUnavailable:
    print(*[port for each in held for port in each.numbers], flush=True)
sys.stdin.read()
"""


@holds
def test_concurrent_programs_never_reserve_the_same_port() -> None:
    area = ["29000", "29064"]
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", _GREEDY, *area], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.flush()
    found = [program.stdout.readline().split() for program in programs if program.stdout]
    for program in programs:
        program.communicate()
        assert program.returncode == 0
    taken = [port for ports in found for port in ports]
    assert len(taken) == len(set(taken)) >= 32


@holds
def test_ports_are_consecutive_and_reserved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with reserve_ports(4) as ports:
        assert ports == list(range(ports[0], ports[0] + 4))
        monkeypatch.setattr(network, "_PORTS", range(ports[0], ports[0] + 4))
        with pytest.raises(BrokerUnavailable, match="no 1 consecutive free ports"):
            reserve_ports(1)
    with reserve_ports(4) as again:
        assert again == ports


@holds
def test_server_can_bind_a_held_port_repeatedly() -> None:
    with reserve_ports(1) as (port,):
        for _ in range(2):
            with socket.create_server(("127.0.0.1", port)) as server:
                client = socket.create_connection(("127.0.0.1", port))
                server.accept()[0].close()
                client.close()
                assert not is_free(port)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


@holds
def test_plain_bind_to_a_held_port_fails() -> None:
    with reserve_ports(1) as (port,), socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))


def test_caller_may_reserve_a_port_that_it_holds() -> None:
    with reserve_ports(2) as (first, second), reserve_ports(2, first) as named:
        assert named == [first, second]


def test_requested_port_in_use_is_named_and_none_is_held() -> None:
    with reserve_ports(2) as (first, second), socket.create_server(("127.0.0.1", second)):
        with pytest.raises(BrokerUnavailable, match=f"^port {second} is in use; choose another with --port$"):
            reserve_ports(2, first)
        assert is_free(first)


def test_second_release_has_no_effect() -> None:
    reserved = reserve_ports(1)
    reserved.release()
    reserved.release()
    assert is_free(reserved.numbers[0])
