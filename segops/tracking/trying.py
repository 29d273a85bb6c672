"""Plans tried on events of the past: nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from segops.core.errors import RejectedEvent, UserError
from segops.schemas.events import route
from segops.schemas.identifying import IdentityLimits
from segops.tracking.compiler import compile_plan
from segops.tracking.events import check
from segops.tracking.model import TrackingPlan
from segops.tracking.violations import Example, ViolationRecord, ViolationTally


class Trial:
    """Counts what plans find. ``counts``: events by what would become of them."""

    def __init__(self, plans: Iterable[TrackingPlan], limits: IdentityLimits, *, now_ms: int) -> None:
        self._limits = limits
        self._now_ms = now_ms
        self.counts: Counter[str] = Counter()
        self._plans = {plan.source: compile_plan(plan) for plan in plans}
        self._tally = ViolationTally()

    @property
    def sources(self) -> list[str]:
        """The sources that have a plan."""
        return list(self._plans)

    def source_of(self, source: str | None) -> str:
        """Return the source, by default the only one. Raises UserError."""
        if source is None and len(self._plans) == 1:
            return self.sources[0]
        if source not in self._plans:
            raise UserError(f"--source: expected one of {', '.join(self._plans)}, got {source or 'none'}")
        return source

    def add(self, source: str, value: bytes) -> None:
        """Check an event of a source, if the engine accepts it."""
        try:
            route(value, now_ms=self._now_ms, default_time_ms=self._now_ms, limits=self._limits)
        except RejectedEvent:
            self.counts["invalid"] += 1
            return
        verdict, message_id = check(self._plans[source], value)
        self.counts["conforming" if verdict is None else verdict.action] += 1
        if verdict is not None:
            self._tally.add(source, verdict, Example(message_id), now_ms=0)

    def violations(self) -> list[ViolationRecord]:
        """Return the violations by kind, the most frequent first."""
        return self._tally.totals()
