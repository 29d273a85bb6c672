//! The numbers at which the verdict on a score may change.

use std::cmp::Ordering;

use crate::msgpack::Reader;
use crate::predicate::literal;
use crate::values::{Num, Scalar};

/// Numbers in order.
#[derive(Debug)]
pub struct Marks(Vec<Num>);

impl Marks {
    /// Read what `segops.kernel.rules` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Marks> {
        let number = |reader: &mut Reader<'_>| match literal(reader)? {
            Scalar::Num(number) => Some(number),
            _ => None,
        };
        Some(Marks(reader.list(number)?))
    }

    /// How many are below a value, and how many up to it.
    pub fn around(&self, value: f64) -> (usize, usize) {
        let order = |number: &Num| number.cmp_exact(Num::Float(value));
        let left = self.0.partition_point(|number| order(number) == Ordering::Less);
        (left, self.0.partition_point(|number| order(number) != Ordering::Greater))
    }

    /// Where a value is: even between two of them, odd on one.
    pub fn rank(&self, value: f64) -> usize {
        let (left, right) = self.around(value);
        left + right
    }

    /// One of them, as a float.
    pub fn get(&self, at: usize) -> Option<f64> {
        Some(match self.0.get(at)? {
            Num::Int(number) => *number as f64,
            Num::Float(number) => *number,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_between_numbers_or_on_one() {
        let marks = Marks(vec![Num::Int(0), Num::Float(0.5)]);
        assert_eq!([-1.0, 0.0, 0.25, 0.5, 0.75].map(|value| marks.rank(value)), [0, 1, 2, 3, 4]);
        assert_eq!((marks.get(0), marks.get(2)), (Some(0.0), None));
    }
}
