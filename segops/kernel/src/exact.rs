//! Predicates of exact numbers: of sums, means and ratios.

use std::cmp::Ordering;

use crate::decimal::Dec;
use crate::fraction::Fraction;
use crate::msgpack::Reader;
use crate::predicate::Comparison;

/// A predicate of an exact number: a sum, or a mean as a sum and a count.
#[derive(Debug)]
pub struct ExactPredicate {
    ops: Vec<ExactOp>,
    /// The thresholds in order.
    points: Vec<Dec>,
}

#[derive(Debug)]
enum ExactOp {
    Compare(Comparison, Dec),
    In(Vec<Dec>),
    NotIn(Vec<Dec>),
    Between(Dec, Dec),
    Exists(bool),
}

/// Compare the mean `total / count` with a number; a product beyond 38 digits decides by its sign.
fn mean_order(total: Dec, count: i64, point: Dec) -> Ordering {
    match point.times(count) {
        Some(product) => total.cmp_exact(product),
        None => 0.cmp(&point.c),
    }
}

impl ExactPredicate {
    /// Whether a fraction satisfies every operator; None if a product has more than 38 digits.
    pub fn holds_fraction(&self, number: Fraction) -> Option<bool> {
        for op in &self.ops {
            let mut orders = vec![];
            for point in points_of(op) {
                orders.push(number.order(Fraction::of(point))?);
            }
            if !op.accepts(&orders) {
                return Some(false);
            }
        }
        Some(true)
    }

    /// Whether `total / count` satisfies every operator; a count of 1 stands for the total itself.
    pub fn holds(&self, total: Dec, count: i64) -> bool {
        let order = |point: &Dec| mean_order(total, count, *point);
        self.ops.iter().all(|op| op.accepts(&points_of(op).iter().map(order).collect::<Vec<_>>()))
    }

    /// Whether a missing value satisfies every operator.
    pub fn holds_missing(&self) -> bool {
        self.ops.iter().all(|op| matches!(op, ExactOp::Exists(false)))
    }

    /// Which band between thresholds a number is in: even numbers are between, odd ones on a threshold.
    pub fn band(&self, total: Dec, count: i64) -> usize {
        let below = self.points.partition_point(|point| mean_order(total, count, *point) == Ordering::Greater);
        let on = self.points.get(below).is_some_and(|point| mean_order(total, count, *point) == Ordering::Equal);
        2 * below + usize::from(on)
    }

    /// Read a predicate whose numbers are written as texts of decimals.
    pub fn read(reader: &mut Reader<'_>) -> Option<ExactPredicate> {
        let ops = reader.list(read_exact)?;
        let mut points: Vec<Dec> = ops.iter().flat_map(points_of).collect();
        points.sort_by(|a, b| a.cmp_exact(*b));
        points.dedup_by(|a, b| a.cmp_exact(*b) == Ordering::Equal);
        Some(ExactPredicate { ops, points })
    }
}

impl ExactOp {
    /// Whether a number holds, given how it compares with each point.
    fn accepts(&self, orders: &[Ordering]) -> bool {
        match (self, orders) {
            (ExactOp::Compare(comparison, _), [order]) => comparison.accepts(*order),
            (ExactOp::Between(..), [low, high]) => *low != Ordering::Less && *high != Ordering::Greater,
            (ExactOp::In(_), orders) => orders.contains(&Ordering::Equal),
            (ExactOp::NotIn(_), orders) => !orders.is_empty() && !orders.contains(&Ordering::Equal),
            (ExactOp::Exists(exists), _) => *exists,
            _ => false,
        }
    }
}

fn points_of(op: &ExactOp) -> Vec<Dec> {
    match op {
        ExactOp::Compare(_, point) => vec![*point],
        ExactOp::In(points) | ExactOp::NotIn(points) => points.clone(),
        ExactOp::Between(low, high) => vec![*low, *high],
        ExactOp::Exists(_) => vec![],
    }
}

fn bounded(reader: &mut Reader<'_>) -> Option<Dec> {
    Dec::parse(reader.str()?).filter(Dec::is_bounded)
}

fn read_exact(reader: &mut Reader<'_>) -> Option<ExactOp> {
    reader.array().filter(|length| *length == 2)?;
    let name = reader.str()?;
    if let Some(comparison) = Comparison::of(name) {
        return Some(ExactOp::Compare(comparison, bounded(reader)?));
    }
    Some(match name {
        "in" => ExactOp::In(reader.list(bounded)?),
        "not_in" => ExactOp::NotIn(reader.list(bounded)?),
        "between" => {
            reader.array().filter(|length| *length == 2)?;
            ExactOp::Between(bounded(reader)?, bounded(reader)?)
        }
        "exists" => ExactOp::Exists(reader.bool()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack::Writer;

    #[test]
    fn means_are_compared_without_division() {
        let mut out = Writer::default();
        out.array(1);
        out.array(2);
        out.str("eq");
        out.str("0.1");
        let Some(test) = ExactPredicate::read(&mut Reader::new(&out.0)) else { panic!("unreadable") };
        assert!(test.holds(Dec { c: 3, e: -1 }, 3));
        assert_eq!(test.band(Dec { c: 3, e: -1 }, 3), 1);
        assert_eq!(test.band(Dec { c: 4, e: -1 }, 3), 2);
    }
}
