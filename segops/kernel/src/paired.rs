//! Two figures in the course of time, and their ratio as a figure.

use crate::compared::ratio;
use crate::series::{Series, Value};

/// A pair of values that time changes.
pub struct Paired<'v> {
    left: Box<dyn Series<'v> + 'v>,
    right: Box<dyn Series<'v> + 'v>,
}

impl<'v> Paired<'v> {
    /// Two series at one instant.
    pub fn new(left: Box<dyn Series<'v> + 'v>, right: Box<dyn Series<'v> + 'v>) -> Paired<'v> {
        Paired { left, right }
    }

    /// Both values.
    pub fn values(&self) -> (Value<'v>, Value<'v>) {
        (self.left.value(), self.right.value())
    }
}

/// The first value divided by the second.
impl<'v> Series<'v> for Paired<'v> {
    fn value(&self) -> Value<'v> {
        let (upper, lower) = self.values();
        match ratio(upper, lower) {
            Some(Some(number)) => Value::Ratio(number),
            Some(None) => Value::Missing,
            None => Value::Unknown,
        }
    }

    fn next(&self) -> Option<i64> {
        self.left.next().into_iter().chain(self.right.next()).min()
    }

    fn advance(&mut self, now: i64) {
        self.left.advance(now);
        self.right.advance(now);
    }
}
