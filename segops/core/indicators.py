"""Compiled indicators: the value of a figure on a profile, and when a new one is published.

A value is published when it differs from the one published last, by the indicator's ``change_by`` if both are
numbers, and not before its ``per_ms`` has passed since then. What differs at that instant is published by a
timer, so the last value is never lost. All of it follows from the profile and the instant.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import ceil, floor
from typing import Any, Final

import msgspec

from segops.core.features.scanning import LOOK_AHEAD_MS, MAX_STEPS
from segops.core.profile import Profile, PublishedValue
from segops.core.rules.execution import Reading, Rule, aging, compile_rule, reading_of
from segops.core.rules.model import PublishedFigure
from segops.core.values import exact, kind, nearest

#: What the key of an indicator's definition begins with; no key of a segment does.
INDICATOR_PREFIX: Final = "indicator:"
_DAY_MS: Final = 86_400_000
#: The last millisecond of the year 9999: no later instant can be stored for certain, or written.
_LATEST_MS: Final = 253_402_300_799_999
_GREATEST: Final = 1.7976931348623157e308
_ORDERED: Final = msgspec.json.Encoder(order="sorted")


class Indicator(msgspec.Struct, frozen=True):
    """A compiled indicator. ``index`` is its position in the order of evaluation, after all segments.

    ``rule`` names the features and parts of the profile that the figure depends on.
    """

    key: str
    version: int
    node: PublishedFigure
    rule: Rule
    reading: Reading
    change_by: Fraction | None
    per_ms: int
    index: int = 0

    def is_of(self, version: int, node: PublishedFigure) -> bool:
        """Return whether it was compiled from this version, for this figure."""
        return (self.version, self.node) == (version, node)

    @property
    def is_blank_value(self) -> bool:
        """Whether it has a value on a profile that has only events that it does not select."""
        try:
            return self.reading.read(Profile(""), 0) is not None
        except Exception:  # a figure that fails has no value yet; the failure counts with a profile
            return False

    @property
    def name(self) -> str:
        """The key of the indicator, as written."""
        return self.key.removeprefix(INDICATOR_PREFIX)

    def value(self, profile: Profile, now_ms: int) -> Any:
        """Return the value at ``now_ms`` as it is published; None: it is missing.

        A number is an integer or the nearest float. A profile without events has no value.
        """
        if profile.first_ms is None:
            return None
        return self._published(self.reading.read(profile, now_ms), now_ms)

    def _published(self, read: Any, now_ms: int) -> Any:
        value = self.reading.value(read, now_ms)
        if value.__class__ is not Fraction:
            return value
        try:
            return nearest(value)
        except OverflowError:
            return _GREATEST if value > 0 else -_GREATEST

    def evaluate(self, profile: Profile, now_ms: int) -> bool:
        """Return whether the value at ``now_ms`` is to be published, and record that; set the next timer."""
        last = profile.published.get(self.key)
        value = self.value(profile, now_ms)
        publish = self._is_due(value, last, now_ms)
        if publish:
            last = self._record(profile, value, now_ms)
        elif last is not None and last.version != self.version:  # both were missing
            del profile.published[self.key]
            last = None
        at_ms = self._next_ms(profile, now_ms, last)
        if at_ms is None:
            profile.flips.pop(self.key, None)
        else:
            profile.flips[self.key] = at_ms
        return publish

    def _is_due(self, value: Any, last: PublishedValue | None, now_ms: int) -> bool:
        """Return whether a value is to be published at once; a new version is, whatever its value."""
        if last is None:
            return value is not None
        if last.version != self.version:
            return value is not None or last.value is not None
        return now_ms >= last.at_ms + self.per_ms and self._differs(value, last.value)

    def _record(self, profile: Profile, value: Any, now_ms: int) -> PublishedValue | None:
        """Record a published value; that it is missing matters only while its period lasts."""
        if value is None and not self.per_ms:
            profile.published.pop(self.key, None)
            return None
        found = profile.published[self.key] = PublishedValue(value, now_ms, self.version)
        return found

    def _differs(self, value: Any, last: Any) -> bool:
        """Return whether a value differs from the last one by enough to be published.

        >>> from segops.core.rules.figures import TraitFigure
        >>> node = PublishedFigure(TraitFigure(("points",)), change_by=exact(0.2))
        >>> indicator = compile_indicator("indicator:points", 1, node)
        >>> indicator._differs(0.3, 0.1), indicator._differs(0.3, 0.2), indicator._differs(None, 0.2)
        (True, False, True)
        """
        if self.change_by is not None and kind(value) == "number" and kind(last) == "number":
            return abs(Fraction(exact(value)) - Fraction(exact(last))) >= self.change_by
        if value.__class__ in (dict, list):
            return _ORDERED.encode(value) != _ORDERED.encode(last)
        return value.__class__ is not last.__class__ or bool(value != last)

    def _next_ms(self, profile: Profile, now_ms: int, last: PublishedValue | None) -> int | None:
        """Return the first instant after ``now_ms`` at which time alone has a value published, or None."""
        known, free_ms = None, now_ms
        if last is not None:
            known, free_ms = last.value, max(now_ms, last.at_ms + self.per_ms)
        waits = False  # whether a value waits for the end of the period
        for at, value in self._values(profile, now_ms, known):
            if at > free_ms:
                if waits:
                    return free_ms
                if self._differs(value, known):
                    return at
            else:
                waits = free_ms > now_ms and self._differs(value, known)
        return free_ms if waits else None

    def _values(self, profile: Profile, now_ms: int, known: Any) -> Iterator[tuple[int, Any]]:
        """Yield the value at ``now_ms``, and those that time alone leads to; ``known``: the published one.

        Between two instants, the value does not begin or cease to differ from ``known`` by enough. As for
        rules, nothing is expected of anniversaries that are more than ten years ahead.
        """
        if profile.first_ms is None:
            return
        series = self.reading.series(profile, now_ms)
        if self.reading.ages:
            series = aging(series, lambda since_ms, at: self._next_age(since_ms, known, at))
        if self.reading.moving is not None:
            series = aging(series, lambda read, at: self._next_crossing(read, known, at))
        for steps, (at, read) in enumerate(series):
            yield at, self._published(read, at)
            if steps > MAX_STEPS and at - now_ms > LOOK_AHEAD_MS:
                return

    def _next_age(self, since_ms: int | None, known: Any, now_ms: int) -> int | None:
        """Return when the days since an instant next begin or cease to differ from the published number."""
        if since_ms is None or kind(known) != "number":
            return None
        published, step = Fraction(exact(known)), self.change_by or Fraction(1)
        days = (ceil(published + step), floor(published - step) + 1)
        edges = (since_ms + number * _DAY_MS for number in days)
        return min((edge for edge in edges if now_ms < edge <= _LATEST_MS), default=None)

    def _next_crossing(self, read: Any, known: Any, now_ms: int) -> int | None:
        """Return when a moving score next begins or ceases to differ from the published number."""
        if kind(known) != "number":
            return None
        published, step = Fraction(exact(known)), self.change_by or Fraction(0)
        return self.reading.next_crossing(read, {published - step, published + step}, now_ms)


def compile_indicator(key: str, version: int, node: PublishedFigure) -> Indicator:
    """Compile an indicator; ``key`` is that of its definition."""
    change_by = None if node.change_by is None else Fraction(node.change_by)
    rule, reading = compile_rule(key.replace(":", "_"), node, {}), reading_of(node.figure)
    return Indicator(key, version, node, rule, reading, change_by, node.per_ms or 0)
