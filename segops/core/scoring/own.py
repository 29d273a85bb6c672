"""Scores of functions that others install: their declaration, their formula, and the bounds they are held to.

A function that raises, or returns neither a finite number nor None, gives no score. It is counted, and stops
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import msgspec

from segops.core.scoring.crossing import first_outside
from segops.core.scoring.models import Input
from segops.core.scoring.order_scores import DECIMALS, LATEST_MS
from segops.core.values import kind, nearest

#: What the functions are given: the values of the figures by name, now, and the parameters of the model.
Of = Callable[[Mapping[str, Any], int, Mapping[str, Any]], Any]
#: Values as they are read, and the profile's latest event time; None: the profile has no event.
Read = tuple[tuple[Any, ...], int] | None

CONSTANT: Final = "constant"
STEPS: Final = "steps"
MONOTONE: Final = "monotone"
CHANGES: Final = (CONSTANT, STEPS, MONOTONE)
#: The least distance of two steps.
MIN_STEP_MS: Final = 60_000
#: How long after the latest event of a profile the clock of a scorer with steps goes on.
STEPPING_MS: Final = 30 * 86_400_000
_FIRST_GUESS_MS: Final = 86_400_000
_MISSING_RANK: Final = -1


class OwnScorer(msgspec.Struct, frozen=True, eq=False):
    """A score of your own: what an entry point of the group ``segops.scorers`` names.

    ``figures``: names to figures of the rule language. ``value`` returns the score of their values by name at
    ``now_ms`` under the parameters of a model: a finite number, or None. Whole numbers are int, others float;
    a figure in days is the instant in milliseconds from which the days count; a missing figure is None.

    ``changes`` says how the score moves between two changes of a value. ``constant``: not at all. ``steps``:
    at the instants that ``next_step``, with the same arguments, returns one after the other (None: no more).
    ``monotone``: it never turns, and is missing always or never.
    """

    figures: Mapping[str, Any]
    value: Of
    changes: Literal["constant", "steps", "monotone"] = CONSTANT
    next_step: Of | None = None


class Installed(msgspec.Struct, frozen=True, eq=False):
    """A scorer that was loaded, with its figures as inputs, and in the form in which it declares them."""

    scorer: OwnScorer
    inputs: tuple[Input, ...]
    figures: Mapping[str, Any]


class Registry:
    """The scorers of this process by name; of one that cannot be used, why. Each is loaded once."""

    def __init__(self) -> None:
        self.known: dict[str, Installed | str] = {}
        self.failed: Callable[[str], None] = lambda _name: None

    def on_failure(self, failed: Callable[[str], None]) -> None:
        """Call a function, from now on, with the name of a scorer at each of its failures."""
        self.failed = failed

    def installed(self, name: str) -> Installed | None:
        """Return a scorer; None if it cannot be used."""
        found = self.known.get(name)
        return found if isinstance(found, Installed) else None


REGISTRY: Final = Registry()


class OwnScore(msgspec.Struct, frozen=True, tag="own"):
    """The formula of an own score: the scorer's name, its inputs, and the parameters as JSON."""

    scorer: str
    inputs: tuple[Input, ...]
    parameters: str = "{}"

    @property
    def problem(self) -> str | None:
        """Why this process cannot compute the score; None if it can.

        >>> OwnScore("acme", ()).problem
        "the scorer 'acme' is not installed here"
        """
        found = REGISTRY.known.get(self.scorer)
        if not isinstance(found, Installed):
            return found or f"the scorer {self.scorer!r} is not installed here"
        if _by_name(found.inputs) != _by_name(self.inputs):
            return f"the scorer {self.scorer!r} that is installed here reads other figures than its model"
        return None

    @property
    def usable(self) -> OwnScorer | None:
        """The scorer; None if there is a ``problem``."""
        found = REGISTRY.installed(self.scorer)
        return None if found is None or self.problem else found.scorer


class Evaluation(NamedTuple):
    """A usable formula, which computes scores of what is ``read``."""

    formula: OwnScore
    scorer: OwnScorer

    def value(self, read: Read, now_ms: int) -> float | None:
        """Return the score at ``now_ms``, rounded; None if it is missing."""
        if read is None:
            return None
        found = self._call(self.scorer.value, read[0], self._clock_ms(read, now_ms))
        if found is None:
            return None
        if not isinstance(found, (int, float)) or isinstance(found, bool) or not _is_finite(found):
            return self._failed()
        return round(float(found), DECIMALS)

    def next_crossing(self, read: Read, rank: Callable[[float], int], now_ms: int) -> int | None:
        """Return the next instant at which the ``rank`` of the score is another one; None without one.

        The values stay as they are read. A score that breaks the scorer's word has none.
        """
        if read is None or self.scorer.changes == CONSTANT:
            return None

        def rank_at(at_ms: int) -> int:
            found = self.value(read, at_ms)
            return _MISSING_RANK if found is None else rank(found)

        if self.scorer.changes == MONOTONE:
            return self._passing(rank_at, now_ms)
        begun = rank_at(now_ms)
        return next((at for at in self._steps(read, now_ms) if rank_at(at) != begun), None)

    def _clock_ms(self, read: tuple[tuple[Any, ...], int], now_ms: int) -> int:
        """Return the instant that the scorer is given, so that no score moves otherwise than declared."""
        if self.scorer.changes == MONOTONE:
            return now_ms
        return read[1] if self.scorer.changes == CONSTANT else min(now_ms, read[1] + STEPPING_MS)

    def _passing(self, rank_at: Callable[[int], int], now_ms: int) -> int | None:
        begun, last = rank_at(now_ms), rank_at(LATEST_MS)
        if begun == last:
            return None
        at = first_outside(lambda at: rank_at(at) == begun, now_ms, LATEST_MS, now_ms + _FIRST_GUESS_MS)
        reached = begun if at is None else rank_at(at)
        if _MISSING_RANK in (begun, reached, last) or abs(reached - last) >= abs(begun - last):
            return self._failed()
        return at

    def _steps(self, read: tuple[tuple[Any, ...], int], now_ms: int) -> Iterator[int]:
        """Yield the steps after ``now_ms``, up to the first that another one follows too soon."""
        values, end_ms = read[0], read[1] + STEPPING_MS
        at = self._step(values, now_ms, now_ms + 1) if now_ms < end_ms else None
        while at is not None and at <= end_ms:
            following = self._step(values, at, at + MIN_STEP_MS)
            if following == _BROKEN:
                return
            yield at
            at = following

    def _step(self, values: tuple[Any, ...], now_ms: int, least_ms: int) -> int | None:
        """Return the step after ``now_ms``, None if there is none, _BROKEN for one before ``least_ms``."""
        step = None if self.scorer.next_step is None else self._call(self.scorer.next_step, values, now_ms)
        if step is None:
            return None
        if type(step) is not int or step < least_ms:
            self._failed()
            return _BROKEN
        return step

    def _call(self, function: Of, values: tuple[Any, ...], now_ms: int) -> Any:
        names = [each.name for each in self.formula.inputs]
        try:
            given = MappingProxyType(dict(zip(names, map(handed, values), strict=True)))
            return function(given, now_ms, _parameters(self.formula.parameters))
        except Exception:  # a scorer of others must stop nothing
            return self._failed()

    def _failed(self) -> None:
        REGISTRY.failed(self.formula.scorer)


#: Stands for a step of a scorer that broke its word: later than any instant.
_BROKEN: Final = 1 << 63


def evaluation(formula: OwnScore) -> Evaluation | None:
    """Return what computes a score; None if this process cannot."""
    scorer = formula.usable
    return None if scorer is None else Evaluation(formula, scorer)


def handed(value: Any) -> Any:
    """Return a value as scorers get it: whole numbers int, others float, and nothing that can be changed.

    >>> from fractions import Fraction
    >>> handed(Fraction(4, 2)), handed(Fraction(1, 4)), handed([1.0, "a"])
    (2, 0.25, (1, 'a'))
    """
    if isinstance(value, Mapping):
        return MappingProxyType({key: handed(each) for key, each in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(map(handed, value))
    return nearest(value) if kind(value) == "number" and value.__class__ is not int else value


@lru_cache(maxsize=256)
def _parameters(text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = handed(msgspec.json.decode(text))
    return found


def _by_name(inputs: tuple[Input, ...]) -> list[Input]:
    return sorted(inputs, key=lambda each: each.name)


def _is_finite(number: float) -> bool:
    try:
        return isfinite(number)
    except OverflowError:  # an int beyond the range of a float
        return False
