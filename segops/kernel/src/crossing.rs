//! When a number that moves with time in one direction passes a threshold: `segops.core.scoring.crossing`.
//!
//! The outer None: a value fails, in Python too, or Python is asked.

use crate::floats::{div, log, max, min, square};

const MAX_STEPS: u32 = 20;

/// The first integer after `begin` that is not inside; None if there is none up to `end`.
pub fn first_outside(
    inside: impl Fn(i64) -> Option<bool>,
    (begin, end): (i64, i64),
    guess: i64,
) -> Option<Option<i64>> {
    if begin >= end {
        return Some(None);
    }
    let (mut at, mut step) = (guess.max(begin + 1).min(end), 1);
    let (mut low, mut high);
    if inside(at)? {
        low = at;
        loop {
            at = (low + step).min(end);
            if !inside(at)? {
                break;
            }
            if at == end {
                return Some(None);
            }
            (low, step) = (at, 4 * step);
        }
        high = at;
    } else {
        high = at;
        loop {
            at = (high - step).max(begin);
            if at <= begin || inside(at)? {
                break;
            }
            (high, step) = (at, 4 * step);
        }
        low = at;
    }
    while high - low > 1 {
        let middle = (low + high).div_euclid(2);
        (low, high) = if inside(middle)? { (middle, high) } else { (low, middle) };
    }
    Some(Some(high))
}

/// About where, from 0 to `end`, a function of one direction reaches `target`; `ends` are its values there.
pub fn guess_crossing(
    line: impl Fn(f64) -> Option<f64>,
    target: f64,
    (end, ends): (f64, (f64, f64)),
    precision: f64,
) -> Option<f64> {
    let (mut at, mut other) = (end, 0.0);
    let (mut value, mut of_other) = (ends.1 - target, ends.0 - target);
    let mut part = 0.5;
    for _ in 0..MAX_STEPS {
        let following = at + part * (other - at);
        let found = line(following)? - target;
        let (before, of_before);
        if (found > 0.0) == (value > 0.0) {
            (before, of_before) = (at, value);
        } else {
            (before, other, of_before, of_other) = (other, at, of_other, value);
        }
        (at, value) = (following, found);
        let least = if other == at { 1.0 } else { div(precision, (other - at).abs())? };
        if value == 0.0 || least > 0.5 {
            break;
        }
        let next = next_part((at, value), (other, of_other), (before, of_before))?;
        part = min(max(next, least), 1.0 - least);
    }
    Some(if value.abs() <= of_other.abs() { at } else { other })
}

type Point = (f64, f64);

/// Which part of the way from one point to another to go.
fn next_part((a, fa): Point, (b, fb): Point, (c, fc): Point) -> Option<f64> {
    let (place, height) = (div(a - b, c - b)?, div(fa - fb, fc - fb)?);
    if height * height >= place || square(1.0 - height)? >= 1.0 - place {
        return Some(0.5);
    }
    let first = div(div(fa, fb - fa)? * fc, fb - fc)?;
    let second = div(div(c - a, b - a)? * fa, fc - fa)?;
    Some(first + div(second * fb, fc - fb)?)
}

/// The log-odds of a probability; of 0 and 1, very small and very great ones.
pub fn log_odds(probability: f64) -> Option<f64> {
    log(div(max(probability, 1e-300), max(1.0 - probability, 1e-17))?)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn few_integers_are_tried() {
        let tried = RefCell::new(vec![]);
        let inside = |at: i64| {
            tried.borrow_mut().push(at);
            Some(at < 70)
        };
        assert_eq!(first_outside(inside, (0, 1_000_000), 71), Some(Some(70)));
        assert_eq!(tried.into_inner(), [71, 70, 66, 68, 69]);
        assert_eq!(first_outside(|_| Some(true), (0, 100), 7), Some(None));
        assert_eq!(first_outside(|_| None, (0, 100), 7), None);
    }

    #[test]
    fn a_crossing_is_guessed() {
        let found = guess_crossing(|at| Some(9.0 - at * at), 5.0, (3.0, (9.0, 0.0)), 1e-9);
        assert!(found.is_some_and(|at| (at - 2.0).abs() < 1e-6));
    }
}
