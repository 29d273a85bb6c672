"""Faults of topics."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from ..streaming.helpers import wait_until
from .cluster import Case
from .inspector import Partition, partitions_of


def delete_until(case: Case, offsets: dict[Partition, int]) -> None:
    """Delete the records before these offsets."""
    wanted = {TopicPartition(*partition): RecordsToDelete(offset) for partition, offset in offsets.items()}
    case.inspector.admin_call("delete_records", wanted)


def _changelog(case: Case) -> list[Partition]:
    return partitions_of([case.settings.worker.changelog], case.plan.partitions)


def _expired(case: Case) -> None:
    """Delete the whole changelog; the store stays complete."""
    _configure(case, {"cleanup.policy": "delete"})  # records of a compacted topic cannot be deleted
    delete_until(case, case.inspector.ends(_changelog(case)))
    _configure(case, {"cleanup.policy": "compact"})
    case.circumstances.skipped_checks.add("changelog")


def _configure(case: Case, settings: dict[str, str]) -> None:
    """Replace the topic configuration of the changelog."""
    resource = ConfigResource(ConfigResourceType.TOPIC, case.settings.worker.changelog, settings)
    case.inspector.admin_call("alter_configs", [resource])


def _only_markers(case: Case) -> None:
    """Abort a transaction at the end and delete the store. Aborted records must not be restored."""
    for partition, records in case.inspector.read(_changelog(case), "read_committed").items():
        first = {record.key: record.value for record in reversed(records) if record.value}
        if first:
            case.inspector.abort(*partition, list(first.items()))
    shutil.rmtree(case.profiles(0))


def _compacted(case: Case) -> None:
    """Compact the log up to its end and delete the store."""
    settings = {
        "cleanup.policy": "compact",
        "segment.ms": "100",
        "min.cleanable.dirty.ratio": "0.001",
        "max.compaction.lag.ms": "100",
    }
    _configure(case, settings)
    partitions = _changelog(case)
    before = {
        partition: len(records)
        for partition, records in case.inspector.read(partitions, "read_committed").items()
    }
    for (
        partition
    ) in partitions:  # the next record rolls the log segment, which makes it eligible for compaction
        found = case.inspector.read([partition], "read_committed")[partition]
        if found:
            time.sleep(0.2)
            case.inspector.produce(*partition, found[-1].key, found[-1].value)

    def smaller() -> bool:
        found = case.inspector.read(partitions, "read_committed")
        return any(len(found[partition]) < before[partition] for partition in partitions)

    wait_until(smaller, "compaction", case.diagnosis)
    shutil.rmtree(case.profiles(0))


def _recreated(case: Case) -> None:
    """Recreate the topic from a copy of its latest records: other offsets, same states."""
    topic, partitions = case.settings.worker.changelog, _changelog(case)
    latest = {
        partition: list({record.key: record for record in records}.values())
        for partition, records in case.inspector.read(partitions, "read_committed").items()
    }
    case.inspector.admin_call("delete_topics", [topic])
    wait_until(
        lambda: topic not in case.inspector.admin_call("list_topics"), "changelog deleted", case.diagnosis
    )
    new = NewTopic(topic, case.plan.partitions, 1, topic_configs={"cleanup.policy": "compact"})
    case.inspector.admin_call("create_topics", [new])
    wait_until(lambda: topic in case.inspector.admin_call("list_topics"), "changelog created", case.diagnosis)
    case.inspector.copy(topic, latest)


TAILS: list[Callable[[Case], None]] = [_expired, _only_markers, _compacted, _recreated]


def changelog_tail(case: Case) -> None:
    """Change the end of the changelog while the worker is stopped."""
    tail = TAILS[case.plan.seed % len(TAILS)]
    case.notes.append(tail.__name__.strip("_").replace("_", " "))
    case.start(0)
    case.wait_ready(0)
    case.load.start()
    case.load.wait_sent(150)
    case.wait_caught_up()
    case.terminate(0)
    tail(case)
    fault = time.monotonic()
    case.start(0)
    case.record_recovery(fault)


def expired_input(case: Case) -> None:
    """Delete input before it is read: the worker reports the loss and stops unless told to continue."""
    case.start(0)
    case.wait_ready(0)
    case.load.start()
    case.load.wait_sent(100)
    case.wait_caught_up()
    case.terminate(0)
    case.load.wait_sent(200)
    deleted = case.inspector.ends(partitions_of([case.settings.topics.events], case.plan.partitions))
    delete_until(case, deleted)
    case.circumstances.deleted_before = {number: offset for (_, number), offset in deleted.items()}
    case.start(0)
    case.wait_ended(0, 2)
    assert "were deleted before they were read" in case.log_text(0), case.log_text(0)[-800:]
    fault = time.monotonic()
    case.start(0, SEGOPS_ON_LOST_RECORDS="continue")
    case.record_recovery(fault)
