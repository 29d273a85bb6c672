//! Values of a profile in the course of time, without another event (`segops.core.features.bands`).

use crate::decimal::Dec;
use crate::fraction::Fraction;

/// What a rule reads of a profile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'v> {
    /// None.
    Missing,
    /// A number of events, or of other things.
    Count(i64),
    /// An exact number, and what it is divided by.
    Exact(Dec, i64),
    /// A quotient of two numbers.
    Ratio(Fraction),
    /// A value as msgpack.
    Raw(&'v [u8]),
    /// Only Python can say.
    Unknown,
}

/// A value that time changes, at an instant that only advances. Instants are in milliseconds.
pub trait Series<'v> {
    /// The value now.
    fn value(&self) -> Value<'v>;

    /// The first later instant at which the value may differ.
    fn next(&self) -> Option<i64>;

    /// Go on to an instant: the next one, or one before it.
    fn advance(&mut self, now: i64);
}
