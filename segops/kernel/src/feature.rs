//! Features: what they read of an event, and how they change their state (`segops.core.features`).

use crate::ask::Asking;
use crate::decimal::Dec;
use crate::event::Event;
use crate::json::Odd;
use crate::msgpack::{Reader, Writer};
use crate::orders::{Part, Row};
use crate::reduce::{Kept, Pick, Reducer};
use crate::sequence::{Link, Sequence};
use crate::since::Anchor;
use crate::state::{Blob, State};
use crate::statement::Statements;
use crate::values::{distinct_key, scalar_of, Num, Scalar};

/// States with so many entries are thinned out, by Python.
pub const MAX_ENTRIES: usize = 4_096;
/// Longer than any time, in milliseconds.
pub const MAX_MS: i64 = 1_000_000_000_000_000;

/// A path of names.
pub type Path = Vec<Box<str>>;

/// What an event adds to a feature.
#[derive(Clone, Debug, PartialEq)]
pub enum Added {
    /// The event itself.
    Event,
    /// A number that is compared.
    Number(Num),
    /// A number that is added up.
    Exact(Dec),
    /// The key of a distinct value.
    Key(String),
    /// A value as msgpack.
    Value(Blob),
    /// An anchor, with the key of its compared value.
    Anchor(Option<Box<str>>),
    /// An event that may come after an anchor: its value as msgpack, and the key of its compared value.
    Entry(Blob, Option<Box<str>>),
    /// An order or a statement about one, without its time.
    Order(Part, Row),
    /// An event of a sequence, without its time.
    Link(Link),
}

/// A feature. Windows are in milliseconds.
pub struct Feature {
    /// The id under which profiles store it.
    pub id: u64,
    /// How it changes.
    pub reducer: Reducer,
    /// The first time that counts.
    pub since: Option<i64>,
    /// The first time that counts no more.
    pub until: Option<i64>,
    /// The calendar whose current period counts.
    pub calendar: Option<u32>,
    /// The length of a sliding window.
    pub length: i64,
    /// So many entries are kept; None: all.
    pub capacity: Option<usize>,
    /// What begins its window.
    pub anchor: Option<Anchor>,
    /// The sequence that it follows.
    pub sequence: Option<Sequence>,
    /// How it reads orders.
    pub statements: Option<Statements>,
    /// The calendar whose periods it counts.
    pub days: Option<u32>,
    /// The gap between sessions, or the length of a period.
    pub step: i64,
    /// When it is read; None: at any time.
    pub refresh: Option<u32>,
    /// The path of the property that it reads.
    pub path: Option<Path>,
    /// The segments that it can change.
    pub segments: Vec<u32>,
    /// For a counting feature: the segments that it can change with so many entries.
    pub by_size: Option<Vec<Vec<u32>>>,
    /// Whether Python evaluates one of these segments.
    pub is_foreign: bool,
}

/// Read a path.
pub fn read_path(reader: &mut Reader<'_>) -> Option<Path> {
    reader.list(|reader| reader.str().map(Box::from))
}

/// Read a list of indexes.
pub fn read_indexes(reader: &mut Reader<'_>) -> Option<Vec<u32>> {
    reader.list(|reader| u32::try_from(reader.wide()?).ok())
}

fn opt_index(reader: &mut Reader<'_>) -> Option<Option<u32>> {
    match reader.opt_int()? {
        Some(number) => Some(Some(u32::try_from(number).ok()?)),
        None => Some(None),
    }
}

impl Feature {
    /// Read a feature that `segops.kernel.tables` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Feature> {
        reader.array().filter(|length| *length == 16)?;
        Some(Feature {
            id: reader.uint()?,
            reducer: Reducer::of(reader.str()?)?,
            since: reader.opt_int()?,
            until: reader.opt_int()?,
            calendar: opt_index(reader)?,
            length: reader.opt_int()?.unwrap_or(0),
            capacity: match reader.opt_int()? {
                Some(most) => Some(usize::try_from(most).ok()?),
                None => None,
            },
            anchor: if reader.nil() { None } else { Some(Anchor::read(reader)?) },
            sequence: if reader.nil() { None } else { Some(Sequence::read(reader)?) },
            statements: if reader.nil() { None } else { Some(Statements::read(reader)?) },
            days: opt_index(reader)?,
            step: reader.opt_int()?.unwrap_or(0),
            refresh: opt_index(reader)?,
            path: if reader.nil() { None } else { Some(read_path(reader)?) },
            segments: read_indexes(reader)?,
            by_size: if reader.nil() { None } else { Some(reader.list(read_indexes)?) },
            is_foreign: false,
        })
    }

    /// What an event adds; None if its property is missing. Odd: Python has to read it.
    pub fn extract(
        &self,
        event: &Event<'_>,
        (time, source): (i64, &str),
        asking: &Asking,
    ) -> Result<Option<Added>, Odd> {
        if let Some(sequence) = &self.sequence {
            return sequence.extract(event, asking);
        }
        if let Some(statements) = &self.statements {
            return statements.extract(event, source);
        }
        match &self.anchor {
            Some(anchor) => anchor.extract(event, asking, || Ok(self.value(event)?.map(|added| blob_of(&added)))),
            None => match self.days {
                Some(calendar) => Ok(Some(Added::Key(asking.key(calendar, time)))),
                None => self.value(event),
            },
        }
    }

    fn value(&self, event: &Event<'_>) -> Result<Option<Added>, Odd> {
        let Some(path) = &self.path else {
            return Ok(Some(Added::Event));
        };
        let Some(value) = event.property(path)? else {
            return Ok((self.reducer == Reducer::Session).then_some(Added::Event));
            // it counts without one, too
        };
        let number = |scalar| match scalar {
            Scalar::Num(number) => Ok(number),
            _ => Err(Odd), // unreadable: it is counted
        };
        Ok(Some(match self.reducer {
            Reducer::RunSum | Reducer::SlideSum => {
                Added::Exact(number(value.scalar())?.exact().filter(Dec::is_bounded).ok_or(Odd)?)
            }
            Reducer::Since(Kept::Sum) | Reducer::Scan(Kept::Sum) => {
                let number = number(value.scalar())?;
                number.exact().filter(Dec::is_bounded).ok_or(Odd)?;
                Added::Number(number)
            }
            Reducer::Since(Kept::Number)
            | Reducer::Scan(Kept::Number)
            | Reducer::RunPick(Pick::Min | Pick::Max)
            | Reducer::SlidePick(Pick::Min | Pick::Max) => Added::Number(number(value.scalar())?),
            Reducer::RunDistinct | Reducer::SlideDistinct | Reducer::Since(Kept::Key) | Reducer::Scan(Kept::Key) => {
                Added::Key(distinct_key(&value.scalar()).ok_or(Odd)?)
            }
            _ => {
                let mut out = Writer::default();
                if self.reducer == Reducer::Scan(Kept::List) {
                    distinct_key(&value.scalar()).ok_or(Odd)?; // values that only Python compares
                    out.array(1);
                }
                value.write(&mut out)?;
                Added::Value(out.0.into())
            }
        }))
    }

    /// Whether a state has so many entries that Python has to thin it out.
    pub fn is_long(state: &State) -> bool {
        match state {
            State::Sums(sums) => sums.times.len() >= MAX_ENTRIES,
            State::Values { times, .. } => times.len() >= MAX_ENTRIES,
            State::Since(since) => since.entries.len() >= MAX_ENTRIES,
            State::Orders(orders) => orders.is_long(MAX_ENTRIES - 1),
            State::Frozen(frozen) => frozen.live.as_ref().is_some_and(Feature::is_long),
            _ => false,
        }
    }

    /// Add an event of a time, at an instant; return whether the state changes as a rule can see.
    pub fn add(&self, state: &mut Option<State>, time: i64, added: &Added, (now, asking): (i64, &Asking)) -> bool {
        match self.refresh {
            Some(refresh) => self.add_frozen(state, time, added, (refresh, now, asking)),
            None => self.add_live(state, time, added, (now, asking)),
        }
    }

    /// Do as `add`, whenever the feature is read.
    pub fn add_live(&self, state: &mut Option<State>, time: i64, added: &Added, (now, asking): (i64, &Asking)) -> bool {
        match self.reducer {
            Reducer::Python => false,
            Reducer::History => self.keep(state, time, added, now),
            Reducer::Since(_) => self.add_since(state, time, added),
            Reducer::Scan(_) => self.add_entry(state, time, added, (now, asking)),
            Reducer::Sessions | Reducer::Session => self.add_session(state, time, added, (now, asking)),
            Reducer::Periods | Reducer::Lifecycle => self.mark(state, time, now),
            Reducer::Sequence => self.add_link(state, time, added, now),
            Reducer::Orders => self.add_order(state, time, added, now),
            Reducer::RunCount | Reducer::RunSum | Reducer::RunDistinct | Reducer::RunPick(_) => {
                let Some(calendar) = self.calendar else {
                    return self.is_inside(time, now) && self.run(state, 0, time, added);
                };
                let (begin, _) = asking.period(calendar, now);
                begin <= time && time <= now && self.run(state, begin, time, added)
            }
            _ => time > now - self.length && self.slide(state, time, added, now - self.length),
        }
    }

    fn is_inside(&self, time: i64, now: i64) -> bool {
        let after = self.since.map_or(-MAX_MS, |since| since - 1);
        let upto = self.until.map_or(now, |until| now.min(until - 1));
        after < time && time <= upto
    }

    /// Keep a value of a trait; of those that the length does not reach, only the last.
    fn keep(&self, state: &mut Option<State>, time: i64, added: &Added, now: i64) -> bool {
        let Some(State::Values { times, values }) = state else {
            *state = Some(State::Values { times: vec![time], values: vec![blob_of(added)] });
            return true;
        };
        let at = times.partition_point(|known| *known <= time);
        times.insert(at, time);
        values.insert(at, blob_of(added));
        let reached = times.partition_point(|known| *known <= now - self.length);
        let forgotten = reached.saturating_sub(1);
        times.drain(..forgotten);
        values.drain(..forgotten);
        true
    }
}

/// What is kept of what an event adds, as msgpack.
pub fn blob_of(added: &Added) -> Blob {
    let mut out = Writer::default();
    match added {
        Added::Event | Added::Exact(_) | Added::Anchor(_) | Added::Order(..) | Added::Link(_) => out.nil(),
        Added::Number(number) => number.write(&mut out),
        Added::Key(key) => out.str(key),
        Added::Value(value) | Added::Entry(value, _) => return value.clone(),
    }
    out.0.into()
}

/// Whether a number is less (or greater) than a stored one.
pub fn beats(added: &Added, stored: &[u8], less: bool) -> bool {
    let (Added::Number(number), Scalar::Num(known)) = (added, scalar_of(stored)) else {
        return false;
    };
    let order = number.cmp_exact(known);
    if less {
        order.is_lt()
    } else {
        order.is_gt()
    }
}

/// Whether all sums of a state are within the bounds of exact addition.
pub fn is_bounded(state: &State) -> bool {
    match state {
        State::Total { total, .. } => total.is_bounded(),
        State::Frozen(frozen) => frozen.states().all(is_bounded),
        State::Sums(sums) => sums.totals.iter().chain([&sums.base_total]).all(Dec::is_bounded),
        _ => true,
    }
}
