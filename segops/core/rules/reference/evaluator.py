"""The meaning of each node: a rule evaluated over all events, node by node."""

from __future__ import annotations

from collections.abc import Callable, Collection
from fractions import Fraction
from typing import Any, NamedTuple

from segops.core.events import Event
from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.rules.reference.areas import contains
from segops.core.rules.reference.customer import has_changed, types_of_identifiers
from segops.core.rules.reference.figures import aggregate, digits, in_window, score, tier_of, value_of
from segops.core.rules.reference.history import History, counts, named
from segops.core.rules.reference.instants import Edges
from segops.core.rules.reference.rhythm import active_periods, lifecycle, regularly, session_figure, sessions
from segops.core.rules.reference.values import (
    distance_m,
    exact,
    is_number,
    location_of,
    lookup,
    percent,
    same,
    value_at,
)


class EvaluatedMember(NamedTuple):
    """The segments that the profile is in, and whether it is in the segment whose rule is evaluated."""

    of: Collection[str] = ()
    inside: bool = False


def holds(node: model.Node, history: History, now_ms: int, member: EvaluatedMember) -> bool:
    """Return whether the rule is true at ``now_ms`` for a profile with these memberships."""
    return _NODES[type(node)](node, history, now_ms, member)


def _all(node: model.All, history: History, now_ms: int, member: EvaluatedMember) -> bool:
    return all([holds(child, history, now_ms, member) for child in node.of])


def _any(node: model.Any, history: History, now_ms: int, member: EvaluatedMember) -> bool:
    return any([holds(child, history, now_ms, member) for child in node.of])


def _not(node: model.Not, history: History, now_ms: int, member: EvaluatedMember) -> bool:
    return not holds(node.of, history, now_ms, member)


def _at_least(node: model.AtLeast, history: History, now_ms: int, member: EvaluatedMember) -> bool:
    return sum(holds(child, history, now_ms, member) for child in node.of) >= node.k


def _in_segment(node: model.InSegment, _history: History, _now_ms: int, member: EvaluatedMember) -> bool:
    return node.key in member.of


def _hysteresis(node: model.Hysteresis, history: History, now_ms: int, member: EvaluatedMember) -> bool:
    """Outside: enter. Inside: until exit; a missing value counts as exit."""
    if not member.inside:
        return holds(node.enter, history, now_ms, member)
    if isinstance(node.exit, model.ScoreNode):
        missing = score(node.exit, history, now_ms) is None
    else:
        missing = digits(node.exit, history, now_ms) is None
    return not (missing or holds(node.exit, history, now_ms, member))


def _known_for(node: model.KnownFor, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    times = [event.time_ms for event in history.events]
    return bool(times) and now_ms - min(times) >= node.length_ms


def _trait(node: model.Trait, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    return node.test.holds(lookup(history.traits(), node.path), now_ms)


def _has_been(node: model.HasBeen, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    """Evaluate every instant of the last ``length_ms`` at which the verdict may have changed."""
    if not history.events or now_ms - min(event.time_ms for event in history.events) < node.length_ms:
        return False
    begin = now_ms - node.length_ms
    tried = {begin, now_ms, *Edges([node]).between(history, begin, now_ms)}
    return all(node.test.holds(lookup(history.traits(at), node.path), at) for at in tried)


def _changed(node: model.Changed, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    return has_changed(node, history, now_ms)


def _has_identifier(
    node: model.HasIdentifier, history: History, _now_ms: int, _member: EvaluatedMember
) -> bool:
    return not types_of_identifiers(history).isdisjoint(node.types)


def _on_list(node: model.OnList, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    """Return whether the version in force names the profile, before its expiry."""
    expired = node.expires_ms is not None and now_ms >= node.expires_ms
    return (node.key, node.version) in history.listings and not expired


def _last_location(
    node: model.Near | model.Located, history: History, now_ms: int
) -> tuple[float, float] | None:
    """Return the location of the last event that has one, unless that event is too old."""
    located = [event for event in history.in_order() if location_of(event, node.by) is not None]
    if not located or (node.within_ms is not None and now_ms - located[-1].time_ms >= node.within_ms):
        return None
    return location_of(located[-1], node.by)


def _near(node: model.Near, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    location = _last_location(node, history, now_ms)
    return location is not None and distance_m(location, (node.lat, node.lon)) <= node.radius_m


def _located(node: model.Located, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    location = _last_location(node, history, now_ms)
    return location is not None and any(contains(area, location) for area in node.areas)


def _visited(node: model.Visited, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    counted = [event for event in history.events if counts(node.window, event.time_ms, now_ms)]
    locations = [location_of(event, node.by) for event in counted]
    return any(contains(area, at) for at in locations if at is not None for area in node.areas)


def _bucket(node: model.Bucket, history: History, _now_ms: int, _member: EvaluatedMember) -> bool:
    return Fraction(node.low, 100) <= percent(node.salt, history.profile_id) < Fraction(node.high, 100)


def _sequence(node: model.SequenceNode, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    """Try every choice of events, one per ``did`` step."""
    within_ms = node.sequence.within_ms
    events = [event for event in history.in_order() if event.time_ms <= now_ms]
    firsts = [[at] for at, event in enumerate(events) if _matches_step(node, 0, event, {})]
    if within_ms is not None:
        firsts = [choice for choice in firsts if events[choice[0]].time_ms > now_ms - within_ms]
    return any(_completes(node, events, choice, now_ms) for choice in firsts)


def _matches_step(node: model.SequenceNode, number: int, event: Event, chosen: dict[int, Event]) -> bool:
    step = node.sequence.steps[number]
    repeats = all(
        value_at(event, path) is not None and same(value_at(event, path), value_at(chosen[other], path))
        for path, other in step.same_as
    )
    wanted = all(test.holds(value_at(event, path), event.time_ms) for path, test in step.where)
    return named(event, step.names) and repeats and wanted


def _completes(node: model.SequenceNode, events: list[Event], choice: list[int], now_ms: int) -> bool:
    """Whether a choice for the first ``did`` steps can be completed, by trying every later event."""
    steps = node.sequence.steps
    dids = [number for number, step in enumerate(steps) if not step.absent]
    chosen = dict(zip(dids, (events[at] for at in choice), strict=False))
    current, last = dids[len(choice) - 1], events[choice[-1]]
    following = dids[len(choice)] if len(choice) < len(dids) else len(steps)
    absent = [number for number in range(current + 1, following)]
    if following == len(steps):
        return all(
            now_ms >= last.time_ms + (steps[number].within_ms or 0)
            and not any(
                event.time_ms > last.time_ms and _breaks(node, number, event, chosen, last)
                for event in events
            )
            for number in absent
        )
    for at in range(choice[-1] + 1, len(events)):
        within_ms = steps[following].within_ms
        in_time = within_ms is None or events[at].time_ms <= last.time_ms + within_ms
        between = events[choice[-1] + 1 : at]
        if node.sequence.strict and between:
            return False
        if not in_time or not _matches_step(node, following, events[at], chosen):
            continue
        if any(_breaks(node, number, other, chosen, last) for number in absent for other in between):
            continue
        if _completes(node, events, [*choice, at], now_ms):
            return True
    return False


def _breaks(
    node: model.SequenceNode, number: int, event: Event, chosen: dict[int, Event], last: Event
) -> bool:
    """Whether a ``did_not`` step forbids this event after ``last``."""
    within_ms = node.sequence.steps[number].within_ms
    in_time = within_ms is None or event.time_ms <= last.time_ms + within_ms
    return in_time and _matches_step(node, number, event, chosen)


def _rfm(node: model.RfmNode, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    found = digits(node, history, now_ms)
    if found is None:
        return False
    if not node.tiers:
        return all(test.holds(found[name], now_ms) for name, test in node.tests)
    return tier_of(node.rfm.tiers, found) in node.tiers


def _score_node(node: model.ScoreNode, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    return node.test.holds(score(node, history, now_ms), now_ms)


def _did(node: model.Did, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    found = in_window(node.select, node.window, history, now_ms)
    return found is not None and node.count.holds(len(found), now_ms)


def _aggregate(node: model.Aggregate, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    events = in_window(node.select, node.window, history, now_ms)
    if events is None:
        return False
    test = _exactly(node.test) if node.function in ("sum", "avg") else node.test
    return test.holds(aggregate(node, events), now_ms)


def _compare(node: model.Compare, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    left, right = value_of(node.left, history, now_ms), value_of(node.right, history, now_ms)
    test = Predicate(((node.operator, right),))
    return left is not None and right is not None and test.holds(left, now_ms)


def _ratio(node: model.Ratio, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    upper, lower = value_of(node.upper, history, now_ms), value_of(node.lower, history, now_ms)
    divisible = is_number(upper) and is_number(lower) and lower != 0
    test = _exactly(node.test)
    return test.holds(upper / lower if divisible else None, now_ms)


def _distance(node: model.Distance, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    return _exactly(node.test).holds(value_of(node.figure, history, now_ms), now_ms)


def _frozen(node: model.Frozen, history: History, now_ms: int, member: EvaluatedMember) -> bool:
    refreshed_ms = node.refresh.latest(now_ms)
    return holds(node.of, history.before(refreshed_ms), refreshed_ms, member)


def _exactly(test: Predicate) -> Predicate:
    """Convert the numbers of a predicate to the exact decimals as written."""

    def converted(operand: Any) -> Any:
        if isinstance(operand, tuple):
            return tuple(converted(item) for item in operand)
        return exact(operand) if is_number(operand) else operand

    return Predicate(tuple((name, converted(operand)) for name, operand in test.ops))


def _occurrence(node: model.Occurrence, history: History, now_ms: int, _member: EvaluatedMember) -> bool:
    times = [event.time_ms for event in history.select(node.select, now_ms)]
    if not times:
        return False
    age_ms = now_ms - (min(times) if node.which == "first" else max(times))
    older = node.older_than_ms is None or age_ms >= node.older_than_ms
    return older and (node.newer_than_ms is None or age_ms < node.newer_than_ms)


#: Node -> what it means.
_NODES: dict[type, Callable[[Any, History, int, EvaluatedMember], bool]] = {
    model.All: _all,
    model.Any: _any,
    model.Not: _not,
    model.AtLeast: _at_least,
    model.InSegment: _in_segment,
    model.KnownFor: _known_for,
    model.Trait: _trait,
    model.Did: _did,
    model.Aggregate: _aggregate,
    model.Occurrence: _occurrence,
    model.HasBeen: _has_been,
    model.Changed: _changed,
    model.HasIdentifier: _has_identifier,
    model.OnList: _on_list,
    model.Near: _near,
    model.Located: _located,
    model.Visited: _visited,
    model.Bucket: _bucket,
    model.SequenceNode: _sequence,
    model.RfmNode: _rfm,
    model.ScoreNode: _score_node,
    model.Hysteresis: _hysteresis,
    model.ActivePeriods: active_periods,
    model.Sessions: sessions,
    model.SessionFigure: session_figure,
    model.Regularly: regularly,
    model.LifecycleNode: lifecycle,
    model.Compare: _compare,
    model.Ratio: _ratio,
    model.Distance: _distance,
    model.Frozen: _frozen,
}
