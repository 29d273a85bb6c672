"""The features of a model: figures of the rule language, kept and read as the score of a rule does."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from segops.core.profile import Profile
from segops.core.rules.execution import numbers_reading, reading_of
from segops.core.rules.figures import PublishedFigure
from segops.core.rules.model import All
from segops.core.scoring.models import Input
from segops.core.segments import Definition, SegmentSet


class Inputs:
    """The features of a model, compiled. ``segments`` keeps them in profiles, and decides nothing.

    A vector has the numbers that the model's score is computed from, before they are standardised: both read
    the same states of the same features by the same functions.
    """

    def __init__(self, inputs: Iterable[Input]) -> None:
        self.inputs = tuple(msgspec.structs.replace(each, mean=0.0, scale=1.0) for each in inputs)
        self.names = [each.name for each in self.inputs]
        self._numbers = numbers_reading(self.inputs, reading_of)
        figures = tuple(PublishedFigure(each.figure) for each in self.inputs)
        # A paused rule is not evaluated, but profiles keep what it reads.
        self.segments = SegmentSet([Definition("training", "", All(figures), paused=True)])

    def vector(self, profile: Profile, now_ms: int) -> list[float]:
        """Return the features of a profile at an instant, transformed, and not standardised."""
        return self._numbers(profile, now_ms)

    def positions(self, inputs: Iterable[Input]) -> list[int] | None:
        """Return where the features of a model are in a vector; None if one is not in it."""
        known = {_unscaled(each): number for number, each in enumerate(self.inputs)}
        found = [known.get(_unscaled(each)) for each in inputs]
        return None if None in found else [number for number in found if number is not None]


def _unscaled(each: Input) -> bytes:
    bare = msgspec.structs.replace(each, name="", mean=0.0, scale=1.0)
    return msgspec.json.encode(bare, order="sorted")
