"""Whether a scorer keeps its word, on drawn values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from math import isfinite
from random import Random
from types import MappingProxyType
from typing import Any, Final

from segops.core.rules.figures import AggregateFigure, ClockFigure, CountFigure, DaysFigure, TraitFigure
from segops.core.scoring.order_scores import DECIMALS, LATEST_MS
from segops.core.scoring.own import CONSTANT, MIN_STEP_MS, STEPPING_MS, STEPS, Installed, OwnScorer, handed
from segops.scorers import installed

#: 2026-01-01.
_NOW_MS: Final = 1_767_225_600_000
_DAY_MS: Final = 86_400_000
_MOST_STEPS: Final = 200
#: Draws the values of the figures by name, for an instant; None for a missing one.
Draw = Callable[[Random, int], Mapping[str, Any]]


def check_scorer(
    scorer: OwnScorer,
    parameters: Mapping[str, Any] | None = None,
    *,
    draw: Draw | None = None,
    times: int = 200,
    seed: int = 0,
) -> None:
    """Check on drawn values that a scorer keeps its word under the parameters of a model.

    It must return None or a finite number, the same for the same arguments in any order, and change as it
    declares. ``draw`` draws values for an instant in milliseconds, where those drawn for each kind of figure
    do not suit. Raises AssertionError with the values; TypeError or DefinitionError if ``scorer``
    is invalid.

    >>> check_scorer(OwnScorer({"views": {"did": "View"}}, lambda values, now_ms, _: values["views"] / 3))
    """
    of = installed("checked", scorer)
    given, random = handed(parameters or {}), Random(seed)  # noqa: S311
    drawn = [_values(of, random, draw) for _ in range(times)]
    first = [_value(of, values, _NOW_MS, given) for values in drawn]
    for values, found in reversed(list(zip(drawn, first, strict=True))):
        again = _value(of, values, _NOW_MS, given)
        assert again == found, f"the same arguments gave {found}, then {again}: {dict(values)}"  # noqa: S101
        _CHECKS[scorer.changes](of, values, given)


def _values(of: Installed, random: Random, draw: Draw | None) -> Mapping[str, Any]:
    if draw is not None:
        return MappingProxyType({name: handed(each) for name, each in draw(random, _NOW_MS).items()})
    found = {each.name: handed(_drawn(each.figure, random)) for each in of.inputs}
    return MappingProxyType(found)


def _drawn(figure: Any, random: Random) -> Any:
    """Return a value that a figure may have."""
    number = random.choice([0, 1, random.randint(0, 50), random.uniform(-100, 1_000)])
    match figure:
        case CountFigure():
            return random.choice([0, 1, 2, random.randint(0, 500)])
        case DaysFigure():
            return random.choice([None, _NOW_MS, _NOW_MS - random.randrange(400 * _DAY_MS)])
        case ClockFigure():
            return random.choice([None, random.randrange(figure.circle)])
        case AggregateFigure(function="distinct"):
            return random.randint(0, 50)
        case AggregateFigure(function="latest" | "earliest" | "most_frequent") | TraitFigure():
            return random.choice([None, number, number, "text", True])
    return random.choice([None, number, number])


def _value(of: Installed, values: Mapping[str, Any], now_ms: int, parameters: Any) -> float | None:
    found = of.scorer.value(values, now_ms, parameters)
    if found is None:
        return None
    is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
    assert is_number and isfinite(found), (  # noqa: S101
        f"expected a finite number or None, got {found!r:.40}: {dict(values)}"
    )
    return round(float(found), DECIMALS)


def _check_constant(of: Installed, values: Mapping[str, Any], parameters: Any) -> None:
    found = {_value(of, values, at, parameters) for at in _instants()}
    assert len(found) == 1, f"a constant score moved with time, {found}: {dict(values)}"  # noqa: S101


def _check_monotone(of: Installed, values: Mapping[str, Any], parameters: Any) -> None:
    found = [_value(of, values, at, parameters) for at in _instants()]
    numbers = [each for each in found if each is not None]
    missing = len(numbers) not in (0, len(found))
    assert not missing, f"a monotone score is missing at some instants only: {dict(values)}"  # noqa: S101
    ways = {later > before for before, later in pairwise(numbers) if later != before}
    assert len(ways) < 2, f"a monotone score turned: {dict(values)}"  # noqa: S101


def _check_steps(of: Installed, values: Mapping[str, Any], parameters: Any) -> None:
    """Check the steps, and that the score stays between them, where it is asked at both ends and between."""
    before = _NOW_MS
    for number, at in enumerate(_steps(of, values, parameters)):
        least = before + (MIN_STEP_MS if number else 1)
        assert type(at) is int and at >= least, (  # noqa: S101
            f"expected a step at {least} or later after that at {before}, got {at!r:.40}: {dict(values)}"
        )
        between = {before, (before + at) // 2, at - 1}
        found = {_value(of, values, each, parameters) for each in between}
        assert len(found) == 1, f"the score moved between {before} and {at}: {dict(values)}"  # noqa: S101
        before = at


def _steps(of: Installed, values: Mapping[str, Any], parameters: Any) -> Iterator[Any]:
    """Yield the first steps, and the end of the time in which there are any if none is left before it."""
    at, end_ms = _NOW_MS, _NOW_MS + STEPPING_MS
    for _ in range(_MOST_STEPS):
        step = of.scorer.next_step and of.scorer.next_step(values, at, parameters)
        if step is None or (type(step) is int and step > end_ms):
            yield end_ms + 1 if step is None else step
            return
        yield step
        at = step


def _instants() -> list[int]:
    """Return instants from now on to the year 9999: neighbours, minutes, days and years apart."""
    spans = [0, 1, 2, *(3**power for power in range(1, 30)), *(day * _DAY_MS for day in range(1, 60))]
    return sorted(at for at in {*(_NOW_MS + span for span in spans), LATEST_MS} if at <= LATEST_MS)


_CHECKS: Final = {CONSTANT: _check_constant, STEPS: _check_steps, "monotone": _check_monotone}
