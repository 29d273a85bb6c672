"""The tracking plans in force: each event against that of its source, in microseconds, without Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw

from segops.collector.metrics import CollectorMetrics
from segops.core.errors import RejectedEvent
from segops.tracking.compiler import CompiledPlan
from segops.tracking.events import check
from segops.tracking.violations import Example, ViolationTally

#: The reason of a dead letter that a plan rejects; SDKs get 200 for it, since no retry can repair it.
VIOLATION: Final = "violation"
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_EMPTY: Final = Raw(b"{}")
_raw_fields = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode


class Plans:
    """The plans of this process, by source. ``known`` is False until they were read for the first time."""

    def __init__(self, metrics: CollectorMetrics, *, keeps_payloads: bool = False) -> None:
        self.known = False
        self.by_source: Mapping[str, CompiledPlan] = {}
        self.tally = ViolationTally()
        self._metrics = metrics
        self._keeps_payloads = keeps_payloads

    def of(self, source: str) -> CompiledPlan | None:
        """Return the plan of a source."""
        return self.by_source.get(source)

    def check(self, plan: CompiledPlan, value: bytes, *, now_ms: int) -> bytes:
        """Return an event that the engine accepts as its plan leaves it, and count what it violates.

        Raises RejectedEvent with the reason ``VIOLATION``.
        """
        verdict, message_id = check(plan, value)
        if verdict is None:
            return value
        source = plan.plan.source
        for each in verdict.violations:
            self._metrics.violations.labels(source, verdict.event, each.reason, verdict.action).inc()
        example = Example(message_id, Raw(value) if self._keeps_payloads else None)
        self.tally.add(source, verdict, example, now_ms=now_ms)
        if verdict.rejected:
            raise RejectedEvent(VIOLATION, "; ".join(map(str, verdict.violations)))
        return _without(value, verdict.omitted) if verdict.omitted else value


def _without(value: bytes, paths: frozenset[str]) -> bytes:
    """Return an event with these properties or traits in ``context.protocols.omitted`` instead."""
    try:
        fields, omitted = _raw_fields.decode(value), dict[str, Raw]()
        for part in {path.partition(".")[0] for path in paths}:
            values = _raw_fields.decode(fields[part])
            names = [name for name in values if f"{part}.{name}" in paths]
            omitted |= {f"{part}.{name}": values.pop(name) for name in names}
            fields[part] = Raw(_encode(values))
        context = _raw_fields.decode(fields.get("context", _EMPTY))
    except _UNREADABLE:  # repaired by the engine; nothing is left out of it
        return value
    context["protocols"] = Raw(_encode({"omitted": omitted}))
    fields["context"] = Raw(_encode(context))
    return _encode(fields)
