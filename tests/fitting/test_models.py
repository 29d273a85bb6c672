"""The models of buying and spending, against SciPy, integrals and simulated customers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special

from segops.core.scoring.buying import Buying, History
from segops.core.scoring.losses import Spans, orders_in
from segops.core.scoring.spending import Spending, lifetime_value
from segops.fitting import likelihoods
from segops.fitting.fit import KINDS, fit
from segops.fitting.histories import Customer, distinct

TEN_YEARS = 3_653.0
shapes = st.floats(0.05, 8.0)
models = st.builds(Buying, shapes, st.floats(0.5, 500.0), shapes, shapes, st.booleans())


@st.composite
def histories(draw: st.DrawFn) -> History:
    repeats, age = draw(st.integers(0, 900)), draw(st.floats(1.0, TEN_YEARS))
    return History(repeats, draw(st.floats(0.01, 1.0)) * age if repeats else 0.0, age)


def series(a: float, b: float, power: float, w: float) -> float:
    """Return the expected orders by the hypergeometric series of the paper after Euler's transformation.

    Its division by a - 1 is done term by term, so that a may be near 1.
    """
    z, c = w / (1 + w), a + b - 1
    term, total, number = (c - power) * z, 0.0, 1
    while abs(term) > 1e-17 * abs(total) * (1 - z) or number < 20:
        total += term
        term *= z * (c - power + number) * (a + number - 1) / ((c + number) * (number + 1))
        number += 1
    shrunk = (a - 1) * math.log1p(w)
    grown = math.log1p(w) if a == 1 else -math.expm1(-shrunk) / (a - 1)
    return c * grown - math.exp(-shrunk) * total


@given(shapes, shapes, shapes, st.integers(0, 900), st.floats(1e-3, 50.0))
def test_expected_orders_equal_the_series_of_the_paper(
    a: float, b: float, r: float, repeats: int, w: float
) -> None:
    expected = series(a, b + repeats, r + repeats, w)
    assert orders_if(a, b + repeats, r + repeats, w) == pytest.approx(expected, rel=1e-10)


def orders_if(a: float, b: float, power: float, *spans: float) -> float:
    return orders_in(a, b, power, 10.0, Spans.of(tuple(10 * w for w in spans), (0.5,) * len(spans))) * 2


@given(shapes, shapes, shapes, st.integers(0, 900), st.floats(1e-6, 50.0))
def test_expected_orders_are_exact_to_eleven_digits(
    a: float, b: float, r: float, repeats: int, w: float
) -> None:
    """The same integral in many more points, over a wider range, with no series."""
    b, power = b + repeats, r + repeats
    at = numpy.arange(max(-45 / a - 50, -700), 45 / b + 50, 0.02)
    log_weight = -a * numpy.logaddexp(0, -at) - b * numpy.logaddexp(0, at)
    weight, p = numpy.exp(log_weight - log_weight.max()), special.expit(at)
    spans = [w * part for part in (1e-3, 0.3, 0.9, 1.0)]
    orders = sum(-numpy.expm1(-power * numpy.log1p(p * each)) / p for each in spans)
    expected = float(math.fsum(weight * orders) / math.fsum(weight))
    assert orders_if(a, b, power, *spans) == pytest.approx(expected, rel=1e-11)


@given(shapes, shapes, st.floats(0.05, 30.0), st.floats(1e-2, 1e4))
def test_expected_orders_equal_an_adaptive_integral(a: float, b: float, power: float, w: float) -> None:
    def orders(lost: float) -> float:
        return -math.expm1(-power * math.log1p(lost * w)) / lost if lost else power * w

    total, _ = integrate.quad(
        orders, 0, 1, weight="alg", wvar=(a - 1, b - 1), epsabs=0, epsrel=1e-9, limit=400
    )
    expected = total / special.beta(a, b)
    assert orders_if(a, b, power, w) == pytest.approx(expected, rel=1e-7)


@given(models, histories())
def test_arrays_give_the_likelihood_of_one_customer(model: Buying, of: History) -> None:
    found = distinct([Customer(of, 0, 0.0)] * 3)
    likelihood = likelihoods.buying(found, modified=model.modified)
    parameters = numpy.array([model.r, model.alpha, model.a, model.b], complex)
    assert float(likelihood(parameters).real) == pytest.approx(3 * model.log_likelihood(of), rel=1e-9)
    assert math.isfinite(model.log_likelihood(of))


@given(shapes, st.floats(1.1, 8.0), st.floats(1.0, 1e3), st.integers(1, 900), st.floats(0.01, 1e5))
def test_arrays_give_the_likelihood_of_one_spender(
    p: float, q: float, gamma: float, orders: int, mean: float
) -> None:
    likelihood = likelihoods.spending([Customer(History(orders, 1.0, 2.0), orders, mean)])
    expected = Spending(p, q, gamma).log_likelihood(orders, mean)
    assert float(likelihood(numpy.array([p, q, gamma], complex)).real) == pytest.approx(
        expected, rel=1e-7, abs=1e-6
    )


@given(models, histories(), st.floats(1.0, 365.0))
def test_probabilities_and_expectations_are_possible(model: Buying, of: History, days: float) -> None:
    assert 0 <= model.p_alive(of) <= 1
    orders = model.expected_orders(of, days)
    assert -1e-6 <= orders < math.inf
    assert orders <= model.expected_orders(of, days + 10) + 1e-6


@pytest.mark.parametrize("modified", [False, True])
@pytest.mark.parametrize("a", [0.6, 1.0, 1.7])
@pytest.mark.parametrize("of", [History(0, 0.0, 40.0), History(3, 25.0, 40.0)])
def test_expected_orders_are_those_of_the_story_that_the_model_tells(
    a: float, of: History, modified: bool
) -> None:
    """A customer with rate and loss probability expects (1 - exp(-rate p t)) / p orders while alive."""
    model = Buying(1.3, 20.0, a, 2.5, modified)
    days = 50.0

    def weight(rate: float, lost: float) -> float:
        rates = rate ** (model.r - 1 + of.repeats) * math.exp(-rate * (model.alpha + of.age))
        losses = lost ** (a - 1) * (1 - lost) ** (model.b - 1 + of.repeats + modified)
        return rates * losses

    def orders(rate: float, lost: float) -> float:
        return -math.expm1(-rate * lost * days) / lost

    def mean(value: object) -> float:
        found, _ = integrate.dblquad(
            lambda rate, root: 4 * root**3 * value(rate, root**4) * weight(rate, root**4),  # type: ignore[operator]
            0,
            1,
            0,
            2.0,
        )
        return float(found)

    expected = model.p_alive(of) * mean(orders) / mean(lambda _rate, _lost: 1.0)
    assert model.expected_orders(of, days) == pytest.approx(expected, rel=2e-3)


def simulated(model: Buying, customers: int, age: float, seed: int) -> list[Customer]:
    draw = numpy.random.default_rng(seed)
    found = []
    for rate, lost in zip(
        draw.gamma(model.r, 1 / model.alpha, customers), draw.beta(model.a, model.b, customers), strict=True
    ):
        found.append(Customer(one_history(draw, rate, lost, age, modified=model.modified), 0, 0.0))
    return found


def one_history(
    draw: numpy.random.Generator, rate: float, lost: float, age: float, *, modified: bool
) -> History:
    time = last = 0.0
    repeats = 0
    alive = not modified or draw.random() >= lost
    while alive:
        time += draw.exponential(1 / rate)
        if time > age:
            break
        last, repeats = time, repeats + 1
        alive = draw.random() >= lost
    return History(repeats, last, age)


@pytest.mark.parametrize("modified", [False, True])
def test_simulated_customers_give_their_parameters_back(modified: bool) -> None:
    """Each within three of its standard errors."""
    model = Buying(0.8, 25.0, 0.9, 2.2, modified)
    made = fit(KINDS["mbg-nbd" if modified else "bg-nbd"], simulated(model, 8_000, 400.0, 7), unit="day")
    for each in made.parameters:
        assert each.error is not None
        assert abs(each.value - getattr(model, each.name)) < 3 * each.error, made


def test_simulated_spenders_give_their_parameters_back() -> None:
    model, draw = Spending(5.0, 4.0, 20.0), numpy.random.default_rng(3)
    orders = draw.integers(1, 12, 6_000)
    rates = draw.gamma(model.q, 1 / model.gamma, 6_000)
    means = [float(draw.gamma(model.p * n, 1 / rate) / n) for n, rate in zip(orders, rates, strict=True)]
    found = [Customer(History(int(n), 1.0, 2.0), int(n), mean) for n, mean in zip(orders, means, strict=True)]
    made = fit(KINDS["gamma-gamma"], found, unit="day")
    for each in made.parameters:
        assert each.error is not None
        assert abs(each.value - getattr(model, each.name)) < 3 * each.error, made


def test_lifetime_value_is_the_sum_of_its_months() -> None:
    model, of = Buying(0.8, 25.0, 0.9, 2.2), History(4, 90.0, 120.0)
    plain = lifetime_value(model, of, 30.0, days=365, monthly_discount=0.0)
    assert plain == pytest.approx(30.0 * model.expected_orders(of, 365))
    months: Sequence[float] = [30.4375 * n for n in range(12)] + [365.0]
    orders = [model.expected_orders(of, days) if days else 0.0 for days in months]
    discounted = sum(
        30.0 * (after - before) / 1.01 ** (days / 30.4375)
        for before, after, days in zip(orders[:-1], orders[1:], months[1:], strict=True)
    )
    assert lifetime_value(model, of, 30.0, days=365, monthly_discount=0.01) == pytest.approx(discounted)
