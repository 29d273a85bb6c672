//! Leaves with a test of one figure of a profile.

use crate::condition::Condition;
use crate::exact::ExactPredicate;
use crate::figure::Figure;
use crate::msgpack::Reader;
use crate::predicate::Predicate;
use crate::series::Value;
use crate::values::Scalar;
use crate::view::View;

/// A test of a figure.
#[derive(Debug)]
pub struct Tested {
    /// The figure.
    pub figure: Figure,
    test: Test,
}

#[derive(Debug)]
enum Test {
    /// Of a number of events.
    Count(Predicate),
    /// Of a sum or a mean.
    Exact(ExactPredicate),
    /// Of a value.
    Value(Condition),
}

impl Test {
    fn read(reader: &mut Reader<'_>) -> Option<Test> {
        Some(match reader.str()? {
            "count" => Test::Count(Predicate::read(reader)?),
            "exact" => Test::Exact(ExactPredicate::read(reader)?),
            "value" => Test::Value(Condition::read(reader)?),
            _ => return None,
        })
    }

    /// Whether a value satisfies the test at an instant; None: Python has to say.
    fn holds(&self, value: Value<'_>, view: View<'_>, now: i64) -> Option<bool> {
        match (self, value) {
            (Test::Count(test), Value::Count(count)) => Some(test.counts(count)),
            (Test::Count(test), Value::Missing) => Some(test.holds(&Scalar::Missing, now)),
            (Test::Exact(test), Value::Exact(number, divisor)) => Some(test.holds(number, divisor)),
            (Test::Exact(test), Value::Ratio(number)) => test.holds_fraction(number),
            (Test::Exact(test), Value::Missing) => Some(test.holds_missing()),
            (Test::Value(test), Value::Raw(value)) => test.holds(Some(value), now, view.asking),
            (Test::Value(test), Value::Missing) => test.holds(None, now, view.asking),
            _ => None,
        }
    }

    /// When the verdict on a value that stays may change; None: Python has to say.
    fn next_edge(&self, value: Value<'_>, view: View<'_>, now: i64) -> Option<Option<i64>> {
        match (self, value) {
            (Test::Value(test), Value::Raw(value)) => test.next_edge(Some(value), now, view.asking),
            _ => Some(None),
        }
    }
}

impl Tested {
    /// Read what `segops.kernel.rules` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Tested> {
        Some(Tested { figure: Figure::read(reader)?, test: Test::read(reader)? })
    }

    /// Whether the figure satisfies the test at an instant; None: Python has to say.
    pub fn holds(&self, view: View<'_>, now: i64) -> Option<bool> {
        self.test.holds(self.figure.series(view, now).value(), view, now)
    }

    /// The earliest instant after `now` at which the verdict changes, or may because a value ages.
    pub fn next_edge(&self, view: View<'_>, now: i64) -> Option<Option<i64>> {
        let mut series = self.figure.series(view, now);
        let known = self.test.holds(series.value(), view, now)?;
        let mut at = now;
        loop {
            let next = series.next();
            if let Some(edge) = self.test.next_edge(series.value(), view, at)? {
                if next.is_none_or(|next| edge < next) {
                    return Some(Some(edge));
                }
            }
            let Some(next) = next.filter(|next| *next > at) else {
                return Some(None);
            };
            series.advance(next);
            if self.test.holds(series.value(), view, next)? != known {
                return Some(Some(next));
            }
            at = next;
        }
    }
}
