"""Streams of events that tell rules apart, drawn from what the rules name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import degrees
from random import Random
from typing import Any, Final

from segops.core.events import Event
from segops.core.geo import EARTH_RADIUS_M
from segops.core.operators import Predicate
from segops.core.paths import CONTEXT
from segops.studio.catalogue import Kind, StudioCatalogue
from segops.studio.draws import DAY_MS, Values
from segops.studio.literals import ANY, Literals

#: What begins the path of a trait that stands for a part of the profile, and of one for RFM.
STAND_IN: Final = "\0"
RFM: Final = (STAND_IN, "rfm")
_HOUR_MS: Final = 3_600_000
_SHORT_MS: Final = (1, 60_000, _HOUR_MS, 6 * _HOUR_MS, DAY_MS)
_PAUSES_MS: Final = (1, 1, 1, _HOUR_MS, DAY_MS, 7 * DAY_MS, 31 * DAY_MS)
_STEPS: Final = 8
_MOST_EVENTS: Final = 250
_MOST_AT_ONCE: Final = 60
#: Further values of a property that no rule compares: enough for a count of different ones.
_SAMPLES: Final[Mapping[str, tuple[Any, ...]]] = {
    "number": (0, 1, 50),
    "probability": (0, 0.5, 1),
    "amount": (0, 1, 50),
    "boolean": (True, False),
    "string": ("a", "b"),
    "country": ("DE", "FR"),
    "date": ("1990-05-05", "2020-02-29"),
    "list": (["a"], []),
}
#: Kinds that have no other values than the known ones.
_CLOSED: Final = ("choice", "boolean")


class Streams:
    """Streams of one profile's events in the order of time, near ``now_ms``, all from the same seed.

    Each has the events of the rules, alone and in bursts as long as their counts, with values at the limits
    of their predicates, apart by their durations and a millisecond less or more.
    """

    def __init__(self, found: Literals, catalogue: StudioCatalogue, now_ms: int, seed: str) -> None:
        self._found = found
        self._now_ms = now_ms
        self._rng = Random(seed)  # noqa: S311 - no secret
        self._names = sorted({*found.events, ANY})
        self._values = {
            (name, path): _values(tests, catalogue.events.get(name, {}), path)
            for (name, path), tests in found.values.items()
        }
        self._traits = {path: _values(tests, catalogue.traits, path) for path, tests in found.traits.items()}
        self._spans_ms = sorted(found.spans_ms)

    @property
    def longest_ms(self) -> int:
        """The longest duration that a rule names, at least a month."""
        return max([*self._spans_ms, 31 * DAY_MS])

    def draw(self) -> Iterator[Event]:
        """Yield the events of one stream."""
        rng, number = self._rng, 0
        usual = {key: self._one(key, self._now_ms) for key in self._values}
        time_ms = self._begin()
        yield self._identify(time_ms, number)
        for _ in range(rng.randint(1, _STEPS)):
            time_ms, apart = self._next(time_ms), rng.random() < 0.3
            for name, pause_ms in self._script()[: _MOST_EVENTS - number]:
                number += 1
                yield self._event(name, time_ms, number, {} if apart else usual)
                time_ms += pause_ms
            if self._traits and rng.random() < 0.3:
                number += 1
                yield self._identify(time_ms, number)
            if rng.random() < 0.3:
                usual = {key: self._one(key, time_ms) for key in self._values}

    def _script(self) -> list[tuple[str, int]]:
        """Draw events with the pause after each: the steps of a sequence, or a burst of one event."""
        rng, scripts = self._rng, self._found.scripts
        if scripts and rng.random() < 0.4:
            steps = [step for step in rng.choice(scripts) if rng.random() < 0.8]
            pauses = [
                rng.choice((ms // 2, ms - 1, ms) if ms else _PAUSES_MS) for _, ms in [*steps[1:], ("", 0)]
            ]
            return [(name, max(1, pause)) for (name, _), pause in zip(steps, pauses, strict=False)]
        return [(rng.choice(self._names), rng.choice(_PAUSES_MS))] * rng.choice(self._counts())

    def _begin(self) -> int:
        """Draw the time of the first event: before now, or at an instant that a rule names."""
        rng, found = self._rng, self._found
        if found.instants_ms and rng.random() < 0.5:
            return rng.choice(sorted(found.instants_ms)) + rng.choice((-DAY_MS, -1, 0, 1))
        begin_ms = self._now_ms - rng.choice((0, *_SHORT_MS, *self._spans_ms))
        if found.clocks_ms:
            begin_ms += rng.choice(sorted(found.clocks_ms)) + rng.choice((-1, 0, 1)) - begin_ms % DAY_MS
        return begin_ms + rng.randrange(7) * DAY_MS

    def _next(self, time_ms: int) -> int:
        rng = self._rng
        later = [ms for ms in self._found.instants_ms if ms > time_ms + 1]
        if later and rng.random() < 0.3:
            return min(later) + rng.choice((-1, 0, 1))
        if self._spans_ms and rng.random() < 0.5:
            span_ms = rng.choice(self._spans_ms)
            return time_ms + max(
                1, rng.choice((span_ms - 1, span_ms, span_ms + 1, span_ms // 2, span_ms // 7))
            )
        return time_ms + rng.choice(_SHORT_MS)

    def _counts(self) -> list[int]:
        near = {count + by for count in self._found.counts for by in (-1, 0, 1)}
        return [1, 1, *(count for count in sorted(near) if 0 < count <= _MOST_AT_ONCE)]

    def _event(self, name: str, time_ms: int, number: int, usual: Mapping[Any, Any]) -> Event:
        keys = [key for key in self._values if key[0] == name]
        drawn = {key[1]: usual[key] if key in usual else self._one(key, time_ms) for key in keys}
        properties = {path: value for path, value in drawn.items() if path[0] and value is not None}
        context = {path[2:]: value for path, value in drawn.items() if path[:2] == CONTEXT and path[2:]}
        return Event(
            name,
            time_ms,
            f"m{number}",
            _nested(properties),
            location=self._location(),
            context=_nested(context) or None,
        )

    def _one(self, key: tuple[str, tuple[str, ...]], time_ms: int) -> Any:
        if self._found.counts and not self._values[key].closed and self._rng.random() < 0.1:
            return f"v{self._rng.randrange(9)}"
        if self._found.numbers and self._rng.random() < 0.3:
            return self._rng.choice(sorted(self._found.numbers)) * self._rng.choice((0.5, 1, 2))
        return self._values[key].draw(self._rng, time_ms)

    def _identify(self, time_ms: int, number: int) -> Event:
        drawn = {path: each.draw(self._rng, time_ms) for path, each in self._traits.items()}
        return Event("identify", time_ms, f"m{number}", {}, _nested(drawn))

    def _location(self) -> tuple[float, float] | None:
        points = sorted(self._found.points)
        if not points or self._rng.random() < 0.3:
            return None
        latitude, longitude, radius_m = self._rng.choice(points)
        away_m = radius_m * self._rng.choice((0, 0.5, 0.999, 1.001, 1.5))
        return latitude + degrees(away_m / EARTH_RADIUS_M), longitude


def _values(tests: Sequence[Predicate], kinds: Mapping[str, Kind], path: tuple[str, ...]) -> Values:
    if path[:2] == RFM and path[2] != "tier":
        return Values((), (1, 2, 3, 4, 5), closed=True)
    kind = kinds.get(".".join(path))
    if kind is None:
        return Values(tests, (), closed=False)
    return Values(tests, kind.values or _SAMPLES.get(kind.name, ()), closed=kind.name in _CLOSED)


def _nested(values: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """Return values by path as nested maps.

    >>> _nested({("a",): 1, ("b", "c"): 2})
    {'a': 1, 'b': {'c': 2}}
    """
    found: dict[str, Any] = {}
    for path, value in values.items():
        level = found
        for name in path[:-1]:
            below = level.setdefault(name, {})
            level = below if isinstance(below, dict) else {}
        level[path[-1]] = value
    return found
