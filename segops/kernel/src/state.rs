//! The states of features, as `segops.core.features.states` stores them.

use std::ops::Deref;

use crate::decimal::Dec;
use crate::entries;
use crate::frozen::Frozen;
use crate::msgpack::{Reader, Writer};
use crate::orders::Orders;
use crate::sequence::Chains;
use crate::sessions::Sessions;
use crate::since::{Entry, Since};

/// An empty map.
const EMPTY: &[u8] = &[0x80];

/// A msgpack value that is kept as it is stored.
pub type Blob = Box<[u8]>;

/// A stored map that is most often empty, which takes no memory of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stub(Option<Blob>);

impl Stub {
    /// The bytes that it has allocated.
    pub fn allocated(&self) -> usize {
        self.0.as_ref().map_or(0, |bytes| bytes.len())
    }
}

impl From<&[u8]> for Stub {
    fn from(bytes: &[u8]) -> Stub {
        Stub((bytes != EMPTY).then(|| bytes.into()))
    }
}

impl Deref for Stub {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or(EMPTY)
    }
}

/// The state of one feature. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// A number of events.
    Tally {
        /// Begin of the period.
        since: i64,
        /// Number of events.
        count: i64,
    },
    /// A number of values and their sum.
    Total {
        /// Begin of the period.
        since: i64,
        /// Number of values.
        count: i64,
        /// Their sum.
        total: Box<Dec>,
    },
    /// One value with its time.
    Running {
        /// Begin of the period.
        since: i64,
        /// Time of its event.
        time: i64,
        /// The value.
        value: Blob,
    },
    /// Distinct values in order.
    Keys {
        /// Begin of the period.
        since: i64,
        /// The values.
        keys: Vec<Box<str>>,
    },
    /// Times, oldest first; never empty.
    Times(Vec<i64>),
    /// Times, oldest first, with cumulative counts and sums.
    Sums(Box<Sums>),
    /// Times, oldest first, with values.
    Values {
        /// The times.
        times: Vec<i64>,
        /// The values.
        values: Vec<Blob>,
    },
    /// Events, oldest first.
    Entries(Vec<Entry>),
    /// Sessions, oldest first.
    Sessions(Sessions),
    /// Times that decide in which periods there was an event.
    Marks(Vec<i64>),
    /// The events after an anchor.
    Since(Box<Since>),
    /// Orders, and statements about them.
    Orders(Box<Orders>),
    /// The events of a sequence.
    Chains(Box<Chains>),
    /// The state of a feature that is read at refreshes.
    Frozen(Box<Frozen>),
    /// A state that only Python changes.
    Raw(Blob),
}

/// Times, oldest first, each with the cumulative count and sum, and those before the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Sums {
    /// The times.
    pub times: Vec<i64>,
    /// The cumulative counts.
    pub counts: Vec<i64>,
    /// The cumulative sums.
    pub totals: Vec<Dec>,
    /// The count before the first time.
    pub base_count: i64,
    /// The sum before the first time.
    pub base_total: Dec,
}

impl Sums {
    /// A state without events.
    pub fn new() -> Sums {
        Sums { times: vec![], counts: vec![], totals: vec![], base_count: 0, base_total: Dec::ZERO }
    }

    /// The cumulative count and sum before an index.
    pub fn upto(&self, at: usize) -> (i64, Dec) {
        match at.checked_sub(1) {
            Some(last) => (self.counts[last], self.totals[last]),
            None => (self.base_count, self.base_total),
        }
    }
}

impl Default for Sums {
    fn default() -> Self {
        Sums::new()
    }
}

fn dec(reader: &mut Reader<'_>) -> Option<Dec> {
    Dec::parse(reader.str()?).filter(Dec::is_bounded)
}

fn blob(reader: &mut Reader<'_>) -> Option<Blob> {
    reader.raw().map(Into::into)
}

impl State {
    /// The begin of the period of an accumulator.
    pub fn since(&self) -> Option<i64> {
        match self {
            State::Tally { since, .. }
            | State::Total { since, .. }
            | State::Running { since, .. }
            | State::Keys { since, .. } => Some(*since),
            _ => None,
        }
    }

    /// Read a state that the kernel changes; None for another one, and for numbers beyond the bounds.
    pub fn read(bytes: &[u8]) -> Option<State> {
        let mut reader = Reader::new(bytes);
        let fields = reader.array()?;
        let found = match (reader.int()?, fields) {
            (0, 3) => State::Tally { since: reader.int()?, count: reader.int()? },
            (1, 4) => State::Total { since: reader.int()?, count: reader.int()?, total: Box::new(dec(&mut reader)?) },
            (2, 4) => State::Running { since: reader.int()?, time: reader.int()?, value: blob(&mut reader)? },
            (3, 3) => State::Keys { since: reader.int()?, keys: keys(&mut reader)? },
            (4, 2) => State::Times(reader.ints().filter(|times| !times.is_empty())?),
            (5, 6) => State::Sums(Box::new(sums(&mut reader)?)),
            (6, 3) => values(&mut reader)?,
            (7, 2) => State::Entries(entries::read(&mut reader)?),
            (8, 3) => State::Chains(Box::new(Chains::read(&mut reader)?)),
            (9, 8) => State::Orders(Box::new(Orders::read(&mut reader)?)),
            (25, 2) => State::Sessions(Sessions::read(&mut reader, false)?),
            (26, 2) => State::Marks(reader.ints()?),
            (27, 2) => State::Sessions(Sessions::read(&mut reader, true)?),
            (40, 4) => State::Since(Box::new(Since::read(&mut reader)?)),
            (45, 4) => State::Frozen(Box::new(Frozen::read(&mut reader)?)),
            _ => return None,
        };
        reader.is_done().then_some(found)
    }

    /// Append the state.
    pub fn write(&self, out: &mut Writer) {
        match self {
            State::Tally { since, count } => {
                out.array(3);
                out.int(0);
                out.int(*since);
                out.int(*count);
            }
            State::Total { since, count, total } => {
                out.array(4);
                out.int(1);
                out.int(*since);
                out.int(*count);
                out.str(&total.text());
            }
            State::Running { since, time, value } => {
                out.array(4);
                out.int(2);
                out.int(*since);
                out.int(*time);
                out.raw(value);
            }
            State::Keys { since, keys } => {
                out.array(3);
                out.int(3);
                out.int(*since);
                out.array(keys.len());
                keys.iter().for_each(|key| out.str(key));
            }
            State::Times(times) => {
                out.array(2);
                out.int(4);
                out.ints(times);
            }
            State::Sums(sums) => write_sums(sums, out),
            State::Values { times, values } => {
                out.array(3);
                out.int(6);
                out.ints(times);
                out.array(values.len());
                values.iter().for_each(|value| out.raw(value));
            }
            State::Frozen(frozen) => frozen.write(out),
            State::Sessions(sessions) => sessions.write(out),
            State::Marks(times) => {
                out.array(2);
                out.int(26);
                out.ints(times);
            }
            State::Entries(entries) => entries::write(entries, out),
            State::Since(since) => since.write(out),
            State::Chains(chains) => chains.write(out),
            State::Orders(orders) => orders.write(out),
            State::Raw(bytes) => out.raw(bytes),
        }
    }
}

fn keys(reader: &mut Reader<'_>) -> Option<Vec<Box<str>>> {
    let found = reader.list(|reader| reader.str().map(Box::from))?;
    found.windows(2).all(|two| two[0] < two[1]).then_some(found)
}

fn sums(reader: &mut Reader<'_>) -> Option<Sums> {
    let (times, counts) = (reader.ints()?, reader.ints()?);
    let totals = reader.list(dec)?;
    let same = times.len() == counts.len() && times.len() == totals.len();
    let found = Sums { times, counts, totals, base_count: reader.int()?, base_total: dec(reader)? };
    same.then_some(found)
}

fn values(reader: &mut Reader<'_>) -> Option<State> {
    let times = reader.ints()?;
    let values = reader.list(blob)?;
    (times.len() == values.len()).then_some(State::Values { times, values })
}

fn write_sums(sums: &Sums, out: &mut Writer) {
    out.array(6);
    out.int(5);
    out.ints(&sums.times);
    out.ints(&sums.counts);
    out.array(sums.totals.len());
    sums.totals.iter().for_each(|total| out.str(&total.text()));
    out.int(sums.base_count);
    out.str(&sums.base_total.text());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(state: &State) -> Option<State> {
        let mut out = Writer::default();
        state.write(&mut out);
        State::read(&out.0)
    }

    #[test]
    fn states_round_trip() {
        let mut sums = Sums::new();
        sums.times.push(5);
        sums.counts.push(1);
        sums.totals.push(Dec { c: 205, e: -1 });
        for state in [
            State::Tally { since: 0, count: 3 },
            State::Total { since: 0, count: 1, total: Box::new(Dec { c: 1, e: -2 }) },
            State::Running { since: 0, time: 7, value: Box::new([0xc0]) },
            State::Keys { since: 0, keys: vec!["sa".into(), "sb".into()] },
            State::Times(vec![1, 2]),
            State::Sums(Box::new(sums)),
            State::Values { times: vec![1], values: vec![Box::new([0x05])] },
        ] {
            assert_eq!(again(&state), Some(state));
        }
    }

    #[test]
    fn what_the_kernel_cannot_add_to_is_not_read() {
        assert_eq!(again(&State::Total { since: 0, count: 1, total: Box::new(Dec { c: 1, e: 18 }) }), None);
        assert_eq!(again(&State::Times(vec![])), None);
        assert_eq!(again(&State::Keys { since: 0, keys: vec!["sb".into(), "sa".into()] }), None);
        assert_eq!(State::read(&[0x92, 8, 0x90]), None);
    }
}
