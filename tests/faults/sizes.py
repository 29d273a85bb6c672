"""Checks of what workers publish about segments: sizes, minutes and alerts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from segops.core.rules.alerts import Alert
from segops.schemas.alerts import EVALUATED_KEY, AlertRecord, alert_key, decode_alert, decode_evaluated
from segops.schemas.records import partition_of
from segops.schemas.sizes import (
    MINUTE_MS,
    Published,
    SizeRecord,
    TrendRecord,
    decode_published,
    parse_key,
)

from .facts import Check, Facts, Finding

#: (partition, segment, whether members enter) -> the number of changes by reason.
Flows = dict[tuple[int, str, bool], Counter[str]]
_Record = TypeVar("_Record", bound=Published)


def sizes_equal_changes(facts: Facts) -> Iterator[Finding]:
    """Check I13: each partition's latest sizes are the sums of its changes, by reason."""
    flows = _flows_of_changes(facts)
    found = {(each.partition, each.segment_key): each for each in _latest(facts, "sizes", SizeRecord)}
    for number in facts.evidence.partitions:
        for key in (each.key for each in facts.evidence.definitions):
            entered, left = flows[number, key, True], flows[number, key, False]
            size = found.get((number, key))
            if size is None:
                yield Finding("I13", "lost", f"no size of {key} in partition {number}")
                continue
            if size.members != entered.total() - left.total():
                yield Finding("I13", "wrong", f"{size}, expected {entered.total() - left.total()} members")
            if (Counter(size.entered), Counter(size.left)) != (entered, left):
                yield Finding("I13", "wrong", f"{size}, expected {entered} and {left}")


def minutes_equal_changes(facts: Facts) -> Iterator[Finding]:
    """Check I13: the minutes of each segment add up to its changes, by reason."""
    found: Flows = defaultdict(Counter)
    for minute in _latest(facts, "trends", TrendRecord):
        found[minute.partition, minute.segment_key, True].update(minute.entered)
        found[minute.partition, minute.segment_key, False].update(minute.left)
    expected = _flows_of_changes(facts)
    for key in found.keys() | expected.keys():
        if found[key] != expected[key]:
            yield Finding(
                "I13", "wrong", f"the minutes of {key} add up to {found[key]}, expected {expected[key]}"
            )


def each_crossing_is_announced_once(facts: Facts) -> Iterator[Finding]:
    """Check I13: alerts fire and recover where the minutes say so, and each crossing has one record."""
    topic = facts.evidence.settings.topics.alerts
    records = [each for each in facts.evidence.visible[topic, 0] if each.value is not None]
    bounds = [decode_evaluated(each.value).until_ms for each in records if each.key == EVALUATED_KEY]
    if not bounds:
        yield Finding("I13", "lost", "alerts were never evaluated")
        return
    minutes = list(_latest(facts, "trends", TrendRecord))
    for definition in facts.evidence.definitions:
        for alert in definition.alerts:
            key = alert_key(definition.key, alert)
            crossings = [decode_alert(each.value) for each in records if each.key == key]
            mine = [each for each in minutes if each.segment_key == definition.key]
            yield from _compared(alert, crossings, mine, (bounds[0], max(bounds)))


def _compared(
    alert: Alert, crossings: list[AlertRecord], minutes: list[TrendRecord], bounds: tuple[int, int]
) -> Iterator[Finding]:
    """Compare the crossings of an alert with the minutes of its segment, from the first evaluation on."""
    states = [each.state for each in crossings]
    if states != [("firing", "recovered")[number % 2] for number in range(len(states))]:
        yield Finding("I13", "duplicated", f"the records of {alert.text} are {states}")
    for crossing in crossings:
        if crossing.number != _number(alert, minutes, crossing.at_ms):
            yield Finding("I13", "wrong", f"{crossing}, expected {_number(alert, minutes, crossing.at_ms)}")
    for at_ms in range(bounds[0], bounds[1] + 1, MINUTE_MS):
        last = [each.state for each in crossings if each.at_ms <= at_ms][-1:]
        if (last == ["firing"]) is not alert.holds(_number(alert, minutes, at_ms)):
            yield Finding(
                "I13", "wrong", f"{alert.text} at {at_ms}: {last}, {_number(alert, minutes, at_ms)}"
            )


def _number(alert: Alert, minutes: Iterable[TrendRecord], at_ms: int) -> int:
    """Return the members at ``at_ms``, or the entries within the alert's window before it."""
    past = [each for each in minutes if each.minute_ms < at_ms]
    if alert.figure == "members":
        return sum(sum(each.entered.values()) - sum(each.left.values()) for each in past)
    return sum(sum(each.entered.values()) for each in past if each.minute_ms >= at_ms - alert.window_ms)


def _flows_of_changes(facts: Facts) -> Flows:
    found: Flows = defaultdict(Counter)
    for change in (change for changes in facts.changes.values() for change in changes):
        number = partition_of(change.profile_id.encode(), len(facts.evidence.partitions))
        found[number, change.segment_key, change.member][change.reason] += 1
    return found


def _latest(facts: Facts, topic: str, kind: type[_Record]) -> Iterator[_Record]:
    """Yield the latest record of each key of ``sizes`` or ``trends``, if it is of this kind."""
    records = facts.evidence.all_of(getattr(facts.evidence.settings.topics, topic))
    for key, value in {record.key: record.value for record in records}.items():
        found = None if value is None else decode_published(parse_key(key), value)
        if isinstance(found, kind):
            yield found


def sizes_and_alerts_are_exact(facts: Facts) -> Iterator[Finding]:
    """Run all checks of sizes, minutes and alerts."""
    for check in CHECKS.values():
        yield from check(facts)


CHECKS: Mapping[str, Check] = {
    "sizes": sizes_equal_changes,
    "minutes": minutes_equal_changes,
    "alerts": each_crossing_is_announced_once,
}
