"""The fault matrix. A fault starts workers, breaks something under load and repairs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from . import (
    auxiliaries,
    backfills,
    brokers,
    deliveries,
    disks,
    foreign_topics,
    inputs,
    logs,
    outages,
    plans,
    refusals,
    workers,
)
from .cluster import Case
from .load import Shape, earlier_text, segment_text

DAY_MS = 86_400_000
BOTH = ("at_least_once", "exactly_once")
LOGINS = Shape(events=420, users=24, logins=True, endless=True)


@dataclass(frozen=True)
class Fault:
    """A row of the matrix.

    ``note`` is printed below the report; it explains a row without ``run``, which is never run here.
    A row with ``every_time`` False runs only when selected by its id.
    """

    id: str
    title: str
    run: Callable[[Case], None] | None
    note: str = ""
    clock: str = "event"
    brokers: int = 1
    modes: tuple[str, ...] = BOTH
    shape: Shape = field(default_factory=Shape)
    budget_s: float = 45.0
    every_time: bool = True
    segments: Callable[[str], str] = segment_text


FAULTS = [
    Fault("F1", "kill -9 at a point of the checkpoint", workers.kill_at_a_point),
    Fault("F2", "kill -9 for good; a worker with an empty disk takes over", workers.kill_for_good),
    Fault("F3", "kill -9 during recovery, twice", workers.kill_in_recovery),
    Fault("F4", "SIGTERM to all workers in turn", workers.rolling_restart),
    Fault("F4b", "SIGTERM to a worker cut off from its brokers", brokers.stop_while_cut, budget_s=90),
    Fault("F5", "SIGSTOP beyond the session timeout, then SIGCONT", workers.zombie),
    Fault(
        "F6", "brokers killed and bounced, one after another", brokers.broker_bounce, brokers=3, budget_s=90
    ),
    Fault("F7", "the coordinating broker killed", brokers.coordinator_killed, brokers=3, budget_s=90),
    Fault("F8", "the network cut, slow or resetting", brokers.bad_network, budget_s=90),
    Fault("F9", "rebalances while timers fire", workers.rebalances_while_timers_fire, clock="wall"),
    Fault("F10", "a storm of rebalances", workers.rebalance_storm, budget_s=60),
    Fault("F11", "a blocked event loop", workers.blocked_loop),
    Fault("F12", "invalid records", inputs.poison),
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
    Fault("F19", "a changelog expired, aborted, compacted or recreated at its end", logs.changelog_tail),
    Fault("F20", "input deleted before it is read", logs.expired_input),
    Fault("F21", "two of three brokers down", brokers.too_few_replicas, brokers=3, budget_s=120),
    Fault("F21b", "an increased partition count", brokers.more_partitions),
    Fault(
        "F22",
        "kill -9 in the middle of identity merges",
        workers.kill_in_a_merge,
        shape=LOGINS,
    ),
    Fault(
        "F22b",
        "kill -9 in the middle of identity merges, wall clock",
        workers.kill_in_a_merge,
        clock="wall",
        shape=LOGINS,
    ),
    Fault("F23", "definitions changed under load", inputs.definitions_change),
    Fault("F24", "a state of a newer format", disks.newer_state),
    Fault("F25", "a paused broker, then a burst for one hot profile", brokers.paused_broker),
    Fault("F26", "two workers with the same data folder and name", workers.same_folder_twice),
    Fault("F27", "too few file descriptors", workers.few_files),
    Fault("F29", "the same application on topics of another prefix", foreign_topics.another_prefix),
    Fault("F30", "profile events recreated and grown past the committed offsets", foreign_topics.recreated),
    Fault("F31", "kill -9 during a fresh start", foreign_topics.fresh_start_killed, budget_s=60),
    Fault("F33", "the only broker restarted under load", outages.restart),
    Fault("F33b", "all three brokers restarted under load", outages.restart, brokers=3, budget_s=90),
    Fault("F34", "the only broker down for 90 s under load", outages.down, budget_s=150),
    Fault("F34b", "all three brokers down for 90 s under load", outages.down, brokers=3, budget_s=180),
    Fault("F35", "workers started while the only broker is down", outages.started_without),
    Fault(
        "F35b",
        "workers started while all three brokers are down",
        outages.started_without,
        brokers=3,
        budget_s=90,
    ),
    Fault(
        "F36",
        "the only broker down for 5 minutes under load",
        outages.down_for_long,
        "Runs only on request: `make faults ONLY=F36`.",
        budget_s=360,
        every_time=False,
    ),
    Fault("F37", "kill -9 during a backfill", backfills.killed, shape=LOGINS, segments=earlier_text),
    Fault(
        "F38",
        "kill -9 of workers, collector, sources and archive",
        auxiliaries.killed,
        segments=auxiliaries.alerted_text,
    ),
    Fault(
        "F39",
        "kill -9, SIGSTOP and rebalances while a plan is computed and applied",
        plans.disturbed,
        shape=Shape(events=300, users=24, per_second=120.0, logins=True),
        segments=earlier_text,
    ),
    Fault(
        "F40",
        "kill -9, SIGSTOP, rebalances and an outage of the delivery to a destination that fails",
        deliveries.disturbed,
        shape=Shape(events=420, users=24, logins=True),
    ),
    Fault(
        "F41",
        "more entries and exits than the limits allow, and kill -9 of processes that share them",
        deliveries.limited,
        shape=Shape(events=420, users=16),
    ),
    Fault(
        "F42",
        "a service that refuses the key, fails, loses the list and refuses people",
        refusals.refused,
        shape=Shape(events=300, users=24, per_second=20.0, logins=True, endless=True),
        budget_s=90,
    ),
    Fault("F28", "a long random mix of faults", None, "Run it with `make soak`."),
]
