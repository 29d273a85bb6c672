"""Faults during a backfill: segments that need history are published under a load of log-ins."""

from __future__ import annotations

import signal
import time

from .cluster import Case
from .load import segment_text

#: The steps of a backfill at which a worker dies, by seed: history is read; rows are moved to survivors; the
#: definitions come into force; a profile is folded; a round is announced.
STEPS = ("read", "move", "switch", "fold", "announce")


def killed(case: Case) -> None:
    """Kill a worker at a step of the backfill and restart it."""
    step = STEPS[(case.plan.seed - 1) % len(STEPS)]
    case.notes.append(step)
    case.start(0)
    case.start(1, FAULTS_DIE=f"backfill:{step}:1")
    case.wait_ready(0, 1)
    case.load.start()
    case.load.wait_sent(300)
    case.publish(segment_text(case.plan.clock))
    case.wait_ended(1, -signal.SIGKILL)
    fault = time.monotonic()
    case.load.wait_sent(case.load.sent + 60)
    case.start(1)
    case.record_recovery(fault)
    case.wait_ready(0, 1)
    case.wait_in_force()
