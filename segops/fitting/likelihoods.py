"""The likelihoods of the models over all customers, on arrays of complex numbers.

``segops.core.scoring`` has the same formulas for one customer; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
from scipy.special import loggamma

from segops.fitting.histories import Customer, Distinct
from segops.fitting.maximum import Likelihood


def buying(found: Distinct, *, modified: bool) -> Likelihood:
    """Return the log-likelihood of (r, alpha, a, b) of BG/NBD, or of MBG/NBD if ``modified``."""
    x, customers = numpy.array(found.repeats, float), numpy.array(found.customers, float)
    last, age = numpy.array(found.last, float), numpy.array(found.age, float)
    repeats, which = numpy.unique(x, return_inverse=True)
    weights = numpy.bincount(which, weights=customers)
    may_be_lost = (x > 0) | modified

    def log_likelihood(parameters: Any) -> Any:
        r, alpha, a, b = parameters
        survived = b + repeats + modified
        common = loggamma(r + repeats) - loggamma(r) + r * numpy.log(alpha)
        common = common + loggamma(a + b) + loggamma(survived) - loggamma(b) - loggamma(a + survived)
        alive = -(r + x) * numpy.log(alpha + age)
        with numpy.errstate(all="ignore"):
            odds = numpy.log(a) - numpy.log(survived - 1)[which] - (r + x) * numpy.log(alpha + last) - alive
        return (weights * common).sum() + (customers * (alive + _log1p_exp(odds, may_be_lost))).sum()

    return log_likelihood


def gaps(found: Distinct) -> Likelihood:
    """Return the log-likelihood of (shape, scale) of the rate of orders of those who ordered again.

    Each customer's gaps between orders are exponential, and their rates are gamma distributed. The time since
    the latest order is left out: it says as much of who is no customer any more.
    """
    x, last = numpy.array(found.repeats, float), numpy.array(found.last, float)
    customers = numpy.array(found.customers, float) * (x > 0)

    def log_likelihood(parameters: Any) -> Any:
        shape, scale = parameters
        each = loggamma(shape + x) - loggamma(shape) + shape * numpy.log(scale)
        return (customers * (each - (shape + x) * numpy.log(scale + last))).sum()

    return log_likelihood


def _log1p_exp(odds: Any, where: Any) -> Any:
    """Return log(1 + exp(odds)) where ``where``, else 0; analytic, without overflow."""
    high = numpy.real(odds) > 0
    small = numpy.exp(numpy.where(high, -odds, odds))
    return numpy.where(where, numpy.where(high, odds, 0) + numpy.log1p(numpy.where(where, small, 0)), 0)


def spending(found: Sequence[Customer]) -> Likelihood:
    """Return the log-likelihood of (p, q, gamma) of Gamma-Gamma over customers with priced orders."""
    rows = [(each.priced, each.mean) for each in found if each.priced]
    x, mean = numpy.array([x for x, _ in rows], float), numpy.array([mean for _, mean in rows], float)
    constant = float((x * numpy.log(x)).sum()), numpy.log(mean), x * mean
    orders, which = numpy.unique(x, return_inverse=True)
    weights = numpy.bincount(which).astype(float)

    def log_likelihood(parameters: Any) -> Any:
        p, q, gamma = parameters
        shape = p * orders
        _, log_mean, total = constant
        by_orders = loggamma(shape + q) - loggamma(shape) - loggamma(q) + q * numpy.log(gamma)
        each = (p * x - 1) * log_mean - (p * x + q) * numpy.log(total + gamma)
        return (weights * by_orders).sum() + each.sum() + p * constant[0]

    return log_likelihood
