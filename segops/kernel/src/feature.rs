//! Features: what they read of an event, and how they change their state (`segops.core.features`).

use crate::decimal::Dec;
use crate::event::Event;
use crate::json::Odd;
use crate::msgpack::{Reader, Writer};
use crate::predicate::Predicate;
use crate::state::{Blob, State, Sums};
use crate::values::{distinct_key, scalar_of, Num, Scalar};

/// States with so many entries are thinned out, by Python.
pub const MAX_ENTRIES: usize = 4_096;
const MAX_MS: i64 = 1_000_000_000_000_000;

/// A path of names.
pub type Path = Vec<Box<str>>;

/// Which event of several a feature keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// That of the least value.
    Min,
    /// That of the greatest value.
    Max,
    /// The latest one, with its value.
    Latest,
    /// The earliest one, with its value.
    Earliest,
    /// The earliest one, of which only the time is read.
    First,
    /// The latest one, of which only the time is read.
    Last,
}

/// How a feature changes its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reducer {
    /// Only Python can.
    Python,
    /// The number of all events.
    RunCount,
    /// The sum of all values.
    RunSum,
    /// All distinct values.
    RunDistinct,
    /// One of all events.
    RunPick(Pick),
    /// The number of events in a sliding window.
    SlideCount,
    /// The number and sum of values in a sliding window.
    SlideSum,
    /// The distinct values in a sliding window.
    SlideDistinct,
    /// One of the events in a sliding window.
    SlidePick(Pick),
}

impl Reducer {
    fn of(name: &str) -> Option<Reducer> {
        let pick = |name: &str| {
            Some(match name {
                "min" => Pick::Min,
                "max" => Pick::Max,
                "latest" => Pick::Latest,
                "earliest" => Pick::Earliest,
                "first" => Pick::First,
                "last" => Pick::Last,
                _ => return None,
            })
        };
        let (family, kind) = name.split_once('_').unwrap_or((name, ""));
        Some(match (family, kind) {
            ("python", "") => Reducer::Python,
            ("run", "count") => Reducer::RunCount,
            ("run", "sum") => Reducer::RunSum,
            ("run", "distinct") => Reducer::RunDistinct,
            ("run", kind) => Reducer::RunPick(pick(kind)?),
            ("slide", "count") => Reducer::SlideCount,
            ("slide", "sum") => Reducer::SlideSum,
            ("slide", "distinct") => Reducer::SlideDistinct,
            ("slide", kind) => Reducer::SlidePick(pick(kind)?),
            _ => return None,
        })
    }

    /// Whether a stored state has the form that this reducer changes.
    pub fn fits(self, state: &State) -> bool {
        match self {
            Reducer::Python => true,
            Reducer::RunCount => matches!(state, State::Tally { .. }),
            Reducer::RunSum => matches!(state, State::Total { .. }),
            Reducer::RunDistinct => matches!(state, State::Keys { .. }),
            Reducer::RunPick(_) => matches!(state, State::Running { .. }),
            Reducer::SlideCount => matches!(state, State::Times(_)),
            Reducer::SlideSum => matches!(state, State::Sums(_)),
            Reducer::SlideDistinct | Reducer::SlidePick(_) => matches!(state, State::Values { .. }),
        }
    }
}

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
}

/// A feature. Windows are in milliseconds.
pub struct Feature {
    /// The id under which profiles store it.
    pub id: u64,
    /// How it changes.
    pub reducer: Reducer,
    since: Option<i64>,
    until: Option<i64>,
    /// The length of a sliding window.
    pub length: i64,
    capacity: Option<usize>,
    path: Option<Path>,
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

impl Feature {
    /// Read a feature that `segops.kernel.tables` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Feature> {
        reader.array().filter(|length| *length == 9)?;
        Some(Feature {
            id: reader.uint()?,
            reducer: Reducer::of(reader.str()?)?,
            since: reader.opt_int()?,
            until: reader.opt_int()?,
            length: reader.opt_int()?.unwrap_or(0),
            capacity: match reader.opt_int()? {
                Some(most) => Some(usize::try_from(most).ok()?),
                None => None,
            },
            path: if reader.nil() { None } else { Some(read_path(reader)?) },
            segments: read_indexes(reader)?,
            by_size: if reader.nil() { None } else { Some(reader.list(read_indexes)?) },
            is_foreign: false,
        })
    }

    /// What an event adds; None if its property is missing. Odd: Python has to read it.
    pub fn extract(&self, event: &Event<'_>) -> Result<Option<Added>, Odd> {
        let Some(path) = &self.path else {
            return Ok(Some(Added::Event));
        };
        let Some(value) = event.property(path)? else {
            return Ok(None);
        };
        let number = |scalar| match scalar {
            Scalar::Num(number) => Ok(number),
            _ => Err(Odd), // unreadable: it is counted
        };
        Ok(Some(match self.reducer {
            Reducer::RunSum | Reducer::SlideSum => {
                Added::Exact(number(value.scalar())?.exact().filter(Dec::is_bounded).ok_or(Odd)?)
            }
            Reducer::RunPick(Pick::Min | Pick::Max) | Reducer::SlidePick(Pick::Min | Pick::Max) => {
                Added::Number(number(value.scalar())?)
            }
            Reducer::RunDistinct | Reducer::SlideDistinct => Added::Key(distinct_key(&value.scalar()).ok_or(Odd)?),
            _ => {
                let mut out = Writer::default();
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
            _ => false,
        }
    }

    /// Add an event of a time, at an instant; return whether the state changes as a rule can see.
    pub fn add(&self, state: &mut Option<State>, time: i64, added: &Added, now: i64) -> bool {
        match self.reducer {
            Reducer::Python => false,
            Reducer::RunCount | Reducer::RunSum | Reducer::RunDistinct | Reducer::RunPick(_) => {
                self.is_inside(time, now) && self.run(state, time, added)
            }
            _ => time > now - self.length && self.slide(state, time, added, now - self.length),
        }
    }

    fn is_inside(&self, time: i64, now: i64) -> bool {
        let after = self.since.map_or(-MAX_MS, |since| since - 1);
        let upto = self.until.map_or(now, |until| now.min(until - 1));
        after < time && time <= upto
    }

    fn run(&self, state: &mut Option<State>, time: i64, added: &Added) -> bool {
        match (state, added) {
            (state @ None, added) => {
                *state = begun(self.reducer, time, added);
                state.is_some()
            }
            (Some(State::Tally { count, .. }), _) => {
                *count += 1;
                true
            }
            (Some(State::Total { count, total, .. }), Added::Exact(number)) => {
                *count += 1;
                *total = total.plus(*number);
                true
            }
            (Some(State::Keys { keys, .. }), Added::Key(key)) => self.insert_key(keys, key),
            (Some(State::Running { time: kept, value, .. }), added) => {
                if !self.replaces(*kept, value, time, added) {
                    return false;
                }
                *kept = time;
                *value = blob_of(added);
                true
            }
            _ => false,
        }
    }

    fn insert_key(&self, keys: &mut Vec<Box<str>>, key: &str) -> bool {
        match keys.binary_search_by(|known| (**known).cmp(key)) {
            Err(at) if self.capacity.is_none_or(|most| keys.len() < most) => {
                keys.insert(at, key.into());
                true
            }
            _ => false,
        }
    }

    fn replaces(&self, kept: i64, value: &[u8], time: i64, added: &Added) -> bool {
        let Reducer::RunPick(pick) = self.reducer else {
            return false;
        };
        match pick {
            Pick::Min => beats(added, value, true),
            Pick::Max => beats(added, value, false),
            Pick::Latest => time >= kept,
            Pick::Last => time > kept,
            Pick::Earliest | Pick::First => time < kept,
        }
    }

    fn slide(&self, state: &mut Option<State>, time: i64, added: &Added, expired: i64) -> bool {
        match state {
            None => {
                *state = Some(match self.reducer {
                    Reducer::SlideCount => State::Times(vec![time]),
                    Reducer::SlideSum => {
                        let mut sums = Sums::new();
                        add_sum(&mut sums, time, added, expired);
                        State::Sums(sums)
                    }
                    _ => State::Values { times: vec![time], values: vec![blob_of(added)] },
                });
                true
            }
            Some(State::Times(times)) => self.insert_time(times, time, expired),
            Some(State::Sums(sums)) => {
                add_sum(sums, time, added, expired);
                true
            }
            Some(State::Values { times, values }) => {
                let gone = times.partition_point(|known| *known <= expired);
                times.drain(..gone);
                values.drain(..gone);
                self.insert_value(times, values, time, added)
            }
            Some(_) => false,
        }
    }

    fn insert_time(&self, times: &mut Vec<i64>, time: i64, expired: i64) -> bool {
        let gone = times.partition_point(|known| *known <= expired);
        times.drain(..gone);
        let at = times.partition_point(|known| *known <= time);
        let most = self.capacity.unwrap_or(usize::MAX);
        if at == 0 && times.len() >= most {
            return false;
        }
        times.insert(at, time);
        if times.len() > most {
            times.remove(0);
        }
        true
    }

    fn insert_value(&self, times: &mut Vec<i64>, values: &mut Vec<Blob>, time: i64, added: &Added) -> bool {
        let pick = match self.reducer {
            Reducer::SlidePick(pick) => pick,
            _ => return self.insert_distinct(times, values, time, added),
        };
        match pick {
            Pick::Min | Pick::Max => insert_extreme(times, values, time, added, pick == Pick::Min),
            Pick::Latest | Pick::Last => {
                if times.last().is_some_and(|last| time < *last) {
                    return false;
                }
                *times = vec![time];
                *values = vec![blob_of(added)];
                true
            }
            Pick::Earliest | Pick::First => {
                let at = times.partition_point(|known| *known <= time);
                times.insert(at, time);
                values.insert(at, blob_of(added));
                true
            }
        }
    }

    fn insert_distinct(&self, times: &mut Vec<i64>, values: &mut Vec<Blob>, time: i64, added: &Added) -> bool {
        let value = blob_of(added);
        if let Some(known) = values.iter().position(|each| *each == value) {
            if times[known] >= time {
                return false;
            }
            times.remove(known);
            values.remove(known);
        } else if self.capacity.is_some_and(|most| times.len() >= most) {
            if time < times[0] {
                return false;
            }
            times.remove(0);
            values.remove(0);
        }
        let at = times.partition_point(|known| *known <= time);
        times.insert(at, time);
        values.insert(at, value);
        true
    }
}

fn begun(reducer: Reducer, time: i64, added: &Added) -> Option<State> {
    Some(match (reducer, added) {
        (Reducer::RunCount, _) => State::Tally { since: 0, count: 1 },
        (Reducer::RunSum, Added::Exact(number)) => State::Total { since: 0, count: 1, total: *number },
        (Reducer::RunDistinct, Added::Key(key)) => State::Keys { since: 0, keys: vec![key.as_str().into()] },
        (Reducer::RunPick(_), added) => State::Running { since: 0, time, value: blob_of(added) },
        _ => return None,
    })
}

fn blob_of(added: &Added) -> Blob {
    let mut out = Writer::default();
    match added {
        Added::Event | Added::Exact(_) => out.nil(),
        Added::Number(number) => number.write(&mut out),
        Added::Key(key) => out.str(key),
        Added::Value(value) => return value.clone(),
    }
    out.0.into()
}

/// Whether a number is less (or greater) than a stored one.
fn beats(added: &Added, stored: &[u8], less: bool) -> bool {
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

/// Keep only values that no later event beats: the oldest one is the extreme of the window.
fn insert_extreme(times: &mut Vec<i64>, values: &mut Vec<Blob>, time: i64, added: &Added, least: bool) -> bool {
    let Added::Number(number) = added else {
        return false;
    };
    let at = times.partition_point(|known| *known <= time);
    if at < times.len() && !beats(added, &values[at], least) {
        return false;
    }
    let value_beats = |stored: &[u8]| match scalar_of(stored) {
        Scalar::Num(known) => {
            let order = known.cmp_exact(*number);
            if least {
                order.is_lt()
            } else {
                order.is_gt()
            }
        }
        _ => false,
    };
    let mut begin = at;
    while begin > 0 && !value_beats(&values[begin - 1]) {
        begin -= 1;
    }
    times.splice(begin..at, [time]);
    values.splice(begin..at, [blob_of(added)]);
    true
}

fn add_sum(sums: &mut Sums, time: i64, added: &Added, expired: i64) {
    let gone = sums.times.partition_point(|known| *known <= expired);
    if gone > 0 {
        (sums.base_count, sums.base_total) = sums.upto(gone);
        sums.times.drain(..gone);
        sums.counts.drain(..gone);
        sums.totals.drain(..gone);
    }
    let number = match added {
        Added::Exact(number) => *number,
        _ => Dec::ZERO,
    };
    let at = sums.times.partition_point(|known| *known <= time);
    let (count, total) = sums.upto(at);
    sums.times.insert(at, time);
    sums.counts.insert(at, count + 1);
    sums.totals.insert(at, total.plus(number));
    for later in at + 1..sums.times.len() {
        sums.counts[later] += 1;
        sums.totals[later] = sums.totals[later].plus(number);
    }
}

/// Whether all sums of a state are within the bounds of exact addition.
pub fn is_bounded(state: &State) -> bool {
    match state {
        State::Total { total, .. } => total.is_bounded(),
        State::Sums(sums) => sums.totals.iter().chain([&sums.base_total]).all(Dec::is_bounded),
        _ => true,
    }
}

/// A feature with the conditions on an event that select it.
pub struct Watched {
    /// The index of the feature.
    pub feature: u32,
    conditions: Vec<(Path, Predicate)>,
}

impl Watched {
    /// Read what `segops.kernel.tables` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Watched> {
        reader.array().filter(|length| *length == 2)?;
        let feature = u32::try_from(reader.wide()?).ok()?;
        let conditions = reader.list(|reader| {
            reader.array().filter(|length| *length == 2)?;
            Some((read_path(reader)?, Predicate::read(reader)?))
        })?;
        Some(Watched { feature, conditions })
    }

    /// Whether an event satisfies the conditions.
    pub fn selects(&self, event: &Event<'_>) -> Result<bool, Odd> {
        for (path, test) in &self.conditions {
            if !test.holds(&crate::event::scalar_at(event, path)?, 0) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(reducer: Reducer, capacity: Option<usize>) -> Feature {
        Feature {
            id: 1,
            reducer,
            since: None,
            until: None,
            length: 10,
            capacity,
            path: None,
            segments: vec![],
            by_size: None,
            is_foreign: false,
        }
    }

    #[test]
    fn a_count_keeps_the_latest_events() {
        let (count, mut state) = (feature(Reducer::SlideCount, Some(2)), None);
        for (time, changed) in [(95, true), (97, true), (96, true), (94, false), (90, false)] {
            assert_eq!(count.add(&mut state, time, &Added::Event, 100), changed, "{time}");
        }
        assert_eq!(state, Some(State::Times(vec![96, 97])));
    }

    #[test]
    fn sums_are_cumulative_also_for_late_events() {
        let (sum, mut state) = (feature(Reducer::SlideSum, None), None);
        for (time, number) in [(95, 5), (99, 7), (97, 1)] {
            sum.add(&mut state, time, &Added::Exact(Dec::of_int(number)), 100);
        }
        let Some(State::Sums(sums)) = state else { panic!("no sums") };
        assert_eq!(sums.totals, [Dec::of_int(5), Dec::of_int(6), Dec::of_int(13)]);
        assert_eq!(sums.counts, [1, 2, 3]);
    }

    #[test]
    fn an_extreme_drops_what_it_beats() {
        let (least, mut state) = (feature(Reducer::SlidePick(Pick::Min), None), None);
        for (time, number, changed) in [(95, 5, true), (96, 7, true), (97, 6, true), (96, 9, false)] {
            assert_eq!(least.add(&mut state, time, &Added::Number(Num::Int(number)), 100), changed, "{time}");
        }
        let Some(State::Values { times, .. }) = state else { panic!("no values") };
        assert_eq!(times, [95, 97]);
    }

    #[test]
    fn distinct_values_are_limited() {
        let (distinct, mut state) = (feature(Reducer::RunDistinct, Some(2)), None);
        for (key, changed) in [("sb", true), ("sa", true), ("sb", false), ("sc", false)] {
            assert_eq!(distinct.add(&mut state, 1, &Added::Key(key.into()), 1), changed, "{key}");
        }
        assert_eq!(state, Some(State::Keys { since: 0, keys: vec!["sa".into(), "sb".into()] }));
    }
}
