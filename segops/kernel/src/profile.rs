//! A profile in memory: the fields of `segops.core.profile.Profile`.

use std::collections::VecDeque;

use crate::decimal::Dec;
use crate::links::Links;
use crate::state::{Blob, State, Stub};

/// Stands for "never" in times, in milliseconds.
pub const NEVER: i64 = -1_000_000_000_000_000;
const DAY_MS: i64 = 86_400_000;
const ABSENT_DAYS: i64 = 30;
/// A profile remembers so many messages, and each at least so long, in milliseconds.
const REMEMBERED: usize = 1_000;
const REMEMBERED_MS: i64 = 86_400_000;

/// A current membership. `segment` is an index, `since` in milliseconds.
#[derive(Clone, Debug)]
pub struct Member {
    /// The segment.
    pub segment: u32,
    /// Its start.
    pub since: i64,
    /// The version of the rule.
    pub version: i64,
    /// The event that caused it, if it has an id.
    pub event: Option<Box<str>>,
    /// The cause, if it was not an event with an id.
    pub reason: Option<Box<str>>,
}

/// What one message added to accumulators.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// The time of the event in milliseconds.
    pub time: i64,
    /// Ids of features.
    pub tallies: Vec<u64>,
    /// Ids of features, with the number that was added.
    pub totals: Vec<(u64, Dec)>,
}

/// A customer's latest name of a type, with the time of its event in milliseconds.
#[derive(Clone, Debug)]
pub struct Name {
    /// The name.
    pub value: Option<Box<str>>,
    /// When it was given, or removed.
    pub time: i64,
}

impl Name {
    const UNKNOWN: Name = Name { value: None, time: NEVER };

    /// Note a name, or that it was removed, unless a later event said otherwise.
    pub fn note(&mut self, value: Option<&str>, time: i64) {
        if time >= self.time {
            if self.value.as_deref() != value {
                self.value = value.map(Box::from);
            }
            self.time = time;
        }
    }
}

/// The state of one profile. Times are in milliseconds; segments and features are indexes.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The identifier.
    pub id: Box<str>,
    /// The number of its changes.
    pub sequence: i64,
    /// The offset of the last applied record.
    pub applied: i64,
    /// When its memberships change next.
    pub due: Option<i64>,
    /// The first event.
    pub first: Option<i64>,
    /// The latest event.
    pub latest: i64,
    /// user_id, anonymous_id and email.
    pub names: [Name; 3],
    /// Traits as msgpack, in order.
    pub traits: Vec<(Box<str>, Blob)>,
    /// When each trait was last set.
    pub trait_times: Vec<(Box<str>, i64)>,
    /// Hashes of messages, in the order of arrival.
    pub seen: VecDeque<u64>,
    /// When each of them was applied.
    pub seen_at: VecDeque<i64>,
    /// The states of features, in order.
    pub features: Vec<(u32, State)>,
    /// The memberships, in order.
    pub members: Vec<Member>,
    /// When memberships flip, in order.
    pub flips: Vec<(u32, i64)>,
    /// The last known location.
    pub location: Option<(f64, f64)>,
    /// Since when.
    pub location_ms: i64,
    /// Earlier memberships as stored.
    pub past: Stub,
    /// What messages added, in order.
    pub counted: VecDeque<(u64, Counted)>,
    /// The links.
    pub links: Option<Box<Links>>,
    /// The last active day before that of `latest`.
    pub former_day: Option<i64>,
    /// `complete_since`, `lists` and `published` as stored.
    pub rest: [Stub; 3],
    /// A sum is beyond the bounds of exact addition: Python has to continue.
    pub is_full: bool,
}

impl Profile {
    /// A profile without events.
    pub fn new(id: &str) -> Profile {
        Profile {
            id: id.into(),
            sequence: 0,
            applied: -1,
            due: None,
            first: None,
            latest: NEVER,
            names: [Name::UNKNOWN; 3],
            traits: vec![],
            trait_times: vec![],
            seen: VecDeque::new(),
            seen_at: VecDeque::new(),
            features: vec![],
            members: vec![],
            flips: vec![],
            location: None,
            location_ms: NEVER,
            past: Stub::default(),
            counted: VecDeque::new(),
            links: None,
            former_day: None,
            rest: Default::default(),
            is_full: false,
        }
    }

    /// The state of a feature.
    pub fn state(&self, feature: u32) -> Option<&State> {
        self.features.iter().find(|(known, _)| *known == feature).map(|(_, state)| state)
    }

    /// Whether it may be merged implicitly, so that it notes what messages add.
    pub fn may_lose(&self) -> bool {
        self.id.split_once(':').map_or(&*self.id, |(kind, _)| kind) != "user_id"
    }

    /// Whether it is on static lists.
    pub fn has_lists(&self) -> bool {
        *self.rest[1] != [0x80]
    }

    /// Whether an identifier of a type leads to it, or, of the three names, whether it has one.
    pub fn has_identifier(&self, kind: &str) -> bool {
        let number = ["user_id", "anonymous_id", "email"].iter().position(|name| *name == kind);
        if let Some(number) = number {
            return self.names[number].value.is_some();
        }
        let is_of = |id: &str| id.strip_prefix(kind).is_some_and(|rest| rest.starts_with(':'));
        match &self.links {
            Some(links) => links.owned.iter().any(|id| is_of(id)),
            None => is_of(&self.id),
        }
    }

    /// Remember a message; forget those beyond the limit that are old.
    pub fn remember(&mut self, message: u64, time: i64, now: i64) {
        if self.seen.len() == self.seen.capacity() {
            self.seen.reserve_exact(2 + self.seen.len() / 4);
            self.seen_at.reserve_exact(2 + self.seen_at.len() / 4);
        }
        self.seen.push_back(message);
        self.seen_at.push_back(now);
        if self.may_lose() && !self.counted.iter().any(|(known, _)| *known == message) {
            self.counted.push_back((message, Counted { time, ..Counted::default() }));
        }
        while self.seen.len() > REMEMBERED && self.seen_at[0] <= now - REMEMBERED_MS {
            let oldest = self.seen.pop_front();
            self.seen_at.pop_front();
            if let Some(at) = self.counted.iter().position(|(known, _)| Some(*known) == oldest) {
                self.counted.remove(at);
            }
        }
    }

    /// Whether a message was applied.
    pub fn has_seen(&self, message: u64) -> bool {
        let (front, back) = self.seen.as_slices();
        back.contains(&message) || front.contains(&message)
    }

    /// Note the day of an event; `latest` is still that of the others.
    pub fn note_day(&mut self, time: i64) {
        let (latest, day) = (self.latest.div_euclid(DAY_MS), time.div_euclid(DAY_MS));
        if day > latest {
            self.former_day = Some(latest);
        } else if day < latest && self.former_day.is_none_or(|former| day > former) {
            self.former_day = Some(day);
        }
    }

    /// The last active day and how the profile came to be active then; None without events.
    pub fn activity(&self) -> Option<i32> {
        let first = self.first?;
        let day = self.latest.div_euclid(DAY_MS);
        let kind = match self.former_day {
            None => i64::from(first.div_euclid(DAY_MS) != day),
            Some(former) => 1 + i64::from(day - former > ABSENT_DAYS),
        };
        Some((day << 2 | kind) as i32)
    }

    /// Whether a claim is pending, which stops its clock.
    pub fn waits(&self) -> bool {
        self.links.as_ref().is_some_and(|links| !links.pending.is_empty())
    }

    /// When its timer is due; None while it waits.
    pub fn timer(&self) -> Option<i64> {
        self.due.filter(|_| !self.waits())
    }

    /// Set when its memberships change next.
    pub fn set_due(&mut self) {
        self.due = self.flips.iter().map(|(_, at)| *at).min();
    }
}

/// Append to a list that is most often short: it grows by a quarter, so that little memory is unused.
pub fn append<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(1 + list.len() / 4);
    }
    list.push(item);
}

/// An identifier that leads to another profile. The offset is that of the last applied record.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// The profile.
    pub into: Box<str>,
    /// The number of changes before.
    pub sequence: i64,
    /// The offset.
    pub applied: i64,
    /// The definitions by which it was evaluated last, if they are former ones.
    pub version: Option<Box<str>>,
}

/// Whether an event of a time may change an activity: it is not of its last day.
pub fn is_another_day(activity: Option<i32>, time: i64) -> bool {
    activity.is_none_or(|known| time.div_euclid(DAY_MS) != i64::from(known >> 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_of_more_than_thirty_days_is_a_resurrection() {
        let mut profile = Profile::new("user_id:u");
        profile.first = Some(0);
        profile.latest = 40 * DAY_MS;
        assert_eq!(profile.activity(), Some(40 << 2 | 1));
        profile.former_day = Some(9);
        assert_eq!(profile.activity(), Some(40 << 2 | 2));
        profile.latest = 0;
        profile.former_day = None;
        assert_eq!(profile.activity(), Some(0));
    }

    #[test]
    fn old_messages_beyond_the_limit_are_forgotten() {
        let mut profile = Profile::new("anonymous_id:a");
        for message in 0..1_002 {
            profile.remember(message, 0, message as i64);
        }
        assert_eq!(profile.seen.len(), 1_002);
        profile.remember(5_000, 0, REMEMBERED_MS);
        assert_eq!((profile.seen[0], profile.counted.len()), (1, 1_002));
    }

    #[test]
    fn identifiers_of_a_type() {
        let profile = Profile::new("device_id:7");
        assert!(
            profile.has_identifier("device_id")
                && !profile.has_identifier("device")
                && !profile.has_identifier("email")
        );
    }
}
