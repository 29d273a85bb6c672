"""The maximum of a likelihood of positive parameters, with standard errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy
from scipy.optimize import minimize

from segops.core.errors import UserError

#: Complex arrays in, complex number out: the logarithm of a likelihood, analytic in its parameters.
Likelihood = Callable[[Any], Any]

_STEP: Final = 1e-30
_CURVATURE_STEP: Final = 1e-5
_GRADIENT: Final = 1e-7
#: Parameters beyond this range fit no population that anyone has seen: there is no maximum in between.
_LOW, _HIGH = 1e-6, 1e6


class NoFit(UserError):
    """The data has no maximum of the likelihood."""


class Maximum(NamedTuple):
    """The parameters, their standard errors, and the logarithm of the likelihood there."""

    parameters: Sequence[float]
    errors: Sequence[float]
    log_likelihood: float


def maximum(likelihood: Likelihood, starts: Sequence[Sequence[float]]) -> Maximum:
    """Return the highest maximum that is reached from ``starts``. Raises NoFit if none is."""
    found = [each for start in starts if (each := _climb(likelihood, start)) is not None]
    if not found:
        raise NoFit("the likelihood has no maximum: the orders do not determine the parameters")
    best = max(found, key=lambda each: each[1])
    point = best[0]
    return Maximum(numpy.exp(point).tolist(), _errors(likelihood, point), best[1])


def _climb(likelihood: Likelihood, start: Sequence[float]) -> tuple[Any, float] | None:
    """Return the logarithms of the parameters at a maximum, and its height; None if there is none."""
    scale = abs(float(numpy.real(likelihood(numpy.array(start, complex))))) or 1.0

    def cost(point: Any) -> tuple[float, Any]:
        height, slope = _height_and_slope(likelihood, point)
        return -height / scale, -slope / scale

    done = minimize(
        cost,
        numpy.log(start),
        jac=True,
        method="L-BFGS-B",
        bounds=[(float(numpy.log(_LOW)), float(numpy.log(_HIGH)))] * len(start),
        options={"maxiter": 1_000, "ftol": 1e-15, "gtol": _GRADIENT / 10},
    )
    inside = all(numpy.log(_LOW) + 1 < each < numpy.log(_HIGH) - 1 for each in done.x)
    if not inside or not numpy.isfinite(done.fun) or numpy.abs(done.jac).max() > 100 * _GRADIENT:
        return None
    return done.x, -float(done.fun) * scale


def _height_and_slope(likelihood: Likelihood, point: Any) -> tuple[float, Any]:
    """Return the value and the gradient at the logarithms ``point`` of the parameters.

    A step along the imaginary axis has no rounding error: W. Squire, G. Trapp, "Using Complex Variables to
    Estimate Derivatives of Real Functions", SIAM Review 40 (1998).
    """
    steps = numpy.eye(len(point)) * _STEP * 1j
    values = [likelihood(numpy.exp(point + step)) for step in steps]
    return float(numpy.real(values[0])), numpy.array([numpy.imag(each) / _STEP for each in values])


def _errors(likelihood: Likelihood, point: Any) -> list[float]:
    """Return standard errors of the parameters by the curvature at the maximum (delta method)."""
    steps = numpy.eye(len(point)) * _CURVATURE_STEP
    curvature = numpy.array(
        [
            _height_and_slope(likelihood, point + step)[1] - _height_and_slope(likelihood, point - step)[1]
            for step in steps
        ]
    ) / (2 * _CURVATURE_STEP)
    try:
        variances = numpy.diag(numpy.linalg.inv(-(curvature + curvature.T) / 2))
    except numpy.linalg.LinAlgError:
        variances = numpy.full(len(point), numpy.nan)
    with numpy.errstate(invalid="ignore"):
        found: list[float] = (numpy.exp(point) * numpy.sqrt(variances)).tolist()
    return found
