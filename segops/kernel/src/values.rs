//! Values of events and profiles: their comparison, and the texts that Python makes of them.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::decimal::Dec;
use crate::msgpack::{Kind, Reader, Writer};

/// A number; integers have at most 64 bits, signed or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Num {
    /// An integer.
    Int(i128),
    /// A finite float.
    Float(f64),
}

impl Num {
    /// Compare exactly, as Python does: neither is rounded.
    pub fn cmp_exact(self, other: Num) -> Ordering {
        match (self, other) {
            (Num::Int(a), Num::Int(b)) => a.cmp(&b),
            (Num::Float(a), Num::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Num::Int(a), Num::Float(b)) => int_to_float(a, b),
            (Num::Float(a), Num::Int(b)) => int_to_float(b, a).reverse(),
        }
    }

    /// The exact decimal that was written; None if the kernel does not add it.
    pub fn exact(self) -> Option<Dec> {
        match self {
            Num::Int(value) => Some(Dec::of_int(value)),
            Num::Float(value) => Dec::of_float(value),
        }
    }

    /// Append the number as msgpack.
    pub fn write(self, out: &mut Writer) {
        match self {
            Num::Int(value) if value >= 0 => out.uint(value as u64),
            Num::Int(value) => out.int(value as i64),
            Num::Float(value) => out.float(value),
        }
    }
}

fn int_to_float(a: i128, b: f64) -> Ordering {
    if b >= 1e30 {
        return Ordering::Less;
    }
    if b <= -1e30 {
        return Ordering::Greater;
    }
    let whole = b.floor();
    match a.cmp(&(whole as i128)) {
        Ordering::Equal if b > whole => Ordering::Less,
        found => found,
    }
}

/// A value as predicates read it. Lists and objects satisfy no operator of the kernel but `exists`.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// Absent or null.
    Missing,
    /// A boolean.
    Bool(bool),
    /// A number.
    Num(Num),
    /// A text.
    Text(Cow<'a, str>),
    /// A list.
    List,
    /// An object.
    Object,
}

/// Read a msgpack value as a scalar. Damaged bytes are missing; they do not occur.
pub fn scalar_of(bytes: &[u8]) -> Scalar<'_> {
    let mut reader = Reader::new(bytes);
    let found = match reader.kind() {
        Some(Kind::Bool) => reader.bool().map(Scalar::Bool),
        Some(Kind::Int) => reader.wide().map(|value| Scalar::Num(Num::Int(value))),
        Some(Kind::Float) => reader.float().map(|value| Scalar::Num(Num::Float(value))),
        Some(Kind::Str) => reader.str().map(|text| Scalar::Text(Cow::Borrowed(text))),
        Some(Kind::Array) => Some(Scalar::List),
        Some(Kind::Map) => Some(Scalar::Object),
        Some(Kind::Nil) | None => None,
    };
    found.unwrap_or(Scalar::Missing)
}

/// Return the value at a path in a msgpack value: what is no object has nothing below it.
pub fn below<'a>(bytes: &'a [u8], path: &[Box<str>]) -> Option<&'a [u8]> {
    let mut found = bytes;
    for name in path {
        let mut reader = Reader::new(found);
        if reader.kind() != Some(Kind::Map) {
            return None;
        }
        let length = reader.map()?;
        let mut next = None;
        for _ in 0..length {
            let key = reader.str()?;
            let value = reader.raw()?;
            if key == &**name {
                next = Some(value);
            }
        }
        found = next?;
    }
    Some(found)
}

/// `repr` of a finite float below 1e16 that is no integer.
fn float_repr(value: f64) -> String {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value);
    if value.abs() >= 1e-4 {
        return text.to_string();
    }
    // Python switches to an exponent of two digits below 1e-4.
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa.to_string(), exponent.parse::<i32>().unwrap_or(0)),
        None => {
            let digits = text.trim_start_matches(['0', '.']);
            let zeros = text.len() - 2 - digits.len();
            let (first, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            (format!("{first}{point}{rest}"), -(zeros as i32) - 1)
        }
    };
    format!("{sign}{mantissa}e-{:02}", exponent.unsigned_abs())
}

/// The string that two values share exactly if they are equal; None for what Python must decide.
pub fn distinct_key(value: &Scalar<'_>) -> Option<String> {
    Some(match value {
        Scalar::Text(text) => format!("s{text}"),
        Scalar::Bool(value) => format!("j{value}"),
        Scalar::Num(Num::Int(value)) => format!("n{value}"),
        Scalar::Num(Num::Float(value)) if value.abs() < 1e16 => {
            if value.fract() == 0.0 {
                format!("n{}", *value as i64)
            } else {
                format!("n{}", float_repr(*value))
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_floats_are_compared_without_rounding() {
        let big = (1_i128 << 53) + 1;
        assert_eq!(Num::Int(big).cmp_exact(Num::Float((1_u64 << 53) as f64)), Ordering::Greater);
        assert_eq!(Num::Float(0.5).cmp_exact(Num::Int(1)), Ordering::Less);
        assert_eq!(Num::Int(20).cmp_exact(Num::Float(20.0)), Ordering::Equal);
        assert_eq!(Num::Int(-1).cmp_exact(Num::Float(-0.5)), Ordering::Less);
    }

    #[test]
    fn keys_are_those_of_python() {
        let number = |value| distinct_key(&Scalar::Num(Num::Float(value)));
        for (value, key) in
            [(20.0, "n20"), (0.5, "n0.5"), (1e-5, "n1e-05"), (1.5e-7, "n1.5e-07"), (0.00025, "n0.00025")]
        {
            assert_eq!(number(value), Some(key.to_string()));
        }
        assert_eq!(number(-0.000012), Some("n-1.2e-05".to_string()));
        assert_eq!(number(1e16), None);
        assert_eq!(distinct_key(&Scalar::List), None);
    }

    #[test]
    fn paths_lead_through_objects_only() {
        let mut writer = Writer::default();
        writer.map(1);
        writer.str("city");
        writer.str("Oslo");
        let path: Vec<Box<str>> = vec!["city".into()];
        assert_eq!(below(&writer.0, &path).map(scalar_of), Some(Scalar::Text("Oslo".into())));
        assert_eq!(below(&writer.0[1..], &path), None);
    }
}
