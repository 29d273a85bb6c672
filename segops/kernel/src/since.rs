//! `since_last`: the selected events after the last anchor (`segops.core.features.since`).

use crate::ask::Asking;
use crate::condition::Condition;
use crate::decimal::Dec;
use crate::event::Event;
use crate::feature::{read_path, Added, Feature, Path};
use crate::json::{Odd, Val};
use crate::msgpack::{Reader, Writer};
use crate::state::{Blob, State};
use crate::values::{distinct_key, scalar_of, Scalar};

/// The events that begin a window, and the conditions on those that it counts.
#[derive(Debug)]
pub struct Anchor {
    names: Path,
    /// The path of the value that an event must have in common with the anchor.
    same: Option<Path>,
    conditions: Vec<(Path, Condition)>,
    /// So many of the latest events are kept.
    limit: usize,
}

/// One event: its time in milliseconds, its value as msgpack, and the key of its compared value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The time.
    pub time: i64,
    /// The value.
    pub value: Blob,
    /// The key, if events are compared.
    pub key: Option<Box<str>>,
}

/// The last anchor, and the events after it, oldest first; of all so far while there is no anchor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Since {
    /// The time of the anchor in milliseconds.
    pub anchor: Option<i64>,
    /// The key of its compared value.
    pub key: Option<Box<str>>,
    /// The events.
    pub entries: Vec<Entry>,
}

/// What the events since an anchor are read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinceRead {
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The last value.
    Latest,
    /// The first value.
    Earliest,
}

impl Anchor {
    /// Read what `segops.kernel.tables` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Anchor> {
        reader.array().filter(|fields| *fields == 4)?;
        Some(Anchor {
            names: read_path(reader)?,
            same: if reader.nil() { None } else { Some(read_path(reader)?) },
            conditions: reader.list(|reader| {
                reader.array().filter(|fields| *fields == 2)?;
                Some((read_path(reader)?, Condition::read(reader)?))
            })?,
            limit: reader.size()?,
        })
    }

    /// What an event adds, given how its value is read; None: nothing.
    pub fn extract(
        &self,
        event: &Event<'_>,
        asking: &Asking,
        value: impl FnOnce() -> Result<Option<Blob>, Odd>,
    ) -> Result<Option<Added>, Odd> {
        let key = match &self.same {
            Some(path) => key_of(event.property(path)?)?,
            None => None,
        };
        if self.names.iter().any(|name| **name == *event.name) {
            return Ok(Some(Added::Anchor(key)));
        }
        if self.same.is_some() && key.is_none() {
            return Ok(None);
        }
        for (path, test) in &self.conditions {
            if !test.selects(event.property(path)?, asking)? {
                return Ok(None);
            }
        }
        Ok(value()?.map(|value| Added::Entry(value, key)))
    }

    fn add(&self, state: &mut Since, time: i64, added: &Added) -> bool {
        if state.anchor.is_some_and(|anchor| time < anchor) {
            return false;
        }
        let at = state.entries.partition_point(|entry| entry.time <= time);
        match added {
            Added::Anchor(key) => {
                (state.anchor, state.key) = (Some(time), key.clone());
                state.entries.drain(..at);
            }
            Added::Entry(value, key) => {
                state.entries.insert(at, Entry { time, value: value.clone(), key: key.clone() });
                let over = state.entries.len().saturating_sub(self.limit);
                state.entries.drain(..over);
            }
            _ => return false,
        }
        true
    }

    /// Whether the values of events are compared with that of the anchor.
    pub fn compares(&self) -> bool {
        self.same.is_some()
    }
}

fn key_of(value: Option<Val<'_>>) -> Result<Option<Box<str>>, Odd> {
    match value {
        Some(value) => Ok(Some(distinct_key(&value.scalar()).ok_or(Odd)?.into())),
        None => Ok(None),
    }
}

impl Feature {
    /// Add an event to a window that begins with an anchor.
    pub fn add_since(&self, state: &mut Option<State>, time: i64, added: &Added) -> bool {
        let (Some(anchor), None | Some(State::Since(_))) = (&self.anchor, &state) else {
            return false;
        };
        match state.get_or_insert_with(|| State::Since(Box::default())) {
            State::Since(since) => anchor.add(since, time, added),
            _ => false,
        }
    }
}

impl Entry {
    /// Read an event. It has its key where it has timed values otherwise.
    pub fn read(reader: &mut Reader<'_>) -> Option<Entry> {
        reader.array().filter(|fields| *fields == 3)?;
        let (time, value) = (reader.int()?, reader.raw()?.into());
        let key = match reader.array()? {
            0 => None,
            1 => Some(reader.str()?.into()),
            _ => return None,
        };
        Some(Entry { time, value, key })
    }

    /// Append the event.
    pub fn write(&self, out: &mut Writer) {
        out.array(3);
        out.int(self.time);
        out.raw(&self.value);
        out.array(usize::from(self.key.is_some()));
        self.key.iter().for_each(|key| out.str(key));
    }
}

impl Since {
    /// The events that count: with a comparison, those with the value of the anchor. None without an anchor.
    pub fn counting(&self, compares: bool) -> Option<impl DoubleEndedIterator<Item = &Entry> + Clone> {
        self.anchor?;
        let fits = move |entry: &&Entry| !compares || (self.key.is_some() && entry.key == self.key);
        Some(self.entries.iter().filter(fits))
    }

    /// Read a state after its tag.
    pub fn read(reader: &mut Reader<'_>) -> Option<Since> {
        let (anchor, key) = (reader.opt_int()?, reader.opt_str()?.map(Box::from));
        Some(Since { anchor, key, entries: reader.list(Entry::read)? })
    }

    /// Append the state with its tag.
    pub fn write(&self, out: &mut Writer) {
        out.array(4);
        out.int(40);
        out.opt_int(self.anchor);
        out.opt_str(self.key.as_deref());
        out.array(self.entries.len());
        self.entries.iter().for_each(|entry| entry.write(out));
    }
}

/// The number of values and their sum; None beyond the bounds of exact addition.
pub fn sum<'e>(entries: impl Iterator<Item = &'e Entry>) -> Option<(i64, Dec)> {
    let (mut count, mut total) = (0, Dec::ZERO);
    for entry in entries {
        let Scalar::Num(number) = scalar_of(&entry.value) else {
            return None;
        };
        total = total.plus(number.exact().filter(Dec::is_bounded)?);
        count += 1;
        if !total.is_bounded() {
            return None;
        }
    }
    Some((count, total))
}

/// The value that is read; None without an event.
pub fn value<'e>(mut entries: impl DoubleEndedIterator<Item = &'e Entry>, read: SinceRead) -> Option<&'e [u8]> {
    let beats = |one: &Entry, other: &Entry| match (scalar_of(&one.value), scalar_of(&other.value)) {
        (Scalar::Num(a), Scalar::Num(b)) if read == SinceRead::Min => a.cmp_exact(b).is_lt(),
        (Scalar::Num(a), Scalar::Num(b)) => a.cmp_exact(b).is_gt(),
        _ => false,
    };
    let found = match read {
        SinceRead::Latest => entries.next_back(),
        SinceRead::Earliest => entries.next(),
        SinceRead::Min | SinceRead::Max => entries.reduce(|best, entry| if beats(entry, best) { entry } else { best }),
    };
    found.map(|entry| &*entry.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_ends_what_came_before_it() {
        let anchor = Anchor { names: vec![], same: None, conditions: vec![], limit: 2 };
        let mut state = Since::default();
        for time in [10, 20, 15] {
            assert!(anchor.add(&mut state, time, &Added::Entry(Box::new([0xc0]), None)));
        }
        assert_eq!(state.entries.iter().map(|entry| entry.time).collect::<Vec<_>>(), [15, 20]);
        assert!(state.counting(false).is_none());
        assert!(anchor.add(&mut state, 15, &Added::Anchor(None)));
        assert_eq!(state.counting(false).map(Iterator::count), Some(1));
        assert!(!anchor.add(&mut state, 14, &Added::Anchor(None)));
        let mut out = Writer::default();
        state.write(&mut out);
        assert_eq!(State::read(&out.0), Some(State::Since(Box::new(state))));
    }
}
