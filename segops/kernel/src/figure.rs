//! Figures: values of a profile, now and in the course of time (`segops.core.rules.execution.figures`).

use crate::decimal::Dec;
use crate::feature::{read_path, Path};
use crate::leaves::{count_of, picked, raw_trait_of, sum_of, time_of, times_of};
use crate::msgpack::Reader;
use crate::paired::Paired;
use crate::reduce::Pick;
use crate::rhythm::Rhythm;
use crate::series::{Series, Value};
use crate::state::State;
use crate::sweep::{Aggregate, Sweep};
use crate::view::{View, Window};

const DAY_MS: i64 = 86_400_000;
/// The last millisecond of the year 9999.
const LATEST_MS: i64 = 253_402_300_799_999;

/// What is read of a profile. Features are indexes.
#[derive(Debug)]
pub enum Figure {
    /// An aggregate of the events that a feature keeps.
    Scan(u32, Window, Aggregate),
    /// An aggregate that a feature keeps.
    Kept(u32, Window, Aggregate),
    /// A figure of the rhythm of a feature's events.
    Rhythm(u32, Rhythm),
    /// A trait.
    Trait(Path),
    /// The whole days since an event of a feature, or since the latest event.
    Days(Option<u32>, Steps),
    /// How many of these numbers are below the days since the latest event.
    Rank(Vec<Dec>, Steps),
    /// A figure divided by another one.
    Ratio(Box<Figure>, Box<Figure>),
    /// A number as written.
    Number(Dec),
    /// No value.
    Missing,
}

/// The numbers of days at which a rule may change, in order.
type Steps = Vec<i64>;

impl Figure {
    /// Read what `segops.kernel.figure_rows` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Figure> {
        reader.array()?;
        Some(match reader.str()? {
            "scan" => Figure::Scan(index(reader)?, Window::read(reader)?, Aggregate::of(reader.str()?)?),
            "kept" => Figure::Kept(index(reader)?, Window::read(reader)?, Aggregate::of(reader.str()?)?),
            "trait" => Figure::Trait(read_path(reader)?),
            "days" => {
                let feature = if reader.nil() { None } else { Some(index(reader)?) };
                Figure::Days(feature, reader.list(Reader::int)?)
            }
            "rank" => Figure::Rank(reader.list(|reader| Dec::parse(reader.str()?))?, reader.list(Reader::int)?),
            "ratio" => Figure::Ratio(Box::new(Figure::read(reader)?), Box::new(Figure::read(reader)?)),
            "missing" => Figure::Missing,
            "number" => Figure::Number(Dec::parse(reader.str()?)?),
            name => Figure::Rhythm(index(reader)?, Rhythm::read(name, reader)?),
        })
    }

    /// The values from an instant on.
    pub fn series<'v>(&'v self, view: View<'v>, now: i64) -> Box<dyn Series<'v> + 'v> {
        match self {
            Figure::Scan(feature, window, aggregate) => {
                let entries = match view.kept(*feature) {
                    Some(State::Entries(entries)) => &**entries,
                    _ => &[],
                };
                Box::new(Sweep::new(entries, (*window, view.asking), *aggregate, now))
            }
            Figure::Ratio(upper, lower) => Box::new(Paired::new(upper.series(view, now), lower.series(view, now))),
            figure => Box::new(Plain { figure, view, now }),
        }
    }

    /// The features that it reads.
    pub fn features(&self) -> Vec<u32> {
        match self {
            Figure::Scan(feature, ..) | Figure::Kept(feature, ..) | Figure::Rhythm(feature, _) => vec![*feature],
            Figure::Days(feature, _) => feature.iter().copied().collect(),
            Figure::Ratio(upper, lower) => [upper.features(), lower.features()].concat(),
            Figure::Trait(_) | Figure::Rank(..) | Figure::Number(_) | Figure::Missing => vec![],
        }
    }

    fn value<'v>(&self, view: View<'v>, now: i64) -> Value<'v> {
        match self {
            Figure::Kept(feature, window, aggregate) => {
                kept(view.state(*feature, *window, now), *aggregate, window.length(), now)
            }
            Figure::Rhythm(feature, of) => of.value(view, view.kept(*feature), now),
            Figure::Trait(path) => raw_trait_of(view.profile, path).map_or(Value::Missing, Value::Raw),
            Figure::Days(feature, _) => days(since(view, *feature), now).map_or(Value::Missing, Value::Count),
            Figure::Rank(edges, _) => days(since(view, None), now).map_or(Value::Missing, |days| {
                let days = Dec::of_int(i128::from(days));
                Value::Count(edges.partition_point(|edge| edge.cmp_exact(days).is_lt()) as i64)
            }),
            Figure::Number(number) => Value::Exact(*number, 1),
            Figure::Missing => Value::Missing,
            Figure::Scan(..) | Figure::Ratio(..) => Value::Unknown, // they have series of their own
        }
    }

    fn next(&self, view: View<'_>, now: i64) -> Option<i64> {
        match self {
            Figure::Kept(feature, window, _) => match window.length() {
                Some(length) => {
                    let times = times_of(view.kept(*feature)?)?;
                    times.get(times.partition_point(|time| *time <= now - length)).map(|time| time + length)
                }
                None => view.period_end(*feature, *window, now),
            },
            Figure::Rhythm(feature, of) => of.next(view, view.kept(*feature), now),
            Figure::Days(feature, steps) => step(since(view, *feature)?, steps, now),
            Figure::Rank(_, steps) => step(since(view, None)?, steps, now),
            _ => None,
        }
    }
}

/// A figure that is read again at each instant.
struct Plain<'v> {
    figure: &'v Figure,
    view: View<'v>,
    now: i64,
}

impl<'v> Series<'v> for Plain<'v> {
    fn value(&self) -> Value<'v> {
        self.figure.value(self.view, self.now)
    }

    fn next(&self) -> Option<i64> {
        self.figure.next(self.view, self.now)
    }

    fn advance(&mut self, now: i64) {
        self.now = now;
    }
}

fn index(reader: &mut Reader<'_>) -> Option<u32> {
    u32::try_from(reader.wide()?).ok()
}

/// What a state that is in force has of an aggregate.
fn kept(state: Option<&State>, aggregate: Aggregate, length: Option<i64>, now: i64) -> Value<'_> {
    let of_event = |pick| picked(state, pick, length, now).map_or(Value::Missing, Value::Raw);
    match (aggregate, state) {
        (Aggregate::Count, Some(State::Sums(_))) => Value::Count(sum_of(state, length, now).0),
        (Aggregate::Count | Aggregate::Distinct, _) => Value::Count(count_of(state, length, now)),
        (Aggregate::Sum, _) => Value::Exact(sum_of(state, length, now).1, 1),
        (Aggregate::Mean, _) => match sum_of(state, length, now) {
            (0, _) => Value::Missing,
            (count, total) => Value::Exact(total, count),
        },
        (Aggregate::Latest, _) => of_event(Pick::Latest),
        (Aggregate::Min | Aggregate::Max | Aggregate::Earliest, _) => of_event(Pick::Earliest),
        (Aggregate::MostFrequent, _) => Value::Unknown, // all events are kept for it
    }
}

/// When the days begin to count, in milliseconds.
fn since(view: View<'_>, feature: Option<u32>) -> Option<i64> {
    match feature {
        Some(feature) => time_of(view.kept(feature)),
        None => view.profile.first.map(|_| view.profile.latest),
    }
}

fn days(since: Option<i64>, now: i64) -> Option<i64> {
    since.map(|since| (now - since).div_euclid(DAY_MS))
}

/// When the next of these numbers of days has passed.
fn step(since: i64, steps: &[i64], now: i64) -> Option<i64> {
    steps.iter().map(|days| since + days * DAY_MS).find(|at| *at > now).filter(|at| *at <= LATEST_MS)
}
