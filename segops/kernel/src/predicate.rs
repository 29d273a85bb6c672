//! Predicates: the operators that the kernel evaluates, as `segops.core.operators` defines them.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::dates::{instant, Read};
use crate::msgpack::{Kind, Reader};
use crate::values::{Num, Scalar};

/// A literal of a predicate: a boolean, a number or a text.
pub type Literal = Scalar<'static>;

/// One operator with its operand. Instants and durations are in milliseconds.
#[derive(Debug)]
pub enum Op {
    /// eq, ne, lt, lte, gt and gte
    Compare(Comparison, Literal),
    /// in
    In(Vec<Literal>),
    /// not_in
    NotIn(Vec<Literal>),
    /// between, both included
    Between(Literal, Literal),
    /// contains
    Contains(Box<str>),
    /// starts_with
    StartsWith(Box<str>),
    /// ends_with
    EndsWith(Box<str>),
    /// exists
    Exists(bool),
    /// before, after
    Date(DateOp, i64),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// equal
    Eq,
    /// of the same kind, but not equal
    Ne,
    /// less
    Lt,
    /// less or equal
    Lte,
    /// greater
    Gt,
    /// greater or equal
    Gte,
}

impl Comparison {
    /// The comparison of a name.
    pub fn of(name: &str) -> Option<Comparison> {
        Some(match name {
            "eq" => Comparison::Eq,
            "ne" => Comparison::Ne,
            "lt" => Comparison::Lt,
            "lte" => Comparison::Lte,
            "gt" => Comparison::Gt,
            "gte" => Comparison::Gte,
            _ => return None,
        })
    }

    /// Whether two values in this order satisfy it.
    pub fn accepts(self, order: Ordering) -> bool {
        match self {
            Comparison::Eq => order == Ordering::Equal,
            Comparison::Ne => order != Ordering::Equal,
            Comparison::Lt => order == Ordering::Less,
            Comparison::Lte => order != Ordering::Greater,
            Comparison::Gt => order == Ordering::Greater,
            Comparison::Gte => order != Ordering::Less,
        }
    }
}

/// How a date is compared with an instant, or with now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateOp {
    /// before an instant
    Before,
    /// after an instant
    After,
    /// at most so long ago
    InLast,
    /// at most so far ahead
    InNext,
    /// at least so old
    OlderThan,
    /// younger, and not ahead
    NewerThan,
}

impl DateOp {
    fn of(name: &str) -> Option<DateOp> {
        Some(match name {
            "before" => DateOp::Before,
            "after" => DateOp::After,
            "in_last" => DateOp::InLast,
            "in_next" => DateOp::InNext,
            "older_than" => DateOp::OlderThan,
            "newer_than" => DateOp::NewerThan,
            _ => return None,
        })
    }

    fn holds(self, date: i64, operand: i64, now: i64) -> bool {
        match self {
            DateOp::Before => date < operand,
            DateOp::After => date > operand,
            DateOp::InLast => now - operand < date && date <= now,
            DateOp::InNext => now < date && date <= now + operand,
            DateOp::OlderThan => now - date >= operand,
            DateOp::NewerThan => now - date < operand && date <= now,
        }
    }

    fn edges(self, date: i64, operand: i64) -> [Option<i64>; 2] {
        match self {
            DateOp::Before | DateOp::After => [None, None],
            DateOp::InNext => [Some(date - operand), Some(date)],
            DateOp::InLast | DateOp::OlderThan | DateOp::NewerThan => [Some(date), Some(date + operand)],
        }
    }
}

/// Compare two values of one kind that has an order, or equality for booleans.
fn order_of(value: &Scalar<'_>, operand: &Literal) -> Option<Ordering> {
    match (value, operand) {
        (Scalar::Num(a), Scalar::Num(b)) => Some(a.cmp_exact(*b)),
        (Scalar::Text(a), Scalar::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Scalar::Bool(a), Scalar::Bool(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn compares(comparison: Comparison, value: &Scalar<'_>, operand: &Literal) -> bool {
    let ordered = matches!(comparison, Comparison::Eq | Comparison::Ne) || !matches!(operand, Scalar::Bool(_));
    ordered && order_of(value, operand).is_some_and(|order| comparison.accepts(order))
}

fn equals(value: &Scalar<'_>, operand: &Literal) -> bool {
    compares(Comparison::Eq, value, operand)
}

impl Op {
    fn holds(&self, value: &Scalar<'_>, now: i64) -> bool {
        match self {
            Op::Compare(comparison, operand) => compares(*comparison, value, operand),
            Op::In(items) => items.iter().any(|item| equals(value, item)),
            Op::NotIn(items) => {
                items.iter().any(|item| order_of(value, item).is_some())
                    && !items.iter().any(|item| equals(value, item))
            }
            Op::Between(low, high) => compares(Comparison::Gte, value, low) && compares(Comparison::Lte, value, high),
            Op::Exists(exists) => *exists,
            Op::Contains(part) => text_of(value).is_some_and(|text| text.contains(&**part)),
            Op::StartsWith(part) => text_of(value).is_some_and(|text| text.starts_with(&**part)),
            Op::EndsWith(part) => text_of(value).is_some_and(|text| text.ends_with(&**part)),
            Op::Date(op, operand) => date_of(value).is_some_and(|date| op.holds(date, *operand, now)),
        }
    }
}

fn text_of<'v>(value: &'v Scalar<'_>) -> Option<&'v str> {
    match value {
        Scalar::Text(text) => Some(text),
        _ => None,
    }
}

/// The instant of a date. What Python would have to read never gets here: `Tables::reads_date`.
fn date_of(value: &Scalar<'_>) -> Option<i64> {
    match text_of(value).map(instant) {
        Some(Read::At(ms)) => Some(ms),
        _ => None,
    }
}

/// A conjunction of operators.
#[derive(Debug, Default)]
pub struct Predicate {
    ops: Vec<Op>,
}

impl Predicate {
    /// Whether a value satisfies every operator at an instant in milliseconds.
    pub fn holds(&self, value: &Scalar<'_>, now: i64) -> bool {
        if *value == Scalar::Missing {
            return self.ops.iter().all(|op| matches!(op, Op::Exists(false)));
        }
        self.ops.iter().all(|op| op.holds(value, now))
    }

    /// Whether a count satisfies every operator.
    pub fn counts(&self, count: i64) -> bool {
        self.holds(&Scalar::Num(Num::Int(i128::from(count))), 0)
    }

    /// The earliest instant after `now` at which the verdict on a value may change, in milliseconds.
    pub fn next_edge(&self, value: &Scalar<'_>, now: i64) -> Option<i64> {
        let date = date_of(value)?;
        let edges = self.ops.iter().filter_map(|op| match op {
            Op::Date(op, operand) => Some(op.edges(date, *operand)),
            _ => None,
        });
        edges.flatten().flatten().filter(|edge| *edge > now).min()
    }

    /// Read a predicate that `segops.kernel.tables` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Predicate> {
        Some(Predicate { ops: reader.list(read_op)? })
    }
}

fn read_op(reader: &mut Reader<'_>) -> Option<Op> {
    reader.array().filter(|length| *length == 2)?;
    let name = reader.str()?;
    if let Some(comparison) = Comparison::of(name) {
        return Some(Op::Compare(comparison, literal(reader)?));
    }
    if let Some(op) = DateOp::of(name) {
        return Some(Op::Date(op, reader.int()?));
    }
    Some(match name {
        "in" => Op::In(reader.list(literal)?),
        "not_in" => Op::NotIn(reader.list(literal)?),
        "between" => {
            reader.array().filter(|length| *length == 2)?;
            Op::Between(literal(reader)?, literal(reader)?)
        }
        "contains" => Op::Contains(reader.str()?.into()),
        "starts_with" => Op::StartsWith(reader.str()?.into()),
        "ends_with" => Op::EndsWith(reader.str()?.into()),
        "exists" => Op::Exists(reader.bool()?),
        _ => return None,
    })
}

/// Read a literal.
pub fn literal(reader: &mut Reader<'_>) -> Option<Literal> {
    Some(match reader.kind()? {
        Kind::Bool => Scalar::Bool(reader.bool()?),
        Kind::Int => Scalar::Num(Num::Int(reader.wide()?)),
        Kind::Float => Scalar::Num(Num::Float(reader.float()?)),
        Kind::Str => Scalar::Text(Cow::Owned(reader.str()?.to_string())),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack::Writer;

    fn predicate(name: &str, write: impl FnOnce(&mut Writer)) -> Predicate {
        let mut out = Writer::default();
        out.array(1);
        out.array(2);
        out.str(name);
        write(&mut out);
        Predicate::read(&mut Reader::new(&out.0)).unwrap_or_default()
    }

    #[test]
    fn kinds_are_not_mixed() {
        let text = predicate("eq", |out| out.str("1"));
        let number = predicate("ne", |out| out.int(1));
        let one = Scalar::Num(Num::Int(1));
        assert!(!text.holds(&one, 0));
        assert!(!number.holds(&Scalar::Text("2".into()), 0));
        assert!(number.holds(&Scalar::Num(Num::Float(1.5)), 0));
        assert!(!number.holds(&Scalar::Missing, 0));
        assert!(!predicate("lt", |out| out.bool(true)).holds(&Scalar::Bool(false), 0));
    }

    #[test]
    fn missing_values_satisfy_only_their_absence() {
        assert!(predicate("exists", |out| out.bool(false)).holds(&Scalar::Missing, 0));
        assert!(!predicate("exists", |out| out.bool(false)).holds(&Scalar::List, 0));
    }

    #[test]
    fn dates_age() {
        let test = predicate("in_last", |out| out.int(1_000));
        let date = Scalar::Text("1970-01-02".into());
        let day = 86_400_000;
        assert!(!test.holds(&date, day - 1) && test.holds(&date, day) && !test.holds(&date, day + 1_000));
        assert_eq!(test.next_edge(&date, day), Some(day + 1_000));
        assert_eq!(test.next_edge(&Scalar::Text("soon".into()), day), None);
    }
}
