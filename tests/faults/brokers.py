"""Faults of brokers and of the network between workers and brokers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ..streaming.helpers import wait_until
from .cluster import SESSION_TIMEOUT_S, Case
from .proxy import FaultyNetwork

_RSS_GROWTH_BYTES = 150 << 20


def broker_bounce(case: Case) -> None:
    """Kill one broker and shut another down cleanly, one after the other, and restart each."""
    case.start(0, 1)
    case.wait_ready(0, 1)
    case.load.start()
    nodes = list(case.plan.broker.nodes)
    case.rng.shuffle(nodes)
    for node, action in zip(nodes[:2], case.rng.sample(["kill", "stop"], 2), strict=True):
        case.notes.append(action)
        case.load.wait_sent(case.load.sent + 40)
        fault = time.monotonic()
        getattr(node, action)()
        time.sleep(case.rng.random() * 4)
        node.start()
        _wait_processed(case, fault, 0, 1)


def _wait_processed(case: Case, fault: float, *numbers: int) -> None:
    """Wait until all records present at the fault are processed, restarting workers that ended."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        case.revive(*numbers)
        try:
            case.wait_caught_up(deadline_s=5)
        except AssertionError:
            continue
        case.circumstances.recovery_s.append(time.monotonic() - fault)
        return
    raise AssertionError(f"no progress\n{case.diagnosis()}")


def coordinator_killed(case: Case) -> None:
    """Kill the group coordinator under load and restart it later."""
    case.start(0, 1)
    case.wait_ready(0, 1)
    case.load.start()
    case.load.wait_sent(80)
    found = case.inspector.admin_call("find_coordinator", case.settings.worker.app_id)
    node: Any = next(node for node in case.plan.broker.nodes if getattr(node, "node_id", None) == found)
    fault = time.monotonic()
    node.kill()
    case.load.wait_sent(200)
    node.start()
    _wait_processed(case, fault, 0, 1)


def bad_network(case: Case) -> None:
    """Cut one worker's network beyond the session timeout, slow it down, or reset its connections."""
    network = network_of(case)
    kind = ["cut", "slow", "resets"][case.plan.seed % 3]
    case.notes.append(kind)
    case.start(0, FAULTS_REDIRECT=network.redirection)
    case.start(1)
    case.wait_ready(0, 1)
    case.load.start()
    case.load.wait_sent(60)
    fault = time.monotonic()
    if kind == "cut":
        network.cut = True
        wait_until(lambda: case.share_partitions(1), "worker 1 owns all partitions", case.diagnosis)
        case.wait_reopening(0)
    network.delay_s = 0.1 if kind == "slow" else 0.0
    network.reset_share = 0.01 if kind == "resets" else 0.0
    case.load.wait_sent(300)
    network.cut, network.delay_s, network.reset_share = False, 0.0, 0.0
    _wait_processed(case, fault, 0, 1)
    case.revive_until_ready(0, 1)


def stop_while_cut(case: Case) -> None:
    """Send SIGTERM to a worker that reaches no broker: it still ends at its shutdown deadline."""
    network = network_of(case)
    case.start(0, FAULTS_REDIRECT=network.redirection, SEGOPS_SESSION_TIMEOUT="60s")
    case.wait_ready(0)
    case.load.start()
    case.load.wait_sent(60 + case.rng.randrange(100))
    fault = time.monotonic()
    network.cut = True
    case.terminate(0, 1)
    case.notes.append(f"ended after {time.monotonic() - fault:.0f} s")
    network.cut = False
    case.start(0)
    case.record_recovery(fault)


def network_of(case: Case) -> FaultyNetwork:
    ports = [int(address.rpartition(":")[2]) for address in case.plan.broker.bootstrap_servers.split(",")]
    network = FaultyNetwork(ports, case.plan.seed)
    case.cleanups.append(network.close)
    return network


def slow_outputs(case: Case) -> None:
    """Delay every acknowledgement: the workers apply back-pressure and their memory stays bounded."""
    network = network_of(case)
    case.start(0, 1, FAULTS_REDIRECT=network.redirection)
    case.wait_ready(0, 1)
    case.load.start()
    case.load.wait_sent(40)
    before = [rss_bytes(case.workers[number].pid) for number in (0, 1)]
    fault = time.monotonic()
    network.delay_s = 0.25
    value = case.load.values[0]
    for number in range(400):
        case.load.put(number % case.plan.partitions, value)
    time.sleep(SESSION_TIMEOUT_S)
    grown = [rss_bytes(case.workers[n].pid) - was for n, was in zip((0, 1), before, strict=True)]
    assert max(grown) < _RSS_GROWTH_BYTES, f"memory grew by {grown} bytes"
    network.delay_s = 0.0
    _wait_processed(case, fault, 0, 1)


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except (OSError, IndexError):
        return 0


def paused_broker(case: Case) -> None:
    """Pause a broker, then send a burst of events for one hot profile."""
    case.start(0, 1)
    case.wait_ready(0, 1)
    case.load.start()
    case.load.wait_sent(60)
    node = case.plan.broker.nodes[0]
    fault = time.monotonic()
    node.pause()
    time.sleep(SESSION_TIMEOUT_S / 2)
    node.resume()
    for number in range(1_500):
        minutes, seconds = divmod(number // 3, 60)
        at = f"2025-10-09T08:{53 + minutes % 6:02d}:{seconds:02d}Z"
        name = "Page Seen" if number % 20 else "Order Completed"
        form = {"type": "track", "event": name, "userId": "hot", "messageId": f"h{number}"}
        case.load.put_soon(0, json.dumps({**form, "timestamp": at}).encode())
    _wait_processed(case, fault, 0, 1)


def too_few_replicas(case: Case) -> None:
    """Kill two of three brokers, so that no write can be acknowledged or committed, and restart them."""
    case.start(0, 1)
    case.wait_ready(0, 1)
    case.load.start()
    case.load.wait_sent(80)
    fault = time.monotonic()
    killed = case.rng.sample(list(case.plan.broker.nodes), 2)
    for node in killed:
        node.kill()
    time.sleep(SESSION_TIMEOUT_S / 2)
    for node in killed:
        node.launch()  # type: ignore[attr-defined]
    for node in killed:
        node.wait_ready()  # type: ignore[attr-defined]
    _wait_processed(case, fault, 0, 1)


def more_partitions(case: Case) -> None:
    """Add a partition to the input topic only: workers refuse to start and name the mismatch."""
    case.start(0)
    case.load.start()
    case.settle()
    from aiokafka.admin import NewPartitions

    count = case.plan.partitions + 1
    case.inspector.admin_call("create_partitions", {case.settings.topics.events: NewPartitions(count)})
    case.start(0)
    case.wait_ended(0, 2)
    said = f"has {count} partition(s), expected {count - 1}"
    assert said in case.log_text(0), case.log_text(0)[-500:]
