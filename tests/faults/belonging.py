"""Topics that are not those of the state, and starts from nothing."""

from __future__ import annotations

import time

from aiokafka.admin import NewTopic

from segops.schemas.origin import ORIGIN_KEY, decode_origin
from segops.schemas.ticks import TICK_HEADERS, source_tick

from ..streaming.helpers import wait_until
from .cluster import Case
from .inspector import Place, places_of
from .logs import delete_until

#: Void after a start from nothing: the reference counts from 1, and knows what profile-events still holds.
_VOID = {"changes", "states", "alternation", "causes"}

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
    """The same application is started on topics of another prefix, with its disk and without."""
    _work(case)
    other = {"SEGOPS_TOPIC_PREFIX": f"{case.rig.name}other."}
    for folder in (0, 1):
        case.start(1, folder=folder, **other)
        case.ended(1, 2)
    assert f"not to {case.rig.name}other.*" in case.said(1), case.said(1)[-800:]
    fault = time.monotonic()
    case.start(0)
    case.recovered(fault)


def made_anew(case: Case) -> None:
    """Profile events are deleted and made anew, and have grown past what was read."""
    _work(case)
    topic = case.settings.topics.profile_events
    ends = case.eyes.ends(places_of([topic], case.plan.partitions))
    case.eyes.admin_call("delete_topics", [topic])
    wait_until(lambda: topic not in case.eyes.admin_call("list_topics"), "no topic", case.diagnosis)
    case.eyes.admin_call("create_topics", [NewTopic(topic, case.plan.partitions, 1)])
    wait_until(lambda: topic in case.eyes.admin_call("list_topics"), "a topic", case.diagnosis)
    for place, end in ends.items():
        case.eyes.grow(*place, [source_tick(0, 0, idle=False)] * (end + 20), TICK_HEADERS)
    case.start(0)
    case.ended(0, 2)
    assert "holds another record at offset" in case.said(0), case.said(0)[-800:]
    fault = time.monotonic()
    case.start(0, options="--start-fresh")
    _until_compared(case)
    case.recovered(fault)


def fresh_start_killed(case: Case) -> None:
    """Of what the state was made from most has expired. A start from nothing dies half-way; two go on."""
    _work(case)
    delete_until(case, case.eyes.ends(places_of([case.settings.topics.profile_events], case.plan.partitions)))
    point = POINTS[case.plan.seed % len(POINTS)]
    case.notes.append(point)
    case.start(0, crash_at=point, options="--start-fresh")
    case.crashed(0)
    fault = time.monotonic()
    case.start(0, 1)
    _until_compared(case)
    case.recovered(fault)


def _work(case: Case) -> None:
    """A worker works off a good part of the load, and stops in good order."""
    case.start(0)
    case.ready(0)
    case.load.start()
    case.load.wait_sent(150)
    case.caught_up()
    case.term(0)
    topic = case.settings.topics.events
    read = {place: offset for place, (offset, _) in case.eyes.committed().items() if place[0] == topic}
    case.forwarded = {partition: offset for (_, partition), offset in read.items()}


def _until_compared(case: Case) -> None:
    """Until what was published is compared with the new state."""
    case.happened.gone, case.happened.loose = case.forwarded, case.happened.loose | _VOID
    wait_until(lambda: _compared(case), "published memberships compared", case.diagnosis)


def _compared(case: Case) -> bool:
    places: list[Place] = places_of([case.settings.worker.changelog], case.plan.partitions)
    found = case.eyes.read(places, "read_committed")
    latest = [[r.value for r in records if r.key == ORIGIN_KEY][-1:] for records in found.values()]
    origins = [decode_origin(value) for values in latest for value in values]
    return len(origins) == len(places) and all(o.generation and not o.sweep_until for o in origins)
