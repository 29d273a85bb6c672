//! The expected orders of a customer by quadrature: `segops.core.scoring.losses`, operation by operation.
//!
//! The formulas and their sources are explained there. None: Python fails, or is asked.

use std::f64::consts::PI;

use crate::floats::{cos, div, exp, expm1, log, log1p, max, min, pow, sum};
use crate::msgpack::Reader;

const BETWEEN: f64 = 26.0;
const BEYOND: f64 = 32.0;
const EXPONENTIAL: f64 = 40.0;
const SMALL: f64 = 0.06;
const POWERS: usize = 12;
/// Points beyond this number do not occur.
const MAX_POINTS: usize = 100_000;

type Powers = [f64; POWERS];

/// The parameters of a mean: of Beta(a, b), the power, and whether Python's sums are compensated.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The first parameter of the beta distribution.
    pub a: f64,
    /// The second one.
    pub b: f64,
    /// The shape of the rate.
    pub power: f64,
    /// Whether `sum` is compensated.
    pub compensated: bool,
}

/// Spans of days from now on, ascending, and the share for which the orders in each of them count.
#[derive(Debug)]
pub struct Spans {
    days: Vec<f64>,
    shares: Vec<f64>,
    total: f64,
    sums: Powers,
}

/// The points of a quadrature, ascending, with their weights and sums.
#[derive(Debug)]
pub struct Points {
    chances: Vec<f64>,
    weights: Vec<f64>,
    above: Vec<f64>,
    powers: Vec<Powers>,
}

impl Spans {
    /// Read what `segops.kernel.order_scores` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Spans> {
        reader.array().filter(|fields| *fields == 4)?;
        let (days, shares) = (reader.list(Reader::float)?, reader.list(Reader::float)?);
        let (total, sums) = (reader.float()?, reader.list(Reader::float)?.try_into().ok()?);
        (!days.is_empty() && days.len() == shares.len()).then_some(Spans { days, shares, total, sums })
    }

    /// The end of the last one.
    pub fn end(&self) -> f64 {
        self.days.last().copied().unwrap_or(0.0)
    }

    /// The mean orders over the spans of a customer whose rate has a scale in days.
    pub fn orders_in(&self, of: Shape, scale: f64, points: &Points) -> Option<f64> {
        let small = div(self.end(), scale)? * (of.power + 1.0);
        let all = points.chances.len();
        let first = if small > 0.0 {
            let limit = div(SMALL, small)?;
            points.chances.partition_point(|chance| *chance <= limit)
        } else {
            all
        };
        let mut found = points.above[first] * self.total + self.binomial(&points.powers[first], of.power, scale)?;
        for (days, share) in self.days.iter().zip(&self.shares) {
            let w = days / scale;
            let each = |at: usize| Some(points.weights[at] * pow(1.0 + points.chances[at] * w, -of.power)?);
            let terms: Vec<f64> = (first..all).map(each).collect::<Option<_>>()?;
            found -= share * sum(terms, of.compensated);
        }
        Some(found)
    }

    fn binomial(&self, of_points: &Powers, power: f64, scale: f64) -> Option<f64> {
        let (mut total, mut factor) = (0.0, 1.0);
        for (number, (one, other)) in of_points.iter().zip(&self.sums).enumerate() {
            let number = (number + 1) as f64;
            factor *= div(-(power + number - 1.0), scale * number)?;
            total -= factor * one * other;
        }
        Some(total)
    }
}

impl Points {
    /// The points of a shape.
    pub fn of(of: Shape) -> Option<Points> {
        let Shape { a, b, power, .. } = of;
        let (step, mode) = (step(a, b, power)?, log(div(a, b)?)?);
        let greatest = log_weight(a, b, mode)?;
        let places = places(of, step, mode, greatest)?;
        let chances = places.iter().map(|at| div(1.0, 1.0 + exp(-at)?)).collect::<Option<Vec<_>>>()?;
        let weight = |at: &f64| exp(log_weight(a, b, *at)? - greatest);
        let mut weights = places.iter().map(weight).collect::<Option<Vec<_>>>()?;
        let before = div(*weights.first()?, expm1(a * step)?)?;
        let last = weights.last_mut()?;
        *last += div(*last, expm1(b * step)?)?;
        let total = sum(weights.iter().copied(), of.compensated) + before;
        let shares = weights.iter().map(|weight| div(*weight, total)).collect::<Option<Vec<_>>>()?;
        summed(chances, &shares, div(before, total)?)
    }
}

/// The log-odds of the points, ascending.
fn places(of: Shape, step: f64, mode: f64, greatest: f64) -> Option<Vec<f64>> {
    let Shape { a, b, .. } = of;
    let (mut places, mut at) = (vec![], mode - step);
    while at > -EXPONENTIAL - step && log_weight(a, b, at)? - greatest - min(at - mode, 0.0) > -BEYOND {
        places.push(at);
        at -= step;
        (places.len() < MAX_POINTS).then_some(())?;
    }
    places.reverse();
    let near = log(a + b + 1.0)? - greatest;
    at = mode;
    while at < EXPONENTIAL + step && log_weight(a, b, at)? + near - max(at, 0.0) > -BEYOND {
        places.push(at);
        at += step;
        (places.len() < MAX_POINTS).then_some(())?;
    }
    Some(places)
}

fn summed(chances: Vec<f64>, shares: &[f64], before: f64) -> Option<Points> {
    let mut sums = [0.0; POWERS];
    sums[0] = before;
    let mut powers = vec![sums];
    for (chance, weight) in chances.iter().zip(shares) {
        let mut share = *weight;
        for sum in &mut sums {
            *sum += share;
            share *= chance;
        }
        powers.push(sums);
    }
    let weights = shares.iter().zip(&chances).map(|(weight, p)| div(*weight, *p)).collect::<Option<Vec<_>>>()?;
    let (mut above, mut total) = (vec![0.0], 0.0);
    for weight in weights.iter().rev() {
        total += weight;
        above.push(total);
    }
    above.reverse();
    Some(Points { chances, weights, above, powers })
}

fn step(a: f64, b: f64, power: f64) -> Option<f64> {
    let mut widest: Option<f64> = None;
    for part in 4..32 {
        let distance = PI * f64::from(part) / 32.0;
        let mut growth = -(a + b + power) * log(cos(distance / 2.0)?)?;
        if distance < PI / 2.0 {
            growth = min(growth, -(a + 1.0) * log(cos(distance)?)?);
        }
        let width = div(2.0 * PI * distance, BETWEEN + growth)?;
        widest = Some(widest.map_or(width, |widest| max(widest, width)));
    }
    widest.filter(|step| *step > 0.0)
}

fn log_weight(a: f64, b: f64, at: f64) -> Option<f64> {
    Some(-a * log1p(exp(-at)?)? - b * log1p(exp(at)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_a_uniform_chance_is_a_logarithm() {
        let of = Shape { a: 1.0, b: 1.0, power: 1.0, compensated: false };
        let mut sums = [0.0; POWERS];
        for (number, sum) in (1..).zip(&mut sums) {
            *sum = 30_f64.powi(number);
        }
        let spans = Spans { days: vec![30.0], shares: vec![1.0], total: 1.0, sums };
        let found = Points::of(of).and_then(|points| spans.orders_in(of, 30.0, &points));
        assert!(found.is_some_and(|found| (found - 2_f64.ln()).abs() < 1e-11));
        assert!(Points::of(Shape { a: -1.0, ..of }).is_none());
    }
}
