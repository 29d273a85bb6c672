//! Leaves about two figures: a comparison of them, or a test of their ratio (`segops.core.rules.execution.figures`).

use std::borrow::Cow;

use crate::decimal::Dec;
use crate::exact::ExactPredicate;
use crate::figure::Figure;
use crate::fraction::Fraction;
use crate::msgpack::Reader;
use crate::paired::Paired;
use crate::predicate::Comparison;
use crate::series::{Series, Value};
use crate::values::{scalar_of, Scalar};
use crate::view::View;

/// A test of two figures.
#[derive(Debug)]
pub struct Compared {
    left: Figure,
    right: Figure,
    test: Test,
}

#[derive(Debug)]
enum Test {
    /// Both have a value, and the first compares so with the second.
    Order(Comparison),
    /// Of the first divided by the second.
    Ratio(ExactPredicate),
}

/// A value as it is compared.
enum Operand<'v> {
    Missing,
    Number(Fraction),
    Text(Cow<'v, str>),
    Bool(bool),
}

impl Compared {
    /// Read what `segops.kernel.figure_rows` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Compared> {
        let (left, right) = (Figure::read(reader)?, Figure::read(reader)?);
        let test = match reader.str()? {
            "ratio" => Test::Ratio(ExactPredicate::read(reader)?),
            name => Test::Order(Comparison::of(name)?),
        };
        Some(Compared { left, right, test })
    }

    /// The features that it reads.
    pub fn features(&self) -> Vec<u32> {
        [self.left.features(), self.right.features()].concat()
    }

    /// Whether the figures satisfy the test at an instant; None: Python has to say.
    pub fn holds(&self, view: View<'_>, now: i64) -> Option<bool> {
        self.verdict(&self.series(view, now))
    }

    /// The earliest instant after `now` at which the verdict changes; None: Python has to say.
    pub fn next_edge(&self, view: View<'_>, now: i64) -> Option<Option<i64>> {
        let mut series = self.series(view, now);
        let (known, mut at) = (self.verdict(&series)?, now);
        while let Some(next) = series.next().filter(|next| *next > at) {
            series.advance(next);
            if self.verdict(&series)? != known {
                return Some(Some(next));
            }
            at = next;
        }
        Some(None)
    }

    fn series<'v>(&'v self, view: View<'v>, now: i64) -> Paired<'v> {
        Paired::new(self.left.series(view, now), self.right.series(view, now))
    }

    fn verdict(&self, series: &Paired<'_>) -> Option<bool> {
        let (left, right) = series.values();
        match &self.test {
            Test::Order(comparison) => compares(operand(left)?, operand(right)?, *comparison),
            Test::Ratio(test) => match ratio(left, right)? {
                Some(ratio) => test.holds_fraction(ratio),
                None => Some(test.holds_missing()),
            },
        }
    }
}

/// How a value is compared; None if only Python can.
fn operand(value: Value<'_>) -> Option<Operand<'_>> {
    Some(match value {
        Value::Missing => Operand::Missing,
        Value::Count(count) => Operand::Number(Fraction::of(Dec::of_int(i128::from(count)))),
        Value::Exact(number, divisor) => Operand::Number(Fraction::divided(number, divisor)?),
        Value::Ratio(number) => Operand::Number(number),
        Value::Raw(bytes) => match scalar_of(bytes) {
            Scalar::Missing => Operand::Missing,
            Scalar::Num(number) => Operand::Number(Fraction::of(number.exact()?)),
            Scalar::Text(text) => Operand::Text(text),
            Scalar::Bool(value) => Operand::Bool(value),
            Scalar::List | Scalar::Object => return None,
        },
        Value::Unknown => return None,
    })
}

/// The first value divided by the second; nothing unless both are numbers and the second is not zero.
pub fn ratio(upper: Value<'_>, lower: Value<'_>) -> Option<Option<Fraction>> {
    match (operand(upper)?, operand(lower)?) {
        (Operand::Number(upper), Operand::Number(lower)) if !lower.is_zero() => upper.over(lower).map(Some),
        _ => Some(None),
    }
}

fn compares(left: Operand<'_>, right: Operand<'_>, comparison: Comparison) -> Option<bool> {
    let order = match (left, right) {
        (Operand::Number(left), Operand::Number(right)) => left.order(right)?,
        (Operand::Text(left), Operand::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Operand::Bool(left), Operand::Bool(right)) => {
            let is_ordered = !matches!(comparison, Comparison::Eq | Comparison::Ne);
            return Some(!is_ordered && comparison.accepts(left.cmp(&right)));
        }
        _ => return Some(false), // of different kinds, or missing
    };
    Some(comparison.accepts(order))
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    #[test]
    fn kinds_are_not_mixed() {
        let [one, text, yes] = [&[1_u8][..], &[0xa1, b'1'], &[0xc3]].map(Value::Raw);
        let holds = |left, right, comparison| compares(operand(left)?, operand(right)?, comparison);
        assert_eq!(holds(one, Value::Count(1), Comparison::Eq), Some(true));
        assert_eq!(holds(one, text, Comparison::Ne), Some(false));
        assert_eq!(holds(yes, yes, Comparison::Lte), Some(false));
        assert_eq!(holds(yes, yes, Comparison::Eq), Some(true));
        assert_eq!(holds(Value::Missing, one, Comparison::Ne), Some(false));
        assert_eq!(holds(Value::Raw(&[0x90]), one, Comparison::Ne), None);
    }

    #[test]
    fn a_ratio_to_zero_is_missing() {
        assert_eq!(ratio(Value::Count(1), Value::Count(0)), Some(None));
        let half = ratio(Value::Count(1), Value::Exact(Dec::of_int(4), 2)).flatten();
        let order = half.and_then(|half| half.order(Fraction::of(Dec { c: 5, e: -1 })));
        assert_eq!(order, Some(Ordering::Equal));
    }
}
