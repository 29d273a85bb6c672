//! Questions to Python about what the kernel does not evaluate itself: one rule, one feature, one value.
//!
//! The answer is what Python's engine would find, so a rule that is not native costs one question, and not the
//! move of the whole profile. Times and instants are in milliseconds.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::decimal::Dec;
use crate::json::Odd;
use crate::state::Blob;

/// What an event adds to a feature that Python changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Fed {
    /// The state after it.
    pub state: Blob,
    /// The number of its entries, if segments depend on it.
    pub size: Option<usize>,
    /// How often the feature is noted among the tallies of the message; None: the event adds nothing.
    pub tallies: Option<usize>,
    /// What was added to a total.
    pub total: Option<Dec>,
}

/// When and where an event came from: its time, the instant of its evaluation, and its source.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'e> {
    /// The time of the event.
    pub time: i64,
    /// The instant at which it is applied.
    pub now: i64,
    /// The source, which stands in for the id of a message without one.
    pub source: &'e str,
}

/// Python, as far as the kernel asks it. An answer depends on the arguments alone.
pub trait Ask: Send + Sync {
    /// Whether a profile is in a segment at an instant, and when that changes; None: its rule fails.
    ///
    /// `profile` has the parts that the rule reads, in the form of a stored profile.
    fn judge(&self, segment: u32, profile: &[u8], now: i64) -> Option<(bool, Option<i64>)>;

    /// What an event adds to features, given their states; None: nothing. Odd: Python has to apply the event.
    fn feed(&self, event: &[u8], origin: Origin<'_>, asked: &[(u32, Option<&[u8]>)]) -> Result<Vec<Option<Fed>>, Odd>;

    /// The begin of a calendar's period that has a quarter of an hour since the epoch, and of the next one.
    fn period(&self, calendar: u32, quarter: i64) -> Option<(i64, i64)>;

    /// The key of the calendar's period that has a quarter of an hour since the epoch: no other period has it.
    fn key(&self, calendar: u32, quarter: i64) -> Option<String>;

    /// The latest refresh of a number up to an instant, and the first one after it.
    fn refresh(&self, refresh: u32, now: i64) -> Option<(i64, Option<i64>)>;

    /// Whether a value, as msgpack, satisfies a predicate at an instant, and when that may change. None: Python fails.
    fn test(&self, test: u32, value: &[u8], now: i64) -> Option<(bool, Option<i64>)>;
}

/// The years 1970 to 8999, in milliseconds: each instant of them is in a period of each calendar.
pub const CALENDAR_MS: std::ops::Range<i64> = 0..221_845_392_000_000;
const QUARTER_MS: i64 = 900_000;
/// So many answers of a kind are remembered; then all are forgotten.
const MAX_ANSWERS: usize = 1 << 16;

/// By refresh and instant of one: when the next one is.
type Refreshes = BTreeMap<(u32, i64), i64>;
/// By calendar and quarter of an hour.
type Keys = HashMap<(u32, i64), String>;
type Periods = HashMap<(u32, i64), (i64, i64)>;
/// By test and value: from when to when a verdict is in force.
type Tests = HashMap<(u32, Box<[u8]>), (i64, i64, bool)>;

/// Python, and what it has answered about values and calendars.
pub struct Asking {
    /// Python itself.
    pub python: Box<dyn Ask>,
    periods: Mutex<Periods>,
    keys: Mutex<Keys>,
    refreshes: Mutex<Refreshes>,
    tests: Mutex<Tests>,
}

impl Asking {
    /// Nothing is answered yet.
    pub fn new(python: Box<dyn Ask>) -> Asking {
        Asking {
            python,
            periods: Mutex::default(),
            keys: Mutex::default(),
            refreshes: Mutex::default(),
            tests: Mutex::default(),
        }
    }

    /// The begin of the calendar's period that contains an instant, and of the next one.
    ///
    /// Outside of `CALENDAR_MS` there is none: such a step is left to Python before.
    pub fn period(&self, calendar: u32, now: i64) -> (i64, i64) {
        let key = (calendar, now.div_euclid(QUARTER_MS));
        if let Some(known) = lock(&self.periods).get(&key) {
            return *known;
        }
        let found = self.python.period(calendar, key.1).unwrap_or((i64::MIN, i64::MAX));
        let mut periods = lock(&self.periods);
        if periods.len() >= MAX_ANSWERS {
            periods.clear();
        }
        periods.insert(key, found);
        found
    }

    /// The key of the calendar's period that contains an instant.
    pub fn key(&self, calendar: u32, time: i64) -> String {
        let key = (calendar, time.div_euclid(QUARTER_MS));
        if let Some(known) = lock(&self.keys).get(&key) {
            return known.clone();
        }
        let found = self.python.key(calendar, key.1).unwrap_or_default();
        let mut keys = lock(&self.keys);
        if keys.len() >= MAX_ANSWERS {
            keys.clear();
        }
        keys.insert(key, found.clone());
        found
    }

    /// The latest refresh of a number up to an instant, and the first one after it.
    pub fn refresh(&self, refresh: u32, now: i64) -> (i64, Option<i64>) {
        let known = lock(&self.refreshes)
            .range((refresh, i64::MIN)..=(refresh, now))
            .next_back()
            .map(|(at, next)| (at.1, *next));
        if let Some((latest, following)) = known.filter(|(_, following)| now < *following) {
            return (latest, Some(following));
        }
        let (latest, following) = self.python.refresh(refresh, now).unwrap_or((i64::MIN, None));
        if let Some(following) = following.filter(|following| latest <= now && now < *following) {
            let mut refreshes = lock(&self.refreshes);
            if refreshes.len() >= MAX_ANSWERS {
                refreshes.clear();
            }
            refreshes.insert((refresh, latest), following);
        }
        (latest, following)
    }

    /// Whether a value satisfies a predicate at an instant, and when that may change; None: Python fails.
    pub fn test(&self, test: u32, value: &[u8], now: i64) -> Option<(bool, Option<i64>)> {
        let key = (test, Box::from(value));
        let until = |until: i64| Some(until).filter(|until| *until < i64::MAX);
        if let Some((_, end, verdict)) =
            lock(&self.tests).get(&key).filter(|(begin, end, _)| *begin <= now && now < *end)
        {
            return Some((*verdict, until(*end)));
        }
        let (verdict, edge) = self.python.test(test, value, now)?;
        let mut tests = lock(&self.tests);
        if tests.len() >= MAX_ANSWERS {
            tests.clear();
        }
        tests.insert(key, (now, edge.unwrap_or(i64::MAX), verdict));
        Some((verdict, edge))
    }
}

/// Another thread that panicked while it had the lock has ended the process.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// No Python: nothing is answered, so that each event that needs an answer is Python's as a whole.
pub struct Nobody;

impl Ask for Nobody {
    fn judge(&self, _: u32, _: &[u8], _: i64) -> Option<(bool, Option<i64>)> {
        None
    }

    fn feed(&self, _: &[u8], _: Origin<'_>, _: &[(u32, Option<&[u8]>)]) -> Result<Vec<Option<Fed>>, Odd> {
        Err(Odd)
    }

    fn period(&self, _: u32, _: i64) -> Option<(i64, i64)> {
        None
    }

    fn key(&self, _: u32, _: i64) -> Option<String> {
        None
    }

    fn refresh(&self, _: u32, _: i64) -> Option<(i64, Option<i64>)> {
        None
    }

    fn test(&self, _: u32, _: &[u8], _: i64) -> Option<(bool, Option<i64>)> {
        None
    }
}
