//! Conditions on a value: a predicate of the kernel, or one that Python is asked about.

use crate::ask::Asking;
use crate::json::{Odd, Val};
use crate::msgpack::{Kind, Reader, Writer};
use crate::predicate::Predicate;
use crate::values::{scalar_of, Scalar};

/// A condition on a value.
#[derive(Debug)]
pub enum Condition {
    /// A predicate of the kernel.
    Native(Predicate),
    /// The number of a predicate that Python evaluates; the answers are remembered by value.
    Asked(u32),
}

const NIL: [u8; 1] = [0xc0];

impl Condition {
    /// Read what `segops.kernel.tables` has written: operators, or a number.
    pub fn read(reader: &mut Reader<'_>) -> Option<Condition> {
        if reader.kind()? == Kind::Int {
            return Some(Condition::Asked(u32::try_from(reader.wide()?).ok()?));
        }
        Some(Condition::Native(Predicate::read(reader)?))
    }

    /// Whether the value of an event satisfies it, whatever the instant. Odd: Python has to say.
    pub fn selects(&self, value: Option<Val<'_>>, asking: &Asking) -> Result<bool, Odd> {
        match self {
            Condition::Native(test) => Ok(test.holds(&value.map_or(Scalar::Missing, |value| value.scalar()), 0)),
            Condition::Asked(number) => {
                let mut out = Writer::default();
                value.unwrap_or(Val::Null).write(&mut out)?;
                asking.test(*number, &out.0, 0).map(|(verdict, _)| verdict).ok_or(Odd)
            }
        }
    }

    /// Whether a msgpack value satisfies it at an instant in milliseconds; None if Python fails.
    pub fn holds(&self, value: Option<&[u8]>, now: i64, asking: &Asking) -> Option<bool> {
        match self {
            Condition::Native(test) => Some(test.holds(&value.map_or(Scalar::Missing, scalar_of), now)),
            Condition::Asked(number) => Some(asking.test(*number, value.unwrap_or(&NIL), now)?.0),
        }
    }

    /// The earliest instant after `now` at which the verdict on a value may change; None if Python fails.
    pub fn next_edge(&self, value: Option<&[u8]>, now: i64, asking: &Asking) -> Option<Option<i64>> {
        match self {
            Condition::Native(test) => Some(value.and_then(|value| test.next_edge(&scalar_of(value), now))),
            Condition::Asked(number) => Some(asking.test(*number, value.unwrap_or(&NIL), now)?.1),
        }
    }
}
