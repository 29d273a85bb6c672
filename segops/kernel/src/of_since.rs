//! What a leaf says about the events after an anchor.

use std::collections::HashSet;

use crate::condition::Condition;
use crate::exact::ExactPredicate;
use crate::msgpack::Reader;
use crate::predicate::Predicate;
use crate::rule::Reads;
use crate::since::{sum, value, Since, SinceRead};
use crate::values::{scalar_of, Scalar};
use crate::view::View;

/// What is tested of the events after an anchor.
#[derive(Debug)]
pub enum OfSince {
    /// Their number, or that of distinct values.
    Count(Predicate, bool),
    /// Their sum or mean.
    Sum(Reads, ExactPredicate),
    /// One value.
    Value(SinceRead, Condition),
}

impl OfSince {
    /// Read what `segops.kernel.rules` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<OfSince> {
        let reads = |name| if name == "sum" { Reads::Sum } else { Reads::Mean };
        Some(match reader.str()? {
            name @ ("count" | "distinct") => OfSince::Count(Predicate::read(reader)?, name == "distinct"),
            name @ ("sum" | "avg") => OfSince::Sum(reads(name), ExactPredicate::read(reader)?),
            "min" => OfSince::Value(SinceRead::Min, Condition::read(reader)?),
            "max" => OfSince::Value(SinceRead::Max, Condition::read(reader)?),
            "latest" => OfSince::Value(SinceRead::Latest, Condition::read(reader)?),
            "earliest" => OfSince::Value(SinceRead::Earliest, Condition::read(reader)?),
            _ => return None,
        })
    }

    /// Whether the events after the anchor satisfy it; `compares`: those alone with its value count.
    pub fn holds(&self, view: View<'_>, (since, compares): (&Since, bool), now: i64) -> bool {
        let Some(entries) = since.counting(compares) else {
            return false;
        };
        match self {
            OfSince::Count(test, false) => test.counts(entries.count() as i64),
            OfSince::Count(test, true) => {
                let values: HashSet<&[u8]> = entries.map(|entry| &*entry.value).collect();
                let is_text = |value: &&[u8]| matches!(scalar_of(value), Scalar::Text(_));
                let number = values.iter().all(is_text).then_some(values.len() as i64);
                test.counts(view.answered(number)) // of an event that adds several values, Python knows the number
            }
            OfSince::Sum(reads, test) => {
                let (count, total) = view.answered(sum(entries));
                match reads.number(count, total) {
                    Some((number, divisor)) => test.holds(number, divisor),
                    None => test.holds_missing(),
                }
            }
            OfSince::Value(read, test) => view.answered(test.holds(value(entries, *read), now, view.asking)),
        }
    }
}
