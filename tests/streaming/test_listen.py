"""A worker whose web port is unavailable ends with the reason before it joins its group."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segops import config
from segops.api.listen import check_address
from segops.core.errors import UserError
from tests.rest import in_rest

Run = Callable[..., Any]


def test_free_port_is_accepted_and_stays_free(reserve: Callable[[int], list[int]]) -> None:
    (port,) = reserve(1)
    for _ in range(2):
        check_address("127.0.0.1", port)
    check_address("localhost", 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_taken_port_is_named(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=rf"^port {port} on {host} is in use \(SEGOPS_WEB_PORT\)$"):
            check_address(host, port)


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
def test_foreign_host_is_named(host: str, reserve: Callable[[int], list[int]]) -> None:
    with pytest.raises(UserError, match=rf"^{host} .*\(SEGOPS_WEB_HOST\)$"):
        check_address(host, reserve(1)[0])


@pytest.mark.parametrize("processes", [1, in_rest(2)])
def test_worker_with_a_taken_port_ends_with_status_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str], processes: int
) -> None:
    """Runs without a broker, because the worker ends before it connects to one."""
    from segops import worker

    for name, _, _ in config.variables():
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = {"web_port": server.getsockname()[1]}
        settings = config.load(worker=taken, state={"data_dir": str(tmp_path)})
        if processes == 1:
            with pytest.raises(UserError, match="is in use"):
                worker.run(worker.process_settings(settings, 0))
        else:
            assert worker.supervise(settings, processes) == worker.EXIT_USER
            err = capfd.readouterr().err
            assert f"port {taken['web_port']} on 127.0.0.1 is in use (SEGOPS_WEB_PORT)\n" in err
            assert "Traceback" not in err
