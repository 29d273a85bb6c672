"""What happens to worker processes."""

from __future__ import annotations

import signal
import time

from segops.streaming.failpoints import CHECKPOINT_POINTS

from ..streaming.helpers import wait_until
from .cluster import SESSION_TIMEOUT_S, Case


def kill_at_a_point(case: Case) -> None:
    """Both workers die, each at a point of its own, and come back with their folders."""
    points = [CHECKPOINT_POINTS[(case.plan.seed + shift) % 5] for shift in (0, 2)]
    case.notes.append(" ".join(points))
    for number, point in enumerate(points):
        case.start(number, crash_at=f"{point}:{case.dice.randrange(3, 9)}")
    case.load.start()
    for number in (0, 1):
        case.crashed(number)
        fault = time.monotonic()
        case.start(number)
    case.recovered(fault)


def kill_for_good(case: Case) -> None:
    """One dies; a worker with an empty disk, and one that was there, take its partitions."""
    case.start(0, 1)
    case.ready(0, 1)
    case.load.start()
    case.load.wait_sent(150)
    fault = time.monotonic()
    case.kill(0)
    case.start(2)
    case.recovered(fault)
    case.ready(1, 2)


def kill_in_recovery(case: Case) -> None:
    """A worker with an empty disk dies twice while it restores, and starts again."""
    case.start(0)
    case.ready(0)
    case.load.start()
    case.load.wait_sent(200)
    case.caught_up()
    fault = time.monotonic()
    case.kill(0)
    for nth in (1, 1 + case.dice.randrange(2)):
        case.start(0, crash_at=f"during_recovery:{nth}", folder=1)
        case.ended(0, None)
    case.start(0, folder=1)
    case.recovered(fault)


def rolling_restart(case: Case) -> None:
    """Every worker in turn ends in good order, and comes back."""
    case.start(0, 1)
    case.ready(0, 1)
    case.load.start()
    for number in (0, 1):
        case.load.wait_sent(100 + 150 * number)
        fault = time.monotonic()
        case.term(number)
        case.start(number)
        case.recovered(fault)
        case.ready(0, 1)


def zombie(case: Case) -> None:
    """One stands still until its partitions are another's, and wakes up again."""
    case.start(0, 1)
    case.ready(0, 1)
    case.load.start()
    case.load.wait_sent(60 + case.dice.randrange(100))
    fault = time.monotonic()
    case.signal(0, signal.SIGSTOP)
    wait_until(lambda: case.shared(1), "the other has all", case.diagnosis)
    assert time.monotonic() - fault > 0.5 * SESSION_TIMEOUT_S
    case.recovered(fault)
    case.load.wait_sent(400)
    case.signal(0, signal.SIGCONT)
    case.gave_up(0)
    case.ready(0, 1)


def rebalances_while_timers_fire(case: Case) -> None:
    """Workers come and go while time passes; one dies just after timers fired."""
    case.start(0, crash_at=f"after_timers:{case.dice.randrange(2, 12)}")
    case.start(1)
    case.ready(0, 1)
    case.load.start()
    case.crashed(0)
    fault = time.monotonic()
    case.start(0, 2)
    case.ready(0, 1, 2)
    case.term(1)
    wait_until(lambda: case.shared(0, 2), "two are left", case.diagnosis)
    case.recovered(fault)
    case.start(1)
    case.ready(0, 1, 2)


def rebalance_storm(case: Case) -> None:
    """Joins and leaves one upon another; one dies in a revocation, one in an assignment."""
    case.start(0, crash_at="on_revoke:1")
    case.ready(0)
    case.load.start()
    fault = time.monotonic()
    case.start(1)
    case.crashed(0)
    case.start(2, crash_at=f"on_assign:{case.dice.randrange(1, 3)}")
    case.start(0)
    time.sleep(case.dice.random() * 2)
    for _ in range(3):
        number = case.dice.choice([0, 1, 2])
        if case.workers[number].poll() is None:
            case.kill(number) if case.dice.random() < 0.5 else case.term(number, None)
        case.revive(0, 1, 2)
        time.sleep(case.dice.random() * 3)
    case.ready_again(0, 1, 2)
    case.recovered(fault)


def blocked_loop(case: Case) -> None:
    """One computes for longer than the session timeout: it must not go on as if nothing had been."""
    case.start(0, FAULTS_BLOCK_S=str(2.5 * SESSION_TIMEOUT_S))
    case.start(1)
    case.ready(0, 1)
    case.load.start()
    case.load.wait_sent(60 + case.dice.randrange(100))
    fault = time.monotonic()
    case.signal(0, signal.SIGUSR1)
    wait_until(lambda: case.shared(1), "the other has all", case.diagnosis)
    case.recovered(fault)
    case.gave_up(0)
    case.ready(0, 1)


def same_folder_twice(case: Case) -> None:
    """A second worker is started with the folder, and so with the name, of one that runs."""
    case.start(0)
    case.ready(0)
    case.load.start()
    case.load.wait_sent(80)
    fault = time.monotonic()
    case.start(1, folder=0)
    case.ended(1, 2)
    assert "is in use by another worker" in case.said(1), case.said(1)[-500:]
    case.ready(0)
    case.recovered(fault)


def few_files(case: Case) -> None:
    """A worker may open fewer files than it needs: it says so and ends, and loses nothing."""
    case.start(1)
    case.ready(1)
    case.load.start()
    fault = time.monotonic()
    case.start(0, prefix=f"prlimit --nofile={case.dice.choice([24, 32, 40])}")
    wait_until(
        lambda: case.workers[0].poll() is not None or case.rig.owned(0), "it ends or works", case.diagnosis
    )
    case.notes.append("ended" if case.workers[0].poll() is not None else "worked")
    if case.workers[0].poll() is None:
        case.term(0)
    else:
        case.ended(0, None)
    case.start(0)
    case.ready(0, 1)
    case.recovered(fault)


#: Every step of a merge, as what is said of it and as what is heard.
STEPS = [f"{when}:{kind}" for kind in ("claim", "join", "handover") for when in ("sent", "taken")]


def kill_in_a_merge(case: Case) -> None:
    """People log in. Each worker dies twice in a row at some step of a merge, and comes back."""
    for turn in (0, 1):
        steps = [STEPS[(case.plan.seed + 2 * turn + shift) % len(STEPS)] for shift in (0, 3)]
        case.notes.append(" ".join(steps))
        for number, step in enumerate(steps):
            case.start(number, FAULTS_DIE=f"{step}:{case.dice.randrange(1, 4)}")
        if turn == 0:
            case.load.start()
        for number in (0, 1):
            case.ended(number, -signal.SIGKILL)
        case.load.wait_sent(case.load.sent + 30)
    fault = time.monotonic()
    case.start(0, 1)
    case.recovered(fault)
