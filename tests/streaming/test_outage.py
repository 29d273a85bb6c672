"""A worker waits while brokers are down and continues in the same process, without loss or duplicates."""

from __future__ import annotations

import os
import re
import signal
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from segops.brokers import LocalBroker
from tests.faults.proxy import FaultyNetwork
from tests.rest import in_rest, rest

from .conftest import require_transactions
from .helpers import DAY_MS, START_MS, Stack, expected_changes, shop_events, wait_until

pytestmark = pytest.mark.broker

FINAL_MS = START_MS + 2 * DAY_MS


@pytest.fixture
def network(stack: Stack) -> Iterator[FaultyNetwork]:
    """Yield a proxy that carries all traffic between the workers of ``stack`` and the brokers."""
    ports = [int(address.rpartition(":")[2]) for address in stack.bootstrap_servers.split(",")]
    network = FaultyNetwork(ports)
    stack.hooks = {"FAULTS_REDIRECT": network.redirection}
    yield network
    stack.stop()
    network.close()


def metric(stack: Stack, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", stack.get("/metrics")[1], re.MULTILINE)
    return float(found[1]) if found else -1.0


def log_text(stack: Stack) -> str:
    return (stack.folder / "worker-0.log").read_text()


def threads_and_files(pid: int) -> tuple[int, int]:
    """Return the numbers of threads and of open files of a process; SST files vary and are excluded."""
    folder = Path(f"/proc/{pid}/fd")
    files = [os.readlink(link) for link in folder.iterdir() if link.is_symlink()]
    return len(os.listdir(f"/proc/{pid}/task")), sum(not name.endswith(".sst") for name in files)


@pytest.mark.parametrize(("guarantee", "way"), [in_rest("at_least_once", "cut"), ("exactly_once", "down")])
def test_worker_waits_for_brokers_and_continues_in_the_same_process(
    stack: Stack, broker: LocalBroker, network: FaultyNetwork, guarantee: str, way: str
) -> None:
    if guarantee == "exactly_once":
        require_transactions(broker)
    stack.guarantee = guarantee
    stack.environment = {"SEGOPS_SESSION_TIMEOUT": "6s"}
    stack.publish()
    sent = shop_events(1_200, users=40, partitions=3)
    worker = stack.start()
    wait_until(lambda: stack.owned_partitions(), "ready", stack.diagnosis)
    stack.send(sent[:400])
    setattr(network, way, True)
    stack.send(sent[400:800])
    wait_until(lambda: metric(stack, "segops_broker_connected") == 0, "an outage", stack.diagnosis)
    wait_until(lambda: stack.get("/healthz")[0], "an answer", stack.diagnosis)  # no metrics while it reopens
    status, body = stack.get("/healthz")
    assert status == 200
    assert body.startswith("ok: waiting for Kafka for ")
    assert stack.get("/readyz")[0] == 503
    setattr(network, way, False)
    wait_until(lambda: stack.owned_partitions(), "ready again", stack.diagnosis)
    stack.send(sent[800:], final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    assert worker.poll() is None
    assert metric(stack, "segops_broker_connected") == 1
    assert metric(stack, "segops_reopenings_total") >= 1
    assert "waiting for Kafka: " in log_text(stack)
    assert re.search(r"Kafka answers again after \d+ s; reconnecting", log_text(stack))
    assert "Traceback" not in log_text(stack)
    if guarantee == "exactly_once":
        assert len(stack.read(stack.settings.topics.membership_changes)) == len(stack.changes())


@rest
def test_reopening_releases_threads_and_files(
    stack: Stack, broker: LocalBroker, network: FaultyNetwork
) -> None:
    require_transactions(broker)
    stack.guarantee = "exactly_once"
    stack.environment = {"SEGOPS_SESSION_TIMEOUT": "6s"}
    stack.publish()
    sent = shop_events(1_200, users=40, partitions=3)
    worker = stack.start()
    wait_until(lambda: stack.owned_partitions(), "ready", stack.diagnosis)
    stack.send(sent[:200])
    held: list[tuple[int, int]] = []
    for turn in range(1, 4):
        network.down = True
        wait_until(lambda: metric(stack, "segops_broker_connected") == 0, "an outage", stack.diagnosis)
        network.down = False
        wait_until(lambda: stack.owned_partitions(), "ready again", stack.diagnosis)
        assert metric(stack, "segops_reopenings_total") >= turn
        stack.send(sent[200 * turn : 200 * turn + 200])
        expected = expected_changes(sent[: 200 * turn + 200], stack.definitions, 0)
        wait_until(lambda: set(stack.changes()) >= set(expected), "changes", stack.diagnosis)  # noqa: B023
        held.append(threads_and_files(worker.pid))

    def released() -> bool:
        """Some connections are open for a moment only; what a reopening leaves behind stays."""
        return all(
            now <= before + 1 for now, before in zip(threads_and_files(worker.pid), held[0], strict=True)
        )

    wait_until(released, f"as few threads and files as after the first: {held}", stack.diagnosis)


def test_worker_waits_for_a_broker_that_is_down_at_startup(stack: Stack, network: FaultyNetwork) -> None:
    stack.publish()
    network.down = True
    worker = stack.start()
    wait_until(lambda: stack.get("/healthz")[0] == 200, "an answer", stack.diagnosis)
    wait_until(lambda: "connection refused" in stack.get("/healthz")[1], "the reason", stack.diagnosis)
    assert stack.get("/readyz")[0] == 503
    network.down = False
    wait_until(lambda: stack.owned_partitions(), "ready", stack.diagnosis)
    assert worker.poll() is None


def test_waiting_worker_stops_on_sigterm(stack: Stack, network: FaultyNetwork) -> None:
    network.down = True
    worker = stack.start()
    wait_until(lambda: "waiting" in stack.get("/healthz")[1], "it waits", stack.diagnosis)
    worker.terminate()
    assert worker.wait(60) == 0


def test_unknown_host_at_startup_is_an_invalid_setting(stack: Stack) -> None:
    stack.bootstrap_servers = "no-such-host.invalid:9092"
    assert stack.start().wait(60) == 2
    assert "no-such-host.invalid:9092: unknown host name" in log_text(stack)


def test_foreign_service_at_startup_is_an_invalid_setting(stack: Stack) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), _NoKafka) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.bootstrap_servers = f"127.0.0.1:{server.server_address[1]}"
        status = stack.start().wait(60)
        server.shutdown()
    assert status == 2
    assert "not a Kafka broker" in log_text(stack)


class _NoKafka(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(1_000)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


@rest
def test_member_kept_out_by_its_group_is_unhealthy(stack: Stack) -> None:
    stack.environment = {"SEGOPS_SESSION_TIMEOUT": "30s"}
    stack.publish()
    absent = stack.start(number=0)
    wait_until(lambda: stack.owned_partitions(0), "worker 0 owns all partitions", stack.diagnosis)
    absent.send_signal(signal.SIGSTOP)  # the rebalance waits for this member
    try:
        stack.environment |= {"SEGOPS_PROGRESS_TIMEOUT": "2s"}
        joining = stack.start(number=1)
        wait_until(lambda: stack.get("/healthz", 1)[0] == 500, "unhealthy", stack.diagnosis)
        assert "the brokers answer, but joining the group has taken" in stack.get("/healthz", 1)[1]
        assert stack.get("/readyz", 1)[0] == 503
    finally:
        absent.send_signal(signal.SIGCONT)
    wait_until(lambda: stack.owned_partitions(1), "worker 1 joined the group", stack.diagnosis)
    assert stack.get("/healthz", 1)[0] == 200
    assert joining.poll() is None
