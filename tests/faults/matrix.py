"""The faults, row by row. A fault starts workers, breaks something while the load runs, and mends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from . import disks, inputs, workers
from .load import Shape
from .rig import Case

BOTH = ("at_least_once", "exactly_once")


@dataclass(frozen=True)
class Fault:
    """A row. ``run`` None: it cannot run here, and ``why`` says why; else ``why`` says what is not tried."""

    id: str
    title: str
    run: Callable[[Case], None] | None
    why: str = ""
    clock: str = "event"
    brokers: int = 1
    modes: tuple[str, ...] = BOTH
    shape: Shape = field(default_factory=Shape)
    budget_s: float = 45.0


FAULTS = [
    Fault("F1", "kill -9 at a point of the checkpoint", workers.kill_at_a_point),
    Fault("F2", "kill -9, never to return; another disk takes over", workers.kill_for_good),
    Fault("F3", "kill -9 during recovery, twice", workers.kill_in_recovery),
    Fault("F4", "SIGTERM to all workers in turn", workers.rolling_restart),
    Fault("F5", "SIGSTOP beyond the session timeout, then SIGCONT", workers.zombie),
    Fault("F12", "poison records", inputs.poison),
    Fault(
        "F15", "duplicate sends, out of order, across partitions", inputs.duplicates, shape=Shape(copies=5)
    ),
    Fault("F16", "a lost, damaged or stale store", disks.damaged_store),
]
