//! Fractions of exact decimals: means, ratios and their order.

use std::cmp::Ordering;

use crate::decimal::Dec;

/// A number divided by another one, which is not zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fraction {
    upper: Dec,
    lower: Dec,
}

impl Fraction {
    /// A whole number or a decimal.
    pub fn of(number: Dec) -> Fraction {
        Fraction { upper: number, lower: Dec::of_int(1) }
    }

    /// A number divided by a count; None by zero.
    pub fn divided(upper: Dec, count: i64) -> Option<Fraction> {
        (count != 0).then(|| Fraction { upper, lower: Dec::of_int(i128::from(count)) })
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.upper.c == 0
    }

    /// The quotient by a fraction that is not zero; None if a product has more than 38 digits.
    pub fn over(self, other: Fraction) -> Option<Fraction> {
        Some(Fraction { upper: self.upper.product(other.lower)?, lower: self.lower.product(other.upper)? })
    }

    /// How it compares with another one; None if a product has more than 38 digits.
    pub fn order(self, other: Fraction) -> Option<Ordering> {
        let order = self.upper.product(other.lower)?.cmp_exact(other.upper.product(self.lower)?);
        Some(if (self.lower.c < 0) == (other.lower.c < 0) { order } else { order.reverse() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fraction(upper: i128, lower: i64) -> Fraction {
        Fraction::divided(Dec::of_int(upper), lower).unwrap_or(Fraction::of(Dec::ZERO))
    }

    #[test]
    fn fractions_are_compared_without_division() {
        assert_eq!(fraction(1, 3).order(fraction(2, 6)), Some(Ordering::Equal));
        assert_eq!(fraction(1, -3).order(fraction(1, 3)), Some(Ordering::Less));
        assert_eq!(fraction(-1, -3).order(Fraction::of(Dec { c: 33, e: -2 })), Some(Ordering::Greater));
        let huge = Fraction::of(Dec::of_int(i128::MAX));
        assert_eq!(huge.order(fraction(1, 3)), None);
    }

    #[test]
    fn ratios_of_ratios_are_exact() {
        let third = fraction(2, 3).over(fraction(-2, 1));
        assert_eq!(third.and_then(|found| found.order(fraction(-1, 3))), Some(Ordering::Equal));
    }
}
