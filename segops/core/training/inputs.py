"""The features of a model: figures of the rule language, kept and read as a rule does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import log1p
from typing import Any, Final

from segops.core.profile import Profile
from segops.core.rules.execution import Reading, reading_of
from segops.core.rules.figures import PublishedFigure
from segops.core.rules.model import All
from segops.core.scoring.models import Input
from segops.core.segments import Definition, SegmentSet
from segops.core.values import kind

DAY_MS: Final = 86_400_000

class Inputs:
    """The features of a model, compiled. ``segments`` keeps them in profiles, and decides nothing else.

    They are read by the readings that rules use, so a vector is that of the rule's score at the instant.
    """

    def __init__(self, inputs: Iterable[Input]) -> None:
        self.inputs = tuple(inputs)
        self.names = [each.name for each in self.inputs]
        readings = [reading_of(each.figure) for each in self.inputs]
        self._takes = [(of.read, _take(each, of)) for each, of in zip(self.inputs, readings, strict=True)]
        figures = tuple(PublishedFigure(each.figure) for each in self.inputs)
        # A paused rule is not evaluated, but profiles keep what it reads.
        self.segments = SegmentSet([Definition("training", "", All(figures), paused=True)])

    def vector(self, profile: Profile, now_ms: int) -> list[float]:
        """Return the features of a profile at an instant, transformed, and not standardised."""
        return [take(read(profile, now_ms), now_ms) for read, take in self._takes]


def _take(each: Input, reading: Reading) -> Callable[[Any, int], float]:
    """Return the function from what was read of a profile, and the instant, to the number of a feature."""
    apply = TRANSFORMS[each.transform]

    def of_days(since_ms: int | None, now_ms: int) -> float:
        return each.missing if since_ms is None else apply((now_ms - since_ms) // DAY_MS)

    def of_value(value: Any, _now_ms: int) -> float:
        if value.__class__ is int:  # counts, which most features are
            return apply(value)
        return apply(value) if kind(value) == "number" else each.missing

    return of_days if reading.ages else of_value


def _log1p(number: Any) -> float:
    return log1p(number) if number >= 0 else -log1p(-number)


TRANSFORMS: Final[Mapping[str, Callable[[Any], float]]] = {
    "none": float,
    "log1p": _log1p,
    "days_log1p": _log1p,
    "present": lambda _number: 1.0,
}
