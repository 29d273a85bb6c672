//! The aggregate of the events in a window as time passes: each enters and leaves once, the oldest first
//! (`segops.core.features.window_aggregates`).

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};

use crate::ask::Asking;
use crate::decimal::Dec;
use crate::frequent::Frequent;
use crate::series::{Series, Value};
use crate::since::Entry;
use crate::values::{scalar_of, Scalar};
use crate::view::Window;

/// What is read of the events in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Their number.
    Count,
    /// The sum of their values.
    Sum,
    /// The mean of their values.
    Mean,
    /// The number of different values.
    Distinct,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The last value.
    Latest,
    /// The first value.
    Earliest,
    /// The most frequent value.
    MostFrequent,
}

impl Aggregate {
    /// The aggregate of a function's name.
    pub fn of(name: &str) -> Option<Aggregate> {
        Some(match name {
            "count" => Aggregate::Count,
            "sum" => Aggregate::Sum,
            "avg" => Aggregate::Mean,
            "distinct" => Aggregate::Distinct,
            "min" => Aggregate::Min,
            "max" => Aggregate::Max,
            "latest" => Aggregate::Latest,
            "earliest" => Aggregate::Earliest,
            "most_frequent" => Aggregate::MostFrequent,
            _ => return None,
        })
    }
}

/// What is known of the events that count now, beside which they are.
enum Held<'v> {
    Nothing,
    /// Their sum.
    Sum(Dec),
    /// How often each value occurs.
    Distinct(HashMap<&'v [u8], usize>),
    /// The events that may become the extreme, in order.
    Extreme(VecDeque<usize>),
    /// The places of each value.
    Frequent(Frequent<'v>),
}

/// The events that count at an instant, in a pass over time.
pub struct Sweep<'v> {
    entries: &'v [Entry],
    window: (Window, &'v Asking),
    aggregate: Aggregate,
    held: Held<'v>,
    /// The indexes of the events that count.
    begin: usize,
    end: usize,
    now: i64,
    /// Whether the kernel could read all values so far.
    is_sound: bool,
}

impl<'v> Sweep<'v> {
    /// Begin at an instant in milliseconds.
    pub fn new(entries: &'v [Entry], window: (Window, &'v Asking), aggregate: Aggregate, now: i64) -> Sweep<'v> {
        let held = match aggregate {
            Aggregate::Count | Aggregate::Latest | Aggregate::Earliest => Held::Nothing,
            Aggregate::Sum | Aggregate::Mean => Held::Sum(Dec::ZERO),
            Aggregate::Distinct => Held::Distinct(HashMap::new()),
            Aggregate::Min | Aggregate::Max => Held::Extreme(VecDeque::new()),
            Aggregate::MostFrequent => Held::Frequent(Frequent::default()),
        };
        let (after, _) = window.0.span(window.1, now);
        let begin = entries.partition_point(|entry| entry.time <= after);
        let mut sweep = Sweep { entries, window, aggregate, held, begin, end: begin, now, is_sound: true };
        sweep.advance(now);
        sweep
    }

    fn enter(&mut self, at: usize) {
        let value = &*self.entries[at].value;
        self.is_sound &= match &mut self.held {
            Held::Nothing => true,
            Held::Sum(total) => add(total, value, false),
            Held::Distinct(counts) => {
                *counts.entry(value).or_insert(0) += 1;
                matches!(scalar_of(value), Scalar::Text(_)) // an event that adds several values is Python's
            }
            Held::Extreme(queue) => {
                let beaten = if self.aggregate == Aggregate::Min { Ordering::Greater } else { Ordering::Less };
                while queue.back().is_some_and(|last| order(&self.entries[*last].value, value) == Some(beaten)) {
                    queue.pop_back();
                }
                queue.push_back(at);
                matches!(scalar_of(value), Scalar::Num(_))
            }
            Held::Frequent(frequent) => frequent.enter(value),
        };
    }

    fn leave(&mut self, at: usize) {
        let value = &*self.entries[at].value;
        match &mut self.held {
            Held::Nothing => {}
            Held::Sum(total) => self.is_sound &= add(total, value, true),
            Held::Distinct(counts) => {
                if let Some(count) = counts.get_mut(value) {
                    *count -= 1;
                    if *count == 0 {
                        counts.remove(value);
                    }
                }
            }
            Held::Extreme(queue) => {
                if queue.front() == Some(&at) {
                    queue.pop_front();
                }
            }
            Held::Frequent(frequent) => frequent.leave(value),
        }
    }

    fn raw(&self, at: Option<usize>) -> Value<'v> {
        let entries: &'v [Entry] = self.entries;
        at.map_or(Value::Missing, |at| Value::Raw(&entries[at].value))
    }
}

impl<'v> Series<'v> for Sweep<'v> {
    fn value(&self) -> Value<'v> {
        let (count, is_empty) = ((self.end - self.begin) as i64, self.begin == self.end);
        match &self.held {
            _ if !self.is_sound => Value::Unknown,
            Held::Sum(total) if self.aggregate == Aggregate::Sum => Value::Exact(*total, 1),
            Held::Sum(total) if !is_empty => Value::Exact(*total, count),
            Held::Sum(_) => Value::Missing,
            Held::Distinct(counts) => Value::Count(counts.len() as i64),
            Held::Extreme(queue) => self.raw(queue.front().copied()),
            Held::Frequent(frequent) => frequent.value(),
            Held::Nothing if self.aggregate == Aggregate::Count => Value::Count(count),
            Held::Nothing if is_empty => Value::Missing,
            Held::Nothing if self.aggregate == Aggregate::Latest => self.raw(Some(self.end - 1)),
            Held::Nothing => self.raw(Some(self.begin)),
        }
    }

    fn next(&self) -> Option<i64> {
        let (window, asking) = self.window;
        let leaving = self.entries.get(self.begin)?;
        match window {
            Window::Fixed => None,
            Window::Sliding(length) => Some(leaving.time + length),
            Window::Calendar(calendar) => Some(asking.period(calendar, self.now).1),
            Window::Between(from, to) => {
                let entering = self.entries.get(self.end).map(|entry| entry.time + to);
                entering.into_iter().chain([leaving.time + from]).min()
            }
        }
    }

    fn advance(&mut self, now: i64) {
        self.now = now;
        let (after, upto) = self.window.0.span(self.window.1, now);
        while self.entries.get(self.end).is_some_and(|entry| entry.time <= upto) {
            self.enter(self.end);
            self.end += 1;
        }
        while self.begin < self.end && self.entries[self.begin].time <= after {
            self.leave(self.begin);
            self.begin += 1;
        }
    }
}

/// Add a number to a sum, or subtract it; return whether both are within the bounds of exact addition.
fn add(total: &mut Dec, value: &[u8], subtracts: bool) -> bool {
    let Scalar::Num(number) = scalar_of(value) else {
        return false;
    };
    let Some(number) = number.exact().filter(Dec::is_bounded) else {
        return false;
    };
    *total = if subtracts { total.minus(number) } else { total.plus(number) };
    total.is_bounded()
}

fn order(one: &[u8], other: &[u8]) -> Option<Ordering> {
    match (scalar_of(one), scalar_of(other)) {
        (Scalar::Num(one), Scalar::Num(other)) => Some(one.cmp_exact(other)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::Nobody;

    /// The values of an aggregate over entries with these times and numbers, and when each begins.
    fn passed(window: Window, aggregate: Aggregate) -> Vec<(i64, String)> {
        let asking = Asking::new(Box::new(Nobody));
        let entries: Vec<Entry> = [(10, 5_u8), (20, 3), (30, 5)]
            .into_iter()
            .map(|(time, value)| Entry { time, value: Box::new([value]), key: None })
            .collect();
        let mut sweep = Sweep::new(&entries, (window, &asking), aggregate, 31);
        let mut found = vec![(31, format!("{:?}", sweep.value()))];
        while let Some(at) = sweep.next() {
            sweep.advance(at);
            found.push((at, format!("{:?}", sweep.value())));
        }
        found
    }

    fn at(pairs: &[(i64, &str)]) -> Vec<(i64, String)> {
        pairs.iter().map(|(at, text)| (*at, (*text).to_string())).collect()
    }

    #[test]
    fn events_enter_and_leave_a_time_that_slides() {
        let between = Window::Between(15, 5);
        let counts = [(31, "Count(1)"), (35, "Count(1)"), (45, "Count(0)")];
        assert_eq!(passed(between, Aggregate::Count), at(&counts));
        let least = [(31, "Raw([3])"), (35, "Raw([5])"), (45, "Missing")];
        assert_eq!(passed(between, Aggregate::Min), at(&least));
    }

    #[test]
    fn extremes_end_with_their_events() {
        let least = [(31, "Raw([3])"), (32, "Raw([3])"), (42, "Raw([5])"), (52, "Missing")];
        assert_eq!(passed(Window::Sliding(22), Aggregate::Min), at(&least));
        assert_eq!(passed(Window::Fixed, Aggregate::Max), at(&[(31, "Raw([5])")]));
    }
}
