//! Exact decimals, as Python's `decimal` computes and writes them.

use std::cmp::Ordering;

/// The most digits that powers of ten are used with.
const POWERS: u32 = 38;
/// Sums stay below this magnitude, and with at most `MAX_PLACES` places after the point: adding never overflows.
const MAX_WHOLE: i128 = 1_000_000_000_000_000_000;
const MAX_PLACES: i32 = 18;

/// `c` times ten to the power of `e`. There is no negative zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dec {
    /// The coefficient.
    pub c: i128,
    /// The exponent.
    pub e: i32,
}

fn scaled(c: i128, by: u32) -> Option<i128> {
    if by >= POWERS {
        return if c == 0 { Some(0) } else { None };
    }
    c.checked_mul(10_i128.pow(by))
}

impl Dec {
    /// `Decimal(0)`.
    pub const ZERO: Dec = Dec { c: 0, e: 0 };

    /// The decimal of an integer.
    pub fn of_int(value: i128) -> Dec {
        Dec { c: value, e: 0 }
    }

    /// `Decimal(repr(value))`; None for what the kernel does not add: negative zero, 1e16 and above.
    pub fn of_float(value: f64) -> Option<Dec> {
        if !value.is_finite() || value.abs() >= 1e16 || (value == 0.0 && value.is_sign_negative()) {
            return None;
        }
        Dec::parse(ryu::Buffer::new().format_finite(value))
    }

    /// Parse what `str` of a `Decimal` returns; None for other texts and for more than 38 digits.
    pub fn parse(text: &str) -> Option<Dec> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, digits) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit()) {
            return None;
        }
        let mut c: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            c = c.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
        }
        if negative && c == 0 {
            return None;
        }
        let e = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        Some(Dec { c: if negative { -c } else { c }, e })
    }

    /// Whether sums of this and another bounded number can be computed.
    pub fn is_bounded(&self) -> bool {
        if self.e > 0 || self.e < -MAX_PLACES {
            return false;
        }
        match scaled(MAX_WHOLE, self.e.unsigned_abs()) {
            Some(limit) => self.c.abs() < limit,
            None => false,
        }
    }

    fn aligned(self, other: Dec) -> Option<(i128, i128, i32)> {
        let e = self.e.min(other.e);
        let mine = scaled(self.c, self.e.abs_diff(e))?;
        Some((mine, scaled(other.c, other.e.abs_diff(e))?, e))
    }

    /// The exact sum. Both must be bounded or sums of two bounded numbers.
    pub fn plus(self, other: Dec) -> Dec {
        match self.aligned(other) {
            Some((a, b, e)) => Dec { c: a.saturating_add(b), e },
            None => Dec { c: i128::MAX, e: 0 }, // unreachable for bounded numbers; not bounded itself
        }
    }

    /// The exact difference, under the condition of `plus`.
    pub fn minus(self, other: Dec) -> Dec {
        self.plus(Dec { c: -other.c, e: other.e })
    }

    /// Compare exactly, whatever the exponents.
    pub fn cmp_exact(self, other: Dec) -> Ordering {
        let e = self.e.min(other.e);
        match (scaled(self.c, self.e.abs_diff(e)), scaled(other.c, other.e.abs_diff(e))) {
            (Some(a), Some(b)) => a.cmp(&b),
            // One of them is not scaled; the other exceeds every i128.
            (None, _) => self.c.cmp(&0),
            (_, None) => 0.cmp(&other.c),
        }
    }

    /// The exact product; None if it has more than 38 digits.
    pub fn product(self, other: Dec) -> Option<Dec> {
        Some(Dec { c: self.c.checked_mul(other.c)?, e: self.e.checked_add(other.e)? })
    }

    /// Multiply by a count; None if the product has more than 38 digits.
    pub fn times(self, count: i64) -> Option<Dec> {
        Some(Dec { c: self.c.checked_mul(i128::from(count))?, e: self.e })
    }

    /// `str` of the `Decimal`.
    pub fn text(&self) -> String {
        let digits = self.c.unsigned_abs().to_string();
        let (length, sign) = (digits.len() as i32, if self.c < 0 { "-" } else { "" });
        let left = self.e + length;
        if self.e <= 0 && left > -6 {
            if self.e == 0 {
                return format!("{sign}{digits}");
            }
            if left <= 0 {
                return format!("{sign}0.{}{digits}", "0".repeat(left.unsigned_abs() as usize));
            }
            let (whole, fraction) = digits.split_at(left as usize);
            return format!("{sign}{whole}.{fraction}");
        }
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let exponent = left - 1;
        if exponent == 0 {
            return format!("{sign}{first}{point}{rest}");
        }
        format!("{sign}{first}{point}{rest}E{exponent:+}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dec(text: &str) -> Dec {
        Dec::parse(text).unwrap_or(Dec::ZERO)
    }

    #[test]
    fn floats_are_read_as_written() {
        for (value, text) in [(20.0, "20.0"), (0.1, "0.1"), (1e-5, "0.00001"), (1.5e-7, "1.5E-7"), (-2.5, "-2.5")] {
            assert_eq!(Dec::of_float(value).map(|d| d.text()), Some(text.to_string()));
        }
        assert_eq!(Dec::of_float(-0.0), None);
        assert_eq!(Dec::of_float(1e16), None);
    }

    #[test]
    fn sums_are_exact_and_keep_the_places() {
        assert_eq!(dec("0.1").plus(dec("0.2")).text(), "0.3");
        assert_eq!(dec("0.3").minus(dec("0.3")).text(), "0.0");
        assert_eq!(dec("1E-7").minus(dec("1E-7")).text(), "0E-7");
        assert_eq!(dec("20").plus(dec("0.50")).text(), "20.50");
    }

    #[test]
    fn comparison_needs_no_common_scale() {
        assert_eq!(dec("1E+30").cmp_exact(dec("1E-30")), Ordering::Greater);
        assert_eq!(dec("-1E+30").cmp_exact(dec("1E-30")), Ordering::Less);
        assert_eq!(dec("2.0").cmp_exact(dec("2")), Ordering::Equal);
    }

    #[test]
    fn bounds() {
        assert!(dec("999999999999999999.5").is_bounded());
        assert!(!dec("1000000000000000000").is_bounded());
        assert!(!dec("1E-19").is_bounded());
    }
}
