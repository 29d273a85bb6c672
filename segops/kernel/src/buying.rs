//! Fitted models of orders: `segops.core.scoring.buying` and `spending`, operation by operation.
//!
//! None: Python fails, or is asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::decimal::Dec;
use crate::floats::{div, exp, log};
use crate::losses::{Points, Shape, Spans};
use crate::msgpack::Reader;

/// Log-odds beyond it are certain.
const CERTAIN: f64 = 700.0;
/// The points of so many numbers of orders are kept; then all are forgotten.
const MAX_KEPT: usize = 256;

/// What the models know of a customer: orders after the first one, and days from it to the latest one, and to now.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// The number.
    pub repeats: i64,
    /// To the latest order.
    pub last: f64,
    /// To now.
    pub age: f64,
}

/// A fitted BG/NBD, or MBG/NBD if `modified`.
#[derive(Debug)]
pub struct Buying {
    r: f64,
    /// The scale of the rate, in days.
    pub alpha: f64,
    a: f64,
    b: f64,
    modified: bool,
    compensated: bool,
    /// By the number of repeated orders.
    points: Mutex<HashMap<i64, Arc<Points>>>,
}

impl Buying {
    /// Read what `segops.kernel.order_scores` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Buying> {
        reader.array().filter(|fields| *fields == 6)?;
        Some(Buying {
            r: reader.float()?,
            alpha: reader.float()?,
            a: reader.float()?,
            b: reader.float()?,
            modified: reader.bool()?,
            compensated: reader.bool()?,
            points: Mutex::default(),
        })
    }

    /// The probability that the customer is still one.
    pub fn p_alive(&self, of: History) -> Option<f64> {
        if !self.may_be_lost(of) {
            return Some(1.0);
        }
        let log_odds = self.log_odds_lost(of)?;
        if log_odds < CERTAIN {
            div(1.0, 1.0 + exp(log_odds)?)
        } else {
            Some(0.0)
        }
    }

    /// The log-odds that the customer is lost.
    pub fn log_odds_lost(&self, of: History) -> Option<f64> {
        if !self.may_be_lost(of) {
            return Some(-CERTAIN);
        }
        let grown = log(div(self.alpha + of.age, self.alpha + of.last)?)?;
        Some(log(div(self.a, self.survived(of) - 1.0)?)? + self.power(of) * grown)
    }

    /// The orders over spans of a customer who is one for certain.
    pub fn orders_over(&self, of: History, spans: &Spans) -> Option<f64> {
        let shape = Shape { a: self.a, b: self.survived(of), power: self.power(of), compensated: self.compensated };
        spans.orders_in(shape, self.alpha + of.age, &*self.points(of.repeats, shape)?)
    }

    /// A bound of the orders in so many days: those of one who is never lost, if the customer still is one.
    pub fn most(&self, of: History, days: f64) -> Option<f64> {
        div(self.p_alive(of)? * self.power(of) * days, self.alpha + of.age)
    }

    fn points(&self, repeats: i64, shape: Shape) -> Option<Arc<Points>> {
        let mut known = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&repeats) {
            return Some(Arc::clone(found));
        }
        let found = Arc::new(Points::of(shape)?);
        if known.len() >= MAX_KEPT {
            known.clear();
        }
        known.insert(repeats, Arc::clone(&found));
        Some(found)
    }

    fn may_be_lost(&self, of: History) -> bool {
        of.repeats > 0 || self.modified
    }

    fn survived(&self, of: History) -> f64 {
        self.b + of.repeats as f64 + f64::from(u8::from(self.modified))
    }

    fn power(&self, of: History) -> f64 {
        self.r + of.repeats as f64
    }
}

/// A fitted Gamma-Gamma.
#[derive(Debug)]
pub struct Spending {
    p: f64,
    q: f64,
    gamma: f64,
}

impl Spending {
    /// Read what `segops.kernel.order_scores` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Spending> {
        reader.array().filter(|fields| *fields == 3)?;
        Some(Spending { p: reader.float()?, q: reader.float()?, gamma: reader.float()? })
    }

    /// The expected mean of orders to come, given so many with this total.
    pub fn expected(&self, (orders, total): (usize, Dec)) -> Option<f64> {
        let orders = orders as f64;
        let mean = if orders > 0.0 { div(total.text().parse().ok()?, orders)? } else { 0.0 };
        div(self.p * (self.gamma + orders * mean), self.p * orders + self.q - 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_figures_come_out() {
        let tea = Buying {
            r: 0.243,
            alpha: 4.414,
            a: 0.793,
            b: 2.426,
            modified: false,
            compensated: false,
            points: Mutex::default(),
        };
        let of = History { repeats: 2, last: 30.43, age: 38.86 };
        assert!(tea.p_alive(of).is_some_and(|found| (found - 0.7266).abs() < 5e-5));
        assert_eq!(tea.p_alive(History { repeats: 0, last: 0.0, age: 9.0 }), Some(1.0));
        let cdnow = Spending { p: 6.25, q: 3.74, gamma: 15.44 };
        let spent = cdnow.expected((2, Dec::of_int(100)));
        assert!(spent.is_some_and(|found| (found - 47.34).abs() < 5e-3));
    }
}
