"""Checks that every input event is forwarded to its profile's partition, in order, and applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from segops.core.errors import RejectedEvent
from segops.schemas.events import route
from segops.schemas.identifying import IdentityLimits, limits_of
from segops.schemas.records import SOURCE_HEADER, partition_of
from segops.schemas.ticks import is_tick

from .facts import Check, Facts, Finding
from .reference import is_message


def every_event_is_forwarded(facts: Facts) -> Iterator[Finding]:
    """Check I1: each input event reaches its profile's partition in order; and I5: nothing else does."""
    expected = {f"{r.partition}:{r.offset}": key for r, key in _accepted(facts)}
    found: dict[str, bytes] = {}
    for partition in facts.evidence.partitions:
        yield from _forwarded(facts, partition, found)
    for source in expected.keys() - found.keys():
        yield Finding("I1", "lost", f"event {source} was never forwarded")
    for source in found.keys() - expected.keys() - _deleted(facts, found):
        yield Finding("I5", "wrong", f"forwarded event from unknown source {source}")
    for source in (s for s in expected.keys() & found.keys() if expected[s] != found[s]):
        yield Finding(
            "I1", "wrong", f"event {source} went to {found[source]!r}, expected {expected[source]!r}"
        )


def _deleted(facts: Facts, sources: Iterable[str]) -> set[str]:
    deleted_before = facts.evidence.circumstances.deleted_before
    origins = ((source, *map(int, source.split(":"))) for source in sources)
    return {source for source, partition, offset in origins if offset < deleted_before.get(partition, 0)}


def _accepted(facts: Facts) -> Iterator[tuple[Any, bytes]]:
    """Yield the valid events of the input, each with its profile id."""
    limits, deleted_before = _limits(facts), facts.evidence.circumstances.deleted_before
    for record in facts.evidence.all_of(facts.evidence.settings.topics.events):
        if record.offset >= deleted_before.get(record.partition, 0) and not is_tick(record.headers):
            profile_id = _routed(record, limits)
            if profile_id is not None:
                yield record, profile_id.encode()


def _forwarded(facts: Facts, partition: int, found: dict[str, bytes]) -> Iterator[Finding]:
    count, last = len(facts.evidence.partitions), dict[tuple[bytes, int], int]()
    for record in facts.evidence.log(facts.evidence.settings.topics.profile_events, partition):
        if record.key is None or is_message(record):
            continue
        source = dict(record.headers)[SOURCE_HEADER].decode()
        if source in found:
            if facts.evidence.exactly_once:
                yield Finding("I4", "duplicated", f"event {source} was forwarded twice")
            continue
        found[source] = record.key
        if partition_of(record.key, count) != partition:
            yield Finding("I1", "wrong", f"event {source} was forwarded to partition {partition}")
        number, offset = map(int, source.split(":"))
        if last.get((record.key, number), -1) > offset:
            yield Finding("I1", "wrong", f"event {source} follows a later event of its profile")
        last[record.key, number] = offset


def _limits(facts: Facts) -> IdentityLimits:
    return limits_of(facts.evidence.settings)


def _routed(record: Any, limits: IdentityLimits) -> str | None:
    try:
        found = route(record.value, now_ms=1 << 50, default_time_ms=record.timestamp, limits=limits)
    except RejectedEvent:
        return None
    return found.profile_id


def every_event_is_applied(facts: Facts) -> Iterator[Finding]:
    """Check I1: no event is left after the committed offset of a partition."""
    for partition in facts.evidence.partitions:
        for topic in (facts.evidence.settings.topics.events, facts.evidence.settings.topics.profile_events):
            until = facts.evidence.committed.get((topic, partition), (0, ""))[0]
            left = [
                r
                for r in facts.evidence.log(topic, partition)
                if r.offset >= until and not is_tick(r.headers)
            ]
            if left:
                yield Finding(
                    "I1",
                    "lost",
                    f"{len(left)} unprocessed records in {topic}:{partition} from offset {until}",
                )


CHECKS: Mapping[str, Check] = {
    "forwarded": every_event_is_forwarded,
    "applied": every_event_is_applied,
}
