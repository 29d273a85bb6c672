"""What happens to brokers, and to the way to them."""

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
    """One broker after another dies, or ends in good order, and comes back."""
    case.start(0, 1)
    case.ready(0, 1)
    case.load.start()
    nodes = list(case.plan.broker.nodes)
    case.dice.shuffle(nodes)
    for node, way in zip(nodes[:2], case.dice.sample(["kill", "stop"], 2), strict=True):
        case.notes.append(way)
        case.load.wait_sent(case.load.sent + 40)
        fault = time.monotonic()
        getattr(node, way)()
        time.sleep(case.dice.random() * 4)
        node.start()
        _until_worked_off(case, fault, 0, 1)


def _until_worked_off(case: Case, fault: float, *numbers: int) -> None:
    """Until all is worked off that there was at the fault; workers that gave up are started again."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        case.revive(*numbers)
        try:
            case.caught_up(deadline_s=5)
        except AssertionError:
            continue
        case.happened.recovery_s.append(time.monotonic() - fault)
        return
    raise AssertionError(f"no progress any more\n{case.diagnosis()}")


def coordinator_killed(case: Case) -> None:
    """The broker that coordinates the group dies under load, and comes back later."""
    case.start(0, 1)
    case.ready(0, 1)
    case.load.start()
    case.load.wait_sent(80)
    found = case.eyes.admin_call("find_coordinator", case.settings.worker.app_id)
    node: Any = next(node for node in case.plan.broker.nodes if getattr(node, "node_id", None) == found)
    fault = time.monotonic()
    node.kill()
    case.load.wait_sent(200)
    node.start()
    _until_worked_off(case, fault, 0, 1)


def bad_network(case: Case) -> None:
    """One worker's way to the brokers is cut beyond the session timeout, or slow, or keeps breaking."""
    network = _network(case)
    kind = ["cut", "slow", "resets"][case.plan.seed % 3]
    case.notes.append(kind)
    case.start(0, FAULTS_REDIRECT=network.redirection)
    case.start(1)
    case.ready(0, 1)
    case.load.start()
    case.load.wait_sent(60)
    fault = time.monotonic()
    if kind == "cut":
        network.cut = True
        wait_until(lambda: case.shared(1), "the other has all", case.diagnosis)
        case.gave_up(0)
    network.delay_s = 0.1 if kind == "slow" else 0.0
    network.reset_share = 0.01 if kind == "resets" else 0.0
    case.load.wait_sent(300)
    network.cut, network.delay_s, network.reset_share = False, 0.0, 0.0
    _until_worked_off(case, fault, 0, 1)
    case.ready_again(0, 1)


def stop_while_cut(case: Case) -> None:
    """A worker is told to stop while it reaches no broker: it ends at its deadline all the same."""
    network = _network(case)
    case.start(0, FAULTS_REDIRECT=network.redirection, SEGOPS_SESSION_TIMEOUT="60s")
    case.ready(0)
    case.load.start()
    case.load.wait_sent(60 + case.dice.randrange(100))
    fault = time.monotonic()
    network.cut = True
    case.term(0, 1)
    case.notes.append(f"ended after {time.monotonic() - fault:.0f} s")
    network.cut = False
    case.start(0)
    case.recovered(fault)


def _network(case: Case) -> FaultyNetwork:
    ports = [int(address.rpartition(":")[2]) for address in case.plan.broker.bootstrap_servers.split(",")]
    network = FaultyNetwork(ports, case.plan.seed)
    case.at_end.append(network.close)
    return network


def slow_outputs(case: Case) -> None:
    """Everything takes long to be acknowledged: the workers wait, and do not grow."""
    network = _network(case)
    case.start(0, 1, FAULTS_REDIRECT=network.redirection)
    case.ready(0, 1)
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
    assert max(grown) < _RSS_GROWTH_BYTES, f"grown by {grown} bytes"
    network.delay_s = 0.0
    _until_worked_off(case, fault, 0, 1)


def rss_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except (OSError, IndexError):
        return 0


def paused_broker(case: Case) -> None:
    """A burst for one hot profile, and a broker that stands still for a while."""
    case.start(0, 1)
    case.ready(0, 1)
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
    _until_worked_off(case, fault, 0, 1)


def too_few_replicas(case: Case) -> None:
    """Two of three brokers go: nothing can be acknowledged, nothing is committed. They come back."""
    case.start(0, 1)
    case.ready(0, 1)
    case.load.start()
    case.load.wait_sent(80)
    fault = time.monotonic()
    gone = case.dice.sample(list(case.plan.broker.nodes), 2)
    for node in gone:
        node.kill()
    time.sleep(SESSION_TIMEOUT_S / 2)
    for node in gone:
        node.launch()  # type: ignore[attr-defined]
    for node in gone:
        node.wait_ready()  # type: ignore[attr-defined]
    _until_worked_off(case, fault, 0, 1)


def more_partitions(case: Case) -> None:
    """The input gets more partitions than the rest: no worker starts any more, and says why."""
    case.start(0)
    case.load.start()
    case.settle()
    from aiokafka.admin import NewPartitions

    count = case.plan.partitions + 1
    case.eyes.admin_call("create_partitions", {case.settings.topics.events: NewPartitions(count)})
    case.start(0)
    case.ended(0, 2)
    said = f"has {count} partition(s), expected {count - 1}"
    assert said in case.said(0), case.said(0)[-500:]
