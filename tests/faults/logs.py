"""What happens to topics."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from ..streaming.helpers import wait_until
from .cluster import Case
from .inspector import Place, places_of


def delete_until(case: Case, offsets: dict[Place, int]) -> None:
    """Delete what stands before these offsets."""
    wanted = {TopicPartition(*place): RecordsToDelete(offset) for place, offset in offsets.items()}
    case.eyes.admin_call("delete_records", wanted)


def _changelog(case: Case) -> list[Place]:
    return places_of([case.settings.worker.changelog], case.plan.partitions)


def _expired(case: Case) -> None:
    """The changelog is gone up to its end; the store has it all."""
    _configure(case, {"cleanup.policy": "delete"})  # of a compacted topic nothing can be deleted
    delete_until(case, case.eyes.ends(_changelog(case)))
    _configure(case, {"cleanup.policy": "compact"})
    case.happened.loose.add("changelog")


def _configure(case: Case, settings: dict[str, str]) -> None:
    """Replace all settings of the changelog."""
    resource = ConfigResource(ConfigResourceType.TOPIC, case.settings.worker.changelog, settings)
    case.eyes.admin_call("alter_configs", [resource])


def _only_markers(case: Case) -> None:
    """An aborted transaction at the end; the store is lost. What was aborted must not come back."""
    for place, records in case.eyes.read(_changelog(case), "read_committed").items():
        first = {record.key: record.value for record in reversed(records) if record.value}
        if first:
            case.eyes.abort(*place, list(first.items()))
    shutil.rmtree(case.profiles(0))


def _compacted(case: Case) -> None:
    """The log is compacted, its end too; the store is lost."""
    settings = {
        "cleanup.policy": "compact",
        "segment.ms": "100",
        "min.cleanable.dirty.ratio": "0.001",
        "max.compaction.lag.ms": "100",
    }
    _configure(case, settings)
    places = _changelog(case)
    before = {place: len(records) for place, records in case.eyes.read(places, "read_committed").items()}
    for place in places:  # a file is closed when the next record comes
        found = case.eyes.read([place], "read_committed")[place]
        if found:
            time.sleep(0.2)
            case.eyes.produce(*place, found[-1].key, found[-1].value)

    def smaller() -> bool:
        found = case.eyes.read(places, "read_committed")
        return any(len(found[place]) < before[place] for place in places)

    wait_until(smaller, "compaction", case.diagnosis)
    shutil.rmtree(case.profiles(0))


def _made_anew(case: Case) -> None:
    """The topic was deleted and made again from a copy of its latest records: other offsets, same states."""
    topic, places = case.settings.worker.changelog, _changelog(case)
    latest = {
        place: list({record.key: record for record in records}.values())
        for place, records in case.eyes.read(places, "read_committed").items()
    }
    case.eyes.admin_call("delete_topics", [topic])
    wait_until(lambda: topic not in case.eyes.admin_call("list_topics"), "no changelog", case.diagnosis)
    new = NewTopic(topic, case.plan.partitions, 1, topic_configs={"cleanup.policy": "compact"})
    case.eyes.admin_call("create_topics", [new])
    wait_until(lambda: topic in case.eyes.admin_call("list_topics"), "a changelog", case.diagnosis)
    case.eyes.copy(topic, latest)


TAILS: list[Callable[[Case], None]] = [_expired, _only_markers, _compacted, _made_anew]


def changelog_tail(case: Case) -> None:
    """The end of the changelog is not what it was when the worker left."""
    tail = TAILS[case.plan.seed % len(TAILS)]
    case.notes.append(tail.__name__.strip("_").replace("_", " "))
    case.start(0)
    case.ready(0)
    case.load.start()
    case.load.wait_sent(150)
    case.caught_up()
    case.term(0)
    tail(case)
    fault = time.monotonic()
    case.start(0)
    case.recovered(fault)


def expired_input(case: Case) -> None:
    """Input is deleted before anybody read it: said loudly, and never silently passed over."""
    case.start(0)
    case.ready(0)
    case.load.start()
    case.load.wait_sent(100)
    case.caught_up()
    case.term(0)
    case.load.wait_sent(200)
    gone = case.eyes.ends(places_of([case.settings.topics.events], case.plan.partitions))
    delete_until(case, gone)
    case.happened.gone = {partition: offset for (_, partition), offset in gone.items()}
    case.start(0)
    case.ended(0, 2)
    assert "were deleted before they were read" in case.said(0), case.said(0)[-800:]
    fault = time.monotonic()
    case.start(0, SEGOPS_ON_LOST_RECORDS="continue")
    case.recovered(fault)
