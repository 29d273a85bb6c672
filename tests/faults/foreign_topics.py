"""Faults in which topics no longer match the stored state, and fresh starts."""

from __future__ import annotations

import time

from aiokafka.admin import NewTopic

from segops.schemas.origin import ORIGIN_KEY, decode_origin
from segops.schemas.ticks import TICK_HEADERS, source_tick

from ..streaming.helpers import wait_until
from .cluster import Case
from .inspector import Partition, partitions_of
from .logs import delete_until

#: Checks that a fresh start invalidates: the reference numbers changes from 1 and sees only the profile
#: events that are still retained.
_SKIPPED = {"changes", "states", "alternation", "causes"}

POINTS = [
    "during_fresh_start:1",
    "during_fresh_start:2",
    "during_fresh_start:4",
    "during_sweep:1",
    "after_output_ack:1",
    "after_store_write:1",
    "after_offset_commit:2",
]


def another_prefix(case: Case) -> None:
    """Start the same application on topics of another prefix, with its stores and without them."""
    _process_load(case)
    other = {"SEGOPS_TOPIC_PREFIX": f"{case.cluster.name}other."}
    for folder in (0, 1):
        case.start(1, folder=folder, **other)
        case.wait_ended(1, 2)
    assert f"not to {case.cluster.name}other.*" in case.log_text(1), case.log_text(1)[-800:]
    fault = time.monotonic()
    case.start(0)
    case.record_recovery(fault)


def recreated(case: Case) -> None:
    """Recreate the profile events topic and let it grow past the committed offsets."""
    _process_load(case)
    topic = case.settings.topics.profile_events
    ends = case.inspector.ends(partitions_of([topic], case.plan.partitions))
    case.inspector.admin_call("delete_topics", [topic])
    wait_until(lambda: topic not in case.inspector.admin_call("list_topics"), "topic deleted", case.diagnosis)
    case.inspector.admin_call("create_topics", [NewTopic(topic, case.plan.partitions, 1)])
    wait_until(lambda: topic in case.inspector.admin_call("list_topics"), "topic created", case.diagnosis)
    for partition, end in ends.items():
        case.inspector.append(*partition, [source_tick(0, 0, idle=False)] * (end + 20), TICK_HEADERS)
    case.start(0)
    case.wait_ended(0, 2)
    assert "holds another record at offset" in case.log_text(0), case.log_text(0)[-800:]
    fault = time.monotonic()
    case.start(0, options="--start-fresh")
    _wait_reconciled(case)
    case.record_recovery(fault)


def fresh_start_killed(case: Case) -> None:
    """Expire most records behind the state, kill a fresh start half-way and let two workers finish it."""
    _process_load(case)
    delete_until(
        case, case.inspector.ends(partitions_of([case.settings.topics.profile_events], case.plan.partitions))
    )
    point = POINTS[case.plan.seed % len(POINTS)]
    case.notes.append(point)
    case.start(0, crash_at=point, options="--start-fresh")
    case.wait_crashed(0)
    fault = time.monotonic()
    case.start(0, 1)
    _wait_reconciled(case)
    case.record_recovery(fault)


def _process_load(case: Case) -> None:
    """Let a worker process a good part of the load and shut down cleanly."""
    case.start(0)
    case.wait_ready(0)
    case.load.start()
    case.load.wait_sent(150)
    case.wait_caught_up()
    case.terminate(0)
    topic = case.settings.topics.events
    committed = case.inspector.committed().items()
    case.forwarded = {number: offset for (name, number), (offset, _) in committed if name == topic}


def _wait_reconciled(case: Case) -> None:
    """Wait until published memberships have been reconciled with the new state."""
    case.circumstances.deleted_before = case.forwarded
    case.circumstances.skipped_checks |= _SKIPPED
    wait_until(lambda: _reconciled(case), "published memberships reconciled", case.diagnosis)


def _reconciled(case: Case) -> bool:
    partitions: list[Partition] = partitions_of([case.settings.worker.changelog], case.plan.partitions)
    found = case.inspector.read(partitions, "read_committed")
    latest = [[r.value for r in records if r.key == ORIGIN_KEY][-1:] for records in found.values()]
    origins = [decode_origin(value) for values in latest for value in values]
    return len(origins) == len(partitions) and all(o.generation and not o.sweep_until for o in origins)
