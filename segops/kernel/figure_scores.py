"""Scores of logistic and linear models in the form that the kernel reads (``src/figure_score.rs``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from segops.core.features import Feature
from segops.core.rules.execution import reading_of
from segops.core.rules.figures import AggregateFigure, CountFigure, DaysFigure, TraitFigure
from segops.core.scoring.figure_scores import WeightedScore
from segops.core.scoring.models import Input, Isotonic, Platt
from segops.core.windows import Fixed, Within
from segops.kernel.order_scores import floats

#: The transforms that the kernel has; those of clocks are Python's.
_TRANSFORMS: Final = frozenset(("none", "log1p", "days_log1p", "present"))
#: From a feature to its number and the length of its window (None: it drops nothing).
WindowOf = Callable[[Feature], tuple[int, int | None]]


def model(score: WeightedScore, window_of: WindowOf) -> list[Any]:
    """Return a model. Raises ValueError if the kernel lacks a figure, a transform or a number of it."""
    parameters = score.parameters
    pairs = zip(parameters.inputs, parameters.weights, strict=True)
    inputs = [_input(each, weight, window_of) for each, weight in pairs]
    return [*floats([parameters.intercept]), *_link(parameters.calibration), inputs]


def _link(calibration: Platt | Isotonic | None) -> list[Any]:
    if calibration is None:
        return ["linear", []]
    if isinstance(calibration, Platt):
        return ["platt", [floats([calibration.a, calibration.b])]]
    return ["isotonic", [floats(point) for point in calibration.points]]


def _input(each: Input, weight: float, window_of: WindowOf) -> list[Any]:
    if each.transform not in _TRANSFORMS:
        raise ValueError(f"expected another transform than {each.transform!r}")
    numbers = floats([each.missing, each.mean, each.scale, weight])
    return [*_figure(each.figure, window_of), each.transform, *numbers]


def _figure(figure: Any, window_of: WindowOf) -> list[Any]:
    """Return a name, the number of a feature or the path of a trait, and the length of a window."""
    if isinstance(figure, TraitFigure) and figure.path and figure.path[0]:
        return ["trait", figure.path, None]
    if isinstance(figure, DaysFigure):
        name = "days"
    elif isinstance(figure, CountFigure) and isinstance(figure.window, Within | Fixed):
        name = "count"
    elif isinstance(figure, AggregateFigure) and isinstance(figure.window, Within | Fixed):
        name = figure.function
    else:
        raise ValueError(f"expected another figure than {figure!r}")
    if name not in ("days", "count", "sum"):
        raise ValueError(f"expected another aggregate than {name!r}")
    (feature,) = reading_of(figure).features
    return [name, *window_of(feature)]
