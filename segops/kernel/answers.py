"""Answers to the kernel's questions: what it does not evaluate itself is computed here, by the same Python.

A question has all that the answer depends on: the parts of a profile, the state of a feature, a value. So the
profile stays in the kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from segops.core.events import Event
from segops.core.features import UNREADABLE, Counted, State
from segops.core.index import IndexedFeature, compiled
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.core.windows import QUARTER_MS, period, period_key
from segops.kernel.tables import Exported

#: From the bytes, the time in milliseconds and the default id of an event to the event.
Decode = Callable[[bytes, int, str], Event]
#: What an event adds to a feature: its state, the number of entries, and what the message notes of it: how
#: many tallies (None: the event adds nothing) and which total.
Fed = tuple[bytes, int | None, int | None, str | None]

_encode = msgspec.msgpack.Encoder().encode
_profile: Final = msgspec.msgpack.Decoder(Profile)
_state: Final[Any] = msgspec.msgpack.Decoder(State)
_value: Final = msgspec.msgpack.Decoder()


class Answers:
    """What Python answers for one set of segments. Instants are in milliseconds.

    ``asked``: the questions since they were last taken, by kind; ``failures``: segments whose rule failed.
    """

    def __init__(self, segments: SegmentSet, exported: Exported, decode: Decode) -> None:
        self.asked: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._segments = segments
        self._ids = list(segments.features)
        self._features: dict[int, IndexedFeature] = {}
        self._exported = exported
        self._decode = decode

    def verdict(self, segment: int, stored: bytes, now_ms: int) -> tuple[bool, int | None] | None:
        """Return whether a profile is a member, and when that changes; None if the rule fails."""
        self.asked["asked_score" if segment in self._exported.unlike else "asked_rule"] += 1
        unit, profile = self._segments.segments[segment], _profile.decode(stored)
        try:
            member = unit.rule.holds(profile, now_ms)
            return bool(member), unit.rule.next_flip(profile, now_ms, member)
        except Exception:  # as in the engine: the membership stays, and the failure is counted
            self.failures[unit.key] += 1
            return None

    def feed(
        self, value: bytes, origin: tuple[int, int, str], asked: Sequence[tuple[int, bytes | None]]
    ) -> list[Fed | None] | None:
        """Return what an event adds to features, given their states; None if it has to be applied whole.

        ``origin``: the time of the event, the instant at which it is applied, and its default id.
        """
        time_ms, now_ms, source = origin
        event = self._decode(value, time_ms, source)
        found: list[Fed | None] = []
        for number, state in asked:
            self.asked["asked_feature"] += 1
            feature = self._feature(number)
            if feature.where and not feature.selects(event, now_ms):
                found.append(None)
                continue
            read = None if feature.extract is None else feature.extract(event)
            if read is UNREADABLE:
                return None  # the skipped value is counted
            is_missing = feature.extract is not None and read is None
            found.append(None if is_missing else _fed(feature, state, event, read, now_ms))
        return found

    def _feature(self, number: int) -> IndexedFeature:
        known = self._features.get(number)
        if known is None:
            key = self._ids[number]
            known = self._features[number] = compiled(key, self._segments.features[key])
        return known

    def period(self, calendar: int, quarter: int) -> tuple[int, int]:
        """Return the begin of the period with a quarter of an hour since the epoch, and of the next one."""
        return period(self._exported.calendars[calendar], quarter * QUARTER_MS)

    def key(self, calendar: int, quarter: int) -> str:
        """Return the key of the period with a quarter of an hour since the epoch."""
        return period_key(self._exported.calendars[calendar], quarter * QUARTER_MS)

    def refresh(self, number: int, now_ms: int) -> tuple[int, int | None]:
        """Return the latest refresh up to an instant, and the first one after it."""
        refresh = self._exported.refreshes[number]
        return refresh.latest(now_ms), refresh.following(now_ms)

    def test(self, number: int, value: bytes, now_ms: int) -> tuple[bool, int | None] | None:
        """Return whether a value satisfies a predicate, and when that may change; None if that fails."""
        self.asked["asked_value"] += 1
        test, found = self._exported.tests[number], _value.decode(value)
        try:
            return bool(test.holds(found, now_ms)), test.next_edge(found, now_ms) if test.timed else None
        except Exception:  # the step, or the rule, is evaluated by Python as a whole, and fails there
            return None

    def take(self) -> tuple[Counter[str], Counter[str]]:
        """Return the questions by kind, and the failures by segment, since the last call."""
        taken = self.asked, self.failures
        self.asked, self.failures = Counter(), Counter()
        return taken


def _fed(feature: IndexedFeature, state: bytes | None, event: Event, read: Any, now_ms: int) -> Fed | None:
    known = None if state is None else _state.decode(state)
    added = feature.add(known, event.time_ms, read, now_ms)
    if added is None:  # what has expired is gone nevertheless
        return None if known is None else (_encode(known), None, None, None)
    noted = Counted(event.time_ms)
    noted.note(feature.id, added, read)
    total = noted.totals.get(feature.id)
    size = None if feature.by_size is None else len(added.times)
    return _encode(added), size, len(noted.tallies), None if total is None else str(total)
