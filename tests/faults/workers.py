"""Faults of worker processes."""

from __future__ import annotations

import signal
import time

from segops.streaming.failpoints import CHECKPOINT_POINTS

from ..streaming.helpers import wait_until
from .cluster import SESSION_TIMEOUT_S, Case


def kill_at_a_point(case: Case) -> None:
    """Kill two workers, each at a different failpoint, and restart them with their stores."""
    points = [CHECKPOINT_POINTS[(case.plan.seed + shift) % 5] for shift in (0, 2)]
    case.notes.append(" ".join(points))
    for number, point in enumerate(points):
        case.start(number, crash_at=f"{point}:{case.rng.randrange(3, 9)}")
    case.load.start()
    for number in (0, 1):
        case.wait_crashed(number)
        fault = time.monotonic()
        case.start(number)
    case.record_recovery(fault)


def kill_for_good(case: Case) -> None:
    """Kill a worker for good; a running worker and a new one with an empty disk take its partitions."""
    case.start(0, 1)
    case.wait_ready(0, 1)
    case.load.start()
    case.load.wait_sent(150)
    fault = time.monotonic()
    case.kill(0)
    case.start(2)
    case.record_recovery(fault)
    case.wait_ready(1, 2)


def kill_in_recovery(case: Case) -> None:
    """Kill a worker with an empty disk twice while it restores, and restart it."""
    case.start(0)
    case.wait_ready(0)
    case.load.start()
    case.load.wait_sent(200)
    case.wait_caught_up()
    fault = time.monotonic()
    case.kill(0)
    for nth in (1, 1 + case.rng.randrange(2)):
        case.start(0, crash_at=f"during_recovery:{nth}", folder=1)
        case.wait_ended(0, None)
    case.start(0, folder=1)
    case.record_recovery(fault)


def rolling_restart(case: Case) -> None:
    """Shut down and restart every worker in turn."""
    case.start(0, 1)
    case.wait_ready(0, 1)
    case.load.start()
    for number in (0, 1):
        case.load.wait_sent(100 + 150 * number)
        fault = time.monotonic()
        case.terminate(number)
        case.start(number)
        case.record_recovery(fault)
        case.wait_ready(0, 1)


def zombie(case: Case) -> None:
    """Suspend a worker until its partitions have moved to the other, then resume it."""
    case.start(0, 1)
    case.wait_ready(0, 1)
    case.load.start()
    case.load.wait_sent(60 + case.rng.randrange(100))
    fault = time.monotonic()
    case.signal(0, signal.SIGSTOP)
    wait_until(lambda: case.share_partitions(1), "worker 1 owns all partitions", case.diagnosis)
    assert time.monotonic() - fault > 0.5 * SESSION_TIMEOUT_S
    case.record_recovery(fault)
    case.load.wait_sent(400)
    case.signal(0, signal.SIGCONT)
    case.wait_reopening(0)
    case.wait_ready(0, 1)


def rebalances_while_timers_fire(case: Case) -> None:
    """Start and stop workers while timers fire, and kill one just after its timers fired."""
    case.start(0, crash_at=f"after_timers:{case.rng.randrange(2, 12)}")
    case.start(1)
    case.wait_ready(0, 1)
    case.load.start()
    case.wait_crashed(0)
    fault = time.monotonic()
    case.start(0, 2)
    case.wait_ready(0, 1, 2)
    case.terminate(1)
    wait_until(lambda: case.share_partitions(0, 2), "workers 0 and 2 own all partitions", case.diagnosis)
    case.record_recovery(fault)
    case.start(1)
    case.wait_ready(0, 1, 2)


def rebalance_storm(case: Case) -> None:
    """Make workers join and leave in quick succession; kill one in a revocation, one in an assignment."""
    case.start(0, crash_at="on_revoke:1")
    case.wait_ready(0)
    case.load.start()
    fault = time.monotonic()
    case.start(1)
    case.wait_crashed(0)
    case.start(2, crash_at=f"on_assign:{case.rng.randrange(1, 3)}")
    case.start(0)
    time.sleep(case.rng.random())
    for _ in range(3):
        number = case.rng.choice([0, 1, 2])
        if case.workers[number].poll() is None:
            case.kill(number) if case.rng.random() < 0.5 else case.terminate(number, None)
        case.revive(0, 1, 2)
        time.sleep(case.rng.random() * 1.5)
    case.revive_until_ready(0, 1, 2)
    case.record_recovery(fault)


def blocked_loop(case: Case) -> None:
    """Block a worker's event loop beyond the session timeout: it must not resume with its old partitions."""
    case.start(0, FAULTS_BLOCK_S=str(2.5 * SESSION_TIMEOUT_S))
    case.start(1)
    case.wait_ready(0, 1)
    case.load.start()
    case.load.wait_sent(60 + case.rng.randrange(100))
    fault = time.monotonic()
    case.signal(0, signal.SIGUSR1)
    wait_until(lambda: case.share_partitions(1), "worker 1 owns all partitions", case.diagnosis)
    case.record_recovery(fault)
    case.wait_reopening(0)
    case.wait_ready(0, 1)


def same_folder_twice(case: Case) -> None:
    """Start a second worker with the data folder, and so the name, of a running one."""
    case.start(0)
    case.wait_ready(0)
    case.load.start()
    case.load.wait_sent(80)
    fault = time.monotonic()
    case.start(1, folder=0)
    case.wait_ended(1, 2)
    assert "is in use by another worker" in case.log_text(1), case.log_text(1)[-500:]
    case.wait_ready(0)
    case.record_recovery(fault)


def few_files(case: Case) -> None:
    """Start a worker with too low a limit of open files: it reports the error and ends without data loss."""
    case.start(1)
    case.wait_ready(1)
    case.load.start()
    fault = time.monotonic()
    case.start(0, prefix=f"prlimit --nofile={case.rng.choice([24, 32, 40])}")
    wait_until(
        lambda: case.workers[0].poll() is not None or case.cluster.owned_partitions(0),
        "worker 0 ends or owns partitions",
        case.diagnosis,
    )
    case.notes.append("ended" if case.workers[0].poll() is not None else "worked")
    if case.workers[0].poll() is None:
        case.terminate(0)
    else:
        case.wait_ended(0, None)
    case.start(0)
    case.wait_ready(0, 1)
    case.record_recovery(fault)


#: Every message of a merge, at its sender and at its receiver.
STEPS = [f"{when}:{kind}" for kind in ("claim", "join", "handover") for when in ("sent", "taken")]


def kill_in_a_merge(case: Case) -> None:
    """Under a load of log-ins, kill each worker twice in a row in the middle of a merge and restart it.

    The load is endless: however late a worker reaches its step, there are merges left for it.
    """
    for attempt in (0, 1):
        steps = [STEPS[(case.plan.seed + 2 * attempt + shift) % len(STEPS)] for shift in (0, 3)]
        case.notes.append(" ".join(steps))
        for number, step in enumerate(steps):
            case.start(number, FAULTS_DIE=f"{step}:{case.rng.randrange(1, 4)}")
        if attempt == 0:
            case.load.start()
        for number in (0, 1):
            case.wait_ended(number, -signal.SIGKILL)
        case.load.wait_sent(case.load.sent + 30)
    fault = time.monotonic()
    case.start(0, 1)
    case.record_recovery(fault)
