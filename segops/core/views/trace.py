"""Tracing of one profile node by node, so that an explanation knows when each verdict last changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import msgspec

from segops.core.engine import Engine, message_hash
from segops.core.events import Event
from segops.core.memberships import compile_part
from segops.core.profile import Profile
from segops.core.rules import model
from segops.core.rules.execution import Rule
from segops.core.segments import SegmentSet
from segops.core.step import StepResult
from segops.core.views.explain import Explanation, explain, trace_key
from segops.core.views.indicators import view_indicators
from segops.core.windows import span


class _TracedNode:
    """One node: its verdict, and when that last changed."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.holds = False
        self.changed_at: int | None = None

    def begin(self, profile: Profile, now_ms: int) -> None:
        """Record the verdict on a profile without events."""
        self.holds = self.rule.holds(profile, now_ms)

    def evaluate(self, profile: Profile, now_ms: int) -> None:
        """Record the verdict at an instant."""
        holds = self.rule.holds(profile, now_ms)
        if holds is not self.holds:
            self.holds, self.changed_at = holds, now_ms

    def pass_time(self, profile: Profile, after_ms: int, until_ms: int) -> None:
        """Record the verdict at every instant between the two at which time alone may change it."""
        for at, holds in self.rule.changes(profile, after_ms):
            if at > until_ms:
                return
            if at > after_ms and holds is not self.holds:
                self.holds, self.changed_at = holds, at


class Tracer(Engine):
    """An engine that traces every node of some segments (without ``keys``: of all) for one profile.

    Without ``profile_id``, the caller must pass that one profile only. Each event and each timer evaluates
    every node, so this serves explanations, not production.

    >>> from segops.core.segments import Definition
    >>> tracer = Tracer(SegmentSet([Definition("old", "Old", model.Not(model.KnownFor(10)))]))
    >>> profile = tracer.new_profile("user_id:u1")
    >>> _ = tracer.on_event(profile, Event("page", 100, "m1", {}), clock_ms=100)
    >>> rule = tracer.explain(profile, 120).segments[0].rule
    >>> rule.holds, rule.changed_at
    (False, 110)
    """

    def __init__(
        self, segments: SegmentSet, keys: Collection[str] | None = None, *, profile_id: str | None = None
    ) -> None:
        super().__init__(segments)
        self._profile_id = profile_id
        rules = {segment.key: segment.referred for segment in segments.segments}
        wanted = [d for d in segments.definitions if keys is None or d.key in keys]
        nodes = {trace_key(d.key, node): (d.key, node) for d in wanted for node in model.below(d.when)}
        self._nodes = {
            name: _TracedNode(compile_part(node, rules[key], rules)) for name, (key, node) in nodes.items()
        }
        self._evaluated_ms = 0

    def on_event(self, profile: Profile, event: Event, *, clock_ms: int) -> StepResult:
        """Apply an event, and evaluate every node whenever its verdict can change."""
        if self._is_other(profile) or message_hash(event.message_id) in profile.seen:
            return super().on_event(profile, event, clock_ms=clock_ms)
        now_ms = max(event.time_ms, clock_ms, profile.latest_ms)
        if profile.first_ms is None:
            self._each(lambda node: node.begin(profile, now_ms))
        else:
            self._follow_time(profile, max(event.time_ms, clock_ms))
        result = super().on_event(profile, event, clock_ms=clock_ms)
        self._each(lambda node: node.evaluate(profile, now_ms))
        self._evaluated_ms = now_ms
        return result

    def on_timer(self, profile: Profile, *, clock_ms: int) -> StepResult:
        """Fire due timers, and evaluate every node whenever time can change its verdict."""
        if profile.first_ms is not None and not self._is_other(profile):
            # Before memberships change: a verdict may depend on them.
            self._follow_time(profile, clock_ms)
        return super().on_timer(profile, clock_ms=clock_ms)

    def on_merge(self, profile: Profile, sources: Sequence[Profile], *, clock_ms: int) -> StepResult:
        """Merge sources into the profile, and evaluate every node on the result."""
        if self._is_other(profile):
            return super().on_merge(profile, sources, clock_ms=clock_ms)
        now_ms = max(clock_ms, *(each.latest_ms for each in (profile, *sources)))
        if profile.first_ms is None:
            self._each(lambda node: node.begin(profile, now_ms))
        else:
            self._follow_time(profile, now_ms)
        result = super().on_merge(profile, sources, clock_ms=clock_ms)
        self._each(lambda node: node.evaluate(profile, now_ms))
        self._evaluated_ms = now_ms
        return result

    def _is_other(self, profile: Profile) -> bool:
        return self._profile_id not in (None, profile.id)

    def explain(self, profile: Profile, now_ms: int, *, first_ms: int | None = None) -> Explanation:
        """Explain the profile at ``now_ms``, not before its last event, with an exact ``changed_at``.

        ``first_ms``: the time of the first known event of any profile. Windows that begin before it, but
        not before 1970, may lack events.
        """
        self._follow_time(profile, now_ms)
        changed = {key: node.changed_at for key, node in self._nodes.items()}
        limited = [] if first_ms is None else self.segments.features.values()
        since = {each.id: first_ms or 0 for each in limited if span(each.window, now_ms)[0] > 0}
        found = explain(self.segments, profile, now_ms, changed, since=since)
        indicators = tuple(view_indicators(self.segments, profile, now_ms))
        return msgspec.structs.replace(found, indicators=indicators)

    def _follow_time(self, profile: Profile, until_ms: int) -> None:
        self._each(lambda node: node.pass_time(profile, self._evaluated_ms, until_ms))
        self._evaluated_ms = max(self._evaluated_ms, until_ms)

    def _each(self, step: Callable[[_TracedNode], None]) -> None:
        for node in self._nodes.values():
            try:
                step(node)
            except Exception:  # noqa: S112 - a node that fails keeps its verdict, as a rule keeps its membership
                continue
