"""The faults, row by row. A fault starts workers, breaks something while the load runs, and mends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from . import belonging, brokers, disks, inputs, logs, outages, workers
from .cluster import Case
from .load import Shape

DAY_MS = 86_400_000
BOTH = ("at_least_once", "exactly_once")


@dataclass(frozen=True)
class Fault:
    """A row. ``run`` None: it is not run, and ``why`` says why; else ``why`` is what to know of it.

    ``every_time`` False: only when asked for by its id.
    """

    id: str
    title: str
    run: Callable[[Case], None] | None
    why: str = ""
    clock: str = "event"
    brokers: int = 1
    modes: tuple[str, ...] = BOTH
    shape: Shape = field(default_factory=Shape)
    budget_s: float = 45.0
    every_time: bool = True


FAULTS = [
    Fault("F1", "kill -9 at a point of the checkpoint", workers.kill_at_a_point),
    Fault("F2", "kill -9, never to return; another disk takes over", workers.kill_for_good),
    Fault("F3", "kill -9 during recovery, twice", workers.kill_in_recovery),
    Fault("F4", "SIGTERM to all workers in turn", workers.rolling_restart),
    Fault("F4b", "SIGTERM to a worker that reaches no broker", brokers.stop_while_cut, budget_s=90),
    Fault("F5", "SIGSTOP beyond the session timeout, then SIGCONT", workers.zombie),
    Fault(
        "F6", "brokers killed and bounced, one after another", brokers.broker_bounce, brokers=3, budget_s=90
    ),
    Fault("F7", "the coordinating broker killed", brokers.coordinator_killed, brokers=3, budget_s=90),
    Fault("F8", "the network cut, slow or resetting", brokers.bad_network, budget_s=90),
    Fault("F9", "rebalances while timers fire", workers.rebalances_while_timers_fire, clock="wall"),
    Fault("F10", "a storm of rebalances", workers.rebalance_storm, budget_s=60),
    Fault("F11", "a blocked loop", workers.blocked_loop),
    Fault("F12", "poison records", inputs.poison),
    Fault("F13", "oversized input and state", inputs.oversized),
    Fault(
        "F14",
        "events a month early or late",
        inputs.skewed_events,
        shape=Shape(events=200, skew_ms=30 * DAY_MS),
    ),
    Fault("F14b", "workers whose clocks disagree", inputs.skewed_workers, clock="wall"),
    Fault(
        "F15", "duplicate sends, out of order, across partitions", inputs.duplicates, shape=Shape(copies=5)
    ),
    Fault("F16", "a lost, damaged or stale store", disks.damaged_store),
    Fault("F17", "a full disk", disks.full_disk),
    Fault("F18", "slow outputs", brokers.slow_outputs),
    Fault("F19", "a changelog expired, aborted, compacted or made anew at its end", logs.changelog_tail),
    Fault("F20", "input deleted before it was read", logs.expired_input),
    Fault("F21", "two of three brokers gone", brokers.too_few_replicas, brokers=3, budget_s=120),
    Fault("F21b", "a raised partition count", brokers.more_partitions),
    Fault(
        "F22",
        "kill -9 in the middle of identity merges",
        workers.kill_in_a_merge,
        shape=Shape(events=420, users=24, logins=True),
    ),
    Fault(
        "F22b",
        "the same by the wall clock",
        workers.kill_in_a_merge,
        clock="wall",
        shape=Shape(events=420, users=24, logins=True),
    ),
    Fault("F23", "definitions that change under load", inputs.definitions_change),
    Fault("F24", "a state of a newer version", disks.newer_state),
    Fault("F25", "a paused broker, then a burst for one hot profile", brokers.paused_broker),
    Fault("F26", "two workers with one folder and one name", workers.same_folder_twice),
    Fault("F27", "too few file descriptors", workers.few_files),
    Fault("F29", "the same application on topics of another prefix", belonging.another_prefix),
    Fault("F30", "profile events made anew and grown past what was read", belonging.made_anew),
    Fault("F31", "kill -9 in a start from nothing", belonging.fresh_start_killed, budget_s=60),
    Fault("F33", "the only broker restarted under load", outages.restart),
    Fault("F33b", "all of three brokers restarted under load", outages.restart, brokers=3, budget_s=90),
    Fault("F34", "the only broker away for 90 s under load", outages.away, budget_s=150),
    Fault("F34b", "all of three brokers away for 90 s under load", outages.away, brokers=3, budget_s=180),
    Fault("F35", "workers started while the only broker is down", outages.started_without),
    Fault(
        "F35b",
        "workers started while all of three brokers are down",
        outages.started_without,
        brokers=3,
        budget_s=90,
    ),
    Fault(
        "F36",
        "the only broker away for 5 minutes under load",
        outages.away_for_long,
        "Run when asked for: `make faults ONLY=F36`.",
        budget_s=360,
        every_time=False,
    ),
    Fault("F28", "a random mix for long", None, "It has a command of its own: `make soak`."),
]
