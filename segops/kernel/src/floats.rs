//! Python's functions of floats: the C library's, as `math` calls them, `sum`, and `round` to nine decimals.
//!
//! Each is None where Python raises, and beyond finite and normal numbers: Python is asked there.

/// The result, if it is finite.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// `math.log`
pub fn log(x: f64) -> Option<f64> {
    (x > 0.0).then(|| x.ln()).and_then(finite)
}

/// `math.exp`
pub fn exp(x: f64) -> Option<f64> {
    finite(x.exp())
}

/// `math.expm1`
pub fn expm1(x: f64) -> Option<f64> {
    finite(x.exp_m1())
}

/// `math.log1p`
pub fn log1p(x: f64) -> Option<f64> {
    (x > -1.0).then(|| x.ln_1p()).and_then(finite)
}

/// `math.cos`
pub fn cos(x: f64) -> Option<f64> {
    finite(x.cos())
}

/// `x ** y` of a positive `x`.
pub fn pow(x: f64, y: f64) -> Option<f64> {
    let found = if x > 0.0 { x.powf(y) } else { f64::NAN };
    (found.is_normal() || found == 0.0).then_some(found)
}

/// `x ** 2`, which Python computes by the same function: the product may be another float.
pub fn square(x: f64) -> Option<f64> {
    finite(x.abs().powf(std::hint::black_box(2.0)))
}

/// `a / b`
pub fn div(a: f64, b: f64) -> Option<f64> {
    (b != 0.0).then(|| a / b).and_then(finite)
}

/// `max` of Python.
pub fn max(a: f64, b: f64) -> f64 {
    if b > a {
        b
    } else {
        a
    }
}

/// `min` of Python.
pub fn min(a: f64, b: f64) -> f64 {
    if b < a {
        b
    } else {
        a
    }
}

/// `round(value, 9)`
pub fn rounded(value: f64) -> Option<f64> {
    finite(value).and_then(|value| format!("{value:.9}").parse().ok())
}

/// `sum`: from Python 3.12 on `compensated`, by Neumaier (ZAMM 54, 1974).
pub fn sum(values: impl IntoIterator<Item = f64>, compensated: bool) -> f64 {
    let (mut total, mut lost) = (0.0_f64, 0.0);
    for value in values {
        let next = total + value;
        lost += if total.abs() >= value.abs() { (total - next) + value } else { (value - next) + total };
        total = next;
    }
    if compensated && lost != 0.0 && lost.is_finite() {
        total + lost
    } else {
        total
    }
}

/// What each function makes of some numbers, for a comparison with Python's: see `segops.kernel.floats`.
pub fn probe(numbers: &[f64], compensated: bool) -> Vec<Option<f64>> {
    let pairs = || numbers.iter().zip(numbers.iter().cycle().skip(1));
    let each = [log, exp, expm1, log1p, cos, square, rounded];
    let mut found: Vec<_> = each.iter().flat_map(|of| numbers.iter().map(|number| of(*number))).collect();
    found.extend(pairs().map(|(one, other)| pow(*one, *other)));
    found.extend((0..numbers.len()).map(|begin| Some(sum(numbers[begin..].iter().copied(), compensated))));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_to_the_even_digit() {
        // 2^-10 has ten decimals, the last of them 5.
        assert_eq!(rounded(0.000_976_562_5), Some(0.000_976_562));
        assert_eq!(rounded(0.002_929_687_5), Some(0.002_929_688));
        assert_eq!(rounded(-2.000_000_000_4), Some(-2.0));
        assert_eq!(rounded(1e300), Some(1e300));
        assert_eq!(rounded(f64::NAN), None);
    }

    #[test]
    fn sums_are_those_of_both_pythons() {
        let tenths = [0.1; 10];
        assert_eq!([false, true].map(|each| sum(tenths, each)), [0.999_999_999_999_999_9, 1.0]);
        assert_eq!([false, true].map(|each| sum([1.0, 1e100, 1.0, -1e100], each)), [0.0, 2.0]);
    }

    #[test]
    fn what_python_refuses_is_none() {
        assert_eq!(
            [log(0.0), log(-1.0), exp(710.0), log1p(-1.0), div(1.0, 0.0), pow(-1.0, 0.5), pow(0.0, -1.0)],
            [None; 7]
        );
        assert_eq!((exp(-800.0), pow(1e9, -400.0)), (Some(0.0), Some(0.0)));
    }
}
