"""The port of scoring models.

A model is a frozen struct. Its fields are its parameters: data, which are part of each definition that uses
the model. It yields a score from what it reads of a profile and the instant, and from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from segops.core.features import Feature
from segops.core.features.bands import Series
from segops.core.operators import Predicate


class Scorer(Protocol):
    """A scoring model. It reads the profile's first and latest event times; ``read`` is the profile."""

    def value(self, read: Any, now_ms: int) -> Any:
        """Return the score at ``now_ms``; None if it is not defined for the profile."""

    def next_edge(self, read: Any, tests: Iterable[Predicate], now_ms: int) -> int | None:
        """Return the earliest instant after ``now_ms`` at which time alone may change the truth of ``tests``.

        Returns None if there is none. What is read stays as it is.
        """


@runtime_checkable
class FeatureScorer(Scorer, Protocol):
    """A scoring model that reads the value of a feature instead; ``read`` is this value."""

    @property
    def feature(self) -> Feature:
        """The feature."""

    def future(self, state: Any, now_ms: int) -> Series:
        """Yield the value of the feature at ``now_ms``, then each later one that may have another score."""
